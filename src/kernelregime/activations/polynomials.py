"""Polynomials: finite Hermite series, exact at every variance."""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from kernelregime._checks import array, integer
from kernelregime.activations.angles import nearer, safe_sqrt
from kernelregime.activations.record import Dual, Kind, Nonlinearity


@lru_cache(maxsize=32)
def _hermite_of_powers(degree: int) -> list[list[float]]:
    """H (degree+1, degree+1) with z^k = Σ_n H[n, k] h_n(z), h_n orthonormal under the standard normal."""
    out = np.zeros((degree + 1, degree + 1))
    for k in range(degree + 1):
        for n in range(k % 2, k + 1, 2):
            j = (k - n) // 2
            out[n, k] = math.factorial(k) / (2**j * math.factorial(j) * math.sqrt(math.factorial(n)))
    return out.tolist()  # numbers of NumPy would turn float32 into float64


def _coefficients(powers: Sequence[Any], q: Array) -> list[Array]:
    """a_n with Σ_k powers_k (√q z)^k = Σ_n a_n h_n(z), elementwise in q."""
    root, table = safe_sqrt(q), _hermite_of_powers(len(powers) - 1)
    scaled = [c * root**k if k else c + jnp.zeros_like(q) for k, c in enumerate(powers)]
    return [sum((table[n][k] * scaled[k] for k in range(n, len(powers), 2)), jnp.zeros_like(q)) for n in range(len(powers))]


def _slopes(powers: Sequence[Any]) -> tuple[Any, ...]:
    """The coefficients of the derivative."""
    return tuple(k * c for k, c in enumerate(powers))[1:] or (0.0,)


def _value(powers: Sequence[Any], x: Array) -> Array:
    total = jnp.zeros_like(x)
    for c in reversed(powers):
        total = total * x + c
    return total


def _second_moment(powers: Sequence[Any], q: Array) -> Array:
    return sum((c * c for c in _coefficients(powers, q)), jnp.zeros_like(q))


def _dual(powers: Sequence[Any], a: Array, b: Array, w: Array, v: Array) -> Dual:
    """1 - ρ' = ½|â - b̂|² + Σ â_n b̂_n (1 - ρ^n) with unit vectors â, b̂ of coefficients; 1 - |ρ|^n is summed, never subtracted."""
    units = []
    for q in (a, b):
        found = _coefficients(powers, q)
        norm = safe_sqrt(sum((c * c for c in found), jnp.zeros_like(q)))
        units.append([c / jnp.where(norm > 0, norm, 1) for c in found])
    near, obtuse = nearer(w, v), w > v
    size = 1 - near
    apart = sum(((x - y) ** 2 for x, y in zip(*units, strict=True)), jnp.zeros_like(near)) / 2
    gap, power = jnp.zeros_like(near), jnp.ones_like(near)  # 1 - |ρ|^n and |ρ|^n
    minus, plus = apart, apart
    for n, (x, y) in enumerate(zip(*units, strict=True)):
        turned = obtuse if n % 2 else jnp.zeros_like(obtuse)
        minus = minus + x * y * jnp.where(turned, 2 - gap, gap)
        plus = plus + x * y * jnp.where(turned, gap, 2 - gap)
        gap, power = gap + power * near, power * size
    slopes = [_coefficients(_slopes(powers), q) for q in (a, b)]
    rho = (v - w) / 2
    slope = sum((x * y * rho**n if n else x * y + jnp.zeros_like(rho) for n, (x, y) in enumerate(zip(*slopes, strict=True))))
    zero = sum((jnp.abs(x * y) for x, y in zip(*units, strict=True)), jnp.zeros_like(near)) == 0
    # 1 + ρ' near ρ = -1 keeps its digits; elsewhere it is what 1 - ρ' leaves
    return Dual(jnp.where(zero, w, minus), jnp.where(zero, v, jnp.where(obtuse, plus, 2 - minus)), jnp.asarray(slope))


@lru_cache(maxsize=64)
def _kind(family: Callable[[int], Kind], degree: int, powers: tuple[float, ...]) -> Kind:
    """A kind with fixed coefficients."""
    slopes = _slopes(powers)
    return Kind(
        f"{family.__name__}(degree={degree})",
        function=partial(_value, powers),
        derivative=partial(_value, slopes),
        second_moment=partial(_second_moment, powers),
        dual=partial(_dual, powers),
        homogeneous=len(powers) == 2 and powers[0] == 0,
        odd=not any(powers[::2]),
        maker=(family, (degree,)),
    )


def monomial(degree: int) -> Kind:
    """φ(x) = x^degree."""
    d = integer("degree", degree, least=0)
    return _kind(monomial, d, (0.0,) * d + (1.0,))


def hermite(degree: int) -> Kind:
    """φ = h_degree, the probabilists' Hermite polynomial of unit norm: E h(z)² = 1."""
    d = integer("degree", degree, least=0)
    powers = np.polynomial.hermite_e.herme2poly([0] * d + [1]) / math.sqrt(math.factorial(d))
    return _kind(hermite, d, tuple(powers.tolist()))


@lru_cache(maxsize=32)
def _polynomial_kind(degree: int) -> Kind:
    return Kind(
        "polynomial",
        function=lambda x, *c: _value(c, x),
        derivative=lambda x, *c: _value(_slopes(c), x),
        second_moment=lambda q, *c: _second_moment(c, q),
        dual=lambda a, b, w, v, *c: _dual(c, a, b, w, v),
        parameters=tuple((f"c{k}", 0.0) for k in range(degree + 1)),
        maker=(_polynomial_kind, (degree,)),
    )


def polynomial(coef: Sequence[float]) -> Nonlinearity:
    """φ(x) = Σ_k coef_k x^k, lowest power first; the coefficients are numeric leaves."""
    values = array("coef", list(coef), ndim=1).astype(np.float64)
    return Nonlinearity(_polynomial_kind(len(values) - 1), tuple(values.tolist()))
