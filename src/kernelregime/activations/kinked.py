"""Activations of two slopes or two values that meet at 0, and powers of ReLU: closed-form duals in the angle θ."""

import math
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from kernelregime._checks import integer
from kernelregime.activations.angles import acute, angle, nearer, safe_sqrt
from kernelregime.activations.record import Dual, Kind
from kernelregime.activations.series import legendre


def two_slopes(a: Array, b: Array, w: Array, v: Array, below: Any, above: Any, at_zero: Any) -> Dual:
    """The dual of φ(x) = below·min(x, 0) + above·max(x, 0), from the arc-cosine kernels (Cho and Saul 2009, eqs 3-6).

    ρ' = cos θ + κ (sin θ - θ cos θ)/π with κ = (above - below)²/(above² + below²), and
    E φ'φ' = ((above² + below²)(π - θ) + 2 above·below θ)/(2π); `at_zero`², the slope a network has there, where a unit is exactly 0.
    """
    squares = above * above + below * below
    kappa = (above - below) ** 2 / squares
    # with η the nearer of θ and π - θ: beyond π/2, sin θ - θ cos θ = π cos η + sin η - η cos η
    eta, excess = acute(nearer(w, v))
    near = w - kappa * excess / jnp.pi
    far = kappa * (1 - v + excess / jnp.pi) + v
    # the same from 2, for an even φ: what is left when κ cos η is taken from κ
    beyond = (2 - kappa) + (kappa - 1) * v - kappa * excess / jnp.pi
    sharp = w <= v
    theta, supplement = jnp.where(sharp, eta, jnp.pi - eta), jnp.where(sharp, jnp.pi - eta, eta)
    slope = (squares * supplement + 2 * above * below * theta) / (2 * jnp.pi)
    slope = jnp.where((a == 0) | (b == 0), at_zero * at_zero, slope)
    return Dual(jnp.where(sharp, near, beyond), jnp.where(sharp, 2 - near, far), slope)


def _relu_dual(a: Array, b: Array, w: Array, v: Array) -> Dual:
    """`two_slopes` of 0 and 1, where most terms vanish."""
    eta, excess = acute(nearer(w, v))
    sharp = w <= v
    minus = jnp.where(sharp, w, 1) - excess / jnp.pi
    slope = jnp.where((a == 0) | (b == 0), 0, jnp.where(sharp, jnp.pi - eta, eta) / (2 * jnp.pi))
    return Dual(minus, 2 - minus, slope)


RELU = Kind(
    "relu",
    function=jax.nn.relu,
    derivative=lambda x: jnp.heaviside(x, jnp.asarray(0.5, x.dtype)),
    second_moment=lambda q: q / 2,
    dual=_relu_dual,
    kinks=(0.0,),
    homogeneous=True,
    nonnegative=True,
)


def _abrelu(x: Array, a: Any, b: Any) -> Array:
    return a * jnp.minimum(x, 0) + b * jnp.maximum(x, 0)


def _abrelu_slope(x: Array, a: Any, b: Any) -> Array:
    return a + (b - a) * jnp.heaviside(x, jnp.asarray(0.5, x.dtype))


def _abrelu_dual(p: Array, q: Array, w: Array, v: Array, a: Any, b: Any) -> Dual:
    return two_slopes(p, q, w, v, a, b, (a + b) / 2)


ABRELU = Kind(
    "abrelu",
    function=_abrelu,
    derivative=_abrelu_slope,
    second_moment=lambda q, a, b: (a * a + b * b) / 2 * q,
    dual=_abrelu_dual,
    parameters=(("a", -1.0), ("b", 1.0)),
    kinks=(0.0,),
    homogeneous=True,
)

LEAKY_RELU = Kind(
    "leaky_relu",
    function=lambda x, alpha: _abrelu(x, alpha, 1.0),
    derivative=lambda x, alpha: _abrelu_slope(x, alpha, 1.0),
    second_moment=lambda q, alpha: (alpha * alpha + 1) / 2 * q,
    dual=lambda p, q, w, v, alpha: _abrelu_dual(p, q, w, v, alpha, 1.0),
    parameters=(("alpha", 0.01),),
    kinks=(0.0,),
    homogeneous=True,
)

