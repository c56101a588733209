"""erf, GELU, sine, cosine and RBF features: activations with elementary duals."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from kernelregime.activations.angles import safe_sqrt
from kernelregime.activations.forms import Form, dual_of, kind_of, squares
from kernelregime.activations.record import Kind

# erf(a, b, c): φ(x) = a erf(bx) + c. E φφ = a² (2/π) arcsin(2c/√((1+2p)(1+2q))) + c² (Williams 1997, eq. 11) with p, q the variances of bx.


def _erf_arc(q: Array) -> Array:
    """arcsin(2q/(1+2q)), accurate for every q."""
    return jnp.arctan2(2 * q, jnp.sqrt(1 + 4 * q))


def _erf_fall(p: Array, q: Array, w: Array, v: Array) -> Array:
    """The arc at ρ = 1 less the arc at ρ, by the sine and cosine of the difference."""
    root = safe_sqrt(p) * safe_sqrt(q)
    base, product = jnp.sqrt(1 + 2 * (p + q)), root * root
    both = jnp.sqrt(1 + 2 * (p + q) + 4 * product * w * v)
    sine = 2 * root * (4 * product * w * v / (both + base) + w * base)
    return jnp.arctan2(sine, base * both + 2 * product * (v - w))


def _erf_moment(q: Array, a: Any, b: Any, c: Any) -> Array:
    return a * a * (2 / jnp.pi) * _erf_arc(b * b * q) + c * c


def _erf_norm(p: Array, q: Array, a: Any, b: Any, c: Any) -> Array:
    norm = safe_sqrt(_erf_moment(p, a, b, c)) * safe_sqrt(_erf_moment(q, a, b, c))
    return jnp.where(norm > 0, norm, 1)


def _erf_top(p: Array, q: Array, a: Any, b: Any, c: Any) -> Array:
    x, y = b * b * p, b * b * q
    arc = jnp.arctan2(2 * safe_sqrt(x) * safe_sqrt(y), jnp.sqrt(1 + 2 * (x + y)))
    return (a * a * (2 / jnp.pi) * arc + c * c) / _erf_norm(p, q, a, b, c)


def _erf_lost(p: Array, q: Array, w: Array, v: Array, a: Any, b: Any, c: Any) -> Array:
    fall = a * a * (2 / jnp.pi) * _erf_fall(b * b * p, b * b * q, w, v) / _erf_norm(p, q, a, b, c)
    silent = (_erf_moment(p, a, b, c) == 0) | (_erf_moment(q, a, b, c) == 0)
    return jnp.where(silent, w, fall)


def _erf_kept(p: Array, q: Array, w: Array, v: Array, a: Any, b: Any, c: Any) -> Array:
    return _erf_lost(p, q, v, w, a, b, c) + 2 * c * c / _erf_norm(p, q, a, b, c)


def _erf_slope(p: Array, q: Array, w: Array, v: Array, a: Any, b: Any, c: Any) -> Array:
    x, y = b * b * p, b * b * q
    return 4 / jnp.pi * (a * b) ** 2 / jnp.sqrt(1 + 2 * (x + y) + 4 * x * y * w * v)


_ERF = Form(_erf_moment, _erf_top, _erf_lost, _erf_kept, _erf_slope)


def _erf_derivative(x: Array, a: Any, b: Any, c: Any) -> Array:
    return a * b * (2 / math.sqrt(math.pi)) * jnp.exp(-((b * x) ** 2))


ERF = kind_of(
    "erf",
    lambda x, a, b, c: a * jax.lax.erf(b * x) + c,
    _erf_derivative,
    _ERF,
    parameters=(("a", 1.0), ("b", 1.0), ("c", 0.0)),
    numbers_per_pair=84,
)
# erf fitted to the logistic function
SIGMOID_LIKE_SCALE = 1 / 2.4020563531719796
SIGMOID_LIKE = Kind(
    "sigmoid_like",
    lambda x: 0.5 * jax.lax.erf(SIGMOID_LIKE_SCALE * x) + 0.5,
    lambda x: _erf_derivative(x, 0.5, SIGMOID_LIKE_SCALE, 0.5),
    lambda q: _erf_moment(q, 0.5, SIGMOID_LIKE_SCALE, 0.5),
    lambda a, b, w, v: dual_of(_ERF, a, b, w, v, 0.5, SIGMOID_LIKE_SCALE, 0.5),
    numbers_per_pair=84,
)


# GELU: φ(x) = x Φ(x). With D = (1+a)(1+b) - c², α = arcsin(c/√((1+a)(1+b))) and G = ab + c²(1/(1+a) + 1/(1+b) - 1), by Stein's lemma,
# E φφ = c/4 + (cα + G/√D)/(2π) (the same as Tsuchida et al. 2021, appendix).


def _gelu_parts(a: Array, b: Array, w: Array, v: Array) -> tuple[Array, Array, Array, Array, Array]:
    """c, α, λ = 1/(1+a) + 1/(1+b), G = ab - c² + λc² and √D at a correlation."""
    root = safe_sqrt(a) * safe_sqrt(b)
    c = root * ((v - w) / 2)
    share = 1 / (1 + a) + 1 / (1 + b)
    deep = jnp.sqrt(1 + a + b + root * root * w * v)
    return c, jnp.arctan2(c, deep), share, root * root * w * v + share * c * c, deep


def _gelu_moment(q: Array) -> Array:
    deep = jnp.sqrt(1 + 2 * q)
    return q / 4 + (q * jnp.arctan2(q, deep) + 2 * q * q / ((1 + q) * deep)) / (2 * jnp.pi)


def _gelu_norm(a: Array, b: Array) -> Array:
    norm = safe_sqrt(_gelu_moment(a)) * safe_sqrt(_gelu_moment(b))
    return jnp.where(norm > 0, norm, 1)


def _gelu_top(a: Array, b: Array) -> Array:
    c, alpha, _, g, deep = _gelu_parts(a, b, jnp.zeros_like(a), jnp.full_like(a, 2))
    return (c / 4 + (c * alpha + g / deep) / (2 * jnp.pi)) / _gelu_norm(a, b)


def _gelu_lost(a: Array, b: Array, w: Array, v: Array) -> Array:
    shape = jnp.broadcast_shapes(a.shape, b.shape, w.shape)
    c, _, share, g, deep = _gelu_parts(a, b, w, v)
    c0, alpha0, _, _, deep0 = _gelu_parts(a, b, jnp.zeros(shape, w.dtype), jnp.full(shape, 2, w.dtype))
    fall, product = c0 * w, a * b * w * v  # of c, and of -c²
    turn = jnp.arctan2(fall * deep0 + c0 * product / (deep + deep0), deep0 * deep + c0 * c)  # α0 - α
    tail = product / deep0 * (share - 1 + g / (deep * (deep + deep0)))
    lost = fall / 4 + (fall * alpha0 + c * turn + tail) / (2 * jnp.pi)
    return jnp.where((a == 0) | (b == 0), w, lost / _gelu_norm(a, b))


def _gelu_slope(a: Array, b: Array, w: Array, v: Array) -> Array:
    c, alpha, share, _, deep = _gelu_parts(a, b, w, v)
    return 0.25 + (alpha + c / deep * (2 * share + (share * c * c - (1 + a + b)) / (deep * deep))) / (2 * jnp.pi)


def _normal_cdf(x: Array) -> Array:
    return (1 + jax.lax.erf(x / math.sqrt(2))) / 2


GELU = kind_of(
    "gelu",
    lambda x: x * _normal_cdf(x),
    lambda x: _normal_cdf(x) + x * jnp.exp(-x * x / 2) / math.sqrt(2 * math.pi),
    Form(_gelu_moment, _gelu_top, _gelu_lost, None, _gelu_slope),
    numbers_per_pair=49,
)


# sin(a, b, c): φ(x) = a sin(bx + c). E φφ = a²/2 (exp(-b²D/2) - cos(2c) exp(-b²S/2)), D, S = E(u ∓ v)².


def _sin_moment(q: Array, a: Any, b: Any, c: Any) -> Array:
    return a * a * (jnp.sin(c) ** 2 * jnp.exp(-2 * b * b * q) - jnp.expm1(-2 * b * b * q) / 2)


def _sin_norm(p: Array, q: Array, a: Any, b: Any, c: Any) -> Array:
    """√(moments) over a²/2."""
    norm = safe_sqrt(_sin_moment(p, 1.0, b, c)) * safe_sqrt(_sin_moment(q, 1.0, b, c))
    return 2 * jnp.where(norm > 0, norm, 1)


def _sin_top(p: Array, q: Array, a: Any, b: Any, c: Any) -> Array:
    low, root = squares(b * b * p, b * b * q)
    return jnp.exp(-low / 2) * (2 * jnp.sin(c) ** 2 * jnp.exp(-2 * root) - jnp.expm1(-2 * root)) / _sin_norm(p, q, a, b, c)


def _sin_lost(p: Array, q: Array, w: Array, v: Array, a: Any, b: Any, c: Any) -> Array:
    low, root = squares(b * b * p, b * b * q)
    inner = 2 * jnp.cos(c) ** 2 * jnp.exp(-root * v) - jnp.expm1(-root * v)
    silent = (_sin_moment(p, 1.0, b, c) == 0) | (_sin_moment(q, 1.0, b, c) == 0)
    return jnp.where(silent, w, -jnp.expm1(-root * w) * jnp.exp(-low / 2) * inner / _sin_norm(p, q, a, b, c))


def _sin_kept(p: Array, q: Array, w: Array, v: Array, a: Any, b: Any, c: Any) -> Array:
    low, root = squares(b * b * p, b * b * q)
    rise = -jnp.expm1(-root * v) * (1 + jnp.exp(-root * w))
    shift = 2 * jnp.sin(c) ** 2 * (jnp.exp(-2 * root) + jnp.exp(-root * v))
    silent = (_sin_moment(p, 1.0, b, c) == 0) | (_sin_moment(q, 1.0, b, c) == 0)
    return jnp.where(silent, v, jnp.exp(-low / 2) * (rise + shift) / _sin_norm(p, q, a, b, c))


def _sin_slope(p: Array, q: Array, w: Array, v: Array, a: Any, b: Any, c: Any) -> Array:
    low, root = squares(b * b * p, b * b * q)
    # exp(-root v) - exp(-root w), from the larger of the two
    fall = jnp.exp(-root * jnp.minimum(w, v)) * jnp.expm1(-root * jnp.abs(v - w)) * jnp.where(w <= v, 1, -1).astype(w.dtype)
    return (a * b) ** 2 / 2 * jnp.exp(-low / 2) * (2 * jnp.cos(c) ** 2 * jnp.exp(-root * w) + jnp.cos(2 * c) * fall)


_SIN = Form(_sin_moment, _sin_top, _sin_lost, _sin_kept, _sin_slope)
SIN = kind_of(
    "sin",
    lambda x, a, b, c: a * jnp.sin(b * x + c),
    lambda x, a, b, c: a * b * jnp.cos(b * x + c),
    _SIN,
    parameters=(("a", 1.0), ("b", 1.0), ("c", 0.0)),
    numbers_per_pair=73,
)


def _shifted(form: Form) -> Form:
    """The form of φ(x) = a cos(bx + c) from that of a sin."""

    def turned(part: Callable[..., Array]) -> Callable[..., Array]:
        return lambda *given: part(*given[:-1], given[-1] + math.pi / 2)

    assert form.kept is not None
    return Form(*(turned(part) for part in (form.moment, form.top, form.lost, form.kept, form.slope)))


COS = kind_of(
    "cos",
    lambda x, a, b, c: a * jnp.cos(b * x + c),
    lambda x, a, b, c: -a * b * jnp.sin(b * x + c),
    _shifted(_SIN),
    parameters=(("a", 1.0), ("b", 1.0), ("c", 0.0)),
    numbers_per_pair=73,
)


def _gamma_root(gamma: Any) -> Any:
    return jnp.sqrt(2 * jnp.asarray(gamma))


def _rbf_form(part: Callable[..., Array]) -> Callable[..., Array]:
    return lambda *given: part(*given[:-1], math.sqrt(2), _gamma_root(given[-1]).astype(given[0].dtype), math.pi / 4)


# E φφ = exp(-γ E(u - v)²) (Rahimi and Recht 2007)
RBF = kind_of(
    "rbf",
    lambda x, gamma: math.sqrt(2) * jnp.sin(_gamma_root(gamma).astype(x.dtype) * x + math.pi / 4),
    lambda x, gamma: math.sqrt(2) * _gamma_root(gamma).astype(x.dtype) * jnp.cos(_gamma_root(gamma).astype(x.dtype) * x + math.pi / 4),
    Form(_rbf_form(_sin_moment), _rbf_form(_sin_top), _rbf_form(_sin_lost), None, _rbf_form(_sin_slope)),
    parameters=(("gamma", 1.0),),
    numbers_per_pair=16,
)
