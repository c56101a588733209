"""Angles from w = 1 - ρ and v = 1 + ρ, and roots with gradients, for dual activations that lose no digit near ρ = ±1.

For an angle η in [0, π/2] with m = 1 - cos η, η/√(2m) and (sin η - η cos η)/(m √(2m)) are power series in m with rational
coefficients and radius 2. Cut after many terms and economized over [0, 1] by Chebyshev polynomials (Lanczos 1938), they become
polynomials that are exact to rounding: no trigonometric function, and no difference of near numbers, is left.
"""

import math
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from kernelregime.activations.series import horner

_TERMS, _BITS = 72, 400  # terms of the series, the last below 1e-21 at m = 1; fixed point for coefficients to 1e55


@jax.custom_jvp
def safe_sqrt(x: Array) -> Array:
    """√x for x >= 0 with a gradient of zero, not infinity, at x = 0.

    No stand-in is rooted where x = 0: a compiler that computes x twice may find it 0 once and above it the other time.
    """
    return jnp.sqrt(jnp.where(x > 0, x, 0))


@safe_sqrt.defjvp
def _safe_sqrt_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    root = safe_sqrt(*primals)
    return root, jnp.where(root > 0, tangents[0] / (2 * jnp.where(root > 0, root, 1)), 0)


@jax.custom_jvp
def above_zero(x: Array) -> Array:
    """x, or 0 where rounding has made it negative or -0; derivatives stay those of x.

    Not by a maximum, for which 0 and -0 are one, nor by taking its negative part from x: the compiler may round each x its own way.
    """
    return jnp.where(x <= 0, 0, x)


@above_zero.defjvp
def _above_zero_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return above_zero(*primals), tangents[0]


def nearer(w: Array, v: Array) -> Array:
    """The smaller of w = 1 - ρ and v = 1 + ρ; at ρ = 0 it moves as w does, where a minimum would not move at all."""
    return jnp.where(w <= v, w, v)


def magnitude(x: Array) -> Array:
    """|x|; at 0 it moves as x does. With `nearer`, and signs from w <= v, derivatives of what is smooth in ρ are right at ρ = 0."""
    return jnp.where(x >= 0, x, -x)


@lru_cache(maxsize=4)
def _polynomials(dtype: str) -> tuple[list[float], list[float]]:
    """Coefficients in m of η/√(2m) and of (sin η - η cos η)/(m√(2m)), to a tenth of the rounding of `dtype`."""
    central = [(math.comb(2 * k, k) << _BITS) // 8**k for k in range(_TERMS)]
    arc = [c // (2 * k + 1) for k, c in enumerate(central)]
    sine = [-c // (2 * k - 1) for k, c in enumerate(central)]  # √(1 - m/2)
    excess = [sine[k] - arc[k] + arc[k - 1] for k in range(1, _TERMS)]
    accuracy = int(float(np.finfo(dtype).eps) / 10 * 2**_BITS)
    return _economized(arc, accuracy), _economized(excess, accuracy)


def _economized(series: list[int], accuracy: int) -> list[float]:
    """The polynomial with terms of highest degree taken off by multiples of T_n(2m - 1), as long as these add up to `accuracy`.

    In units of 2^-_BITS: the coefficients of T_n are large.
    """
    chebyshev = [[1], [-1, 2]]
    for n in range(2, len(series)):
        before, last = [*chebyshev[n - 2], 0, 0], [*chebyshev[n - 1], 0]
        chebyshev.append([4 * low - 2 * own - old for low, own, old in zip([0, *last], last, before, strict=False)])
    lost = 0
    while True:
        known = chebyshev[len(series) - 1]
        lost += abs(series[-1]) // known[-1]
        if lost > accuracy:
            return [c / 2**_BITS for c in series]
        series = [c - series[-1] * t // known[-1] for c, t in zip(series, known, strict=True)][:-1]


def arc(m: Array) -> Array:
    """η/√(2m) for the angle η in [0, π/2] with 1 - cos η = m."""
    return horner(_polynomials(m.dtype.name)[0], m)


def acute(m: Array) -> tuple[Array, Array]:
    """η and sin η - η cos η for the angle η in [0, π/2] with 1 - cos η = m, both to relative accuracy."""
    arc, excess = _polynomials(m.dtype.name)
    m = jnp.where(m > 1, 1, m)
    root = safe_sqrt(2 * m)
    return root * horner(arc, m), m * root * horner(excess, m)


def angle(w: Array, v: Array) -> Array:
    """θ = arccos ρ from w = 1 - ρ and v = 1 + ρ, to relative accuracy near 0 and to rounding near π."""
    near = acute(nearer(w, v))[0]
    return jnp.where(w <= v, near, jnp.pi - near)
