"""Which figures a diagnosis has arrays for, with their captions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelregime.claims import Estimate
from kernelregime.report import figures
from kernelregime.report.canvas import svg
from kernelregime.report.figures.scales import positive
from kernelregime.report.quantities import number, with_error
from kernelregime.report.words import CRITERIA, bounds
from kernelregime.results import Diagnosis


@dataclass(frozen=True)
class Plate:
    """A figure of the report: its SVG, a title, and a caption that says what is seen."""

    key: str
    title: str
    caption: str
    svg: str


class Shown:
    """A diagnosis as the figures ask for it: arrays with a finite value, evidence and thresholds, each None where absent."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        self.diagnosis = diagnosis
        self.evidence = {item.key: item for item in diagnosis.evidence}

    def array(self, name: str) -> np.ndarray | None:
        """The array `name`, unless it is absent or holds no finite value."""
        value = self.diagnosis.arrays.get(name)
        return None if value is None or not has_finite(value) else np.asarray(value)

    def estimate(self, key: str) -> Estimate | None:
        """The measured number `key`."""
        return self.evidence[key].measured if key in self.evidence else None

    def bounds(self, key: str) -> tuple[float, float] | None:
        """The thresholds of the verdict for the evidence `key`."""
        return bounds(self.diagnosis.thresholds, key)


def has_finite(value: Any) -> bool:
    """Whether an array holds any finite number."""
    array = np.asarray(value)
    return array.dtype.kind in "fiub" and bool(np.isfinite(array).any())


def plates(diagnosis: Diagnosis) -> dict[str, list[Plate]]:
    """The figures of every group of evidence, and of the "verdict", that the stored arrays allow."""
    shown = Shown(diagnosis)
    found: dict[str, list[Plate]] = {}
    for group, key, build in _PLATES:
        made = build(shown)
        if made is not None:
            figure, title, caption, alt = made
            found.setdefault(group, []).append(Plate(key, title, caption, svg(figure, label=alt, prefix=f"{key}-")))
    return found


Made = tuple[Any, str, str, str] | None  # figure, title, caption, alternative text


def _verdict(shown: Shown) -> Made:
    rows: list[figures.Row] = []
    for key, (_, name) in CRITERIA.items():
        estimate, limits = shown.estimate(key), shown.bounds(key)
        if estimate is not None and limits is not None and np.isfinite(estimate.mean):
            # chance at initialization is no feature learning: its scale ends with "near"
            rows.append((name, estimate, limits[0], None if key == "ntk_relative_std" else limits[1]))
    if not rows:
        return None
    names = {
        "function": "the trained function is from its linearization",
        "drift": "training moved the NTK",
        "chance": "one initialization's NTK is from another's",
    }
    told = [names[row[0]] for row in rows]
    caption = f"How far {', how far '.join(told)}: each as a fraction, with its standard error. Bands: the thresholds of the verdict."
    alt = "; ".join(f"{name}: {with_error(value)}, kernel regime below {number(kernel)}" for name, value, kernel, _ in rows)
    return figures.verdict_scale(rows), "On the verdict's scale", caption, f"Measured numbers on the scale of the verdict. {alt}."


def _learning(shown: Shown) -> Made:
    steps = shown.array("steps")
    curves = {name: shown.array(name) for name in ("train_loss", "linear_train_loss", "ntk_train_loss", "test_loss")}
    if steps is None or all(value is None for value in curves.values()):
        return None
    caption = (
        "Loss on the training points. Thin lines: every seed; thick: their median. "
        "In the kernel regime the network, its linearization and the infinitely wide network learn at the same speed."
    )
    return figures.learning_curves(steps, **curves), "Learning curves", caption, "Line chart of the loss over training steps."


def _error(shown: Shown) -> Made:
    steps, error, limits = shown.array("steps"), shown.array("linearization_error"), shown.bounds("linearization_error")
    if steps is None or error is None:
        return None
    caption = (
        "Distance on test points between the network and its linearization, as a fraction of how far training has moved the network. "
        "Line: median over seeds; band around it: their range."
    )
    alt = "Line chart of the linearization error over training steps" + _below(limits)
    return figures.error_curves(steps, error, bands=limits), "Linearization error", caption, alt


def _below(limits: tuple[float, float] | None) -> str:
    return "." if limits is None else f"; kernel regime below {number(limits[0])}, near it below {number(limits[1])}."


def _z_scores(shown: Shown) -> Made:
    scores = shown.array("zscores")
    if scores is None:
        return None
    caption = (
        "Outputs of trained networks on test points, measured from the mean of the infinite-width ensemble in its standard deviations. "
        "Where theory holds, the histogram follows the dotted curve."
    )
    if np.nanmax(np.abs(scores)) > figures.REACH:
        caption += f" What lies beyond ±{number(figures.REACH)} is counted at the edges."
    alt = "Histogram of the z-scores of trained outputs beside the standard normal density."
    return figures.z_scores(scores), "Against infinitely wide networks", caption, alt


def _test_errors(shown: Shown) -> Made:
    names = ("network", "linearized", "ntk", "nngp")
    errors = {name: e for name in names if (e := shown.estimate(f"test_error_{name}")) is not None}
    if not errors:
        return None
    what = shown.evidence[f"test_error_{next(iter(errors))}"].label.split(",")[0]
    caption = f"{what} with its standard error. A network in the kernel regime does as well as its linearization, no better and no worse."
    alt = f"Bar chart. {what}: " + "; ".join(f"{name} {with_error(error)}" for name, error in errors.items()) + "."
    return figures.predictor_errors(errors, label=what.lower()), "Who predicts best", caption, alt


