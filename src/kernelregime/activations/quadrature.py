"""Dual activations of any φ by its Hermite coefficients: a vector for each point, a polynomial in ρ for each pair.

With a_k(q) = E φ(√q z) h_k(z) for the orthonormal Hermite polynomials h_k, E φ(u)φ(v) = Σ_k a_k(a) a_k(b) ρ^k. The expectations are
taken by the trapezoidal rule, which converges geometrically for functions analytic in a strip; what the truncated series
misses is bounded by Parseval's identity, E φ(√q z)² - Σ_{k<K} a_k(q)², and the same for φ'.
"""

from collections.abc import Callable
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from kernelregime._checks import fail
from kernelregime.activations.closed import safe_sqrt
from kernelregime.activations.record import Dual, Kind, Nonlinearity

TERMS = 512  # of the Hermite series: tanh's coefficients fall like exp(-π/2·√(k/q)), so that 512 reach 1e-12 up to q = 5
REACH = 13.0  # the density's square root is below 1e-18 beyond
NODES = 1041  # a step of 0.025


@lru_cache(maxsize=4)
def _rule(nodes: int = NODES) -> tuple[np.ndarray, np.ndarray]:
    """Nodes z (J,) and weights of E[·] under the standard normal (J,), float64."""
    z = np.linspace(-REACH, REACH, nodes)
    return z, np.exp(-z * z / 2) / np.sqrt(2 * np.pi) * (2 * REACH / (nodes - 1))


@lru_cache(maxsize=4)
def _basis(terms: int = TERMS) -> np.ndarray:
    """weight_j · h_k(z_j), shape (J, K); recursed on h_k √density, which stays bounded."""
    z, weight = _rule()
    rows = [np.sqrt(weight), z * np.sqrt(weight)]
    for k in range(1, terms - 1):
        rows.append((z * rows[k] - np.sqrt(k) * rows[k - 1]) / np.sqrt(k + 1))
    return (np.stack(rows, axis=-1) * np.sqrt(weight)[:, None])[:, :terms]


def _at_nodes(function: Callable[[Array], Array], q: Array) -> Array:
    z = jnp.asarray(_rule()[0], q.dtype)
    return function(safe_sqrt(q)[..., None] * z.reshape((1,) * q.ndim + (-1,)))


def second_moment(function: Callable[[Array], Array], q: Array) -> Array:
    """E φ(√q z)², elementwise in q."""
    values = _at_nodes(function, q)
    return jnp.tensordot(values * values, jnp.asarray(_rule()[1], q.dtype), 1)


def _sum_gap(a: Array, b: Array, w: Array, rho: Array) -> Array:
    """Σ_k a_k b_k (1 - ρ^k) over the last axes of a and b, in powers that never cancel near ρ = 1."""

    def step(carry: tuple[Array, Array, Array], pair: tuple[Array, Array]) -> tuple[tuple[Array, Array, Array], None]:
        total, power, gap = carry
        return (total + pair[0] * pair[1] * gap, power * rho, gap + power * w), None

    start = (jnp.zeros_like(rho), jnp.ones_like(rho), jnp.zeros_like(rho))
    return jax.lax.scan(step, start, (jnp.moveaxis(a, -1, 0), jnp.moveaxis(b, -1, 0)))[0][0]


def _horner(a: Array, b: Array, rho: Array) -> Array:
    """Σ_k a_k b_k ρ^k over the last axes of a and b."""

    def step(total: Array, pair: tuple[Array, Array]) -> tuple[Array, None]:
        return total * rho + pair[0] * pair[1], None

    return jax.lax.scan(step, jnp.zeros_like(rho), (jnp.moveaxis(a, -1, 0), jnp.moveaxis(b, -1, 0)), reverse=True)[0]


def _unit(coefficients: Array) -> tuple[Array, Array]:
    """Coefficient vectors of unit length, and their squared lengths."""
    square = jnp.sum(coefficients * coefficients, axis=-1)
    return coefficients / jnp.where(square > 0, safe_sqrt(square), 1)[..., None], square


