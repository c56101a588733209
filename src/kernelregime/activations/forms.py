"""Correlations of features from their mean squared differences: sums in which no digits cancel.

With M(u) = E φ(u)², 1 ∓ ρ' = (½E(φ(u) ∓ φ(v))² - ½(√M(u) - √M(v))²)/√(M(u)M(v)). Each term is a square of a difference, and where a
kind gives those to relative accuracy, rounding costs 1 ∓ ρ' an ε of the squared difference of the norms.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from kernelregime.activations.angles import above_zero, arc, magnitude, safe_sqrt
from kernelregime.activations.series import horner


def squares(a: Array, b: Array, change: Array | None = None) -> tuple[Array, Array]:
    """(√a - √b)² and √a√b; `change`: a - b, where it is known better than by subtracting."""
    root_a, root_b = safe_sqrt(a), safe_sqrt(b)
    fall = divided(a - b if change is None else change, root_a + root_b)
    return fall * fall, root_a * root_b


@jax.custom_jvp
def divided(numerator: Array, denominator: Array) -> Array:
    """Their quotient, or `numerator` where the denominator is 0; derivatives form no square of a small denominator."""
    return numerator / jnp.where(denominator == 0, 1, denominator)


@divided.defjvp
def _divided_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    quotient = divided(*primals)
    return quotient, divided(tangents[0] - quotient * tangents[1], primals[1])


@jax.custom_jvp
def normalized(value: Array, one: Array, other: Array) -> Array:
    """The value over both norms, 0 over a norm of 0: of a norm the reciprocal is taken once a point. Derivatives as of `divided`."""
    return value * (1 / jnp.where(one > 0, one, jnp.inf)) * (1 / jnp.where(other > 0, other, jnp.inf))


@normalized.defjvp
def _normalized_jvp(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    (value, one, other), found = primals, normalized(*primals)
    inner = divided(tangents[0] - divided(value, one) * tangents[1], one)
    return found, jnp.where((one > 0) & (other > 0), divided(inner - found * tangents[2], other), 0)


def alike(a: Array, b: Array) -> Array:
    """Whether two variances are so near one another that 1 ∓ ρ' are better taken from differences than from E φφ itself."""
    return jnp.maximum(a, b) <= 8 * jnp.minimum(a, b)


class Means(NamedTuple):
    """Means over a pair: `apart`, `across` = ½E(φ(u) ∓ φ(v))², `product` = E φ(u)φ(v) and `change` = E φ(u)² - E φ(v)²."""

    apart: Array
    across: Array
    product: Array
    change: Array

    def correlations(self, near: Array, moments: tuple[Array, Array], w: Array, v: Array) -> tuple[Array, Array]:
        """1 ∓ ρ', from the differences where the variances are `near` one another, else from the product.

        Where φ vanishes at one of the points the correlation w, v stays.
        """
        one, other = (safe_sqrt(moment) for moment in moments)
        fall, norm = divided(self.change, one + other), one * other
        lost = fall * fall / 2
        minus = normalized(jnp.where(near, self.apart - lost, norm - self.product), one, other)
        plus = normalized(jnp.where(near, self.across - lost, norm + self.product), one, other)
        silent, small = (one == 0) | (other == 0), above_zero(jnp.where(minus <= plus, minus, plus))
        minus, plus = first_where(minus <= plus, small, 2 - small)  # the sum is 2 to the last digit
        return jnp.where(silent, w, minus), jnp.where(silent, v, plus)


def error_of(*moments: Array) -> Array:
    """The error of a closed form: 0, or infinite where a second moment is."""
    return sum(
        (jnp.max(jnp.where(jnp.isfinite(m), jnp.zeros_like(m), jnp.inf), initial=0.0) for m in moments), jnp.zeros((), moments[0].dtype)
    )


class Arcs(NamedTuple):
    """α = arcsin(2x/(1+2x)) of two points and β = arcsin(2|c|/√((1+2x)(1+2y))) of the pair, c its covariance, to relative accuracy.

    `total` = α(x) + α(y), `change` = α(x) - α(y), `lost` = α(x) + α(y) - 2β (to relative accuracy where x and y are alike),
    `beta` = β, and `deep` = √((1+2x)(1+2y) - 4c²).
    """

    total: Array
    change: Array
    lost: Array
    beta: Array
    deep: Array


def arcs(p: Array, q: Array, w: Array, v: Array, scale: Any) -> Arcs:
    """The arcs of a pair with variances x = scale·p, y = scale·q and correlation ρ.

    With X = √(1+4x): α(x) = 2 arctan X - π/2, so that sums and differences of arcs are arcs of algebraic numbers. With σ = X + Y,
    δ = X - Y, P = XY - 1, D = `deep` and s = 1 - ρ²: sin(lost/2) = 2(δ²/4 + 4xys)/(PD + 2|c|σ), all terms positive.
    """
    x, y = scale * p, scale * q
    up_x, up_y = jnp.sqrt(1 + 4 * x), jnp.sqrt(1 + 4 * y)
    alpha_x, alpha_y = jnp.arctan2(2 * x, up_x), jnp.arctan2(2 * y, up_y)
    # in units of √(1+2x) and √(1+2y): squares of large variances leave the range of floats
    rise_x, rise_y = jnp.sqrt(1 + 2 * x), jnp.sqrt(1 + 2 * y)
    unit_x, unit_y = 1 / rise_x, 1 / rise_y
    unit, share_x, share_y = unit_x * unit_y, 2 * x * (unit_x * unit_x), 2 * y * (unit_y * unit_y)
    sigma, fall = up_x + up_y, 1 + up_x * up_y
    tangent = 4 * scale * (p - q) * unit / (sigma * (fall * unit))  # of half the difference of the arcs
    delta = tangent * fall
    over_x, over_y = 4 * x / (up_x + 1), 4 * y / (up_y + 1)
    over = over_x * over_y + over_x + over_y
    root_x, root_y = safe_sqrt(x), safe_sqrt(y)
    root, apart = (root_x * unit_x) * (root_y * unit_y), magnitude(v - w)
    deep = jnp.sqrt(unit_x * unit_x + share_x * (unit_y * unit_y) + share_x * share_y * (w * v))
    # one arc a pair: lost/2 where the points are alike, else β
    near = alike(x, y)
    # both sides over √(xy): the square of a small variance leaves the range of floats
    above = normalized(delta, root_x, root_y) * (delta * unit) / 2 + 8 * root * (w * v)
    below = normalized(over, root_x, root_y) * deep + jnp.where(root > 0, apart, 0) * (sigma * unit)
    sine = jnp.where(near, divided(above, below), root * apart)
    cosine = jnp.where(near, ((sigma * unit) * deep + root * apart * (over * unit)) / 2, deep)
    inverse = 1 / (1 + cosine)
    found, total = sine * jnp.sqrt(2 * inverse) * arc(sine * sine * inverse), alpha_x + alpha_y
    # of small arcs, by its series
    series = 2 * tangent * horner([(-1.0) ** k / (2 * k + 1) for k in range(9)], tangent * tangent)
    change = jnp.where(jnp.abs(tangent) < 0.125, series, alpha_x - alpha_y)
    lost, beta = jnp.where(near, 2 * found, total - 2 * found), jnp.where(near, total / 2 - found, found)
    return Arcs(total, change, lost, beta, deep * rise_x * rise_y)


def first_where(condition: Array, one: Any, other: Any) -> tuple[Array, Array]:
    """(one, other) where `condition` holds, else (other, one)."""
    return jnp.where(condition, one, other), jnp.where(condition, other, one)
