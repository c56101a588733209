"""Kernels of one pair of points from a spec in many digits, straight from the recursion and independent of the library's layers."""

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np

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
        return mpmath.mpf(0), mpmath.mpf(1) / 4
    sine, cosine, angle = _sine_cosine_angle(a, c, b)
    away = mpmath.pi - angle
    return mpmath.sqrt(a * b) * (sine + away * cosine) / (2 * mpmath.pi), away / (2 * mpmath.pi)


def _erf(a: Number, c: Number, b: Number) -> tuple[Number, Number]:
    """(E φφ, E φ'φ') of erf."""
    first, second = 1 + 2 * a, 1 + 2 * b
    value = mpmath.asin(2 * c / mpmath.sqrt(first * second)) * 2 / mpmath.pi
    return value, 4 / mpmath.pi / mpmath.sqrt(first * second - 4 * c * c)


def _identity(a: Number, c: Number, b: Number) -> tuple[Number, Number]:
    """(E φφ, E φ'φ') of x."""
    return c, mpmath.mpf(1)


ACTIVATIONS: dict[str, Callable[..., Expectations]] = {
    "Relu": lambda do_stabilize=False: _relu,
    "Erf": lambda: _erf,
    "Identity": lambda: _identity,
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
    return all(name == "Dense" or name in ACTIVATIONS for name, _ in spec)


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