def hermite_dual(
    function: Callable[[Array], Array], derivative: Callable[[Array], Array], odd: bool, a: Array, b: Array, w: Array, v: Array
) -> Dual:
    """The dual of any φ; see the module's text. a, b, w, v broadcast against one another."""
    basis = jnp.asarray(_basis(), w.dtype)
    values_a, values_b = _at_nodes(function, a), _at_nodes(function, b)
    unit_a, norm_a = _unit(values_a @ basis)
    unit_b, norm_b = _unit(values_b @ basis)
    # ½|â - b̂|² = (1 - â·b̂) without cancellation; it is exactly 0 for equal variances.
    apart = 0.5 * _distance(unit_a, unit_b)
    rho = (v - w) / 2
    one_minus = apart + _sum_gap(unit_a, unit_b, w, rho)
    one_plus = apart + _sum_gap(unit_a, unit_b, v, -rho) if odd else 2 - one_minus
    slopes_a, slopes_b = _at_nodes(derivative, a), _at_nodes(derivative, b)
    slope_a, slope_b = slopes_a @ basis, slopes_b @ basis
    slope = _horner(slope_a, slope_b, rho)
    zero = (norm_a == 0) | (norm_b == 0)
    pairs = ((values_a, norm_a), (values_b, norm_b), (slopes_a, jnp.sum(slope_a**2, -1)), (slopes_b, jnp.sum(slope_b**2, -1)))
    error = jnp.max(jnp.stack([_missed(values, kept) for values, kept in pairs]))
    return Dual(jnp.where(zero, w, one_minus), jnp.where(zero, v, one_plus), slope, error)


def _distance(a: Array, b: Array) -> Array:
    """|a - b|² over the last axis, term by term so that no (N1, N2, K) array is formed."""

    def step(total: Array, pair: tuple[Array, Array]) -> tuple[Array, None]:
        return total + (pair[0] - pair[1]) ** 2, None

    shape = jnp.broadcast_shapes(a.shape[:-1], b.shape[:-1])
    return jax.lax.scan(step, jnp.zeros(shape, a.dtype), (jnp.moveaxis(a, -1, 0), jnp.moveaxis(b, -1, 0)))[0]


def _missed(values: Array, kept: Array) -> Array:
    """The largest share of E φ² that the series misses, or that halving the nodes changes (squared: the rule converges geometrically)."""
    weight = jnp.asarray(_rule()[1], values.dtype)
    squares = values * values
    full, half = jnp.tensordot(squares, weight, 1), jnp.tensordot(squares[..., ::2], 2 * weight[::2], 1)
    scale = jnp.where(full > 0, full, 1)
    return jnp.max(jnp.maximum(jnp.abs(full - kept) / scale, ((full - half) / scale) ** 2), initial=0.0)


def quadrature_kind(
    name: str, function: Callable[[Array], Array], derivative: Callable[[Array], Array], *, kinks: tuple[float, ...] = (), odd: bool = False
) -> Kind:
    """A `Kind` whose expectations are all taken by quadrature."""
    return Kind(
        name,
        function=function,
        derivative=derivative,
        second_moment=partial(second_moment, function),
        dual=partial(hermite_dual, function, derivative, odd),
        kinks=kinks,
        odd=odd,
    )


TANH = quadrature_kind("tanh", jnp.tanh, lambda x: 1 - jnp.tanh(x) ** 2, odd=True)


@lru_cache(maxsize=256)
def _function_kind(
    function: Callable[[Array], Array], derivative: Callable[[Array], Array] | None, name: str, kinks: tuple[float, ...]
) -> Kind:
    if derivative is None:

        def derivative(x: Array) -> Array:
            return jax.jvp(function, (x,), (jnp.ones_like(x),))[1]

    return quadrature_kind(name, function, derivative, kinks=kinks)


def from_function(
    function: Callable[[Array], Array],
    *,
    derivative: Callable[[Array], Array] | None = None,
    name: str | None = None,
    kinks: tuple[float, ...] = (),
) -> Nonlinearity:
    """A nonlinearity from any elementwise JAX function; φ' by automatic differentiation when not given.

    Its dual is taken by quadrature and carries an error estimate (`Dual.error`), which is large for functions with kinks. `kinks`:
    the points where φ' jumps; the integrals of mean-field theory are split there.
    Raises: `InputError` when `function` is not callable or does not act elementwise.
    """
    if not callable(function):
        raise fail("a callable φ(x)", repr(function), "give a JAX function of an array, or one of the registered names")
    probe = jax.eval_shape(function, jax.ShapeDtypeStruct((3, 2), jnp.float32))
    if getattr(probe, "shape", None) != (3, 2):
        raise fail("φ to map an array of shape (3, 2) to the same shape", f"{probe}", "give an elementwise function")
    return Nonlinearity(_function_kind(function, derivative, name or getattr(function, "__name__", "function"), tuple(kinks)))
