"""Exponentials, Gaussians and Gabor functions, with elementary duals, and the normalized Gaussian kernel."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from kernelregime._checks import fail
from kernelregime.activations.angles import safe_sqrt
from kernelregime.activations.forms import Form, kind_of, squares
from kernelregime.activations.record import Dual, Kind

# exp(a, b): φ(x) = a exp(bx). E φφ = a² exp(b²S/2).


def _exp_top(p: Array, q: Array, a: Any, b: Any) -> Array:
    return jnp.exp(-squares(b * b * p, b * b * q)[0] / 2)


def _exp_lost(p: Array, q: Array, w: Array, v: Array, a: Any, b: Any) -> Array:
    low, root = squares(b * b * p, b * b * q)
    return -jnp.exp(-low / 2) * jnp.expm1(-root * w)


def _exp_slope(p: Array, q: Array, w: Array, v: Array, a: Any, b: Any) -> Array:
    low, root = squares(b * b * p, b * b * q)
    return (a * b) ** 2 * jnp.exp(low / 2 + root * v)


EXP = kind_of(
    "exp",
    lambda x, a, b: a * jnp.exp(b * x),
    lambda x, a, b: a * b * jnp.exp(b * x),
    Form(lambda q, a, b: a * a * jnp.exp(2 * b * b * q), _exp_top, _exp_lost, None, _exp_slope),
    parameters=(("a", 1.0), ("b", 1.0)),
    numbers_per_pair=16,
)


# gaussian(a, b): φ(x) = a exp(bx²), with E φ² finite while 4bq < 1. E φφ = a²/√D, D = (1-2bp)(1-2bq) - 4b²c².


def _gaussian_moment(q: Array, a: Any, b: Any) -> Array:
    left = 1 - 4 * b * q
    return jnp.where(left > 0, a * a / jnp.sqrt(jnp.where(left > 0, left, 1)), jnp.inf)


def _gaussian_norm(p: Array, q: Array, b: Any) -> Array:
    return safe_sqrt(safe_sqrt(1 - 4 * b * p)) * safe_sqrt(safe_sqrt(1 - 4 * b * q))


def _gaussian_base(p: Array, q: Array, b: Any) -> Array:
    base = 1 - 2 * b * (p + q)
    return jnp.where(base > 0, base, 1)


def _gaussian_top(p: Array, q: Array, a: Any, b: Any) -> Array:
    return _gaussian_norm(p, q, b) / jnp.sqrt(_gaussian_base(p, q, b))


def _gaussian_lost(p: Array, q: Array, w: Array, v: Array, a: Any, b: Any) -> Array:
    base, added = _gaussian_base(p, q, b), 4 * (b * p) * (b * q) * w * v
    low, deep = jnp.sqrt(base), jnp.sqrt(base + added)
    return _gaussian_norm(p, q, b) * added / (low * deep * (low + deep))


def _gaussian_slope(p: Array, q: Array, w: Array, v: Array, a: Any, b: Any) -> Array:
    deep = jnp.sqrt(_gaussian_base(p, q, b) + 4 * (b * p) * (b * q) * w * v)
    return (2 * a * b) ** 2 * squares(p, q)[1] * ((v - w) / 2) / deep**3


GAUSSIAN = kind_of(
    "gaussian",
    lambda x, a, b: a * jnp.exp(b * x * x),
    lambda x, a, b: 2 * a * b * x * jnp.exp(b * x * x),
    Form(_gaussian_moment, _gaussian_top, _gaussian_lost, None, _gaussian_slope),
    parameters=(("a", 1.0), ("b", -1.0)),
    numbers_per_pair=16,
)


# gabor: φ(x) = exp(-x²) sin x. With D = 1 + 2(a+b) + 4Q, P = a + b + 4Q and Q = ab - c², E φφ = exp(-P/(2D)) sinh(c/D)/√D.


def _gabor_moment(q: Array) -> Array:
    deep = 1 + 4 * q
    return jnp.exp(-q / deep) * jnp.sinh(q / deep) / jnp.sqrt(deep)


def _gabor_norm(a: Array, b: Array) -> Array:
    norm = safe_sqrt(_gabor_moment(a)) * safe_sqrt(_gabor_moment(b))
    return jnp.where(norm > 0, norm, 1)


def _gabor_mean(c: Array, across: Array, a: Array, b: Array) -> Array:
    deep = 1 + 2 * (a + b) + 4 * across
    return jnp.exp(-(a + b + 4 * across) / (2 * deep)) * jnp.sinh(c / deep) / jnp.sqrt(deep)


def _gabor_top(a: Array, b: Array) -> Array:
    return _gabor_mean(squares(a, b)[1], jnp.zeros_like(a), a, b) / _gabor_norm(a, b)


def _gabor_lost(a: Array, b: Array, w: Array, v: Array) -> Array:
    """1 - E(ρ)/E(1) by the logarithms of its factors, each of which falls."""
    root, low = squares(a, b)[1], 1 + 2 * (a + b)
    added = 4 * root * root * w * v
    deep = low + added
    x, x0 = root * ((v - w) / 2) / deep, root / low
    fall = (root * added + root * w * low) / (deep * low)  # x0 - x
    outer = -jnp.log1p(added / low) / 2 - added * (1 + a + b) / (2 * deep * low)
    inner = 2 * jnp.cosh((x + x0) / 2) * jnp.sinh(fall / 2) / jnp.where(x0 > 0, jnp.sinh(x0), 1)
    lost = -jnp.expm1(outer) + jnp.exp(outer) * inner
    return jnp.where(x0 > 0, _gabor_top(a, b) * lost, w)


def _gabor_kept(a: Array, b: Array, w: Array, v: Array) -> Array:
    return _gabor_lost(a, b, v, w)


def _gabor_slope(a: Array, b: Array, w: Array, v: Array) -> Array:
    """By Price's theorem, the derivative of E φφ in the covariance."""
    root = squares(a, b)[1]
    c, across = root * ((v - w) / 2), root * root * w * v
    shape = jnp.broadcast_shapes(c.shape, a.shape, b.shape)
    c, across = jnp.broadcast_to(c, shape), jnp.broadcast_to(across, shape)
    return jax.jvp(lambda c, across: _gabor_mean(c, across, a, b), (c, across), (jnp.ones_like(c), -2 * c))[1]


GABOR = kind_of(
    "gabor",
    lambda x: jnp.exp(-x * x) * jnp.sin(x),
    lambda x: jnp.exp(-x * x) * (jnp.cos(x) - 2 * x * jnp.sin(x)),
    Form(_gabor_moment, _gabor_top, _gabor_lost, _gabor_kept, _gabor_slope),
    odd=True,
    numbers_per_pair=160,
)


def _no_function(*_: Any) -> Array:
    raise fail("an activation with values", "exp_normalized, which is a kernel only", "use infinite.kernel or infinite.gram")


def _exp_normalized_dual(a: Array, b: Array, w: Array, v: Array, gamma: Any, shift: Any) -> Dual:
    minus = -jnp.expm1(-gamma * w)
    return Dual(minus, 2 - minus, gamma * jnp.exp(gamma * (1 + shift) - gamma * w))


# k = √(ab) exp(γ(ρ + shift)), no random features (Shankar et al. 2020, section 4)
EXP_NORMALIZED = Kind(
    "exp_normalized",
    _no_function,
    _no_function,
    lambda q, gamma, shift: q * jnp.exp(gamma * (1 + shift)),
    _exp_normalized_dual,
    parameters=(("gamma", 1.0), ("shift", -1.0)),
    finite=False,
    numbers_per_pair=16,
)
