"""Mean-field theory of infinitely wide fully-connected networks at initialization: variances and correlations layer by layer.

Pre-activations of a layer are Gaussian; with weight variance σ_w²/n and bias variance σ_b² (Poole et al. 2016):
q^{l+1} = σ_w² E φ(√q^l z)² + σ_b², and χ^l = σ_w² E φ'(√q^l z)² is what a squared gradient is multiplied by.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq

from kernelregime._checks import array, fail, integer, real
from kernelregime.activations import Nonlinearity, get
from kernelregime.theory.gaussian import (
    TOLERANCE,
    USABLE,
    GaussianMoments,
    across_jumps,
    gaussian_moments,
    homogeneous_moment,
    squared_slope,
    unusable,
    usable_moments,
)
from kernelregime.theory.pairs import PairRule

# Variances between which a fixed point is looked for: 16 a decade where φ bends, 4 where it has become linear, saturated or a power.
GRID = np.concatenate([np.geomspace(1e-24, 1e-6, 73)[:-1], np.geomspace(1e-6, 1e4, 161), np.geomspace(1e4, 1e12, 33)[1:]])
SETTLING = 1000  # layers for which a variance map that is not monotone is iterated before the last stretch is solved for
SAME = 1e-13  # relative differences below are rounding


def variances_of(sigma_w2: object, sigma_b2: object) -> tuple[float, float]:
    """The weight and bias variances as floats; `sigma_b2=None` (no bias) is zero here. Raises: `InputError` when negative."""
    return real("sigma_w2", sigma_w2, least=0), 0.0 if sigma_b2 is None else real("sigma_b2", sigma_b2, least=0)


def variance_map(phi: Nonlinearity | str, q: object, *, sigma_w2: float, sigma_b2: float | None = None) -> np.ndarray:
    """The variance of the next layer's pre-activations, σ_w² E φ(√q z)² + σ_b², elementwise in the variances `q` of this layer's.

    Raises: `InputError` for negative variances and where the quadrature's error estimate exceeds 1e-6.
    Source: Poole et al. 2016, eq. 3.
    """
    weight, bias = variances_of(sigma_w2, sigma_b2)
    return weight * usable_moments(phi, q).second_moment + bias


def chi(phi: Nonlinearity | str, q: object, *, sigma_w2: float, backpropagated: bool = False) -> np.ndarray:
    """χ = σ_w² E φ'(√q z)², elementwise in the variances `q`; at the fixed point q* this is χ₁.

    It is the factor by which a layer multiplies the squared norm of gradients, and the slope of the correlation map at c = 1
    where q = q*. Where φ jumps (sign, a step) φ' holds a Dirac delta and χ is inf: 1 - c' falls like √(1 - c) only.
    `backpropagated=True`: φ' where it exists, which is all that backpropagation sees; jumps then count nothing.
    Raises: as `variance_map`. Source: Poole et al. 2016, eq. 6.
    """
    weight, _ = variances_of(sigma_w2, None)
    phi = get(phi)
    moments = usable_moments(phi, q)
    return scaled(weight, moments.derivative if backpropagated else squared_slope(phi, q, moments))


def scaled(weight: float | np.ndarray, slope: np.ndarray) -> np.ndarray:
    """σ_w² times a squared slope that may be infinite; 0 without weights."""
    with np.errstate(invalid="ignore"):
        return np.where(np.equal(weight, 0), 0.0, np.multiply(weight, slope))


def variances(phi: Nonlinearity | str, q1: float, *, sigma_w2: float, sigma_b2: float | None = None, depth: int) -> np.ndarray:
    """Variances (depth,) of the pre-activations of layers 1 … depth, from q^1 = `q1` (σ_w²|x|²/n_0 + σ_b² for an input x).

    An input scale far from q* is seen here: `chi` of these variances is what each layer does to gradients. Layers whose variance
    overflows, or at which φ does, are inf. Raises: `InputError` for bad input and unusable quadrature.
    """
    weight, bias = variances_of(sigma_w2, sigma_b2)
    layers = integer("depth", depth)
    q = real("q1", q1, least=0)
    phi, out = get(phi), np.empty(layers)
    for layer in range(layers):
        out[layer] = q
        if layer + 1 == layers:
            break
        following = weight * _second_moment(phi, q) + bias
        if following == q:
            out[layer + 1 :] = q
            break
        q = following
    return out


def _second_moment(phi: Nonlinearity, q: float) -> float:
    """E φ(√q z)², inf where φ overflows."""
    if phi.homogeneous:
        return homogeneous_moment(phi) * q
    if not math.isfinite(q) or not math.isfinite(gaussian_moments(phi, q).second_moment):
        return math.inf
    return float(usable_moments(phi, q).second_moment)


def correlation_map(
    phi: Nonlinearity | str, correlation: object, *, q: float, sigma_w2: float, sigma_b2: float | None = None
) -> np.ndarray:
    """The correlation after one layer, (σ_w² E φ(u)φ(v) + σ_b²)/(σ_w² E φ(u)² + σ_b²), elementwise in `correlation`.

    (u, v) are Gaussian with variance `q` > 0 each and this correlation, in [-1, 1]. Raises: `InputError` for bad input and
    unusable quadrature. Source: Poole et al. 2016, eq. 5.
    """
    weight, bias = variances_of(sigma_w2, sigma_b2)
    variance, c = real("q", q, above=0), array("correlation", correlation).astype(np.float64)
    if (np.abs(c) > 1).any():
        raise fail("correlations in [-1, 1]", f"{c.ravel()[int(np.argmax(np.abs(c)))]:g}", "divide the covariance by the variance")
    phi = get(phi)
    rule = pair_rule(phi, variance)
    following = float(variance_map(phi, variance, sigma_w2=weight, sigma_b2=bias))
    gaps = [weight * rule.moments(variance, 1 - float(x)).difference / following for x in c.ravel()]
    return (1 - np.array(gaps)).reshape(c.shape)


def pair_rule(phi: Nonlinearity, q: float) -> PairRule:
    """The rule for pairs at variances up to q; `InputError` where none reaches 1e-6."""
    rule = PairRule.choose(phi, q)
    if not rule.error <= USABLE:
        raise unusable(rule.error, q)
    return rule


@dataclass(frozen=True)
class FixedPoint:
    """A fixed point `q` of the variance map and the map's `slope` there; `stable` when |slope| < 1."""

    q: float
    slope: float

    @property
    def stable(self) -> bool:
        """Whether nearby variances converge to it."""
        return abs(self.slope) < 1


