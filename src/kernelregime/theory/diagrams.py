"""The phase diagram over a grid of weight and bias variances."""

from typing import NamedTuple

import numpy as np

from kernelregime._checks import array, fail, real
from kernelregime.activations import Nonlinearity, get
from kernelregime.theory.gaussian import (
    SMALLEST_VARIANCE,
    USABLE,
    GaussianMoments,
    gaussian_moments,
    homogeneous_moment,
    squared_slope,
    unusable,
)
from kernelregime.theory.mean_field import GRID, growth, iterated, rising, scaled
from kernelregime.theory.phases import farthest, phase

_STEPS = 100  # of the safeguarded Newton search, which takes about five


class PhaseDiagram(NamedTuple):
    """χ₁ and q* over a grid, arrays (A, B) for A values of σ_w² and B of σ_b²."""

    chi1: np.ndarray
    q_star: np.ndarray


def phase_diagram(phi: Nonlinearity | str, sigma_w2: object, sigma_b2: object, *, q1: float = 1.0) -> PhaseDiagram:
    """χ₁ and q* for every pair of the weight variances `sigma_w2` (A,) and bias variances `sigma_b2` (B,).

    As `phase` for each pair (`q1` decides between several fixed points), all pairs at once; the edge of chaos is the level line
    χ₁ = 1. q* is inf where the variance diverges (χ₁ is then its value at the largest variance at which φ can be integrated), 0
    where it vanishes. χ₁ is inf where φ jumps.
    Returns: a `PhaseDiagram` (chi1, q_star). Raises: `InputError` for bad input. Source: Poole et al. 2016, figure 1.
    """
    weights = array("sigma_w2", sigma_w2, ndim=1).astype(np.float64)
    biases = array("sigma_b2", sigma_b2, ndim=1).astype(np.float64)
    least = min(float(weights.min()), float(biases.min()))
    if least < 0:
        raise fail("variances >= 0", f"{least:g}", "give squares, not deviations")
    start, phi = real("q1", q1, above=0), get(phi)
    if phi.homogeneous:
        chi1 = np.broadcast_to(weights[:, None] * homogeneous_moment(phi), (weights.size, biases.size))
        return PhaseDiagram(chi1.copy(), _affine(chi1, biases[None, :], start))
    grid = np.unique(np.append(GRID, start))
    moments = gaussian_moments(phi, grid)
    at_start = int(np.searchsorted(grid, start))
    if not moments.error[at_start] <= USABLE:
        raise unusable(float(moments.error[at_start]), start)
    if rising(moments):
        lower, upper = _brackets(grid, moments, weights, biases, at_start)
    else:
        q, rests = iterated(grid, moments, weights[:, None], biases[None, :], start)
        for i, j in np.argwhere(~rests):
            q[i, j] = phase(phi, sigma_w2=weights[i], sigma_b2=biases[j], q1=start).q_star
        lower, upper = q * (1 - 1e-2), q * (1 + 1e-2)
    q = _refined(phi, weights, biases, lower, upper)
    at = np.where(np.isinf(q), grid[farthest(moments)], q)
    return PhaseDiagram(scaled(weights[:, None], squared_slope(phi, at, gaussian_moments(phi, at))), q)


def _affine(chi1: np.ndarray, bias: np.ndarray, start: float) -> np.ndarray:
    """Where q ↦ χ₁q + σ_b² leads from `start`."""
    edge = np.isclose(chi1, 1, rtol=1e-14, atol=0)
    finite = np.divide(bias, 1 - chi1, out=np.full(np.broadcast_shapes(chi1.shape, bias.shape), np.inf), where=(chi1 < 1) & ~edge)
    return np.where(edge & (bias == 0), start, finite)


def _brackets(
    grid: np.ndarray, moments: GaussianMoments, weights: np.ndarray, biases: np.ndarray, start: int
) -> tuple[np.ndarray, np.ndarray]:
    """Variances (lower, upper), each (A, B), around the fixed point that grid[start] leads to under increasing maps.

    From a point where the map lies above the identity the variance rises to the next crossing, else it falls to the next.
    (inf, inf): there is none above; (0, 0): none below.
    """
    lower, upper = np.empty((2, weights.size, biases.size))
    for i, weight in enumerate(weights):
        signs = growth(moments, grid, weight, biases[:, None])
        upwards = signs[:, start] > 0
        stops = ~(signs[:, start:] > 0)
        top = start + np.argmax(stops, axis=1)
        crossed = stops.any(axis=1) & ~np.isnan(signs[np.arange(biases.size), top])
        rests = signs[:, : start + 1] > 0
        bottom = start - np.argmax(rests[:, ::-1], axis=1)
        above = np.where(crossed, grid[top], np.inf), np.where(crossed, grid[np.maximum(top - 1, 0)], np.inf)
        ended = rests.any(axis=1)
        beyond = np.where(biases > 0, grid[0], 0.0)
        below = (
            np.where(ended, grid[np.minimum(bottom + 1, grid.size - 1)], beyond),
            np.where(ended, grid[bottom], beyond * SMALLEST_VARIANCE),
        )
        resting = signs[:, start] == 0
        upper[i] = np.where(resting, grid[start], np.where(upwards, above[0], below[0]))
        lower[i] = np.where(resting, grid[start], np.where(upwards, above[1], below[1]))
    return lower, upper


def _refined(phi: Nonlinearity, weights: np.ndarray, biases: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """The root of σ_w² E φ² + σ_b² - q between `lower` and `upper`, by Newton's method kept within them."""
    w, b = (x.ravel() for x in np.broadcast_arrays(weights[:, None], biases[None, :]))
    low, high = lower.ravel().copy(), upper.ravel().copy()
    q = np.where(low < high, np.sqrt(low) * np.sqrt(high), high)
    rows = np.flatnonzero((low < high) & np.isfinite(high))
    for _ in range(_STEPS):
        if rows.size == 0:
            break
        at = q[rows]
        moments = gaussian_moments(phi, at)
        excess = w[rows] * moments.second_moment + b[rows] - at
        tilt = w[rows] * moments.slope - 1
        low[rows], high[rows] = np.where(excess > 0, at, low[rows]), np.where(excess < 0, at, high[rows])
        moved = np.divide(excess, tilt, out=np.full_like(at, np.inf), where=tilt != 0)
        newton = at - moved
        inside = (newton >= low[rows]) & (newton <= high[rows])
        q[rows] = np.where(excess == 0, at, np.where(inside, newton, np.sqrt(low[rows]) * np.sqrt(high[rows])))
        rows = rows[np.abs(q[rows] - at) > 1e-14 * at]
    return q.reshape(lower.shape)