def _drift(shown: Shown) -> Made:
    steps, drift, limits = shown.array("steps"), shown.array("drift"), shown.bounds("drift")
    if steps is None or drift is None:
        return None
    caption = "Change of the NTK since the start, as a fraction of its norm. Line: median over seeds; band around it: their range."
    alt = "Line chart of the relative change of the NTK over training steps" + _below(limits)
    return figures.drift_curves(steps, drift, bands=limits), "Drift", caption, alt


def _alignment(shown: Shown) -> Made:
    steps, plain, centred = shown.array("steps"), shown.array("alignment"), shown.array("alignment_centred")
    if steps is None or (plain is None and centred is None):
        return None
    caption = (
        "How much the NTK looks like the kernel of the targets: rising means that it learned them. "
        + "Centred alignment leaves out what is common to all points. " * (centred is not None)
        + "Line: median over seeds; band: their range."
    )
    figure = figures.alignment_curves(steps, alignment=plain, centred=centred)
    return figure, "Alignment with the targets", caption, "Line chart of kernel-target alignment over training steps."


_SORTED = " Points are sorted by class (lines: where the class changes); the brighter, the more two points move together."
_HEAT = {
    "heat_initial": ("NTK at initialization", "The NTK of one network before training."),
    "heat_final": (
        "NTK after training",
        "The same network after training. Where blocks on the diagonal became brighter, the points of a class have come to move together.",
    ),
    "heat_infinite": ("NTK at infinite width", "The kernel that the network would start and stay with at infinite width."),
}


def _heat(name: str) -> Callable[[Shown], Made]:
    def build(shown: Shown) -> Made:
        gram, labels = shown.array(name), shown.array("heat_labels")
        if gram is None or gram.ndim != 2:
            return None
        maps = [kernel for key in _HEAT if (kernel := shown.array(key)) is not None]
        limits = _common_limits(maps)
        fits = labels is not None and labels.shape == gram.shape[:1]
        title, caption = _HEAT[name]
        caption += _SORTED * (fits and name == "heat_initial")
        if len(maps) > 1:
            caption += " Same colours in all these maps." if limits else " Each map has its own colour scale: they differ too much in size."
        figure = figures.heat_map(gram, labels if fits else None, limits=limits)
        mean = float(np.mean(gram[np.isfinite(gram)]))
        return figure, title, caption, f"Heat map, {title}, {gram.shape[0]} points; mean entry {number(mean)}."

    return build


def _common_limits(grams: list[np.ndarray]) -> tuple[float, float] | None:
    """One colour scale for all maps, or None where the largest entries differ more than threefold."""
    tops = [float(np.max(gram[np.isfinite(gram)])) for gram in grams]
    if min(tops) <= 0 or max(tops) > 3 * min(tops):
        return None
    return min(float(np.min(gram[np.isfinite(gram)])) for gram in grams), max(tops)


def _samples(shown: Shown) -> Made:
    samples = shown.array("ntk_samples")
    if samples is None:
        return None
    item = shown.evidence.get("dispersion")
    exact = None if item is None else item.predicted
    words = ""
    if item is not None:
        words = f" Dispersion measured {with_error(item.measured)}" + (f", exact {number(exact, 4)}." if exact is not None else ".")
    figure = figures.kernel_samples(samples, dispersion=None if item is None else item.measured, exact=exact)
    caption = f"Θ(x, x) of {samples.size} freshly drawn networks at one point, divided by its mean.{words}"
    return figure, "The NTK as a random number", caption, f"Histogram of the NTK at one point over random initializations.{words}"


def _phase(shown: Shown) -> Made:
    sw2, sb2 = shown.array("phase_sigma_w2"), shown.array("phase_sigma_b2")
    if sw2 is None or sb2 is None:
        return None
    network = shown.diagnosis.config.get("network") or {}
    place = network.get("sigma_w2")
    point = (float(place), network.get("sigma_b2")) if isinstance(place, (int, float)) else None
    caption = "The variances at which signals neither fade nor explode with depth (line) and the two phases beside it"
    alt = "Phase diagram over the variances of weights and biases with the edge of chaos"
    if point is not None:
        bias = "no bias" if point[1] is None else f"bias variance {number(point[1])}"
        alt += f" and this network at weight variance {number(point[0])}, {bias}"
        caption += "; the star is this network"
    return figures.phase_diagram((sw2, sb2), point=point), "Place on the phase diagram", f"{caption}.", f"{alt}."


def _spectrum(shown: Shown) -> Made:
    spectra = {name: value for name in ("initial", "final", "infinite") if (value := shown.array(f"spectrum_{name}")) is not None}
    if not spectra:
        return None
    threshold = shown.estimate("train_threshold_eigenvalue")
    level = threshold.mean if threshold is not None and has_finite(positive([threshold.mean])) else None
    caption = "Eigenvalues of the NTK on the training points, largest first (median over seeds, band: their range)."
    if level is not None:
        caption += " Directions above the straight line can be learned in the given time; those below cannot."
    alt = "Eigenvalues of the NTK against their rank, on logarithmic axes."
    return figures.spectrum_figure(spectra, threshold=level), "Eigenvalues", caption, alt


_PLATES: tuple[tuple[str, str, Callable[[Shown], Made]], ...] = (
    ("verdict", "scale", _verdict),
    ("function space", "error", _error),
    ("function space", "zscores", _z_scores),
    ("function space", "tests", _test_errors),
    ("function space", "learning", _learning),
    ("drift", "drift", _drift),
    ("drift", "alignment", _alignment),
    ("drift", "initial", _heat("heat_initial")),
    ("drift", "final", _heat("heat_final")),
    ("drift", "infinite", _heat("heat_infinite")),
    ("randomness", "samples", _samples),
    ("phase", "phase", _phase),
    ("conditioning", "spectrum", _spectrum),
)
