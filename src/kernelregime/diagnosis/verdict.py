"""From evidence to the two axes of the verdict, with the reasons in words. docs/verdict.md explains the rules."""

import math

import numpy as np

from kernelregime.claims import Estimate
from kernelregime.diagnosis.conditioning import LIMIT_LEFT
from kernelregime.diagnosis.course import Course, Goal
from kernelregime.diagnosis.settings import Thresholds
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
ALL, NONE = 0.8, 0.2  # shares of the seeds that count as all and as none


def spread(value: Estimate) -> tuple[float, float]:
    """The interval of two standard errors around the mean."""
    return value.mean - 2 * value.sem, value.mean + 2 * value.sem


def level(value: float, lower: float, upper: float) -> int:
    """0, 1 or 2: at most `lower`, at most `upper`, or beyond."""
    return 0 if value <= lower else 1 if value <= upper else 2


def regime(evidence: tuple[Evidence, ...], course: Course, thresholds: Thresholds) -> tuple[Regime, list[str]]:
    """The regime and the reasons, worst criterion first."""
    blockers = _blockers(evidence, course, thresholds)
    reasons: list[tuple[int, str]] = []
    low = middle = high = 0
    for item in evidence:
        if item.key not in CRITERIA or (item.key == "linearization_error" and course.without_comparison.any()):
            continue
        name, worst, words = CRITERIA[item.key]
        bounds = getattr(thresholds, f"kernel_{name}"), getattr(thresholds, f"near_{name}")
        if not math.isfinite(item.measured.mean):
            blockers.append(f"{item.label}: no finite value")
            continue
        at = level(item.measured.mean, *bounds)
        below, above = (min(level(edge, *bounds) if math.isfinite(edge) else at, worst) for edge in spread(item.measured))
        low, middle, high = max(low, below), max(middle, min(at, worst)), max(high, above)
        reasons.append((at, _reason(item, words[at], bounds, at)))
    diverged = course.diverged & course.certainly_stable
    if diverged.any():
        low, middle, high = 2, 2, 2
        count = f"{diverged.sum()} of {course.seeds} seeds"
        reasons.append((2, f"{count} diverged at a learning rate that is stable while the NTK is constant"))
    words_sorted = [text for _, text in sorted(reasons, key=lambda pair: -pair[0])]
    if not blockers and high - low == 2:
        blockers.append("the standard errors reach from the kernel regime to feature learning: more seeds are needed")
    if blockers:
        return "inconclusive", [*blockers, *words_sorted]
    if high != low:
        words_sorted.append(f"within two standard errors the verdict could also be {REGIMES[high if middle == low else low]!r}")
    return REGIMES[middle], words_sorted


def _reason(item: Evidence, words: str, bounds: tuple[float, float], at: int) -> str:
    limit = f"at most {bounds[0]:g}" if at == 0 else f"between {bounds[0]:g} and {bounds[1]:g}" if at == 1 else f"above {bounds[1]:g}"
    return f"{words}: the {item.label[0].lower()}{item.label[1:]} is {_number(item.measured)} ({limit})"


def _number(value: Estimate) -> str:
    return f"{value.mean:.3g} ± {value.sem:.1g}" if math.isfinite(value.sem) else f"{value.mean:.3g}"


def _blockers(evidence: tuple[Evidence, ...], course: Course, thresholds: Thresholds) -> list[str]:
    """Why nothing can be concluded, if so."""
    out = []
    if course.interrupted:
        out.append(f"training was interrupted at step {int(course.taken.max())} of {course.budget}")
    if course.seeds < thresholds.least_seeds:
        given = f"{course.seeds} seed" if course.seeds == 1 else f"{course.seeds} seeds"
        out.append(f"{given}, and at least {thresholds.least_seeds:g} are needed for standard errors")
    out += _rates(course)
    # a kernel that has changed stays changed: more steps would not bring it back
    changed = any(item.key == "drift" and spread(item.measured)[0] > thresholds.near_drift for item in evidence)
    if not changed and np.mean(course.waiting(course.stop, thresholds)) > 0.5:
        out.append(_too_short(course, course.stop, thresholds, "the stop fraction was not reached"))
    return out


