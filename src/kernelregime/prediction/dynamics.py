"""How the eigenmodes of a kernel relax under gradient flow and gradient descent: two factors per mode and time."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from kernelregime._checks import array, fail, one_of, real

Dynamics = Literal["flow", "descent"]
Reduction = Literal["sum", "mean"]


@dataclass(frozen=True)
class Relaxation:
    """The factors of modes with eigenvalues λ at times t, of shape (T, N).

    `decay` e is what is left of the residual of the regularized dynamics, `weight` g = (1 - e)/(λ + ridge), `kept` = e + ridge·g what
    is left of f_0 in the outputs, `moved` = λ·g, `moved_penalized` = 1 - e. `diverged` (T,) marks times at which a factor was cut off
    at `limit`. `notes` say in words what is unstable.
    """

    decay: np.ndarray
    weight: np.ndarray
    kept: np.ndarray
    moved: np.ndarray
    moved_penalized: np.ndarray
    diverged: np.ndarray
    limit: float
    notes: tuple[str, ...]

    def mark(self, outputs: np.ndarray) -> np.ndarray:
        """`outputs` (T, ...) with what grew beyond the range of numbers as signed infinity."""
        late = self.diverged.reshape(-1, *[1] * (outputs.ndim - 1)) & (np.abs(outputs) > math.sqrt(self.limit))
        return np.where(late, np.copysign(outputs.dtype.type(np.inf), outputs), outputs)


def rate_of(learning_rate: float, reduction: str, size: int) -> float:
    """The factor in df/dt = -rate·Θ(f - y): the learning rate, over `size` = N·O for the mean."""
    one_of("reduction", reduction, ("sum", "mean"))
    return real("learning_rate", learning_rate, above=0.0) / (size if reduction == "mean" else 1)


def times_of(times: Any, dynamics: str) -> np.ndarray:
    """`times` as a float64 vector, checked to be non-negative, and whole for descent."""
    one_of("dynamics", dynamics, ("flow", "descent"))
    out = np.atleast_1d(array("times", times, ndim=(0, 1), finite=False)).astype(np.float64)
    if not (out >= 0).all():
        raise fail("times to be non-negative", repr(float(out[~(out >= 0)][0])), "give times from 0 to numpy.inf")
    if dynamics == "descent" and not (np.isinf(out) | (out == np.floor(out))).all():
        bad = float(out[np.isfinite(out) & (out != np.floor(out))][0])
        raise fail("times to be whole numbers of steps for descent", repr(bad), "round them, or choose dynamics='flow'")
    return out


def relax(values: np.ndarray, times: np.ndarray, *, rate: float, dynamics: str, ridge: float, order: int = 1) -> Relaxation:
    """The factors of modes with eigenvalues `values`, in their dtype, safe to multiply `order` times with each other."""
    kind = np.finfo(values.dtype)
    lam = values.astype(np.float64)
    shifted = lam + ridge
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        if dynamics == "flow":
            decay, weight = _flow(shifted, times[:, None], rate)
        else:
            decay, weight = _descent(shifted, times[:, None], rate, float(kind.eps))
    limit = float(kind.max) ** (0.5 / order)
    diverged = ((np.abs(decay) > limit) | (np.abs(weight) > limit)).any(axis=1)
    decay, weight = np.clip(decay, -limit, limit), np.clip(weight, -limit, limit)
    kept, moved, penalized = decay + ridge * weight, lam * weight, shifted * weight
    notes = _stability(shifted, rate, dynamics, float(kind.eps))
    decay, weight, kept, moved, penalized = (factor.astype(values.dtype) for factor in (decay, weight, kept, moved, penalized))
    return Relaxation(decay, weight, kept, moved, penalized, diverged, limit, notes)


def _flow(shifted: np.ndarray, t: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """The factors e = exp(-rate·t·μ) and (1 - e)/μ, which is rate·t at μ = 0; at t = inf a mode with μ = 0 has not moved."""
    exponent = np.where(shifted == 0, 0.0, rate * t * shifted)
    weight = np.where(shifted == 0, np.where(np.isinf(t), 0.0, rate * t), -np.expm1(-exponent) / shifted)
    return np.exp(-exponent), weight


def _descent(shifted: np.ndarray, t: np.ndarray, rate: float, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """The factors e = (1 - rate·μ)^t and (1 - e)/μ; nan at t = inf where rate·μ = 2 (up to rounding), for there is no limit."""
    z = _step(shifted, rate, eps)
    log = np.where(z < 0.5, np.log1p(-z), np.log(np.abs(1 - z)))
    exponent = np.where((t == 0) | (log == 0), 0.0, t * log)
    odd = (z > 1) & (np.mod(t, 2) == 1)
    size = np.where(np.isinf(t) & (z == 2), np.nan, np.exp(exponent))
    # -expm1 keeps the digits of 1 - e where e is close to 1; where e < 0 there is nothing to cancel.
    lost = np.where(odd, 1 + size, np.where(np.isnan(size), np.nan, -np.expm1(exponent)))
    return np.where(odd, -size, size), np.where(shifted == 0, np.where(np.isinf(t), 0.0, rate * t), lost / shifted)


def _step(shifted: np.ndarray, rate: float, eps: float) -> np.ndarray:
    """rate·μ, with what is 2 to rounding set to 2."""
    z = rate * shifted
    return np.where(np.abs(z - 2) <= 4 * eps, 2.0, z)


def _stability(shifted: np.ndarray, rate: float, dynamics: str, eps: float) -> tuple[str, ...]:
    """What diverges, or does not converge, and why."""
    notes = []
    if shifted[0] < 0:
        notes.append(f"diverges: least eigenvalue {shifted[0]:.3g} of the dynamics is negative")
    if dynamics == "descent":
        z = float(_step(shifted, rate, eps)[-1])
        if z > 2:
            notes.append(f"diverges: step size times largest eigenvalue is {z:.4g} > 2; {2 / z:.3g} times this learning rate is stable")
        if z == 2:
            notes.append("oscillates: step size times largest eigenvalue is 2; there is no limit at t = inf (nan)")
    return tuple(notes)