ABS = Kind(
    "abs",
    function=jnp.abs,
    derivative=jnp.sign,
    second_moment=lambda q: q,
    dual=lambda a, b, w, v: two_slopes(a, b, w, v, -1.0, 1.0, 0.0),
    kinks=(0.0,),
    homogeneous=True,
    nonnegative=True,
)

IDENTITY = Kind(
    "identity",
    function=lambda x: x,
    derivative=jnp.ones_like,
    second_moment=lambda q: q,
    dual=lambda a, b, w, v: Dual(w, v, jnp.ones_like(w)),
    homogeneous=True,
    odd=True,
)


def _sign_dual(a: Array, b: Array, w: Array, v: Array) -> Dual:
    """ρ' = 1 - 2θ/π; φ' is 0 wherever it exists."""
    return Dual(2 / jnp.pi * angle(w, v), 2 / jnp.pi * angle(v, w), jnp.zeros_like(w))


SIGN = Kind(
    "sign",
    function=jnp.sign,
    derivative=jnp.zeros_like,
    second_moment=lambda q: jnp.where(q > 0, jnp.ones_like(q), 0),
    dual=_sign_dual,
    kinks=(0.0,),
    odd=True,
)


def _integral(degree: int, theta: Array, integrand: Any) -> Array:
    """∫_0^θ of `integrand`, a trigonometric polynomial, one node after another so that no array of nodes and pairs is formed."""
    nodes, weights = (jnp.asarray(part, theta.dtype) for part in legendre(24 + 2 * degree))

    def step(total: Array, rule: tuple[Array, Array]) -> tuple[Array, None]:
        return total + rule[1] * integrand(rule[0] * theta), None

    return theta * jax.lax.scan(step, jnp.zeros_like(theta), (nodes, weights))[0]


def _overlap(degree: int, w: Array, v: Array) -> Array:
    """J_d(θ) ∝ ∫ (cos²s - w/2)^d ds over |s| < (π - θ)/2."""
    return 2 * _integral(degree, angle(v, w) / 2, lambda s: (jnp.cos(s) ** 2 - w / 2) ** degree)


def _overlap_gap(degree: int, w: Array, v: Array) -> Array:
    """J_d(0) - J_d(θ) as a sum of positive terms."""
    lost = _integral(degree, angle(w, v) / 2, lambda y: jnp.sin(y) ** (2 * degree))

    def difference(s: Array) -> Array:  # x^d - (x - h)^d over h
        x = jnp.cos(s) ** 2
        return sum((x**i * (x - w / 2) ** (degree - 1 - i) for i in range(degree)), jnp.zeros_like(x))

    return 2 * lost + w * _integral(degree, angle(v, w) / 2, difference)


def _power_dual(degree: int, a: Array, b: Array, w: Array, v: Array) -> Dual:
    """Arc-cosine kernels of order d (Cho and Saul 2009, eq. 4), by the angle that both half-planes share."""
    whole = math.pi * math.factorial(2 * degree) / (4**degree * math.factorial(degree) ** 2)
    gap = _overlap_gap(degree, w, v) / whole
    if degree == 0:
        return Dual(gap, 2 - gap, jnp.zeros_like(gap))
    below = degree - 1
    constant = degree**2 * 2**below * math.factorial(below) / (2 * math.pi)
    slope = constant * (safe_sqrt(a) * safe_sqrt(b)) ** below * _overlap(below, w, v)
    return Dual(gap, 2 - gap, jnp.where((a == 0) | (b == 0), 0, slope))


def rectified_monomial(degree: int) -> Kind:
    """φ(x) = x^degree for x > 0, else 0 (degree 0: the step)."""
    return _rectified_monomial(integer("degree", degree, least=0))


@lru_cache(maxsize=16)
def _rectified_monomial(d: int) -> Kind:
    moment = math.prod(range(2 * d - 1, 0, -2)) / 2
    return Kind(
        f"rectified_monomial(degree={d})",
        function=lambda x: jnp.where(x > 0, x**d, 0),
        derivative=lambda x: jnp.where(x > 0, d * x ** max(d - 1, 0), 0),
        second_moment=lambda q: moment * q**d if d else jnp.where(q > 0, jnp.full_like(q, moment), 0),
        dual=partial(_power_dual, d),
        kinks=(0.0,) if d < 2 else (),
        homogeneous=d == 1,
        maker=(rectified_monomial, (d,)),
        numbers_per_pair=16,
    )
