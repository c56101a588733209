"""Evidence (e): which modes of the kernel can train in the time given, and whether the network trained."""

import math
from typing import Final

import numpy as np

from kernelregime import observables
from kernelregime.claims import Estimate
from kernelregime.data import Dataset
from kernelregime.diagnosis.findings import Findings, positive
from kernelregime.diagnosis.limit import Limit, ends
from kernelregime.diagnosis.run import Run
from kernelregime.diagnosis.settings import Settings
from kernelregime.diagnosis.subject import Subject
from kernelregime.results import Evidence

GROUP: Final = "conditioning"
LIMIT_LEFT: Final = "unexplained_limit"  # beside "unexplained" where that is no measurement to hold against a prediction


def unexplained(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Σ (f - y)² / Σ (y - ȳ)² over points and outputs, for outputs (..., N, O): what a constant predictor would leave is 1."""
    spread = np.sum((targets - targets.mean(axis=0)) ** 2)
    return np.sum((outputs.astype(np.float64) - targets) ** 2, axis=(-2, -1)) / spread


def chance(dataset: Dataset) -> float:
    """The error on train points of always naming their most frequent class."""
    y = dataset.y_train
    labels = dataset.labels_train if dataset.labels_train is not None else np.argmax(y, axis=1) if y.shape[1] > 1 else y[:, 0] > 0
    return 1 - float(np.max(np.unique(labels, return_counts=True)[1])) / len(y)


def left_to_train(outputs: np.ndarray, dataset: Dataset, settings: Settings) -> np.ndarray:
    """The number (S,) that trainability is judged by, of train outputs (S, N, O): what is unexplained, or the error for cross-entropy."""
    if settings.loss == "mse":
        return unexplained(outputs, dataset.y_train)
    return np.array([observables.classification_error(f, dataset.y_train) for f in outputs])


def conditioning(subject: Subject, run: Run, dataset: Dataset, settings: Settings, at: Limit | None) -> Findings:
    """Spectra of Θ_0, Θ_T and Θ_∞, trainable modes, and the train residual against the infinite-width prediction."""
    per_width = _width(subject)
    block = np.ix_(run.followed, run.followed)
    spectra = {
        "spectrum_initial": np.stack([np.linalg.eigvalsh(t)[::-1] for t in run.initial.theta]) / per_width,
        "spectrum_final": np.stack([np.linalg.eigvalsh(t)[::-1] for t in run.theta_final]) / per_width,
    }
    if at is not None:
        spectra["spectrum_infinite"] = np.linalg.eigvalsh(at.theta[block])[::-1] / per_width
    values, limit = spectra["spectrum_initial"], spectra.get("spectrum_infinite")
    unit = "" if per_width == 1 else " / width"
    source = "infinite-width NTK" if at is not None else ""
    largest, caution = positive(values[:, 0])
    items = [Evidence("lambda_max", GROUP, f"Largest eigenvalue of Θ_0{unit}", largest, _entry(limit, 0), source, comment=caution)]
    floor = values[:, 0] * np.finfo(settings.dtype).eps * values.shape[1]
    least = f"Smallest eigenvalue of Θ_0{unit}"
    if np.all(values[:, -1] > floor):
        smallest, caution = positive(values[:, -1])
        items.append(Evidence("lambda_min", GROUP, least, smallest, _entry(limit, -1), source, comment=caution))
    else:  # what is measured then is rounding, and no prediction stands beside it
        word = f"below the rounding of {settings.dtype} ({np.median(floor):.1g})"
        items.append(Evidence("lambda_min", GROUP, least, Estimate.of(np.maximum(values[:, -1], 0)), comment=word))
    condition = np.log10(values[:, 0] / np.maximum(values[:, -1], floor))
    known = None if limit is None else math.log10(limit[0] / max(limit[-1], limit[0] * np.finfo(float).eps))
    items.append(Evidence("condition_number", GROUP, "log₁₀ of the condition number of Θ_0", Estimate.of(condition), known, source))
    items += _modes(run, dataset, settings, spectra, per_width)
    residual, left = _residual(run, dataset, settings, at)
    return Findings((*items, *residual), {**spectra, "trainable_values": left})


def _width(subject: Subject) -> float:
    """What kernels are divided by for display: the hidden width where `standard` parameterization makes them grow with it."""
    spec = subject.spec
    return float(np.mean(spec.widths[:-1])) if spec is not None and spec.parameterization == "standard" and spec.depth > 1 else 1.0


def _entry(values: np.ndarray | None, index: int) -> float | None:
    return None if values is None else float(values[index])


def _modes(run: Run, dataset: Dataset, settings: Settings, spectra: dict[str, np.ndarray], per_width: float) -> list[Evidence]:
    """Modes of Θ_0 and of Θ_∞ on the followed points that decay by 1/e in the time each seed trained, and the eigenvalue at that border."""
    if not settings.closed_form:
        return []
    times = run.learning_rate * np.maximum(run.stopped, 1) / settings.size(dataset.y_train)
    # eigenvalues on the followed points are those on all train points times their share, for the leading modes
    border = len(run.followed) / len(dataset.x_train) / times / per_width
    share = np.mean(spectra["spectrum_initial"] > border[:, None], axis=1)
    infinite = spectra.get("spectrum_infinite")
    return [
        Evidence(
            "trainable_modes",
            GROUP,
            "Share of modes that decay by 1/e in the time given",
            Estimate.of(share),
            None if infinite is None else float(np.mean(infinite > border[:, None])),
            "" if infinite is None else "infinite-width NTK",
            comment=f"of the traced NTK on {len(run.followed)} train points",
        ),
        Evidence(
            "train_threshold_eigenvalue",
            GROUP,
            "Eigenvalue at the border of what trains, 1/(learning rate × steps)",
            Estimate.of(border),
        ),
    ]


def _residual(run: Run, dataset: Dataset, settings: Settings, at: Limit | None) -> tuple[list[Evidence], np.ndarray]:
    """What is left to train at the end, and `left_to_train` of every seed (S,)."""
    fraction = run.losses[np.arange(run.seeds), run.stopped] / run.losses[:, 0]
    stopped = np.array(run.status) == "stopped"
    rule = f"training stops at {run.fraction:.3g}" if stopped.any() else ""
    label = "Train loss at the end, relative to initialization"
    items = [Evidence("loss_fraction", GROUP, label, Estimate.of(fraction), comment=rule)]
    left = left_to_train(run.outputs_train[-1], dataset, settings)
    if settings.loss != "mse":
        comment = f"{chance(dataset):.3g} is what naming the most frequent class leaves"
        return [
            *items,
            Evidence("train_error", GROUP, "Train error at the end", Estimate.of(left), role="trainable", comment=comment),
        ], left
    label = "Share of the targets' variance left on train points"
    comment = "1 is what a constant predictor leaves"
    measured = Estimate.of(left)
    predicted = _left_at_infinite_width(run, dataset, settings, at)
    if not stopped.any():
        source = "" if predicted is None else "infinite-width ensemble after the same training"
        return [*items, Evidence("unexplained", GROUP, label, measured, predicted, source, role="trainable", comment=comment)], left
    # the stopping rule decides what is left: the network cannot be held to what as many steps leave at infinite width
    comment += f"; decided by the rule that ended {stopped.sum()} of {run.seeds} seeds"
    items.append(Evidence("unexplained", GROUP, label, measured, role="trainable", comment=comment))
    if predicted is not None:
        label = "Share of the targets' variance left at infinite width after as many steps"
        items.append(Evidence(LIMIT_LEFT, GROUP, label, Estimate(predicted, 0.0, 0), source="infinite-width ensemble"))
    return items, left


def _left_at_infinite_width(run: Run, dataset: Dataset, settings: Settings, at: Limit | None) -> float | None:
    """`unexplained` of the infinite-width ensemble after the steps of each seed, on average; None where it is not known."""
    if at is None or not settings.closed_form:
        return None
    law = ends(at, dataset, settings, "train", run)
    spread = np.sum((dataset.y_train - dataset.y_train.mean(axis=0)) ** 2)
    variance = dataset.y_train.shape[1] * law.variance.sum(axis=1) / spread
    return float(np.mean(unexplained(law.mean, dataset.y_train) + variance))
