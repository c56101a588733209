"""Phases of initialization: ordered, edge of chaos and chaotic."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from kernelregime._checks import real
from kernelregime.activations import Nonlinearity, get
from kernelregime.theory.gaussian import (
    TOLERANCE,
    USABLE,
    GaussianMoments,
    gaussian_moments,
    homogeneous_moment,
    squared_slope,
    unusable,
)
from kernelregime.theory.mean_field import (
    GRID,
    FixedPoint,
    correlation_fixed_point,
    depth_scale,
    found_between,
    iterated,
    rising,
    scaled,
    variances_of,
)

PhaseName = Literal["ordered", "edge of chaos", "chaotic"]
EDGE = 1e-6  # |χ₁ - 1| below counts as the edge of chaos: no network is deep enough to tell
_JUMPING = "φ jumps, and χ₁ is infinite: in every layer the 1 - c of near inputs grows to the order of √(1 - c)"
_UNBOUNDED = "the variance diverges: q* does not exist"


@dataclass(frozen=True)
class Phase:
    """The phase of an initialization in the infinite-width limit.

    `name` follows χ₁ = σ_w² E φ'(√q* z)²: "ordered" below 1, "chaotic" above, "edge of chaos" within 1e-6. Where φ jumps (sign, a
    step) `chi1` is inf, and the phase chaotic at any σ_w² > 0.
    `q_star`: the variance that deep layers reach from `q1` (inf if it diverges, 0 if it vanishes; it never oscillates).
    `c_star`: the correlation that two distinct inputs reach (nan where none is singled out). `xi_q`, `xi_c`:
    numbers of layers over which deviations from them fall by e (inf: slower than exponentially). `status`: the same in words, with
    the causes where something does not exist. `fixed_points`: all fixed points of the variance map. `error`: the estimated relative
    error of the Gaussian integrals.
    """

    name: PhaseName
    chi1: float
    q_star: float
    c_star: float
    xi_q: float
    xi_c: float
    status: str
    fixed_points: tuple[FixedPoint, ...] = ()
    error: float = 0.0


def phase(phi: Nonlinearity | str, *, sigma_w2: float, sigma_b2: float | None = None, q1: float = 1.0) -> Phase:
    """The phase of a fully-connected network with nonlinearity `phi`, weight variance σ_w²/n and bias variance σ_b².

    χ₁ = σ_w² E φ'(√q* z)², q* = σ_w² E φ(√q* z)² + σ_b², c* from the correlation map, ξ_q = -1/log|χ_q|, ξ_c = -1/log χ_{c*}.
    `sigma_b2=None`: no bias. `q1`: variance of the first layer's pre-activations; it decides between several fixed points.
    Returns: a `Phase`, whose status says in words what does not exist.
    Raises: `InputError` for bad input and for φ whose Gaussian integrals do not converge.
    Source: Poole et al. 2016, section 2; Schoenholz et al. 2017, sections 3 and 4.

    >>> phase("tanh", sigma_w2=1.760955, sigma_b2=0.05).name
    'edge of chaos'
    """
    weight, bias = variances_of(sigma_w2, sigma_b2)
    start, phi = real("q1", q1, above=0), get(phi)
    if phi.homogeneous:
        return _homogeneous(phi, weight, bias, start)
    moments = gaussian_moments(phi, GRID)
    points = found_between(phi, weight, bias, moments)
    q, words = _reached(phi, weight, bias, start, points, moments)
    if math.isinf(q):
        far = farthest(moments)
        chi1 = float(scaled(weight, squared_slope(phi, GRID, moments)[far]))
        words += f"; {_JUMPING}" if math.isinf(chi1) else f"; χ₁ is its value at q = {GRID[far]:.0e}"
        return Phase(phase_name(chi1), chi1, q, math.nan, math.inf, math.nan, words, points)
    here = gaussian_moments(phi, q)
    chi1, slope = float(scaled(weight, squared_slope(phi, q, here))), weight * float(here.slope)
    if math.isinf(chi1):
        words += f"; {_JUMPING}"
    if q == 0:
        found = Phase(phase_name(chi1), chi1, q, math.nan, depth_scale(slope), math.nan, words, points, float(here.error))
    else:
        c_star, slope_c = correlation_fixed_point(phi, q, sigma_w2=weight, sigma_b2=bias)
        name = phase_name(chi1)
        xi_c = math.inf if name == "edge of chaos" else depth_scale(slope_c)
        found = Phase(name, chi1, q, c_star, depth_scale(slope), xi_c, words, points, float(here.error))
    return _with_error(found)


def phase_name(chi1: float) -> PhaseName:
    """The phase that χ₁ tells."""
    if abs(chi1 - 1) <= EDGE:
        return "edge of chaos"
    return "ordered" if chi1 < 1 else "chaotic"


def _with_error(found: Phase) -> Phase:
    """The phase with its quadrature's failure in words, or `InputError` when nothing can be said."""
    if not found.error <= USABLE:
        raise unusable(found.error, found.q_star)
    if found.error > 1000 * TOLERANCE:
        return replace(found, status=f"{found.status}; the integrals hold to {found.error:.0e} only: does φ declare its kinks?")
    return found