def growth(moments: GaussianMoments, q: np.ndarray, sigma_w2: float, sigma_b2: float | np.ndarray) -> np.ndarray:
    """(σ_w² E φ² + σ_b² - q)/q, zero within rounding, nan where φ overflowed or the quadrature is unusable."""
    with np.errstate(invalid="ignore", over="ignore"):
        out = sigma_w2 * moments.second_moment / q - 1 + sigma_b2 / q
    out = np.where(moments.error <= USABLE, out, np.nan)
    return np.where(np.abs(out) < SAME * (1 + sigma_b2 / q), 0.0, out)


def fixed_points(phi: Nonlinearity | str, *, sigma_w2: float, sigma_b2: float | None = None) -> tuple[FixedPoint, ...]:
    """All fixed points q of the variance map, ascending, with the map's slope χ_q = σ_w² dE φ²/dq at each.

    q = 0 is among them when φ(0) = 0 and there is no bias; where φ jumps at 0 its slope is inf, for every variance leaves it. They are
    looked for between 1e-24 and 1e12, at 16 variances a decade from 1e-6 to 1e4 and 4 a decade beyond (a pair of fixed points closer
    than that is missed). A continuum of fixed points, as for bias-free ReLU at σ_w² = 2, gives none but q = 0.
    Raises: `InputError` for bad input. Source: Poole et al. 2016, section 2; Hayou et al. 2019, section 2.
    """
    weight, bias = variances_of(sigma_w2, sigma_b2)
    phi = get(phi)
    return found_between(phi, weight, bias, gaussian_moments(phi, GRID))


