"""Dual activations of any φ by quadrature in polar coordinates: a table for each point, a cosine polynomial for each pair.

With u = √a r cos t and v = √b r cos(t - θ), cos θ = ρ, r of density r exp(-r²/2) and t uniform, the cosine series
φ(√a r cos t) = Σ_n A_n(r) cos nt and that of b give

    E φ(u)φ(v) = Σ_n C_n cos nθ,    C_n = ∫ r exp(-r²/2) A_n(r) B_n(r) dr / (1 + [n > 0]).

For an analytic φ the C_n fall geometrically in n/√max(a, b), where a Hermite series needs terms in proportion to the variance, and
the sum converges at ρ = ±1 as it does between. Both integrals are trapezoidal rules, in t and in log(exp(2r) - 1).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.fft import dct
from jaxtyping import Array

from kernelregime.activations.angles import angle, nearer, safe_sqrt
from kernelregime.activations.record import Dual, Kind

ORDERS = (96, 512, 4608)  # terms of the series, of which the first that are enough are taken: for tanh at variances to 3, 100 and 10⁴
ORDERS_BROKEN = (416, 1536, 4608)  # the same for a φ that breaks at 0: for ELU at variances to 3, 90 and 10⁴
STEP = 0.2  # of the radial rule, whose error falls like exp(-8/step)
NEAREST, FARTHEST = 1e-5, 8.8  # radii; the mass within the first stands at the centre, that beyond the last is 1e-17
CENTRE = 1e-30  # on the side of 0 that cos t is on
ENOUGH = {"float32": 1e-7, "float64": 1e-15}  # share of E φ² in the last eighth of a series, at which no longer one is tried
ENOUGH_BROKEN = {"float32": 1e-7, "float64": 1e-12}  # the same where φ breaks at 0: its terms fall like a power of n
BEYOND = 16  # bounds what is left out of a series by its last eighth, for terms that fall like n^-2 or faster, of either sign
LARGEST_JUMP = 1e6  # of a derivative at 0: beyond, it has no limit there
OVERSAMPLED, CORRECTED = 8, 10  # for a φ that breaks at 0: nodes a term, and nodes on each side of the break with weights of their own


@lru_cache(maxsize=1)
def _radii() -> tuple[np.ndarray, np.ndarray]:
    """Radii r (M,) and weights (M,) of E[·] under the density r exp(-r²/2), float64: r = log(1 + exp(s))/2 in equal steps of s."""
    first, last = (np.log(np.expm1(2 * r)) for r in (NEAREST, FARTHEST))
    s = first + STEP * np.arange(int((last - first) / STEP) + 1)
    r = np.logaddexp(0, s) / 2
    weight = STEP / 2 * r * np.exp(-r * r / 2) / (1 + np.exp(-s))
    return np.append(CENTRE, r), np.append(1 - weight.sum(), weight)


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

    def powers(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Terms (order,) of three series: 2/(πn)² at odd n with ¼ at 0, 4/(π²n⁴) at odd n, 4/(π²n⁴) at even n > 0."""
        n = np.arange(self.order)
        square = 2 / (np.pi * np.maximum(n, 1)) ** 2
        fourth = 2 * square / np.maximum(n, 1) ** 2
        return np.where(n == 0, 0.25, n % 2 * square), n % 2 * fourth, (n % 2 == 0) * (n > 0) * fourth


@lru_cache(maxsize=1)
def _correction() -> np.ndarray:
    """c_j with Σ_j (1 + c_j) f(j + ½) = ∫_0^∞ f for smooth f, from Σ_j c_j (j + ½)^k = B_{k+1}(½)/(k + 1) (Gregory's rule)."""
    bernoulli = [float(zeta) for zeta in (0, -1 / 12, 0, 7 / 240, 0, -31 / 1344, 0, 127 / 3840, 0, -2555 / 33792)]
    moments = [value / (k + 1) for k, value in enumerate(bernoulli[:CORRECTED])]
    return np.linalg.solve(np.vander(np.arange(CORRECTED) + 0.5, increasing=True).T, moments)


