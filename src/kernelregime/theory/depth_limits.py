"""Bias-free ReLU networks of infinite width as depth grows: correlations and the normalized NTK, in gaps u = 1 - ρ.

ρ_1 = x·x'/(|x||x'|), ρ_{l+1} = r(ρ_l) with r(t) = (√(1-t²) + tπ/2 + t arcsin t)/π, and, with Θ̄ = Θ(x, x')/√(Θ(x, x)Θ(x', x')),
Θ̄_1 = ρ_1, Θ̄_{l+1} = (l Θ̄_l r'(ρ_l) + ρ_{l+1})/(l + 1). Depth l counts weight layers; σ_w² drops out.
"""

import math
from typing import Any

import numpy as np

from kernelregime._checks import array, fail, integer, real

_SMALL = 0.05  # gaps below take the series, whose 12 terms then reach 1e-17


def _increment_series() -> list[float]:
    """Coefficients s_k of (sin θ - θ cos θ)/π = u^{3/2} Σ_k s_k u^k, u = 1 - cos θ.

    By its derivative: with dθ/du = 1/sin θ, d/du (sin θ - θ cos θ) = θ = √(2u) Σ_k C(2k, k) u^k/(8^k (2k + 1)).
    """
    return [math.sqrt(2) / math.pi * math.comb(2 * k, k) / (8**k * (2 * k + 1) * (k + 1.5)) for k in range(12)]


_SERIES = _increment_series()


def angle(gap: np.ndarray) -> np.ndarray:
    """θ = arccos(1 - u) without loss near u = 0 and u = 2."""
    return 2 * np.arctan2(np.sqrt(gap), np.sqrt(2 - gap))


def _small_increment(gap: Any) -> Any:
    """u_l - u_{l+1} by the series; for floats and for arrays."""
    total = 0.0
    for coefficient in reversed(_SERIES):
        total = total * gap + coefficient
    return gap**1.5 * total


def _next(gap: np.ndarray) -> np.ndarray:
    """u_{l+1} = u_l + (θ cos θ - sin θ)/π."""
    theta = angle(gap)
    large = (np.sin(theta) - theta * np.cos(theta)) / np.pi
    return gap - np.where(gap < _SMALL, _small_increment(np.minimum(gap, _SMALL)), large)


def _checked_gap(gap: object) -> np.ndarray:
    values = array("gap", gap).astype(np.float64)
    for value in (values.min(), values.max()):
        real("gap", value, least=0, most=2)
    return values


def correlation_gaps(gap: object, depth: int) -> np.ndarray:
    """1 - ρ_l for l = 1 … `depth`, from `gap` = 1 - ρ_1 in [0, 2]; shape (depth, ...) for a `gap` of shape (...).

    u_{l+1} = u_l + (θ cos θ - sin θ)/π, θ = arccos(1 - u_l), by a series for small u, so that depth 10⁶ keeps 12 digits. Give the gap
    itself, not 1 minus a rounded correlation. Raises: `InputError` for bad input.
    Source: Cho and Saul 2009, eq. 6, in the gap.
    """
    layers, u = integer("depth", depth), _checked_gap(gap)
    out = np.empty((layers, *u.shape))
    layer = 0
    while layer < layers and (u >= _SMALL).any():
        out[layer] = u
        u, layer = _next(u), layer + 1
    state: Any = float(u) if u.ndim == 0 else u
    for rest in range(layer, layers):
        out[rest] = state
        state = state - _small_increment(state)
    return out


