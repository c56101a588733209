"""Kernels of one pair of points from a spec in many digits, straight from the recursion and independent of the library's layers."""

from collections.abc import Callable
from functools import cache
from typing import Any

import mpmath
import numpy as np

from comparison.closed_forms import CLOSED_FORMS

DIGITS = 60  # enough where depth amplifies a rounding error by 10^40

Number = Any
Moments = tuple[Number, Number, Number]  # E uu, E uv, E vv
Expectations = Callable[[Number, Number, Number], tuple[Number, Number]]


def _sine_cosine_angle(a: Number, c: Number, b: Number) -> tuple[Number, Number, Number]:
    root = mpmath.sqrt(a * b)
    cosine = c / root
    sine = mpmath.sqrt(max(mpmath.mpf(0), (1 - cosine) * (1 + cosine)))
    return sine, cosine, mpmath.atan2(sine, cosine)


def _relu(a: Number, c: Number, b: Number) -> tuple[Number, Number]:
    """(E φφ, E φ'φ') of max(x, 0)."""
    if a == 0 or b == 0:
        return mpmath.mpf(0), mpmath.mpf(0)  # φ'(0) = 0
    sine, cosine, angle = _sine_cosine_angle(a, c, b)
    away = mpmath.pi - angle
    return mpmath.sqrt(a * b) * (sine + away * cosine) / (2 * mpmath.pi), away / (2 * mpmath.pi)


def _identity(a: Number, c: Number, b: Number) -> tuple[Number, Number]:
    """(E φφ, E φ'φ') of x."""
    return c, mpmath.mpf(1)


def _sigmoid(x: Number) -> Number:
    return 1 / (1 + mpmath.exp(-x))


def _silu_slope(x: Number) -> Number:
    return _sigmoid(x) * (1 + x * (1 - _sigmoid(x)))


def _gelu(x: Number) -> Number:
    """jax.nn.gelu, which is an approximation by default."""
    return x / 2 * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf(0.044715) * x**3)))


def _gelu_slope(x: Number) -> Number:
    root, cubic = mpmath.sqrt(2 / mpmath.pi), mpmath.mpf(0.044715)
    bent = mpmath.tanh(root * (x + cubic * x**3))
    return (1 + bent) / 2 + x / 2 * (1 - bent**2) * root * (1 + 3 * cubic * x**2)


# (φ, φ') of functions of jax.nn and jax.numpy by their names there.
FUNCTIONS: dict[str, tuple[Callable[[Number], Number], Callable[[Number], Number]]] = {
    "cos": (mpmath.cos, lambda x: -mpmath.sin(x)),
    "elu": (lambda x: x if x > 0 else mpmath.expm1(x), lambda x: mpmath.exp(min(x, 0))),
    "gelu": (_gelu, _gelu_slope),
    "sigmoid": (_sigmoid, lambda x: _sigmoid(x) * _sigmoid(-x)),
    "silu": (lambda x: x * _sigmoid(x), _silu_slope),
    "sin": (mpmath.sin, mpmath.cos),
    "soft_sign": (lambda x: x / (1 + abs(x)), lambda x: 1 / (1 + abs(x)) ** 2),
    "softplus": (lambda x: mpmath.log1p(mpmath.exp(x)), _sigmoid),
    "swish": (lambda x: x * _sigmoid(x), _silu_slope),
    "tanh": (mpmath.tanh, lambda x: mpmath.sech(x) ** 2),
}


@cache
def _rule(degree: int) -> list[tuple[Number, Number]]:
    """Gauss-Hermite nodes and weights: Newton's method on H_n from the nodes in double precision, w = 2^(n-1) n! √π / (n H_(n-1)(x))²."""
    rule = []
    for start in np.polynomial.hermite.hermgauss(degree)[0]:
        node = mpmath.mpf(float(start))
        for _ in range(6):  # each doubles the digits
            node -= mpmath.hermite(degree, node) / (2 * degree * mpmath.hermite(degree - 1, node))
        below = degree * mpmath.hermite(degree - 1, node)
        rule.append((node, 2 ** (degree - 1) * mpmath.factorial(degree) * mpmath.sqrt(mpmath.pi) / below**2))
    return rule