def bytes_per_point(rules: Sequence[Rule], dtype: Any) -> float:
    """What the series of φ and φ' take for two points, at the longest rule and with the copies a program makes, in bytes."""
    return 11.0 * len(_radii()[0]) * rules[-1].order * np.dtype(dtype).itemsize


def _values(functions: Sequence[Callable[[Array], Array]], q: Array, rule: Rule) -> Array:
    """Each function at √q r cos t, times the root of the weight of r: shape (functions, M, nodes)."""
    r, weight = _radii()
    t = (np.arange(rule.nodes) + 0.5) * np.pi / rule.nodes
    # outer products of what is traced: a table the compiler could fold would stay in memory with the program
    at = jnp.outer(safe_sqrt(q) * jnp.asarray(r, q.dtype), jnp.asarray(np.cos(t), q.dtype))
    return jnp.stack([f(at) for f in functions]) * jnp.asarray(np.sqrt(weight)[None, :, None], q.dtype)


def _series(values: Array, jumps: Sequence[Array], rule: Rule) -> Array:
    """A_n(r) for n below the order, times the roots of the weight of r and of 1/(1 + [n > 0]): all squares would sum to E φ².

    The series of the jump of φ' at 0 is that of a step, J₁ (½ + Σ_n 2 sin(nπ/2)/(πn) cos nt).
    """
    if not rule.broken:
        return dct(values, type=2, norm="ortho") / np.sqrt(rule.nodes).astype(values.dtype)
    n = np.arange(rule.order)
    above = np.arange(rule.nodes) < rule.nodes // 2  # the angles at which cos t > 0
    coefficients = np.where(n == 0, 0.5, np.sqrt(2) * np.sin(n * np.pi / 2) / (np.pi * np.maximum(n, 1)))
    jump = jumps[0] * jnp.asarray(np.sqrt(_radii()[1]) * np.array([[0.0], [1.0]]), values.dtype)  # of φ and of φ', at each radius
    step, exact = (jump[..., None] * jnp.asarray(side, values.dtype)[None, None] for side in (above, coefficients))
    weighted = (values - step) * jnp.asarray(rule.weights()[None, None], values.dtype)
    return dct(weighted, type=2, norm="ortho")[..., : rule.order] / np.sqrt(rule.nodes).astype(values.dtype) + exact


def _mean_square(values: Array, rule: Rule) -> Array:
    """E φ² from the values (M, nodes)."""
    return jnp.sum(values * values * jnp.asarray(rule.weights()[None], values.dtype)) / rule.nodes


def _jumps(slope: Callable[[Array], Array], dtype: Any) -> list[Array]:
    """By how much φ' and its first two derivatives jump at 0; 0 where they grow without bound, or where float32 cannot hold the terms."""
    beside, out = jnp.asarray(np.finfo(np.float32).tiny, dtype), []
    for order in range(3):
        jump = slope(beside) - slope(-beside)
        known = (jnp.abs(jump) < LARGEST_JUMP) & (order == 0 or beside.dtype == np.float64)
        out.append(jnp.where(known, jump, 0))
        slope = partial(lambda f, x: jax.jvp(f, (x,), (jnp.ones_like(x),))[1], slope)
    return list(jax.lax.optimization_barrier(tuple(out)))  # else the compiler folds them into tables as large as the nodes


def _at(jumps: Sequence[Array], q: Array) -> list[Array]:
    """The jumps as a point of variance q meets them: at 0 it never crosses."""
    return [jump * (q > 0).astype(q.dtype) for jump in jumps]


