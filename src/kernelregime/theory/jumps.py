"""Where a nonlinearity itself jumps: there φ' is a Dirac delta, which no value of φ' tells."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from kernelregime.activations import Nonlinearity
from kernelregime.theory.values import evaluate

_NODES = 1024  # even, so that none lies on a kink in the middle
_STAGES = 5  # each narrows the search by 1/1023: from 2e-6 of the scale to 2e-21
_AROUND = 1e-6  # of the scale: so far from its declared place a jump is looked for (a constant in float32 is off by 6e-8)
_LEAST = 1e-6  # of the size of φ nearby: smaller steps are taken for rounding
_ULPS = 4


class Jumps(NamedTuple):
    """The jumps of a φ, arrays (K,): the declared kink `at` each, and φ just `below` and just `above` it."""

    at: np.ndarray
    below: np.ndarray
    above: np.ndarray

    @property
    def squares(self) -> np.ndarray:
        """The squared heights (K,)."""
        return (self.above - self.below) ** 2


def jumps(phi: Nonlinearity) -> Jumps:
    """The jumps of `phi` at its declared kinks.

    Around each kink, the steepest cell of a fine grid is refined until it is a few floats wide (1e-21 of the scale at a kink at 0).
    A change by more than 1e-6 of φ's size that is left there is a jump. The scale is the distance to 0 and to the next kink, 1 for
    a single kink at 0, so that a ramp narrower than about 1e-9 of it counts as a jump too.
    """
    if not phi.kinks:
        return Jumps(*np.empty((3, 0)))
    return _jumps(Nonlinearity(phi.kind, tuple(float(value) for value in phi.values)))


@lru_cache(maxsize=64)
def _jumps(phi: Nonlinearity) -> Jumps:
    kinks = np.unique(phi.kinks)
    found = [(float(kink), *sides) for kink in kinks if (sides := _sides(phi, float(kink), _scale(kinks, float(kink)))) is not None]
    return Jumps(*np.array(found, dtype=np.float64).reshape(-1, 3).T)


def _scale(kinks: np.ndarray, kink: float) -> float:
    """The distance of a kink to 0 or the nearest other kink, whichever is less."""
    distances = np.abs(np.append(kinks, 0.0) - kink)
    return float(min(distances[distances > 0], default=1.0))


def _sides(phi: Nonlinearity, kink: float, scale: float) -> tuple[float, float] | None:
    """φ on both sides of its jump at a kink; None where it does not jump."""
    size = float(np.abs(evaluate(phi, kink + scale * np.linspace(-1, 1, _NODES))[0]).max())
    least = _ULPS * float(np.spacing(abs(kink))) if kink else 0.0
    reach = max(_AROUND * scale, least)
    low, high = kink - reach, kink + reach
    for _ in range(_STAGES):
        x = np.linspace(low, high, _NODES)
        steepest = int(np.argmax(np.abs(np.diff(evaluate(phi, x)[0]))))
        low, high = float(x[steepest]), float(x[steepest + 1])
        if high - low <= least:
            break
    margin = max(high - low, least)  # a value at the very kink may lie between both sides
    below, above = (float(value) for value in evaluate(phi, np.array([low - margin, high + margin]))[0])
    return (below, above) if abs(above - below) > _LEAST * size else None