def normalized_ntk(gap: object, depth: int) -> np.ndarray:
    """Θ̄_l for l = 1 … `depth` of bias-free ReLU networks, from `gap` = 1 - ρ_1 in [0, 2]; shape (depth, ...).

    Θ̄_1 = ρ_1, Θ̄_{l+1} = (l Θ̄_l (π - θ_l)/π + ρ_{l+1})/(l + 1). Tends to 1/4 for ρ_1 < 1 (`normalized_ntk_limit`). Raises: `InputError`.
    Source: Jacot et al. 2018, theorem 1, normalized.
    """
    gaps = correlation_gaps(gap, depth)
    slopes = 1 - angle(gaps) / np.pi
    out = np.empty_like(gaps)
    state: Any = float(1 - gaps[0]) if gaps.ndim == 1 else 1 - gaps[0]
    pairs = zip(slopes.tolist(), gaps.tolist()) if gaps.ndim == 1 else zip(slopes, gaps)
    previous: Any = None
    for layer, (slope, u) in enumerate(pairs):
        if layer:
            state = (layer * state * previous + 1 - u) / (layer + 1)
        out[layer], previous = state, slope
    return out


def correlation_gap_asymptotics(gap: object, depth: object) -> np.ndarray:
    """1 - ρ_l ≈ (u_1^{-1/2} + √2(l - 1)/(3π))^{-2} -> 9π²/(2l²), for u_1 = `gap` > 0 and layers l = `depth`, which broadcast.

    From du/dl = -(2√2/(3π)) u^{3/2}, the leading order of the recursion. Raises: `InputError` for bad input.
    """
    u, layers = _checked_gap(gap), array("depth", depth)
    if (u <= 0).any() or (layers < 1).any():
        raise fail("gaps above 0 and depths of at least 1", f"{u.min():g} and {layers.min():g}", "leave out pairs of equal inputs")
    return np.asarray((u**-0.5 + math.sqrt(2) * (layers - 1) / (3 * math.pi)) ** -2.0)


def ntk_gap_asymptotics(depth: object) -> np.ndarray:
    """Θ̄_L - 1/4 ≈ (3/8) log L/L for every pair of distinct inputs, L = `depth`; what is left out is of order 1/L."""
    layers = array("depth", depth)
    if (layers < 1).any():
        raise fail("depths of at least 1", f"{layers.min():g}", "count weight layers from 1")
    return np.asarray(3 / 8 * np.log(layers) / layers)


def depth_to_matter(gap: object) -> np.ndarray:
    """Depth l = (3π/√2) u_1^{-1/2}: the depth from which a pair with u_1 = `gap` = 1 - ρ_1 is drawn together."""
    u = _checked_gap(gap)
    with np.errstate(divide="ignore"):
        return np.asarray(3 * math.pi / math.sqrt(2) / np.sqrt(u))


def normalized_ntk_limit(*, sigma_w2: float, sigma_b2: float | None = None) -> float:
    """The limit of Θ̄(x, x') for distinct inputs on the sphere as depth grows (ReLU, `ntk` parameterization).

    Without biases (None or 0) 1/4 for any σ_w². With biases: 1 for σ_w² < 2, 4/7 for σ_w² = 2, 1/4 for σ_w² > 2. The matrix of N points
    tends to (1 - c)I + c 11ᵀ. Raises: `InputError` for bad input.
    """
    weight = real("sigma_w2", sigma_w2, above=0)
    if sigma_b2 is None or real("sigma_b2", sigma_b2, least=0) == 0 or weight > 2:
        return 0.25
    return 4 / 7 if weight == 2 else 1.0


def predictor_limit(points: int, *, sigma_w2: float, sigma_b2: float | None = None) -> float:
    """The limit w of every entry of Θ̄(x, X)Θ̄(X, X)^{-1} for x outside N = `points` training inputs X: the prediction is w Σ_i y_i.

    c/(1 - c + Nc) with the limit c of Θ̄: 1/(N + 3) at c = 1/4, 4/(4N + 3) at c = 4/7, 1/N at c = 1 (in which limit Θ̄(X, X) is singular).
    Raises: `InputError` for bad input.
    """
    c = normalized_ntk_limit(sigma_w2=sigma_w2, sigma_b2=sigma_b2)
    return c / (1 - c + integer("points", points) * c)
