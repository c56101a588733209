"""What to do: width for a target dispersion, variance at the edge of chaos, learning rate, time."""

import math

import numpy as np

from kernelregime import theory
from kernelregime._checks import InputError
from kernelregime.data import Dataset
from kernelregime.data.targets import REGRESSION, STANDARDIZED_REGRESSION
from kernelregime.diagnosis import pace
from kernelregime.diagnosis.course import Course
from kernelregime.diagnosis.findings import Findings
from kernelregime.diagnosis.limit import Limit
from kernelregime.diagnosis.run import Run
from kernelregime.diagnosis.settings import Settings
from kernelregime.diagnosis.subject import Subject
from kernelregime.networks import FullyConnected
from kernelregime.results import Advice

ONE_FEATURE = 0.5  # share of |x|² above which one feature decides a kernel
LARGEST_EXCESS = 5  # times a bound, beyond which its law of width is no longer trusted


def advise(
    subject: Subject, run: Run, dataset: Dataset, settings: Settings, at: Limit | None, found: Findings, course: Course
) -> tuple[Advice, ...]:
    """What to do, most useful first."""
    known = {item.key: item.measured.mean for item in found.evidence}
    stable = not (course.diverged | course.without_comparison).any()
    if not stable:  # what was measured then says nothing about width
        known = {}
    out = _units(dataset)
    if subject.spec is not None and subject.spec.depth > 1:
        out += _width(subject.spec, dataset.x_train, known, settings)
        out += _edge(subject.spec)
    out += _rate(run, settings)
    if at is not None and settings.closed_form and stable:
        out += _time(run, dataset, settings, at)
    return tuple(out)


def _units(dataset: Dataset) -> list[Advice]:
    """Units of inputs and targets that decide more than they should."""
    out = []
    y, squares = dataset.y_train, np.mean(dataset.x_train.reshape(len(dataset.x_train), -1) ** 2, axis=0)
    mean, deviation = float(np.max(np.abs(y.mean(axis=0)))), float(np.max(y.std(axis=0)))
    if dataset.target_coding == REGRESSION and not (mean <= 3 * deviation and 1 / 3 <= deviation <= 3):
        what = f"targets have a mean of {mean:.3g} and a deviation of {deviation:.3g}, and the verdict depends on their unit"
        out.append(Advice(f"{what}: the target coding {STANDARDIZED_REGRESSION} takes it out"))
    share = float(squares.max() / squares.sum()) if squares.any() else 0.0
    if dataset.scaling != "standardize" and squares.size > 2 and share > ONE_FEATURE:
        what = f"one of {squares.size} features makes {share:.0%} of |x|², and the kernel hardly sees the others"
        out.append(Advice(f"{what}: the scaling standardize gives each feature its own unit"))
    return out


def _width(spec: FullyConnected, x: np.ndarray, known: dict[str, float], settings: Settings) -> list[Advice]:
    width, thresholds, out = max(spec.widths[:-1]), settings.thresholds, []
    target = 1 + thresholds.kernel_randomness**2
    needed = _exact_width(spec, target, x)
    if needed is not None:
        goal = f"width for an NTK dispersion of {target:.3g} at depth {spec.depth}"
        out.append(Advice(f"{goal}: {needed} (exact; this network has {width})", needed <= width))
    elif known.get("dispersion", 1.0) > target:
        guess = math.ceil(width * (known["dispersion"] - 1) / (target - 1))
        reason = f"dispersion − 1 falls like 1/width; this network has {width}"
        out.append(Advice(f"width for an NTK dispersion of {target:.3g} at depth {spec.depth}: about {guess} ({reason})"))
    # near the kernel regime the linearization error falls like its proven bound or faster, the change of the NTK like 1/width
    for key, bound, words, power, law in (
        ("linearization_error", thresholds.kernel_linearization, "linearization error", 2, "width^-1/2"),
        ("drift", thresholds.kernel_drift, "change of the NTK", 1, "1/width"),
    ):
        excess = known.get(key, math.nan) / bound
        if 1 < excess <= LARGEST_EXCESS:
            guess = math.ceil(width * excess**power)
            goal = f"width for a {words} of {bound:g} at this depth"
            out.append(Advice(f"{goal}: about {guess} (falling like {law}; this network has {width})"))
        elif excess > LARGEST_EXCESS:
            far = f"the {words} is {excess:.0f} times the bound {bound:g}"
            out.append(Advice(f"{far}: too far from the kernel regime to say which width would do"))
    return out


def _exact_width(spec: FullyConnected, target: float, x: np.ndarray) -> int | None:
    """The width at which the exact dispersion is `target`, where it is known and such a width exists."""
    if spec.activation is None or spec.activation.kind.name != "relu":
        return None
    norm2 = float(np.mean(np.sum(x**2, axis=1)))
    try:
        return theory.width_for_dispersion(
            target,
            depth=spec.depth,
            inputs=x.shape[1],
            input_norm2=norm2,
            sigma_w2=spec.sigma_w2,
            sigma_b2=spec.sigma_b2,
            parameterization=spec.parameterization,
        )
    except InputError:
        return None


def _edge(spec: FullyConnected) -> list[Advice]:
    assert spec.activation is not None  # depth > 1
    branches = theory.edge_of_chaos(spec.activation, sigma_b2=spec.sigma_b2)
    if not branches:
        return []  # nothing to do about it: it is said with the phase
    nearest = min(branches, key=lambda value: abs(value - spec.sigma_w2))
    if math.isclose(nearest, spec.sigma_w2, rel_tol=0.02):
        return [Advice(f"σ_w² = {spec.sigma_w2:g} is at the edge of chaos ({nearest:.4g})", satisfied=True)]
    side = "below" if spec.sigma_w2 < nearest else "above"
    where = f"{spec.activation.name} with σ_b² = {spec.sigma_b2 or 0:g}"
    return [Advice(f"σ_w² at the edge of chaos is {nearest:.4g} for {where}; this network is {side} it at {spec.sigma_w2:g}")]


def _rate(run: Run, settings: Settings) -> list[Advice]:
    stable = 2 * (1 + settings.momentum) / run.initial.largest * settings.size(run.outputs_train[0, 0])
    if settings.optimizer not in ("gd", "momentum") or settings.loss != "mse":
        return []
    largest, used = float(np.median(stable)), float(np.median(run.learning_rate))
    seeds = f"median of {run.seeds} seeds, {stable.min():.3g} to {stable.max():.3g}" if run.seeds > 1 else "of one seed"
    return [Advice(f"largest stable learning rate for Θ_0: {largest:.3g} ({seeds}); used: {used:.3g}", used <= largest)]


def _time(run: Run, dataset: Dataset, settings: Settings, at: Limit) -> list[Advice]:
    rate, spectrum, y = float(np.median(run.learning_rate)), at.ntk.train, dataset.y_train
    left = pace.factors(spectrum.values, rate / settings.size(y))
    steps = pace.steps_to(settings.stop_fraction, pace.energies(spectrum, y), left)
    if not math.isfinite(steps):
        return [Advice(f"the infinite-width NTK never brings the loss on these targets to {settings.stop_fraction:g} of its start")]
    goal = f"brings the loss on the targets to {settings.stop_fraction:g}"
    used = int(np.median(run.stopped))
    told = f"steps in which the infinite-width NTK {goal}: {int(steps)} at learning rate {rate:.3g} (used: {used})"
    return [Advice(told, int(steps) <= used)]
