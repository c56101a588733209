"""(E φφ, E φ'φ') of activations with elementary duals, in many digits, from textbook formulas in the moments a, c, b."""

from collections.abc import Callable
from typing import Any

import mpmath

Number = Any
Expectations = Callable[[Number, Number, Number], tuple[Number, Number]]


def _angle(a: Number, c: Number, b: Number) -> tuple[Number, Number, Number]:
    cosine = c / mpmath.sqrt(a * b)
    sine = mpmath.sqrt(max(mpmath.mpf(0), (1 - cosine) * (1 + cosine)))
    return sine, cosine, mpmath.atan2(sine, cosine)


def erf(a: float = 1.0, b: float = 1.0, c: float = 0.0) -> Expectations:
    """a erf(bx) + c."""
    height, rate, shift = (mpmath.mpf(value) for value in (a, b, c))

    def expectations(p: Number, r: Number, q: Number) -> tuple[Number, Number]:
        x, z, y = (rate**2 * value for value in (p, r, q))
        product = (1 + 2 * x) * (1 + 2 * y)
        value = height**2 * mpmath.asin(2 * z / mpmath.sqrt(product)) * 2 / mpmath.pi + shift**2
        return value, (height * rate) ** 2 * 4 / mpmath.pi / mpmath.sqrt(product - 4 * z * z)

    return expectations


def sine(a: float = 1.0, b: float = 1.0, c: Any = 0.0) -> Expectations:
    """a sin(bx + c)."""
    height, rate, shift = (mpmath.mpf(value) for value in (a, b, c))

    def expectations(p: Number, r: Number, q: Number) -> tuple[Number, Number]:
        apart, across = (mpmath.exp(-(rate**2) * (p + q + sign * 2 * r) / 2) for sign in (-1, 1))
        turned = mpmath.cos(2 * shift) * across
        return height**2 / 2 * (apart - turned), (height * rate) ** 2 / 2 * (apart + turned)

    return expectations


def cosine(a: float = 1.0, b: float = 1.0, c: float = 0.0) -> Expectations:
    """a cos(bx + c)."""
    return sine(a, b, mpmath.mpf(c) + mpmath.pi / 2)


def rbf(gamma: float = 1.0) -> Expectations:
    """√2 sin(√(2γ) x + π/4)."""
    return sine(mpmath.sqrt(2), mpmath.sqrt(2 * mpmath.mpf(gamma)), mpmath.pi / 4)


def exponential(a: float = 1.0, b: float = 1.0) -> Expectations:
    """a exp(bx)."""
    height, rate = mpmath.mpf(a), mpmath.mpf(b)

    def expectations(p: Number, r: Number, q: Number) -> tuple[Number, Number]:
        value = height**2 * mpmath.exp(rate**2 * (p + q + 2 * r) / 2)
        return value, rate**2 * value

    return expectations


def gaussian(a: float = 1.0, b: float = -1.0) -> Expectations:
    """a exp(bx²)."""
    height, rate = mpmath.mpf(a), mpmath.mpf(b)

    def expectations(p: Number, r: Number, q: Number) -> tuple[Number, Number]:
        deep = (1 - 2 * rate * p) * (1 - 2 * rate * q) - 4 * rate**2 * r**2
        return height**2 / mpmath.sqrt(deep), (2 * height * rate) ** 2 * r / mpmath.sqrt(deep) ** 3

    return expectations


def gabor() -> Expectations:
    """exp(-x²) sin x; the slope by the derivative of the value in c (Price's theorem)."""

    def expectations(p: Number, r: Number, q: Number) -> tuple[Number, Number]:
        left = p * q - r * r
        deep, total, fall = 1 + 2 * (p + q) + 4 * left, p + q + 4 * left, -8 * r
        outer = mpmath.exp(-total / (2 * deep)) / mpmath.sqrt(deep)
        tilt = -fall / (2 * deep) - (fall * deep - total * fall) / (2 * deep**2)
        rate = 1 / deep - r * fall / deep**2
        return outer * mpmath.sinh(r / deep), outer * (tilt * mpmath.sinh(r / deep) + rate * mpmath.cosh(r / deep))

    return expectations


def sign() -> Expectations:
    """The sign of x."""

    def expectations(p: Number, r: Number, q: Number) -> tuple[Number, Number]:
        if p == 0 or q == 0:
            return mpmath.mpf(0), mpmath.mpf(0)
        return 1 - 2 * _angle(p, r, q)[2] / mpmath.pi, mpmath.mpf(0)

    return expectations