def _quadrature(fn: str, deg: int) -> Expectations:
    """(E φφ, E φ'φ') of a function by two Gauss-Hermite rules: u = √(2a) x, v = c√(2/a) x + √(2(b - c²/a)) y."""
    function, slope = FUNCTIONS[fn]

    def expectations(a: Number, c: Number, b: Number) -> tuple[Number, Number]:
        along = c * mpmath.sqrt(2 / a) if a else mpmath.mpf(0)
        rest = mpmath.mpf(0) if c * c == a * b and a else b - c * c / (a or 1)
        across = mpmath.sqrt(2 * max(mpmath.mpf(0), rest))
        inner = _rule(deg) if across else [(mpmath.mpf(0), mpmath.sqrt(mpmath.pi))]
        values, slopes = [], []
        for x, weight in _rule(deg):
            u, points = mpmath.sqrt(2 * a) * x, [(along * x + across * y, weight * w / mpmath.pi) for y, w in inner]
            values.append(function(u) * mpmath.fsum(w * function(v) for v, w in points))
            slopes.append(slope(u) * mpmath.fsum(w * slope(v) for v, w in points))
        return mpmath.fsum(values), mpmath.fsum(slopes)

    return expectations


ACTIVATIONS: dict[str, Callable[..., Expectations]] = CLOSED_FORMS | {
    "Relu": lambda do_stabilize=False: _relu,
    "Identity": lambda: _identity,
    "ElementwiseNumerical": _quadrature,
}


class State:
    """Second moments of a pair, and its NTK; (u, v) are the two points."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        u, v = [mpmath.mpf(float(t)) for t in x], [mpmath.mpf(float(t)) for t in y]
        self.features = len(u)
        self.moments: Moments = tuple(mpmath.fdot(p, q) / len(u) for p, q in ((u, u), (u, v), (v, v)))  # type: ignore[assignment]
        self.ntk = mpmath.mpf(0)

    def dense(self, out_dim: int, W_std: float = 1.0, b_std: float | None = None, parameterization: str = "ntk", s: Any = (1, 1)) -> None:
        """z = W x + b."""
        scale, shift = mpmath.mpf(W_std) ** 2, mpmath.mpf(b_std or 0.0) ** 2
        before = self.moments[1]
        self.moments = tuple(scale * k + shift for k in self.moments)  # type: ignore[assignment]
        standard = self.features * before / s[0] + (b_std is not None)
        own = self.moments[1] if parameterization == "ntk" else standard
        self.ntk = scale * self.ntk + own
        self.features = out_dim * s[1]

    def activation(self, expectations: Expectations) -> None:
        """φ, elementwise."""
        a, c, b = self.moments
        value, slope = expectations(a, c, b)
        self.moments = (expectations(a, a, a)[0], value, expectations(b, b, b)[0])
        self.ntk = self.ntk * slope


def known(spec: list[Any]) -> bool:
    """Whether every layer of the spec can be evaluated here."""
    try:
        return all(name == "Dense" or ACTIVATIONS[name](**arguments) for name, arguments in spec)
    except (KeyError, TypeError):  # no such activation or function, or none with these arguments
        return False


def pair(spec: list[Any], x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """{"nngp": Σ(x, y), "ntk": Θ(x, y)} rounded to floats."""
    with mpmath.workdps(DIGITS):
        state = State(x, y)
        for name, arguments in spec:
            if name == "Dense":
                state.dense(**arguments)
            else:
                state.activation(ACTIVATIONS[name](**arguments))
        return {"nngp": float(state.moments[1]), "ntk": float(state.ntk)}
