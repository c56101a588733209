"""Exponentials, Gaussians and Gabor functions, with elementary duals, and the normalized Gaussian kernel."""

import math
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from kernelregime._checks import fail
from kernelregime.activations.angles import magnitude, nearer, safe_sqrt
from kernelregime.activations.forms import alike, divided, error_of, first_where, squares
from kernelregime.activations.record import Dual, Kind
from kernelregime.activations.series import horner

# exp(a, b): φ(x) = a exp(bx). E φφ = a² exp(b²S/2).


def _exp_moment(q: Array, a: Any, b: Any) -> Array:
    return a * a * jnp.exp(2 * b * b * q)


def _exp_dual(p: Array, q: Array, w: Array, v: Array, a: Any, b: Any) -> Dual:
    low, root = (b * b * part for part in squares(p, q))
    minus = -jnp.expm1(-low / 2 - root * w)
    moments = _exp_moment(p, a, b), _exp_moment(q, a, b)
    return Dual(minus, 2 - minus, (a * b) ** 2 * jnp.exp(low / 2 + root * v), error_of(*moments), moments)


EXP = Kind(
    "exp",
    lambda x, a, b: a * jnp.exp(b * x),
    lambda x, a, b: a * b * jnp.exp(b * x),
    _exp_moment,
    _exp_dual,
    parameters=(("a", 1.0), ("b", 1.0)),
)


# gaussian(a, b): φ(x) = a exp(bx²), with E φ² finite while P = 1 - 4bp > 0. E φφ = a²/√D with D = (P + Q)/2 + 4b²pq(1 - ρ²).


def _gaussian_moment(q: Array, a: Any, b: Any) -> Array:
    left = 1 - 4 * b * q
    return jnp.where(left > 0, a * a / jnp.sqrt(jnp.where(left > 0, left, 1)), jnp.inf)


def _gaussian_dual(p: Array, q: Array, w: Array, v: Array, a: Any, b: Any) -> Dual:
    low, root = squares(1 - 4 * b * p, 1 - 4 * b * q, 4 * b * (q - p))  # of P and Q
    turned = 4 * (b * p) * (b * q) * (w * v)
    over = divided(low / 2 + turned, root)  # D/√(PQ) - 1
    deep = jnp.sqrt(1 + over)
    minus = over / (deep * (1 + deep))
    slope = (2 * a * b) ** 2 * squares(p, q)[1] * ((v - w) / 2) / jnp.sqrt(jnp.where(root > 0, root, 1) * (1 + over)) ** 3
    moments = _gaussian_moment(p, a, b), _gaussian_moment(q, a, b)
    return Dual(minus, 2 - minus, slope, error_of(*moments), moments)


GAUSSIAN = Kind(
    "gaussian",
    lambda x, a, b: a * jnp.exp(b * x * x),
    lambda x, a, b: 2 * a * b * x * jnp.exp(b * x * x),
    _gaussian_moment,
    _gaussian_dual,
    parameters=(("a", 1.0), ("b", -1.0)),
)


# gabor: φ(x) = exp(-x²) sin x. With D = (A + B)/2 + 4ab(1 - ρ²) where A = 1 + 4a, B = 1 + 4b, and x = c/D,
# E φφ = exp(-1/2 + (1 + a + b)/(2D)) sinh(x)/√D: at a = b = c, exp(-y) sinh(y)/√A with y = a/A.


def _gabor_moment(q: Array) -> Array:
    deep = 1 + 4 * q
    return jnp.exp(-q / deep) * _sinh(q / deep) / jnp.sqrt(deep)


def _sinh(x: Array) -> Array:
    """The hyperbolic sine for |x| <= 1/2."""
    return x * horner([1 / math.factorial(2 * k + 1) for k in range(7)], x * x)


def _gabor_dual(a: Array, b: Array, w: Array, v: Array) -> Dual:
    """1 - ρ'² = (sinh y sinh z - sinh² x + (1 - exp(-L)) sinh² x)/(sinh y sinh z), with exp(L) the squared ratio of the other factors."""
    up_a, up_b, root = 1 + 4 * a, 1 + 4 * b, safe_sqrt(a) * safe_sqrt(b)
    middle, delta, product = 1 + 2 * (a + b), 2 * (a - b), up_a * up_b
    turned = 4 * (root * root) * (w * v)
    deep = middle + turned
    delta2 = delta * delta
    log = (jnp.log1p((turned * (turned + 2 * middle) + delta2) / product) + (turned + (middle * turned + delta2) / product) / deep) / 2
    y, z, x = a / up_a, b / up_b, root * (magnitude(v - w) / 2) / deep
    bent = divided(delta2, 2 * (a + b) + 4 * root)  # 2(a + b) - 4√(ab)
    # (y + z)/2 - x, of which the first term is what is left at ρ = 1
    short = (product * bent - delta2) / (4 * product * middle)
    short = short + root * (turned + nearer(w, v) * middle) / (middle * deep)
    cross, split, both = _sinh(x) ** 2, _sinh(delta / (4 * product)) ** 2, _sinh(y) * _sinh(z)
    lost = _sinh((y + z) / 2 + x) * _sinh(short) - split
    silent = both == 0
    sine2 = divided(lost - jnp.expm1(-log) * cross, both)
    rho = jnp.exp(-log / 2) * _sinh(x) / jnp.sqrt(jnp.where(silent, 1, both))
    small = jnp.where(alike(a, b), sine2 / (1 + rho), 1 - rho)
    minus, plus = first_where(w <= v, small, 1 + rho)
    # by Price's theorem, the derivative of E φφ in c
    c = root * ((v - w) / 2)
    bend = 8 * c / deep * ((1 + a + b) / deep + 1) / 2
    signed = jnp.where(w <= v, x, -x)
    change = _sinh(signed) * bend + jnp.sqrt(1 + cross) * (1 + 8 * c * c / deep) / deep
    slope = jnp.exp((1 + a + b) / (2 * deep) - 0.5) / jnp.sqrt(deep) * change
    return Dual(jnp.where(silent, w, minus), jnp.where(silent, v, plus), slope)


GABOR = Kind(
    "gabor",
    lambda x: jnp.exp(-x * x) * jnp.sin(x),
    lambda x: jnp.exp(-x * x) * (jnp.cos(x) - 2 * x * jnp.sin(x)),
    _gabor_moment,
    _gabor_dual,
    odd=True,
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