def two_slopes(a: float, b: float) -> Expectations:
    """a min(x, 0) + b max(x, 0)."""
    below, above = mpmath.mpf(a), mpmath.mpf(b)

    def expectations(p: Number, r: Number, q: Number) -> tuple[Number, Number]:
        if p == 0 or q == 0:
            return mpmath.mpf(0), ((below + above) / 2) ** 2
        sin, cos, theta = _angle(p, r, q)
        same, other = sin + (mpmath.pi - theta) * cos, sin - theta * cos
        value = mpmath.sqrt(p * q) * ((below**2 + above**2) * same - 2 * below * above * other)
        slope = (below**2 + above**2) * (mpmath.pi - theta) + 2 * below * above * theta
        return value / (2 * mpmath.pi), slope / (2 * mpmath.pi)

    return expectations


def rectified_monomial(degree: int) -> Expectations:
    """x^degree for x > 0, by the arc-cosine kernels of Cho and Saul (2009), eqs 5-7 and order 3."""

    def arc(n: int, sin: Number, cos: Number, theta: Number) -> Number:
        away = mpmath.pi - theta
        return (
            away,
            sin + away * cos,
            3 * sin * cos + away * (1 + 2 * cos**2),
            15 * sin - 11 * sin**3 + away * (9 * cos + 6 * cos**3),
        )[n]

    def expectations(p: Number, r: Number, q: Number) -> tuple[Number, Number]:
        if p == 0 or q == 0:
            return mpmath.mpf(0), mpmath.mpf(0)
        geometry, root = _angle(p, r, q), mpmath.sqrt(p * q)
        slope = degree**2 * root ** (degree - 1) * arc(degree - 1, *geometry) if degree else mpmath.mpf(0)
        return root**degree * arc(degree, *geometry) / (2 * mpmath.pi), slope / (2 * mpmath.pi)

    if degree not in range(4):
        raise KeyError(degree)
    return expectations


def gelu() -> Expectations:
    """x Φ(x); the slope by the derivative of the value in c (Price's theorem)."""

    def expectations(p: Number, r: Number, q: Number) -> tuple[Number, Number]:
        product, share = (1 + p) * (1 + q), 1 / (1 + p) + 1 / (1 + q) - 1
        deep = product - r * r
        arc, g, root = mpmath.asin(r / mpmath.sqrt(product)), p * q + share * r * r, mpmath.sqrt(deep)
        value = r / 4 + (r * arc + g / root) / (2 * mpmath.pi)
        slope = mpmath.mpf(1) / 4 + (arc + r / root + 2 * share * r / root + g * r / root**3) / (2 * mpmath.pi)
        return value, slope

    return expectations


def exp_normalized(gamma: float = 1.0, shift: float = -1.0) -> Expectations:
    """√(ab) exp(γ(ρ + shift)), with γ exp(γ(ρ + shift)) in the place of E φ'φ'."""
    rate, offset = mpmath.mpf(gamma), mpmath.mpf(shift)

    def expectations(p: Number, r: Number, q: Number) -> tuple[Number, Number]:
        root = mpmath.sqrt(p * q)
        value = mpmath.exp(rate * ((r / root if root else 0) + offset))
        return root * value, rate * value

    return expectations


CLOSED_FORMS: dict[str, Callable[..., Expectations]] = {
    "ABRelu": lambda a, b, do_stabilize=False: two_slopes(a, b),
    "Abs": lambda do_stabilize=False: two_slopes(-1.0, 1.0),
    "Cos": cosine,
    "Erf": erf,
    "Exp": exponential,
    "ExpNormalized": lambda gamma=1.0, shift=-1.0, do_clip=False: exp_normalized(gamma, shift),
    "Gabor": gabor,
    "Gaussian": gaussian,
    "Gelu": lambda approximate=False: gelu(),
    "LeakyRelu": lambda alpha, do_stabilize=False: two_slopes(alpha, 1.0),
    "Rbf": rbf,
    "RectifiedMonomial": rectified_monomial,
    "Sigmoid_like": lambda: erf(0.5, 1 / mpmath.mpf("2.4020563531719796"), 0.5),
    "Sign": sign,
    "Sin": sine,
}
