"""The edge of chaos: the weight and bias variances at which χ₁ = 1.

Parametrized by the variance itself (q > 0): σ_w² = 1/E φ'(√q z)² makes χ₁ = 1 and σ_b² = q - σ_w² E φ(√q z)² makes q a fixed point,
which finds every branch, whereas iterating to q* finds at most one.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from kernelregime._checks import array, fail, real
from kernelregime.activations import Nonlinearity, get
from kernelregime.theory.gaussian import USABLE, gaussian_moments, homogeneous_moment, squared_slope
from kernelregime.theory.mean_field import GRID, SAME

_NEAR_ZERO = np.array([1e-6])  # where the slope tells whether q = 0, at which it is one, attracts
_CURVE = np.geomspace(1e-4, 1e4, 513)


class EdgeOfChaos(NamedTuple):
    """Points of the edge of chaos, arrays (K,): the variance q* and the weight and bias variances, ascending in q."""

    q: np.ndarray
    sigma_w2: np.ndarray
    sigma_b2: np.ndarray


def _at(phi: Nonlinearity, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(σ_w², σ_b²/q) on the edge at the variances q; nan where the quadrature is unusable, φ' vanishes or φ jumps."""
    moments = gaussian_moments(phi, q)
    slope = squared_slope(phi, q, moments)
    good = (moments.error <= USABLE) & (slope > 0) & np.isfinite(slope)
    weight = np.divide(1.0, slope, out=np.full_like(q, np.nan), where=good)
    with np.errstate(invalid="ignore", over="ignore"):
        relative = 1 - weight * moments.second_moment / q
    return weight, np.where(np.abs(relative) < SAME, 0.0, relative)


def edge_of_chaos_curve(phi: Nonlinearity | str, q: object = None, *, stable: bool = False) -> EdgeOfChaos:
    """The edge of chaos as a curve (q, sigma_w2, sigma_b2), parametrized by the variance `q` (default: 513 from 1e-4 to 1e4).

    σ_w² = 1/E φ'(√q z)², σ_b² = q - σ_w² E φ(√q z)²; variances at which σ_b² < 0 are left out, so that the result may be shorter than
    `q`. `stable=True`: only where q is a stable fixed point of the variance map, which a deep network then reaches.
    Returns: an `EdgeOfChaos` of arrays (K,). Raises: `InputError` for bad input. Source: Hayou et al. 2019, section 2.
    """
    variance = np.sort(array("q", _CURVE if q is None else q, ndim=1).astype(np.float64))
    if variance[0] <= 0:
        raise fail("variances q > 0", f"{variance[0]:g}", "leave it out")
    phi = get(phi)
    weight, relative = _at(phi, variance)
    keep = (relative >= 0) & (_attracting(phi, variance, weight) if stable else True)
    return EdgeOfChaos(variance[keep], weight[keep], (relative * variance)[keep])


def edge_of_chaos(phi: Nonlinearity | str, *, sigma_b2: float | None = None, stable: bool = False) -> tuple[float, ...]:
    """Every σ_w² on the edge of chaos at this bias variance, ascending; empty when there is none.

    Solves q - E φ(√q z)²/E φ'(√q z)² = `sigma_b2` for q between 1e-24 and 1e12. The end q -> 0 of a branch counts when it lies at
    `sigma_b2`: for tanh without bias σ_w² = 1. For homogeneous φ (ReLU) χ₁ = σ_w² E φ'² at every q and any bias: the one value
    1/E φ'² is returned, although with a bias the variance grows without bound there. `sigma_b2=None`: no bias.
    `stable=True`: only where q attracts (or, marginally, neither attracts nor repels): at the others (on branches of SiLU and GELU) a
    deep network's variance runs away from q, and the network is not critical. Use it for advice.
    Raises: `InputError` for bad input. Source: Hayou et al. 2019, section 2.

    >>> round(edge_of_chaos("tanh", sigma_b2=0.05)[0], 6)
    1.760955
    """
    target = 0.0 if sigma_b2 is None else real("sigma_b2", sigma_b2, least=0)
    phi = get(phi)
    if phi.homogeneous:
        return (1 / homogeneous_moment(phi),)
    _, relative = _at(phi, GRID)

    def excess(log_q: float) -> float:
        q = np.exp(log_q)
        return float(_at(phi, np.array([q]))[1][0] - target / q)

    values = relative - target / GRID
    roots = [brentq(excess, math.log(GRID[i]), math.log(GRID[i + 1]), xtol=1e-15) for i in np.flatnonzero(values[:-1] * values[1:] < 0)]
    found = np.array([_at(phi, np.exp([root]))[0][0] for root in roots])
    if stable and found.size:
        found = found[_attracting(phi, np.exp(roots), found)]
    origin = gaussian_moments(phi, 0.0)
    if target == 0 and relative[0] >= 0 and float(origin.second_moment) == 0 and float(origin.derivative) > 0:
        start = float(1 / origin.derivative)
        if not stable or _attracting(phi, _NEAR_ZERO, np.array([start]))[0]:
            found = np.append(found, start)
    return tuple(sorted(found.tolist()))


def _attracting(phi: Nonlinearity, q: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Whether the variance map's slope at q is at most 1 in size."""
    return np.asarray(np.abs(weight * gaussian_moments(phi, q).slope) <= 1 + SAME)