def _leading(rule: Rule, jumps: Sequence[Array], q: Array) -> Array:
    """What the terms C_n of φ and of φ' at a pair of equal points of variance q come to for large n, shape (2, order).

    A jump of the k-th derivative in t at π/2 gives A_n a term (2/π) n^-(k+1), at odd n for even k and at even n for odd k, with the
    sign (-1)^⌈(k+1)/2⌉; the k-th derivative in t of φ(√q r cos t) jumps there by (-√q r)^k times that of φ, and E r² = 2.
    """
    steps, odd, even = (jnp.asarray(power, q.dtype) for power in rule.powers())
    first, second, third = jumps
    steps = steps.at[0].set(0)
    return jnp.stack([q * first**2 * even, first**2 * steps - 2 * q * first * third * odd + q * second**2 * even])


@jax.custom_batching.custom_vmap
def _of_all(value: Array) -> Array:
    """The value; under vmap the largest of the batch, so that a choice made by it stays one choice."""
    return value


@_of_all.def_vmap
def _of_batch(size: int, batched: Any, value: Array) -> tuple[Array, bool]:
    return _of_all(jnp.max(value, axis=0) if batched[0] else value), False


def _chosen(functions: Sequence[Callable[[Array], Array]], rules: Sequence[Rule], *variances: Array) -> Array:
    """The position of the shortest rule that is enough for φ and φ' at the largest of the variances."""
    largest = _of_all(jax.lax.stop_gradient(jnp.max(jnp.stack([jnp.max(q, initial=0.0) for q in variances]))))

    def enough(rule: Rule) -> Array:
        jumps = _at(_jumps(functions[1], largest.dtype), largest) if rule.broken else []
        left = _left(_series(_values(functions, largest, rule), jumps, rule), jumps, rule, largest)
        return jnp.max(left) <= (ENOUGH_BROKEN if rule.broken else ENOUGH)[largest.dtype.name]

    def first(position: int) -> Array:  # a longer one is only tried where the shorter is not enough
        if position == len(rules) - 1:
            return jnp.int32(position)
        return jax.lax.cond(enough(rules[position]), lambda: jnp.int32(position), lambda: first(position + 1))

    return _of_all(first(0))


