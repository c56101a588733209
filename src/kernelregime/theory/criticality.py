"""The edge of chaos: the weight and bias variances at which χ₁ = 1 at a fixed point that variances reach.

At a fixed point that variances leave, χ₁ = 1 makes no deep network critical: of GELU without bias q = 0 has χ₁ = 1 at σ_w² = 4, where
the variance of the next layer is q(1 + 6q/π + …) > q, and every variance grows without bound.

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
from kernelregime.theory.mean_field import GRID, SAME, growth

CURVE = np.geomspace(1e-4, 1e4, 513)  # variances of a curve


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


def edge_of_chaos_curve(phi: Nonlinearity | str, q: object = None, *, stable: bool = True) -> EdgeOfChaos:
    """The edge of chaos as a curve (q, sigma_w2, sigma_b2), parametrized by the variance `q` (default: 513 from 1e-4 to 1e4).

    σ_w² = 1/E φ'(√q z)², σ_b² = q - σ_w² E φ(√q z)²; variances at which σ_b² < 0 are left out, so that the result may be shorter than
    `q`, and so are those at which q is a fixed point that variances leave; `stable=False` keeps these.
    Returns: an `EdgeOfChaos` of arrays (K,). Raises: `InputError` for bad input. Source: Hayou et al. 2019, section 2.
    """
    variance = np.sort(array("q", CURVE if q is None else q, ndim=1).astype(np.float64))
    if variance[0] <= 0:
        raise fail("variances q > 0", f"{variance[0]:g}", "leave it out")
    phi = get(phi)
    weight, relative = _at(phi, variance)
    keep = (relative >= 0) & (_attracting(phi, variance, weight) if stable else True)
    return EdgeOfChaos(variance[keep], weight[keep], (relative * variance)[keep])


def edge_of_chaos(phi: Nonlinearity | str, *, sigma_b2: float | None = None, stable: bool = True) -> tuple[float, ...]:
    """Every σ_w² on the edge of chaos at this bias variance, ascending; empty when there is none.

    On the edge χ₁ = 1 at a fixed point q* of the variances that attracts those near it (from one side at least): a deep network whose
    inputs have such variances is critical. `stable=False` also lists σ_w² whose q* repels, where no deep network is critical: the
    variance of SiLU and GELU with small biases or none runs away from there, to another fixed point or without bound.

    Solves q - E φ(√q z)²/E φ'(√q z)² = `sigma_b2` for q between 1e-24 and 1e12. The end q -> 0 of a branch counts when it lies at
    `sigma_b2`: for tanh without bias σ_w² = 1. For homogeneous φ (ReLU) χ₁ = σ_w² E φ'² at every q and any bias: the one value
    1/E φ'² is returned, although with a bias the variance grows without bound there. `sigma_b2=None`: no bias.
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
        leaving = growth(gaussian_moments(phi, GRID), GRID, start, 0.0)
        if not stable or not (leaving[leaving != 0] > 0)[:1].any():  # where its slope is one, the first bend of the map decides
            found = np.append(found, start)
    return tuple(sorted(found.tolist()))


def _attracting(phi: Nonlinearity, q: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Whether the variance map's slope at q is at most 1 in size."""
    return np.asarray(np.abs(weight * gaussian_moments(phi, q).slope) <= 1 + SAME)
