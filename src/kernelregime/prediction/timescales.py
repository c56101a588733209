"""How fast a kernel can be trained: the largest stable learning rate, the time to a loss, the modes that move."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
import scipy.optimize

from kernelregime._checks import fail, integer, real
from kernelregime._linalg import Spectrum, symmetric
from kernelregime._precision import resolve
from kernelregime.prediction.dynamics import Dynamics, Reduction, rate_of, relax, times_of
from kernelregime.prediction.problem import flatten, pose, spectrum_of


@dataclass(frozen=True)
class TrainableModes:
    """`count` of `size` eigenmodes decayed in time; `energy` is their share of |y - f_0|² (nan without targets)."""

    count: int
    size: int
    energy: float
    status: str


def max_learning_rate(gram: Any, *, momentum: float = 0.0, reduction: Reduction = "sum", outputs: int = 1) -> float:
    """The largest learning rate at which gradient descent on squared loss is stable.

    η = 2 (1 + β)/λ_max for heavy-ball descent θ_{t+1} = θ_t - η ∇L + β (θ_t - θ_{t-1}), β = `momentum` in [0, 1), λ_max the largest
    eigenvalue of `gram` (N, N), (N, N, O, O), or a `Spectrum`; for `reduction="mean"` times N·O, with O = `outputs` (a kernel
    (N, N, O, O) brings its own, and its `Spectrum` of N·O modes takes `outputs=1`). Returns inf for a zero Gram.
    Raises `InputError` for a Gram that is not symmetric or a momentum out of range.
    Source: Polyak 1964, for the quadratic loss of the linearized network.

    >>> max_learning_rate([[4.0, 0.0], [0.0, 1.0]])
    0.5
    """
    beta = real("momentum", momentum, least=0.0)
    if beta >= 1:
        raise fail("momentum below 1", repr(momentum), "choose it in [0, 1)")
    modes, largest = _largest(gram)
    width = 1 if np.ndim(gram) == 4 else integer("outputs", outputs)
    scale = 1 / rate_of(1.0, reduction, modes * width)
    return 2 * (1 + beta) * scale / largest if largest > 0 else math.inf


def time_to_fraction(
    gram: Any,
    targets: Any,
    fraction: float,
    *,
    initial: Any = None,
    learning_rate: float = 1.0,
    reduction: Reduction = "sum",
    dtype: Any = None,
) -> float:
    """The time at which gradient flow has brought the train loss to a fraction of its initial value; inf if never.

    L(t)/L(0) = Σ_i c_i² e^{-2 s λ_i t} / Σ_i c_i² with c = Vᵀ(y - f_0), λ and V from `gram` (an array or a `Spectrum`), y = `targets`,
    f_0 = `initial` (zero by default), s = `learning_rate` (over N·O for `reduction="mean"`). `fraction` lies in (0, 1).
    Raises `InputError` for an indefinite Gram (the loss would grow) and for targets equal to `initial`.

    >>> round(time_to_fraction([[2.0]], [1.0], np.exp(-1.0)), 12)
    0.25
    """
    level = real("fraction", fraction, above=0.0)
    if level >= 1:
        raise fail("fraction below 1", repr(fraction), "choose it in (0, 1)")
    problem = pose(gram, targets, initial, dtype)
    values = problem.spectrum.values.astype(np.float64)
    if values[0] < 0:
        raise fail("a positive semidefinite gram", problem.spectrum.status, "correct it or compute it in float64")
    rate = rate_of(learning_rate, reduction, problem.points * problem.outputs)
    energy = _energy(problem.residual)
    live = (values > 0) & (energy > 0)
    if level <= np.sum(energy[~live]):
        return math.inf
    speeds, shares = 2 * rate * values[live], energy[live]
    wanted = level - float(np.sum(energy[~live]))

    def excess(log_time: float) -> float:
        return float(np.log(np.sum(shares * np.exp(-speeds * math.exp(log_time)))) - math.log(wanted))

    # The slowest mode alone bounds the time from above, the fastest one from below.
    decades = math.log(float(np.sum(shares)) / wanted)
    low, high = math.log(decades / float(np.max(speeds))), math.log(decades / float(np.min(speeds)))
    margin = 1e-6  # in log time, so that the ends bracket the root in spite of rounding
    return math.exp(scipy.optimize.brentq(excess, low - margin, high + margin, xtol=1e-15, rtol=1e-15))


def trainable_modes(
    gram: Any,
    time: float,
    *,
    targets: Any = None,
    initial: Any = None,
    fraction: float = math.exp(-1),
    dynamics: Dynamics = "flow",
    learning_rate: float = 1.0,
    reduction: Reduction = "sum",
    outputs: int = 1,
    dtype: Any = None,
) -> TrainableModes:
    """How many eigenmodes of the kernel decay in a given time, and the share of the targets' energy in them.

    Mode i has decayed when |e_i| <= `fraction`, with e_i = e^{-s λ_i t} for `dynamics="flow"` and (1 - s λ_i)^t for "descent", t = `time`,
    s = `learning_rate` (over N·O for `reduction="mean"`; O from `targets` if given, else `outputs`), λ_i from `gram` (an array or a
    `Spectrum`). `energy` = Σ_decayed c_i² / Σ c_i² with c = Vᵀ(y - f_0), y = `targets`, f_0 = `initial`. The default fraction 1/e is one
    time constant. Returns `TrainableModes`. Raises `InputError` for a fraction outside (0, 1) and as `train` does.
    """
    level = real("fraction", fraction, above=0.0)
    if level >= 1:
        raise fail("fraction below 1", repr(fraction), "choose it in (0, 1)")
    when = times_of(time, dynamics)
    if when.size != 1:
        raise fail("one time", f"{when.size} of them", "call once for every time")
    if targets is None:
        if initial is not None:
            raise fail("targets with initial", "None", "give targets as well")
        spectrum, energy = spectrum_of(gram, dtype), None
        size = spectrum.size * (1 if np.ndim(gram) == 4 else integer("outputs", outputs))
    else:
        problem = pose(gram, targets, initial, dtype)
        spectrum, energy, size = problem.spectrum, _energy(problem.residual), problem.points * problem.outputs
    factors = relax(spectrum.values, when, rate=rate_of(learning_rate, reduction, size), dynamics=dynamics, ridge=0.0)
    decayed = np.abs(factors.decay[0]) <= level
    share = math.nan if energy is None else float(np.sum(energy[decayed]))
    return TrainableModes(int(decayed.sum()), spectrum.size, share, "; ".join((*factors.notes, spectrum.status)))


def _energy(residual: np.ndarray) -> np.ndarray:
    """The share of every mode in |y - f_0|²."""
    energy = np.sum(residual.astype(np.float64) ** 2, axis=1)
    total = float(np.sum(energy))
    if total == 0:
        raise fail("targets that differ from the initial outputs", "a residual of zero", "nothing is left to train")
    return energy / total


def _largest(gram: Any) -> tuple[int, float]:
    """The number of modes and the largest eigenvalue, without eigenvectors."""
    if isinstance(gram, Spectrum):
        return gram.size, float(gram.values[-1])
    given = flatten("gram", gram)
    matrix, _, _ = symmetric("gram", given, resolve(None, given))
    n = matrix.shape[0]
    return n, float(scipy.linalg.eigh(matrix, eigvals_only=True, subset_by_index=[n - 1, n - 1])[0])
