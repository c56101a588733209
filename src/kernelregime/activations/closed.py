"""Closed-form dual activations, in w = 1 - ρ and v = 1 + ρ so that no digit is lost near ρ = ±1."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array

from kernelregime.activations.record import Dual, Kind


def safe_sqrt(x: Array) -> Array:
    """√x for x >= 0 with a gradient of zero, not infinity, at x = 0."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)


def angle(w: Array, v: Array) -> Array:
    """θ = arccos ρ from w = 1 - ρ and v = 1 + ρ, to relative accuracy near 0 and to rounding near π."""
    return 2 * jnp.arctan2(safe_sqrt(w), safe_sqrt(v))


# sin t - t cos t = Σ_k (-1)^(k+1) 2k t^(2k+1) / (2k+1)!; twelve terms reach 1e-17 at t = 1.
_SERIES = [(-1) ** (k + 1) * 2 * k / math.factorial(2 * k + 1) for k in range(1, 13)]


def sin_minus_t_cos(t: Array) -> Array:
    """Sin t - t cos t for t in [0, π], to relative accuracy down to t = 0."""
    small = jnp.minimum(t, 1)
    square = small * small
    series = jnp.zeros_like(t)
    for coefficient in reversed(_SERIES):
        series = series * square + coefficient
    return jnp.where(t < 1, small * square * series, jnp.sin(t) - t * jnp.cos(t))


def _relu_dual(a: Array, b: Array, w: Array, v: Array) -> Dual:
    """Arc-cosine kernels (Cho and Saul 2009, eqs 3-6): E φφ = √(ab)/(2π)·(sin θ + (π-θ) cos θ), E φ'φ' = (π-θ)/(2π)."""
    theta, supplement = angle(w, v), angle(v, w)
    # near θ = 0: 1 - ρ' = w - (sin θ - θ cos θ)/π; beyond π/2, with η = π - θ: ρ' = (sin η - η cos η)/π.
    near = w - sin_minus_t_cos(theta) / jnp.pi
    far = sin_minus_t_cos(supplement) / jnp.pi
    acute = w < v
    slope = jnp.where((a == 0) | (b == 0), 0, supplement / (2 * jnp.pi))  # φ'(0) = 0 in a network, whose units are then exactly 0
    return Dual(jnp.where(acute, near, 1 - far), jnp.where(acute, 2 - near, 1 + far), slope)


RELU = Kind(
    "relu",
    function=jax.nn.relu,
    derivative=lambda x: jnp.heaviside(x, jnp.asarray(0.5, x.dtype)),
    second_moment=lambda q: q / 2,
    dual=_relu_dual,
    kinks=(0.0,),
    homogeneous=True,
)


def _identity_dual(a: Array, b: Array, w: Array, v: Array) -> Dual:
    return Dual(w, v, jnp.ones_like(w))


IDENTITY = Kind(
    "identity",
    function=lambda x: x,
    derivative=jnp.ones_like,
    second_moment=lambda q: q,
    dual=_identity_dual,
    homogeneous=True,
    odd=True,
)


def _erf_arc(q: Array) -> Array:
    """arcsin(2q/(1+2q)), accurate for every q."""
    return jnp.arctan2(2 * q, jnp.sqrt(1 + 4 * q))


def _erf_excess(a: Array, b: Array) -> Array:
    """arc(a) - top, where top = arcsin(2√(ab)/√((1+2a)(1+2b))), by the sine and cosine of the difference: exactly 0 for a = b."""
    root_a, root_b = safe_sqrt(a), safe_sqrt(b)
    base, own = jnp.sqrt(1 + 2 * (a + b)), jnp.sqrt(1 + 4 * a)
    below = root_a * base + root_b * own
    sine = 2 * root_a * (a - b) * (1 + 2 * a) / jnp.where(below > 0, below, 1)
    return jnp.arctan2(sine, own * base + 4 * a * root_a * root_b)


def _erf_dual(a: Array, b: Array, w: Array, v: Array) -> Dual:
    """E φφ = (2/π) arcsin(2c/√((1+2a)(1+2b))) (Williams 1997, eq. 11), E φ'φ' = (4/π)/√((1+2a)(1+2b) - 4c²).

    With E = 1+2(a+b) and (1+2a)(1+2b) - 4c² = E + 4ab·wv, the arc at ρ is subtracted from the arc at ρ = 1 by the sine of
    their difference, in which every term is positive.
    """
    root, base = safe_sqrt(a) * safe_sqrt(b), 1 + 2 * (a + b)
    product = root * root
    both = jnp.sqrt(base + 4 * product * w * v)
    arc_a, arc_b = _erf_arc(a), _erf_arc(b)
    scale = safe_sqrt(arc_a) * safe_sqrt(arc_b)
    # √(arc a · arc b) - top: of the order of (a - b)², so for similar variances without cancelling the arcs
    above, below = _erf_excess(a, b), _erf_excess(b, a)
    top = jnp.where(a < b, arc_a - above, arc_b - below)
    similar = (top * (above + below) + above * below) / jnp.where(scale > 0, scale + top, 1)
    apart = jnp.where(2 * jnp.abs(a - b) < a + b, similar, scale - top)

    # erf is odd: the smaller of 1 - ρ' and 1 + ρ' follows from the smaller of w and v
    acute = w <= v
    near, far = jnp.where(acute, w, v), jnp.where(acute, v, w)
    sine = 2 * root * (4 * product * w * v / (both + jnp.sqrt(base)) + near * jnp.sqrt(base))
    cosine = jnp.sqrt(base) * both + 2 * product * (far - near)
    gap = apart + jnp.arctan2(sine, cosine)
    small = jnp.where(scale > 0, gap / jnp.where(scale > 0, scale, 1), near)
    return Dual(jnp.where(acute, small, 2 - small), jnp.where(acute, 2 - small, small), 4 / (jnp.pi * both))


ERF = Kind(
    "erf",
    function=jax.lax.erf,
    derivative=lambda x: 2 / math.sqrt(math.pi) * jnp.exp(-x * x),
    second_moment=lambda q: 2 / jnp.pi * _erf_arc(q),
    dual=_erf_dual,
    odd=True,
)
