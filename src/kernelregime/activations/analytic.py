"""erf, GELU, sine, cosine and RBF features: activations with elementary duals."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from kernelregime.activations.angles import magnitude, nearer
from kernelregime.activations.forms import Means, alike, arcs, first_where, squares
from kernelregime.activations.record import Dual, Kind

# erf(a, b, c): φ(x) = a erf(bx) + c. E φφ = a² (2/π) arcsin(2c/√((1+2p)(1+2q))) + c² (Williams 1997, eq. 11) with p, q the variances of bx.


def _erf_moment(q: Array, a: Any, b: Any, c: Any) -> Array:
    x = b * b * q
    return a * a * (2 / jnp.pi) * jnp.arctan2(2 * x, jnp.sqrt(1 + 4 * x)) + c * c


def _erf_dual(p: Array, q: Array, w: Array, v: Array, a: Any, b: Any, c: Any) -> Dual:
    found, size, near = arcs(p, q, w, v, b * b), a * a / jnp.pi, w <= v
    moments = _erf_moment(p, a, b, c), _erf_moment(q, a, b, c)
    apart, across = first_where(near, found.lost, 2 * found.total - found.lost)
    product = 2 * size * jnp.where(near, found.beta, -found.beta) + c * c
    means = Means(size * apart, size * across + 2 * c * c, product, 2 * size * found.change)
    minus, plus = means.correlations(alike(p, q), moments, w, v)
    return Dual(minus, plus, 4 / jnp.pi * (a * b) ** 2 / found.deep, squares=moments)


def _erf_derivative(x: Array, a: Any, b: Any, c: Any) -> Array:
    return a * b * (2 / math.sqrt(math.pi)) * jnp.exp(-((b * x) ** 2))


ERF = Kind(
    "erf",
    lambda x, a, b, c: a * jax.lax.erf(b * x) + c,
    _erf_derivative,
    _erf_moment,
    _erf_dual,
    parameters=(("a", 1.0), ("b", 1.0), ("c", 0.0)),
)
# erf fitted to the logistic function
SIGMOID_LIKE_SCALE = 1 / 2.4020563531719796
SIGMOID_LIKE = Kind(
    "sigmoid_like",
    lambda x: 0.5 * jax.lax.erf(SIGMOID_LIKE_SCALE * x) + 0.5,
    lambda x: _erf_derivative(x, 0.5, SIGMOID_LIKE_SCALE, 0.5),
    lambda q: _erf_moment(q, 0.5, SIGMOID_LIKE_SCALE, 0.5),
    lambda a, b, w, v: _erf_dual(a, b, w, v, 0.5, SIGMOID_LIKE_SCALE, 0.5),
)


# GELU: φ(x) = x Φ(x). With D² = (1+a)(1+b) - c², β = arcsin(c/√((1+a)(1+b))) and G = ab + c²(1/(1+a) + 1/(1+b) - 1), by Stein's lemma,
# E φφ = c/4 + (cβ + G/D)/(2π) (the same as Tsuchida et al. 2021, appendix). At a = b = c, G/D = 2a²/((1+a)√(1+2a)).


def _gelu_moment(q: Array) -> Array:
    deep = jnp.sqrt(1 + 2 * q)
    return q / 4 + (q * jnp.arctan2(q, deep) + 2 * q * (q / (1 + q) / deep)) / (2 * jnp.pi)


def _gelu_dual(a: Array, b: Array, w: Array, v: Array) -> Dual:
    found = arcs(a, b, w, v, 0.5)
    low, root = squares(a, b)
    # c/4 is odd in ρ and the rest even: that is taken at |ρ|
    part, sine2 = magnitude(v - w) / 2, w * v  # |ρ| and 1 - ρ²
    size, gap = root * part, low / 2 + root * nearer(w, v)  # |c| and (a + b)/2 - |c|
    inverse_a, inverse_b = 1 / (1 + a), 1 / (1 + b)
    share, base = inverse_a + inverse_b, jnp.sqrt(1 + a + b)
    # squares of large variances leave the range of floats: G/D by factors that do not
    over = 1 / found.deep
    even = root * (sine2 + share * part * part) * (root * over)
    lost_arc = (found.total * gap + size * found.lost) / 2 + (a - b) * found.change / 4  # mean of a α(a), b α(b) less |c|β
    # G/D at |ρ| = 1 less G/D
    lost_tail = root * sine2 * (root * over) * (share * (root / base) * (root / (base + found.deep)) - 1 + share)
    mean_tail, change_tail = _gelu_tail(a, b, inverse_a, inverse_b, base)
    lost = (lost_arc + lost_tail + mean_tail) / (2 * jnp.pi)
    moments = _gelu_moment(a), _gelu_moment(b)
    apart, across = low / 8 + root * w / 4 + lost, low / 8 + root * v / 4 + (moments[0] + moments[1] - (a + b) / 4 - lost)
    change = (a - b) / 4 + (((a - b) * found.total + (a + b) * found.change) / 2 + change_tail) / (2 * jnp.pi)
    c, beta = root * ((v - w) / 2), jnp.where(w <= v, found.beta, -found.beta)
    mean = c / 4 + (c * beta + even) / (2 * jnp.pi)
    minus, plus = Means(apart, across, mean, change).correlations(alike(a, b), moments, w, v)
    slope = 0.25 + (beta + c * over * (2 * share + (share * c * (c * over) - (1 + a + b) * over) * over)) / (2 * jnp.pi)
    return Dual(minus, plus, slope, squares=moments)


def _gelu_tail(a: Array, b: Array, inverse_a: Array, inverse_b: Array, base: Array) -> tuple[Array, Array]:
    """(g(a) + g(b))/2 - g(a, b) and g(a) - g(b), where g = G/D at ρ = 1: sums of products of a - b.

    g(a) = 2ah/X with h = a/(1+a) and X = √(1+2a); g(a, b) = (ah(b) + bh(a))/√(1+a+b).
    """
    up_a, up_b = jnp.sqrt(1 + 2 * a), jnp.sqrt(1 + 2 * b)
    one, other = 1 / up_a, 1 / up_b
    sigma, delta = up_a + up_b, 2 * (a - b) / (up_a + up_b)
    total = (a + b) * (a * inverse_a + b * inverse_b)
    twist = (a - b) * ((a - b) * (inverse_a * inverse_b))  # (a - b)(h(a) - h(b))
    change = (a - b) * (a * inverse_a * inverse_b + b * inverse_b)  # ah(a) - bh(b)
    half, level, tilt = (one + other) / 2, 1 / base, -delta * (one * other)
    steep = (delta * one) * (delta * other) * (3 * sigma * sigma - delta * delta)
    rest = steep / 8 * level / (sigma * base + 2 * up_a * up_b)  # half - level
    return total * rest / 2 + twist * (half + level) / 2 + tilt * change / 2, 2 * half * change + tilt * (total + twist) / 2


def _normal_cdf(x: Array) -> Array:
    return (1 + jax.lax.erf(x / math.sqrt(2))) / 2


GELU = Kind(
    "gelu",
    lambda x: x * _normal_cdf(x),
    lambda x: _normal_cdf(x) + x * jnp.exp(-x * x / 2) / math.sqrt(2 * math.pi),
    _gelu_moment,
    _gelu_dual,
    numbers_per_pair=12,
)


# sin(a, b, c): φ(x) = a sin(bx + c). E φφ = a²/2 (exp(-b²D/2) - cos(2c) exp(-b²S/2)), D, S = E(u ∓ v)².


def _sin_moment(q: Array, a: Any, b: Any, c: Any) -> Array:
    return a * a * (jnp.sin(c) ** 2 * jnp.exp(-2 * b * b * q) - jnp.expm1(-2 * b * b * q) / 2)


def _sin_dual(p: Array, q: Array, w: Array, v: Array, a: Any, b: Any, c: Any) -> Dual:
    x, y = b * b * p, b * b * q
    low, root = (b * b * part for part in squares(p, q))  # of equal variances the difference is 0 before any product
    left, right = -jnp.expm1(-low / 2 - root * w), -jnp.expm1(-low / 2 - root * v)  # 1 - exp(-D/2), 1 - exp(-S/2)
    turn, rest, most = jnp.cos(2 * c), 2 * jnp.sin(c) ** 2, 2 * jnp.cos(c) ** 2  # cos(2c), and 1 ∓ cos(2c) to relative accuracy
    fade_x, fade_y = jnp.exp(-x), jnp.exp(-y)
    fall = -jnp.exp(-jnp.minimum(x, y)) * jnp.expm1(-b * b * jnp.abs(p - q))  # |exp(-x) - exp(-y)|
    change = turn / 2 * jnp.where(x >= y, fall, -fall) * (fade_x + fade_y)
    apart = (left * (most - turn * right) - turn * fall * fall / 2) / 2
    across = (right * (most - left) + rest * (1 + (fade_x * fade_x + fade_y * fade_y) / 2) - fall * fall / 2) / 2
    moments = _sin_moment(p, 1.0, b, c), _sin_moment(q, 1.0, b, c)
    # exp(-D/2) - exp(-S/2), from the larger of the two
    larger = jnp.where(w <= v, 1 - left, 1 - right)
    gain = -larger * jnp.expm1(-root * magnitude(v - w)) * jnp.where(w <= v, 1, -1).astype(w.dtype)
    product = (rest * (1 - right) + gain) / 2
    minus, plus = Means(apart, across, product, change).correlations(alike(p, q), moments, w, v)
    slope = (a * b) ** 2 / 2 * (most * (1 - left) - turn * gain)
    return Dual(minus, plus, slope, squares=(a * a * moments[0], a * a * moments[1]))


SIN = Kind(
    "sin",
    lambda x, a, b, c: a * jnp.sin(b * x + c),
    lambda x, a, b, c: a * b * jnp.cos(b * x + c),
    _sin_moment,
    _sin_dual,
    parameters=(("a", 1.0), ("b", 1.0), ("c", 0.0)),
)
COS = Kind(
    "cos",
    lambda x, a, b, c: a * jnp.cos(b * x + c),
    lambda x, a, b, c: -a * b * jnp.sin(b * x + c),
    lambda q, a, b, c: _sin_moment(q, a, b, c + math.pi / 2),
    lambda p, q, w, v, a, b, c: _sin_dual(p, q, w, v, a, b, c + math.pi / 2),
    parameters=(("a", 1.0), ("b", 1.0), ("c", 0.0)),
)


def _gamma_root(gamma: Any) -> Any:
    return jnp.sqrt(2 * jnp.asarray(gamma))


def _rbf_dual(a: Array, b: Array, w: Array, v: Array, gamma: Any) -> Dual:
    low, root = squares(a, b)
    minus = -jnp.expm1(-gamma * (low + 2 * root * w))
    return Dual(minus, 2 - minus, 2 * gamma * (1 - minus))


# E φφ = exp(-γ E(u - v)²) (Rahimi and Recht 2007)
RBF = Kind(
    "rbf",
    lambda x, gamma: math.sqrt(2) * jnp.sin(_gamma_root(gamma).astype(x.dtype) * x + math.pi / 4),
    lambda x, gamma: math.sqrt(2) * _gamma_root(gamma).astype(x.dtype) * jnp.cos(_gamma_root(gamma).astype(x.dtype) * x + math.pi / 4),
    lambda q, gamma: jnp.ones_like(q),
    _rbf_dual,
    parameters=(("gamma", 1.0),),
)