def _left(series: Array, jumps: Sequence[Array], rule: Rule, q: Array) -> Array:
    """The sum of the last eighth of the terms, less what is known of them, relative to that of all: of φ and of φ'."""
    terms = jnp.sum(series * series, axis=-2)
    total = jnp.sum(terms, axis=-1)
    unknown = jnp.abs(terms - _leading(rule, jumps, q)) if rule.broken else terms
    return jnp.sum(unknown[..., -(rule.order // 8) :], axis=-1) / jnp.where(total > 0, total, 1)


def _error(values: Array, series: Array, left: Array, rule: Rule) -> Array:
    """Estimated error relative to E φ² of φ and of φ': what terms (`left` of the last eighth) or radii left out would change."""
    terms = jnp.sum(series * series, axis=-2)
    total = jnp.sum(terms, axis=-1)
    safe = jnp.where(total > 0, total, 1)
    # every other radius; the radii beyond the last and within the first
    halved = jnp.sum(jnp.abs(terms - series[..., 0, :] ** 2 - 2 * jnp.sum(series[..., 2::2, :] ** 2, axis=-2)), axis=-1) / safe
    squares = jnp.mean(values * values, axis=-1)
    first, second = _radii()[1][:2]
    outer = squares[..., -1] / STEP + jnp.abs(squares[..., 0] - squares[..., 1] * float(first / second))
    # nodes that a break elsewhere than at 0 passes err in proportion to its terms, not to their squares
    radial = (10 * halved * halved if rule.smooth else halved) + outer / safe
    error = radial + (BEYOND * left if rule.smooth else jnp.sqrt(left))
    return jnp.where(jnp.isfinite(error), error, jnp.inf)


@partial(jax.jit, static_argnames=("functions", "rules"))
def second_moment(functions: tuple[Callable[..., Array], ...], rules: tuple[Rule, ...], values: tuple[Any, ...], q: Array) -> Array:
    """E φ(√q z)², elementwise in q, for `functions` = (φ, φ'), each with the parameters `values`."""
    bound = tuple(partial(lambda f, x: f(x, *values), f) for f in functions)

    def by(rule: Rule) -> Callable[[Array], Array]:
        return lambda variances: jax.lax.map(lambda one: _mean_square(_values(bound[:1], one, rule)[0], rule), variances)

    return jax.lax.switch(_chosen(bound, rules, q), [by(rule) for rule in rules], q.reshape(-1)).reshape(q.shape)


@dataclass(frozen=True)
class Parts:
    """What a dual is made from: 1 - ρ' at ρ = 1 (`apart`), normalized terms C_n over the pairs of points, and those of φ'; E φ²."""

    apart: Array
    terms: tuple[Array, Array]
    slopes: tuple[Array, Array]
    squares: tuple[Array, Array]
    error: Array


def _parts(functions: Sequence[Callable[[Array], Array]], rule: Rule, jumps: Sequence[Array], a: Array, b: Array) -> Parts:
    @jax.checkpoint
    def table(q: Array) -> tuple[Array, Array, Array, Array]:
        values, own = _values(functions, q, rule), _at(jumps, q)
        series = _series(values, own, rule)
        square = _mean_square(values[0], rule)
        unit = series[0] / jnp.where(square > 0, safe_sqrt(square), 1)
        return unit, series[1], square, _error(values, series, _left(series, own, rule, q), rule)

    # one point after another: only the series are kept
    units, slopes, squares, errors = jax.lax.map(table, jnp.concatenate([a.reshape(-1), b.reshape(-1)]))

    def sides(of_points: Array) -> tuple[Array, Array]:
        tail = of_points.shape[1:]
        return of_points[: a.size].reshape(*a.shape, *tail), of_points[a.size :].reshape(*b.shape, *tail)

    def terms(of_points: Array) -> tuple[Array, Array]:
        first, second = sides(of_points)
        return jnp.moveaxis(first, -1, 0), jnp.moveaxis(second, -1, 0)

    apart = _apart(*sides(units))
    exact = jax.lax.stop_gradient(jnp.where((a == b) | (apart < 0), apart, 0))  # derivatives stay
    return Parts(apart - exact, terms(units), terms(slopes), sides(squares), jnp.max(errors, initial=0.0))


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


def _dual(functions: Sequence[Callable[[Array], Array]], rule: Rule, odd: bool, a: Array, b: Array, w: Array, v: Array) -> Dual:
    """With gaps g_n = 1 - cos nη of the angle η to the nearer of 0 and π: g_{n+1} - g_n = g_n - g_{n-1} + 2(1 - cos η)(1 - g_n)."""
    jumps = _jumps(functions[1], w.dtype) if rule.broken else []
    parts = _parts(functions, rule, jumps, a, b)
    shape = jnp.broadcast_shapes(a.shape, b.shape, w.shape)
    near, obtuse = jnp.broadcast_to(nearer(w, v), shape), jnp.broadcast_to(w > v, shape)
    known = _Known.of(rule, jumps, a, b, parts.squares) if rule.broken else None

    def step(carry: tuple[Array, ...], term: tuple[Array, ...]) -> tuple[tuple[Array, ...], None]:
        total, slope, gap, rise = carry
        turned = obtuse & term[4]  # cos n(π - η) = -cos nη for odd n
        value, derivative = _inner(*term[:2]), _inner(*term[2:4])
        if known is not None:
            value, derivative = value - known.value(*term[5:]), derivative - known.slope(*term[5:])
        total = total + value * (gap if odd else jnp.where(turned, 2 - gap, gap))
        slope = slope + derivative * jnp.where(turned, gap - 1, 1 - gap)
        gap = gap + rise
        return (total, slope, gap, rise + 2 * near * (1 - gap)), None

    zeros = jnp.zeros(shape, w.dtype)
    terms: tuple[Array, ...] = (*parts.terms, *parts.slopes, jnp.arange(rule.order) % 2 == 1)
    if known is not None:
        terms += tuple(jnp.asarray(power, w.dtype) for power in rule.powers())
    # from the known sums, which may be large, the first terms already leave what is small
    total, slope = (zeros, zeros) if known is None else known.sums(rule, angle(near, jnp.where(w <= v, v, w)), obtuse)
    start: tuple[Array, ...] = (jnp.broadcast_to(total, shape), jnp.broadcast_to(slope, shape), zeros, near)
    total, slope, _, _ = jax.lax.scan(step, start, terms)[0]
    small = parts.apart + total
    minus = jnp.where(obtuse, 2 - small, small) if odd else small
    plus = jnp.where(obtuse, small, 2 - small) if odd else 2 - small
    zero = (parts.squares[0] == 0) | (parts.squares[1] == 0)
    return Dual(jnp.where(zero, w, minus), jnp.where(zero, v, plus), slope, parts.error, parts.squares)


@dataclass(frozen=True)
class _Known:
    """The leading terms of a pair where φ breaks at 0, and the sums of their series in closed form.

    `kinks`: J₁√q/√(E φ²) of each point for the jump J₁ of φ'; `first` = J₁², `mixed` = (a + b) J₁ J₃, `second` = √(ab) J₂².
    """

    kinks: tuple[Array, Array]
    first: Array
    mixed: Array
    second: Array

    @classmethod
    def of(cls, rule: Rule, jumps: Sequence[Array], a: Array, b: Array, squares: tuple[Array, Array]) -> "_Known":
        j1, j2, j3 = _at(jumps, jnp.minimum(a, b))
        ratios = [q / jnp.where(square > 0, square, 1) for q, square in zip((a, b), squares, strict=True)]
        return cls(
            (j1 * safe_sqrt(ratios[0]), j1 * safe_sqrt(ratios[1])), j1 * j1, (a + b) * j1 * j3, safe_sqrt(a) * safe_sqrt(b) * j2 * j2
        )

    def value(self, steps: Array, odd: Array, even: Array) -> Array:
        """The leading part of the normalized C_n of φ."""
        return self.kinks[0] * self.kinks[1] * even

    def slope(self, steps: Array, odd: Array, even: Array) -> Array:
        """The leading part of the C_n of φ'."""
        return self.first * steps - self.mixed * odd + self.second * even

    def sums(self, rule: Rule, eta: Array, obtuse: Array) -> tuple[Array, Array]:
        """What they add to 1 - ρ' and to the slope; Σ cos nη/n⁴ is a polynomial on [0, π]."""
        sign = jnp.where(obtuse, -1, 1).astype(eta.dtype)
        square = eta * eta
        even = square * (1 / 12 - eta / (6 * jnp.pi) + square / (12 * jnp.pi**2))
        odd = square * (1 / 4 - eta / (6 * jnp.pi))
        steps = 0.25 + sign * (0.25 - eta / (2 * jnp.pi))
        slope = self.first * steps - self.mixed * sign * (math.pi**2 / 24 - odd) + self.second * (math.pi**2 / 360 - even)
        left = math.pi**2 / 360 - float(rule.powers()[2].sum())  # Σ over the even n beyond the series
        return left / 2 * (self.kinks[0] - self.kinks[1]) ** 2 + self.kinks[0] * self.kinks[1] * even, slope


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
    broken = 0.0 in kinks
    rules = tuple(Rule(order, broken, smooth=not any(kinks)) for order in (ORDERS_BROKEN if broken else ORDERS))
    functions = (function, derivative)
    return Kind(
        name,
        function=function,
        derivative=derivative,
        second_moment=lambda q, *values: second_moment(functions, rules, values, q),
        dual=lambda a, b, w, v, *values: polar_dual(functions, rules, odd, values, a, b, w, v),
        parameters=parameters,
        kinks=kinks,
        odd=odd,
        bytes_per_point=partial(bytes_per_point, rules),
    )