def _homogeneous(phi: Nonlinearity, weight: float, bias: float, start: float) -> Phase:
    """φ(cx) = cφ(x): E φ² is proportional to q, so that q ↦ χ₁ q + σ_b² is affine."""
    chi1 = weight * homogeneous_moment(phi)
    if math.isclose(chi1, 1, rel_tol=1e-14):
        chi1 = 1.0  # σ_w² = 2 given as a rounded square of σ_w
    linear = not phi.kinks
    c_star, xi_c = (math.nan if linear else 1.0), (math.nan if linear else math.inf)
    points: tuple[FixedPoint, ...] = (FixedPoint(0.0, chi1),)
    if bias > 0 and chi1 < 1:
        q, words, points = bias / (1 - chi1), "every variance converges to q*", (FixedPoint(bias / (1 - chi1), chi1),)
        c_star, xi_c = 1.0, math.inf if phase_name(chi1) == "edge of chaos" else depth_scale(chi1)
    elif bias > 0:
        rate = "linearly with depth" if chi1 == 1 else "exponentially with depth"
        q, words, points, c_star, xi_c = math.inf, f"{_UNBOUNDED}, it grows {rate} (σ_w² E φ'² >= 1 with a bias)", (), 1.0, math.inf
    elif chi1 == 1:
        q, words = start, "every variance is a fixed point: q* is the input's own"
    elif chi1 < 1:
        q, words = 0.0, "the variance vanishes exponentially with depth: q* = 0"
    else:
        q, words = math.inf, f"{_UNBOUNDED}, it grows exponentially with depth (σ_w² E φ'² > 1)"
    if bias == 0:
        words += "; φ is linear: correlations never change" if linear else "; correlations approach 1 slower than exponentially"
    xi_q = depth_scale(chi1) if math.isfinite(q) else math.inf
    return Phase(phase_name(chi1), chi1, q, c_star, xi_q, xi_c, words, points)


def farthest(moments: GaussianMoments) -> int:
    """The largest variance of the grid at which the integrals can be used."""
    return int(np.flatnonzero(moments.error <= USABLE).max(initial=0))


def _reached(
    phi: Nonlinearity, weight: float, bias: float, start: float, points: tuple[FixedPoint, ...], moments: GaussianMoments
) -> tuple[float, str]:
    """The variance that deep layers reach from `start`, and how, in words."""
    here = gaussian_moments(phi, start)
    if not float(here.error) <= USABLE:
        raise unusable(float(here.error), start)
    if not rising(moments):
        last = float(iterated(GRID, moments, weight, bias, start)[0])
        if math.isinf(last):
            return math.inf, _growing(start)
        start, here = last, gaussian_moments(phi, last)
    # from here on the variance moves to the next fixed point and stays there
    direction = weight * float(here.second_moment) + bias - start
    nearest = min((p.q for p in points), key=lambda q: abs(q - start), default=math.nan)
    if math.isclose(nearest, start, rel_tol=1e-12):
        return nearest, _words(nearest, points)
    ahead = [p.q for p in points if (p.q > start) == (direction > 0)]
    if not ahead:
        return math.inf, _growing(start)
    found = min(ahead) if direction > 0 else max(ahead)
    return found, _words(found, points)


def _growing(start: float) -> str:
    return f"{_UNBOUNDED} (it grows from q1 = {start:g} without bound)"


def _words(q: float, points: tuple[FixedPoint, ...]) -> str:
    if q == 0:
        return "the variance vanishes with depth: q* = 0; in the end φ acts linearly and correlations no longer change"
    stable = [p for p in points if p.stable]
    if len(stable) > 1:
        listed = ", ".join(f"{p.q:.6g}" for p in stable)
        return f"the variance converges to q*, one of {len(stable)} stable fixed points ({listed}): the input's scale decides"
    if not stable:
        return "the variance approaches q* slower than exponentially"
    return "every variance converges to q*" if len(points) == 1 else "the variance converges to q*"
