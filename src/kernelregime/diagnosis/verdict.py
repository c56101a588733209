"""From evidence to the two axes of the verdict, with the reasons in words. docs/verdict.md explains the rules."""

import math

import numpy as np

from kernelregime.claims import Estimate
from kernelregime.diagnosis.findings import Findings
from kernelregime.diagnosis.run import Run
from kernelregime.diagnosis.settings import Settings, Thresholds
from kernelregime.results import Evidence
from kernelregime.results.schema import Regime, Trainable

REGIMES: tuple[Regime, ...] = ("kernel regime", "near kernel regime", "feature learning")
# evidence key → name in Thresholds, the worst level it can argue for, and what each level means in words
CRITERIA: dict[str, tuple[str, int, tuple[str, str, str]]] = {
    "linearization_error": (
        "linearization",
        2,
        ("it trains as its linearization does", "its linearization describes it roughly", "its linearization does not describe it"),
    ),
    "drift": ("drift", 2, ("its NTK stands still", "its NTK moves somewhat", "its NTK changes during training")),
    # randomness at initialization is no feature learning: it only means that the infinite-width kernel is not the network's own
    "ntk_relative_std": (
        "randomness",
        1,
        (
            "its NTK at initialization is nearly deterministic",
            "its NTK at initialization depends on the seed",
            "its NTK at initialization is random",
        ),
    ),
}


def spread(value: Estimate) -> tuple[float, float]:
    """The interval of two standard errors around the mean."""
    return value.mean - 2 * value.sem, value.mean + 2 * value.sem


def level(value: float, lower: float, upper: float) -> int:
    """0, 1 or 2: at most `lower`, at most `upper`, or beyond."""
    return 0 if value <= lower else 1 if value <= upper else 2


def regime(found: Findings, run: Run, settings: Settings) -> tuple[Regime, list[str]]:
    """The regime and the reasons, worst criterion first."""
    thresholds = settings.thresholds
    blockers = _blockers(run, settings)
    reasons: list[tuple[int, str]] = []
    low = middle = high = 0
    for item in found.evidence:
        if item.key not in CRITERIA:
            continue
        name, worst, words = CRITERIA[item.key]
        bounds = getattr(thresholds, f"kernel_{name}"), getattr(thresholds, f"near_{name}")
        if not math.isfinite(item.measured.mean):
            blockers.append(f"{item.label}: no finite value")
            continue
        at = level(item.measured.mean, *bounds)
        below, above = (min(level(edge, *bounds), worst) if math.isfinite(edge) else None for edge in spread(item.measured))
        low, middle = max(low, at if below is None else below), max(middle, min(at, worst))
        high = max(high, at if above is None else above)
        reasons.append((at, _reason(item, words[at], bounds, at)))
    diverged = np.array(run.status) == "diverged"
    if (diverged & ~beyond_stable(run, settings)).any():
        low, middle, high = 2, 2, 2
        reasons.append((2, f"{diverged.sum()} of {run.seeds} seeds diverged at a learning rate that is stable while the NTK is constant"))
    words_sorted = [text for _, text in sorted(reasons, key=lambda pair: -pair[0])]
    if high - low == 2:
        blockers.append("the standard errors reach from the kernel regime to feature learning: more seeds are needed")
    elif high != low:
        words_sorted.append(f"within two standard errors the verdict could also be {REGIMES[high if middle == low else low]!r}")
    if blockers:
        return "inconclusive", [*blockers, *words_sorted]
    return REGIMES[middle], words_sorted


def _reason(item: Evidence, words: str, bounds: tuple[float, float], at: int) -> str:
    limit = f"at most {bounds[0]:g}" if at == 0 else f"between {bounds[0]:g} and {bounds[1]:g}" if at == 1 else f"above {bounds[1]:g}"
    return f"{words}: the {item.label[0].lower()}{item.label[1:]} is {_number(item.measured)} ({limit})"


def _number(value: Estimate) -> str:
    return f"{value.mean:.3g} ± {value.sem:.1g}" if math.isfinite(value.sem) else f"{value.mean:.3g}"


def _blockers(run: Run, settings: Settings) -> list[str]:
    """Why nothing can be concluded, if so."""
    thresholds = settings.thresholds
    out = []
    if run.interrupted:
        out.append(f"training was interrupted at step {int(run.steps[-1])} of {settings.steps}")
    if run.seeds < thresholds.least_seeds:
        out.append(f"{run.seeds} seed(s), and at least {thresholds.least_seeds:g} are needed for standard errors")
    if (np.array(run.status) == "diverged").any() and beyond_stable(run, settings).any():
        out.append("seeds diverged, and the learning rate is above the largest that is stable while the NTK is constant: lower it")
    if too_short(run, settings, thresholds):
        bound = f"learning rate × λ_max × steps is below {thresholds.least_training:g}"
        out.append(f"not enough training: {bound} and the stop fraction was not reached")
    return out


def beyond_stable(run: Run, settings: Settings) -> np.ndarray:
    """Whether each seed's learning rate (S,) is above 2 (1 + momentum)/λ_max(Θ_0); not known for other optimizers, and then False."""
    if settings.optimizer not in ("gd", "momentum"):
        return np.zeros(run.seeds, dtype=bool)
    return run.learning_rate / settings.size(run.outputs_train[0, 0]) > 2 * (1 + settings.momentum) / run.initial.largest


def too_short(run: Run, settings: Settings, thresholds: Thresholds) -> bool:
    """Whether most seeds neither reached the stop fraction nor trained long enough for the fastest mode."""
    done = run.learning_rate * run.initial.largest * run.stopped / settings.size(run.outputs_train[0, 0])
    waiting = (done < thresholds.least_training) & (np.array(run.status) != "stopped") & (np.array(run.status) != "diverged")
    return bool(np.mean(waiting) > 0.5)


def trainable(found: Findings, run: Run, settings: Settings, chance: float) -> tuple[Trainable, list[str]]:
    """Whether the network trains in the steps given, seed by seed."""
    item = next((e for e in found.evidence if e.role == "trainable"), None)
    if item is None:
        return "inconclusive", ["no evidence on trainability"]
    bound = settings.thresholds.trainable_unexplained * (chance if item.key == "train_error" else 1.0)
    values = found.arrays["trainable_values"]
    passed = int(np.sum(values <= bound))
    what = f"the {item.label[0].lower()}{item.label[1:]} is {_number(item.measured)}"
    reasons = [f"{passed} of {run.seeds} seeds trained: {what} (trained: at most {bound:.2g})"]
    if item.predicted is not None and passed < run.seeds:
        says = "also predicts" if item.predicted > bound else "does not predict"
        reasons.append(f"the infinite-width kernel {says} this: {item.predicted:.3g} after the same training")
    if passed >= 0.8 * run.seeds:
        return "trainable", reasons
    if (np.array(run.status) == "diverged").any() and beyond_stable(run, settings).any():
        return "inconclusive", ["the learning rate is above the stable one", *reasons]
    if too_short(run, settings, settings.thresholds) or run.interrupted:
        return "inconclusive", ["not enough training to tell", *reasons]
    if passed <= 0.2 * run.seeds:
        return "untrainable", reasons
    return "inconclusive", [*reasons, "it depends on the seed"]
