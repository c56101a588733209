"""Dual activations of any φ by quadrature in polar coordinates: a table for each point, a cosine polynomial for each pair.

With u = √a r cos t and v = √b r cos(t - θ), cos θ = ρ, r of density r exp(-r²/2) and t uniform, the cosine series
φ(√a r cos t) = Σ_n A_n(r) cos nt and that of b give

    E φ(u)φ(v) = Σ_n C_n cos nθ,    C_n = ∫ r exp(-r²/2) A_n(r) B_n(r) dr / (1 + [n > 0]).

For an analytic φ the C_n fall geometrically in n/√max(a, b), where a Hermite series needs terms in proportion to the variance, and
the sum converges at ρ = ±1 as it does between. Both integrals are trapezoidal rules, in t and in log(exp(2r) - 1).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.fft import dct
from jaxtyping import Array

from kernelregime.activations.angles import angle, safe_sqrt
from kernelregime.activations.record import Dual, Kind

ORDERS = (96, 416, 3072)  # terms of the series, of which the first that are enough are taken: for tanh at variances to 5, 100 and 10⁴
STEP = 0.2  # of the radial rule, whose error falls like exp(-8/step)
NEAREST, FARTHEST = 1e-5, 8.8  # radii; the mass within the first stands at 0, that beyond the last is 1e-17
ENOUGH = {"float32": 1e-7, "float64": 1e-15}  # share of E φ² in the last eighth of a series, at which no longer one is tried
BEYOND = 8  # bounds what is left out of a series by its last eighth, for terms that fall like n^-2 or faster
OVERSAMPLED, CORRECTED = 4, 10  # for a φ that breaks at 0: nodes a term, and nodes on each side of the break with weights of their own


@lru_cache(maxsize=1)
def _radii() -> tuple[np.ndarray, np.ndarray]:
    """Radii r (M,) and weights (M,) of E[·] under the density r exp(-r²/2), float64: r = log(1 + exp(s))/2 in equal steps of s."""
    first, last = (np.log(np.expm1(2 * r)) for r in (NEAREST, FARTHEST))
    s = first + STEP * np.arange(int((last - first) / STEP) + 1)
    r = np.logaddexp(0, s) / 2
    weight = STEP / 2 * r * np.exp(-r * r / 2) / (1 + np.exp(-s))
    return np.append(0.0, r), np.append(1 - weight.sum(), weight)


@dataclass(frozen=True)
class Rule:
    """How a φ is integrated: by a series of so many terms, and whether it may break at 0, where cos t = 0, or elsewhere."""

    order: int
    broken: bool = False
    smooth: bool = True

    @property
    def nodes(self) -> int:
        """Angles t in (0, π)."""
        return self.order * (OVERSAMPLED if self.broken else 1)

    def weights(self) -> np.ndarray:
        """Weights of the angles, of mean 1: all alike, but for those next to π/2 where φ breaks there."""
        out = np.ones(self.nodes)
        if self.broken:
            half = self.nodes // 2
            out[half : half + CORRECTED] += _correction()
            out[half - CORRECTED : half] += _correction()[::-1]
        return out


@lru_cache(maxsize=1)
def _correction() -> np.ndarray:
    """c_j with Σ_j (1 + c_j) f(j + ½) = ∫_0^∞ f for smooth f, from Σ_j c_j (j + ½)^k = B_{k+1}(½)/(k + 1) (Gregory's rule)."""
    bernoulli = [float(zeta) for zeta in (0, -1 / 12, 0, 7 / 240, 0, -31 / 1344, 0, 127 / 3840, 0, -2555 / 33792)]
    moments = [value / (k + 1) for k, value in enumerate(bernoulli[:CORRECTED])]
    return np.linalg.solve(np.vander(np.arange(CORRECTED) + 0.5, increasing=True).T, moments)


def bytes_per_point(dtype: Any) -> float:
    """What the tables of φ and φ' take for each of two points, at the longest series, in bytes."""
    return 4.0 * len(_radii()[0]) * ORDERS[-1] * np.dtype(dtype).itemsize


def _values(function: Callable[[Array], Array], q: Array, rule: Rule) -> Array:
    """φ(√q r cos t) times the root of the weight of r, shape (..., M, nodes)."""
    r, weight = _radii()
    t = (np.arange(rule.nodes) + 0.5) * np.pi / rule.nodes
    at = jnp.asarray(r[:, None] * np.cos(t), q.dtype)
    root = safe_sqrt(q).reshape(*q.shape, 1, 1)
    values = function(root * at.reshape((1,) * q.ndim + at.shape))
    return values * jnp.asarray(np.sqrt(weight), q.dtype).reshape((1,) * q.ndim + (-1, 1))


def _series(values: Array, rule: Rule) -> Array:
    """A_n(r) for n below the order, times the roots of the weight of r and of 1/(1 + [n > 0]): all squares would sum to E φ²."""
    weighted = values * jnp.asarray(rule.weights(), values.dtype).reshape((1,) * (values.ndim - 1) + (-1,)) if rule.broken else values
    return dct(weighted, type=2, norm="ortho")[..., : rule.order] / np.sqrt(rule.nodes).astype(values.dtype)


def _mean_square(values: Array, rule: Rule) -> Array:
    """E φ² from the values."""
    return (
        jnp.sum(values * values * jnp.asarray(rule.weights(), values.dtype).reshape((1,) * (values.ndim - 1) + (-1,)), (-2, -1))
        / rule.nodes
    )


def _chosen(functions: tuple[Callable[[Array], Array], ...], rules: Sequence[Rule], *variances: Array) -> Array:
    """The position of the shortest rule that is enough for all functions at the largest of the variances."""
    largest = jax.lax.stop_gradient(jnp.max(jnp.stack([jnp.max(q, initial=0.0) for q in variances])))
    position = jnp.zeros((), jnp.int32)
    for longer, rule in enumerate(rules[:-1], 1):
        short = jnp.stack([_tail(_series(_values(f, largest, rule), rule)) for f in functions])
        position = jnp.where((position == longer - 1) & ~(jnp.max(short) <= ENOUGH[largest.dtype.name]), longer, position)
    return position


def _tail(series: Array) -> Array:
    """The largest share of the squares in the last eighth of the terms."""
    energy = jnp.sum(series * series, axis=-2)
    total = jnp.sum(energy, axis=-1)
    end = jnp.sum(energy[..., -(energy.shape[-1] // 8) :], axis=-1)
    return jnp.max(end / jnp.where(total > 0, total, 1), initial=0.0)


def _error(values: Array, series: Array, rule: Rule) -> Array:
    """Estimated error relative to E φ²: terms left out, every other radius left out, radii beyond the last and within the first."""
    terms = jnp.sum(series * series, axis=-2)
    total = jnp.sum(terms, axis=-1)
    safe = jnp.where(total > 0, total, 1)
    halved = jnp.sum(jnp.abs(terms - series[..., 0, :] ** 2 - 2 * jnp.sum(series[..., 2::2, :] ** 2, axis=-2)), axis=-1) / safe
    squares = jnp.mean(values * values, axis=-1)
    first, second = _radii()[1][:2]
    inner = jnp.abs(squares[..., 0] - squares[..., 1] * float(first / second)) / safe
    radial = (10 * halved * halved if rule.smooth else halved) + inner + squares[..., -1] / safe / STEP
    # nodes that a break elsewhere than at 0 passes err in proportion to its terms, not to their squares
    angular = BEYOND * _tail(series) if rule.smooth else jnp.sqrt(_tail(series))
    worst = jnp.max(radial, initial=0.0) + angular
    return jnp.where(jnp.isfinite(worst), worst, jnp.inf)


@partial(jax.jit, static_argnames=("function", "rules"))
def second_moment(function: Callable[..., Array], rules: tuple[Rule, ...], values: tuple[Any, ...], q: Array) -> Array:
    """E φ(√q z)², elementwise in q, for φ = function(·, *values)."""

    def phi(x: Array) -> Array:
        return function(x, *values)

    branches = [partial(lambda rule, q: _mean_square(_values(phi, q, rule), rule), rule) for rule in rules]
    return jax.lax.switch(_chosen((phi,), rules, q), branches, q)


@dataclass(frozen=True)
class Parts:
    """What a dual is made from: 1 - ρ' at ρ = 1 (`apart`), normalized terms C_n over the pairs of points, and those of φ'."""

    apart: Array
    terms: tuple[Array, Array]
    slopes: tuple[Array, Array]
    zero: Array
    error: Array


def _parts(functions: tuple[Callable[[Array], Array], ...], rule: Rule, a: Array, b: Array) -> Parts:
    values = [[_values(f, q, rule) for q in (a, b)] for f in functions]
    series = [[_series(v, rule) for v in pair] for pair in values]
    errors = [_error(v, s, rule) for pair, found in zip(values, series, strict=True) for v, s in zip(pair, found, strict=True)]
    if rule.broken:  # the tail of φ' is summed in closed form, to the next order but one
        errors = [error / rule.order if k > 1 else error for k, error in enumerate(errors)]
    norms = [jnp.sum(s * s, axis=(-2, -1)) for s in series[0]]
    units = [s / jnp.where(n > 0, safe_sqrt(n), 1).reshape(*n.shape, 1, 1) for s, n in zip(series[0], norms, strict=True)]
    apart = _apart(*units)
    exact = jax.lax.stop_gradient(jnp.where((a == b) | (apart < 0), apart, 0))  # derivatives stay
    first, second = ([jnp.moveaxis(s, -1, 0) for s in pair] for pair in (units, series[1]))
    zero = (norms[0] == 0) | (norms[1] == 0)
    return Parts(apart - exact, (first[0], first[1]), (second[0], second[1]), zero, jnp.max(jnp.stack(errors)))


def _apart(x: Array, y: Array) -> Array:
    """½|x - y|² over the last two axes, by products of what is left after the mean: relative to the spread, nothing cancels."""
    middle = jax.lax.stop_gradient(jnp.mean(x, axis=tuple(range(x.ndim - 2)), keepdims=True))
    x, y = ((z - middle).reshape(*z.shape[:-2], -1) for z in (x, y))
    return (jnp.sum(x * x, -1) + jnp.sum(y * y, -1)) / 2 - _inner(x, y)


def _inner(x: Array, y: Array) -> Array:
    """Inner products over the last axis, the others broadcast: a matrix product for (N1, 1, K) and (1, N2, K)."""
    return jnp.einsum("...k,...k->...", x, y, precision="highest")


@partial(jax.jit, static_argnames=("functions", "rules", "odd"))
def polar_dual(
    functions: tuple[Callable[..., Array], ...],
    rules: tuple[Rule, ...],
    odd: bool,
    values: tuple[Any, ...],
    a: Array,
    b: Array,
    w: Array,
    v: Array,
) -> Dual:
    """The dual of `functions` = (φ, φ'), each with the parameters `values`, by the shortest of `rules` that is enough.

    See the module's text. a, b, w, v broadcast.
    """
    bound = tuple(partial(lambda f, x: f(x, *values), f) for f in functions)
    branches = [partial(_dual, bound, rule, odd) for rule in rules]
    return jax.lax.switch(_chosen(bound, rules, a, b), branches, a, b, w, v)


def _dual(functions: tuple[Callable[[Array], Array], ...], rule: Rule, odd: bool, a: Array, b: Array, w: Array, v: Array) -> Dual:
    """With gaps g_n = 1 - cos nη of the angle η to the nearer of 0 and π: g_{n+1} - g_n = g_n - g_{n-1} + 2(1 - cos η)(1 - g_n)."""
    parts = _parts(functions, rule, a, b)
    shape = jnp.broadcast_shapes(a.shape, b.shape, w.shape)
    near, obtuse = jnp.broadcast_to(jnp.minimum(w, v), shape), jnp.broadcast_to(w > v, shape)
    jump = _jump(functions[1], w.dtype) ** 2 if rule.broken else jnp.zeros((), w.dtype)

    def step(carry: tuple[Array, ...], term: tuple[Array, ...]) -> tuple[tuple[Array, ...], None]:
        total, slope, gap, rise = carry
        turned = obtuse & term[5]  # cos n(π - η) = -cos nη for odd n
        total = total + _inner(*term[:2]) * (gap if odd else jnp.where(turned, 2 - gap, gap))
        slope = slope + (_inner(*term[2:4]) - jump * term[4]) * jnp.where(turned, gap - 1, 1 - gap)
        gap = gap + rise
        return (total, slope, gap, rise + 2 * near * (1 - gap)), None

    zeros, n = jnp.zeros(shape, w.dtype), np.arange(rule.order)
    steps = jnp.asarray(np.where(n == 0, 0.25, n % 2 * 2 / (np.pi * np.maximum(n, 1)) ** 2), w.dtype)  # the terms of a unit step
    terms: tuple[Array, ...] = (*parts.terms, *parts.slopes, steps, jnp.asarray(n % 2 == 1))
    start: tuple[Array, ...] = (zeros, zeros, zeros, near)
    total, slope, _, _ = jax.lax.scan(step, start, terms)[0]
    slope = slope + jump * angle(v, w) / (2 * jnp.pi)
    small = parts.apart + total
    minus = jnp.where(obtuse, 2 - small, small) if odd else small
    plus = jnp.where(obtuse, small, 2 - small) if odd else 2 - small
    return Dual(jnp.where(parts.zero, w, minus), jnp.where(parts.zero, v, plus), slope, parts.error)


def _jump(function: Callable[[Array], Array], dtype: Any) -> Array:
    """By how much the function jumps at 0."""
    beside = jnp.asarray(np.finfo(np.float32).tiny, dtype)
    return function(beside) - function(-beside)


def quadrature_kind(
    name: str,
    function: Callable[..., Array],
    derivative: Callable[..., Array],
    *,
    parameters: tuple[tuple[str, float], ...] = (),
    kinks: tuple[float, ...] = (),
    odd: bool = False,
) -> Kind:
    """A `Kind` whose expectations are all taken by quadrature. A kink at 0 stands at one angle; elsewhere it crosses the radii too."""
    rules = tuple(Rule(order, broken=0.0 in kinks, smooth=not any(kinks)) for order in ORDERS)
    functions = (function, derivative)
    return Kind(
        name,
        function=function,
        derivative=derivative,
        second_moment=lambda q, *values: second_moment(function, rules, values, q),
        dual=lambda a, b, w, v, *values: polar_dual(functions, rules, odd, values, a, b, w, v),
        parameters=parameters,
        kinks=kinks,
        odd=odd,
        bytes_per_point=bytes_per_point,
    )