def _rates(course: Course) -> list[str]:
    """What is wrong with the learning rate, if anything: without a stable linearization there is nothing to compare with."""
    lost = course.diverged & ~course.certainly_stable
    apart = course.without_comparison
    if not (lost | apart).any():
        return []
    count = f"{lost.sum()} of {course.seeds} seeds diverged"
    if not apart.any():
        return [
            f"{count}, and whether this learning rate is stable while the NTK is constant is not known for {course.optimizer}: lower it"
        ]
    known = course.excess[np.isfinite(course.excess)]
    if known.size:
        rate = f"the learning rate is up to {known.max():.3g} times the largest that is stable while the NTK is constant"
    else:
        rate = f"the linearization of {apart.sum()} of {course.seeds} seeds diverged at this learning rate"
    networks = f"; {count}" if lost.any() else ", where the linearization grows without bound and the networks did not diverge"
    return [f"{rate}{networks}: nothing to compare with, lower it"]


def _too_short(course: Course, goal: Goal, thresholds: Thresholds, what: str) -> str:
    """What is lacking, with the steps that a kernel predicts."""
    waiting = course.waiting(goal, thresholds)
    said = f"not enough training: {what} in {int(np.median(course.taken[waiting]))} steps by {waiting.sum()} of {course.seeds} seeds"
    for kernel, steps in (("the kernel at initialization", goal.steps), ("the infinite-width kernel", goal.limit_steps)):
        if not np.isnan(steps).any():
            return f"{said}; {kernel} predicts {_steps(steps[waiting])}"
    return f"{said}, nor by their linearizations; how many are needed the kernel does not say for this training"


def _steps(steps: np.ndarray) -> str:
    middle = float(np.median(steps))
    if not math.isfinite(middle):
        return "that no number of steps would do"
    return f"about {middle:,.0f} steps" if middle < 1e6 else f"about {middle:.2g} steps"


def trainable(evidence: tuple[Evidence, ...], course: Course, thresholds: Thresholds) -> tuple[Trainable, list[str]]:
    """Whether the network trains in the steps given, seed by seed, and the reasons."""
    item = next(item for item in evidence if item.role == "trainable")
    goal, seeds = course.trained, course.seeds
    passed = int(goal.reached.sum())
    what = f"the {item.label[0].lower()}{item.label[1:]} is {_number(item.measured)}"
    reasons = [f"{passed} of {seeds} seeds trained: {what} (trained: at most {course.bound:.2g})"]
    predicted = next((other.measured.mean for other in evidence if other.key == LIMIT_LEFT), item.predicted)
    if predicted is not None and passed < seeds:
        says = "also predicts" if predicted > course.bound else "does not predict"
        reasons.append(f"the infinite-width kernel {says} this: {predicted:.3g} after the same training")
    if passed >= ALL * seeds:
        return "trainable", reasons
    if (course.diverged & ~course.certainly_stable).any() or course.without_comparison.any():
        return "inconclusive", ["the learning rate is not known to be stable", *reasons]
    if course.interrupted:
        return "inconclusive", ["training was interrupted", *reasons]
    waiting = int(course.waiting(goal, thresholds).sum())
    if passed + waiting > NONE * seeds and waiting:
        return "inconclusive", [_too_short(course, goal, thresholds, "the train residual did not fall enough"), *reasons]
    hopeless = course.hopeless(goal, thresholds)
    if hopeless.any():
        reasons.append(f"the kernel at initialization predicts {_steps(goal.steps[hopeless])} for it")
    elif (goal.linear_reached & ~goal.reached).any():
        reasons.append("their linearizations do train in these steps")
    if passed <= NONE * seeds:
        return "untrainable", reasons
    return "inconclusive", [*reasons, "it depends on the seed"]
