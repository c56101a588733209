"""How fast a constant kernel trains under (heavy-ball) gradient descent on squared loss, in whole steps."""

import math
from collections.abc import Callable

import numpy as np

from kernelregime.prediction import Spectrum

NEVER = 2.0**62  # steps beyond which nothing is looked for


def factors(values: np.ndarray, rate: float, momentum: float = 0.0) -> np.ndarray:
    """What a step leaves of each mode with eigenvalue λ, in size: |1 - ηλ|, and with momentum β the larger root of r² - (1 + β - ηλ) r + β.

    `rate` η is over the size of the loss. With momentum this is the rate of decay at late times.
    """
    middle = 1 + momentum - rate * values
    square = middle**2 - 4 * momentum
    return np.where(square >= 0, (np.abs(middle) + np.sqrt(np.maximum(square, 0))) / 2, math.sqrt(momentum))


def energies(spectrum: Spectrum, residual: np.ndarray) -> np.ndarray:
    """Σ over outputs of (Vᵀ r)², by mode, for r = f_0 - y (N, O) and a kernel of one output (N modes) or of all (N·O modes)."""
    return np.sum((spectrum.vectors.T @ residual.reshape(spectrum.size, -1)) ** 2, axis=1)


def steps_to(fraction: float, energy: np.ndarray, left: np.ndarray) -> float:
    """The first step at which Σ e_i r_i^2n is at most `fraction` of Σ e_i, with e = `energy` and r = `left`; inf if there is none."""
    allowed = fraction * float(np.sum(energy))
    if np.sum(energy[left >= 1]) > allowed:
        return 0.0 if fraction >= 1 else math.inf
    return _first(lambda n: _remaining(n, energy, left) <= allowed)


def steps_beyond(multiple: float, energy: np.ndarray, left: np.ndarray) -> float:
    """The first step at which Σ e_i r_i^2n is above `multiple` (> 1) times Σ e_i; inf if there is none."""
    allowed = multiple * float(np.sum(energy))
    return _first(lambda n: _remaining(n, energy, left) > allowed)


def _remaining(n: float, energy: np.ndarray, left: np.ndarray) -> float:
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        grown = np.where(energy > 0, energy * np.exp(2 * n * np.log(left)) if n > 0 else energy, 0.0)
    return float(np.sum(grown))


def _first(reached: Callable[[float], bool]) -> float:
    """The least whole number from which on a condition holds."""
    if reached(0):
        return 0.0
    high = 1.0
    while not reached(high):
        high *= 2
        if high > NEVER:
            return math.inf
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high
