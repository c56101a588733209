"""Angles from w = 1 - ρ and v = 1 + ρ, and roots with gradients, for dual activations that lose no digit near ρ = ±1."""

import math

import jax.numpy as jnp
from jaxtyping import Array


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