def found_between(phi: Nonlinearity, weight: float, bias: float, moments: GaussianMoments) -> tuple[FixedPoint, ...]:
    """As `fixed_points`, from the `moments` at the variances of GRID."""
    found = []
    origin = gaussian_moments(phi, 0.0)
    if bias == 0 and weight * float(origin.second_moment) == 0:
        leaves = weight > 0 and bool(across_jumps(phi, 0.0))
        found.append(FixedPoint(0.0, math.inf if leaves else weight * float(origin.slope)))
    signs = growth(moments, GRID, weight, bias)
    if not np.any(signs):
        return tuple(found)
    slope = weight * float(origin.slope)
    if signs[0] < 0 and not found:  # φ is linear down there, or constant
        found.append(FixedPoint((bias + weight * float(origin.second_moment)) / (1 - slope), slope))

    def excess(log_q: float) -> float:
        q = math.exp(log_q)
        return weight * float(gaussian_moments(phi, q).second_moment) / q - 1 + bias / q

    for i in np.flatnonzero(signs[:-1] * signs[1:] < 0):
        q = math.exp(brentq(excess, math.log(GRID[i]), math.log(GRID[i + 1]), xtol=1e-15, rtol=1e-14))
        found.append(FixedPoint(q, weight * float(gaussian_moments(phi, q).slope)))
    zero = np.concatenate([[False], signs == 0, [False]])
    for i in np.flatnonzero(zero[1:-1] & ~zero[:-2] & ~zero[2:]):
        found.append(FixedPoint(float(GRID[i]), weight * float(gaussian_moments(phi, GRID[i]).slope)))
    return tuple(sorted(found, key=lambda point: point.q))


def rising(moments: GaussianMoments) -> bool:
    """Whether E φ² grows with the variance everywhere, so that a variance moves to the next fixed point and stays there."""
    return not bool((moments.slope[moments.error <= USABLE] < -TOLERANCE).any())


def iterated(
    grid: np.ndarray, moments: GaussianMoments, weight: float | np.ndarray, bias: float | np.ndarray, start: float
) -> tuple[np.ndarray, np.ndarray]:
    """Where the variance map leads from `start` in 1000 layers, E φ² interpolated between the variances of `grid`, and whether it rests.

    For every pair of the broadcast `weight` and `bias`; inf: beyond the grid. It never cycles: √q E φ(√q z)² = ∫φ(x)² e^{-x²/2q} dx/√2π
    does not fall with q, so that log E φ² falls at most half as fast as log q grows, whereas a cycle of two needs a mean slope of -1.
    """
    usable = moments.error <= USABLE
    spline = CubicSpline(np.log(grid[usable]), moments.second_moment[usable])
    ends = grid[usable][[0, -1]]
    weight, bias = np.broadcast_arrays(weight, bias)
    q = np.full(weight.shape, start)
    for _ in range(SETTLING):
        before, q = q, weight * spline(np.log(np.clip(q, *ends))) + bias
    beyond = q > ends[1]
    return np.where(beyond, np.inf, q), beyond | (np.abs(q - before) <= 1e-6 * q)


def correlation_fixed_point(phi: Nonlinearity | str, q: float, *, sigma_w2: float, sigma_b2: float | None = None) -> tuple[float, float]:
    """The stable fixed point c* in [0, 1] of the correlation map at the variance fixed point `q`, and χ_{c*} = σ_w² E φ'(u)φ'(v) there.

    1 unless χ₁ > 1; otherwise the only other one, for the map is convex on [0, 1]. Near 1 it is found in 1 - c, to relative accuracy.
    Where φ jumps, χ₁ is inf, and χ_{c*} is the slope of the map at c* with what the jumps add to it.
    Raises: `InputError` for bad input and unusable quadrature. Source: Schoenholz et al. 2017, section 3.
    """
    weight, bias = variances_of(sigma_w2, sigma_b2)
    variance, phi = real("q", q, above=0), get(phi)
    slope = float(chi(phi, variance, sigma_w2=weight))
    if slope <= 1:
        return 1.0, slope
    rule = pair_rule(phi, variance)
    following = weight * float(gaussian_moments(phi, variance).second_moment) + bias
    least = math.log(1e-14 if math.isfinite(slope) else 1e-200)  # jumps in the tails of the density part inputs that close only

    def excess(log_gap: float) -> float:
        gap = math.exp(log_gap)
        return weight * rule.moments(variance, gap).difference / (following * gap) - 1

    if excess(0.0) > -SAME * 10:
        gap = 1.0  # the map is zero at c = 0: odd φ without bias
    elif excess(least) < 0:
        return 1.0, slope
    else:
        gap = math.exp(brentq(excess, least, 0.0, xtol=1e-14, rtol=1e-13))
    return 1 - gap, weight * rule.slope(variance, gap)


def depth_scale(slope: float) -> float:
    """ξ = -1/log|slope|: the number of layers over which a deviation from the fixed point falls by e; inf at |slope| = 1 and beyond.

    Source: Schoenholz et al. 2017, section 3.
    """
    size = abs(slope)
    if size >= 1:
        return math.inf
    return -1 / math.log(size) if size > 0 else 0.0
