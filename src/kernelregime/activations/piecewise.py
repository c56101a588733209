"""Continuous piecewise linear activations with kinks anywhere: duals from the bivariate normal density at pairs of kinks.

With φ'' = Σ_k J_k δ(x - κ_k), Price's theorem gives, at equal variances or not, E φ'(u)φ'(v) = S(0) - N(θ) and

    E φ(u)φ(v) = F(0) - √(ab) ∫_0^θ S(t) sin t dt,    N(θ) = Σ_kl J_k J_l ∫_0^θ √(ab) sin t p(κ_k, κ_l; t) dt,

with p the density of (u, v) at angle t. In y = tan(t/2), with δ = h_k - h_l and σ = h_k + h_l for h = κ/√(variance),

    √(ab) sin t p = exp(-(δ² + σ²)/8 - δ²/(8y²) - σ²y²/8)/(2π),

so that every term is one integral over y, of a layer of width δ at 0, whose leading part is known, times a smooth function.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erfc
from jaxtyping import Array

from kernelregime.activations.angles import nearer, safe_sqrt
from kernelregime.activations.record import Dual, Kind
from kernelregime.activations.series import horner, legendre

FARTHEST = 40.0  # standard deviations: beyond, a kink is never met in float64
WITHIN = 9.0  # standard deviations that integrals over one Gaussian reach; the mass beyond is 2e-19
PANEL = 52  # Gauss-Legendre nodes between two kinks: z² exp(-z²/2) over 18 standard deviations to rounding
NODES = 32  # in each of the two parts of an integral over y
SMOOTH = 1.5  # σ²y²/8 up to which the Taylor series of the smooth factor is subtracted
KNOWN = 6  # its terms


def _between(edges: Array, integrand: Callable[[Array], Array]) -> Array:
    """E integrand(z) over a standard normal z, smooth between the `edges` (..., m), shape (...)."""
    ends = [jnp.full((*edges.shape[:-1], 1), side * WITHIN, edges.dtype) for side in (-1, 1)]
    edges = jnp.concatenate([ends[0], jnp.sort(jnp.clip(edges, -WITHIN, WITHIN), axis=-1), ends[1]], axis=-1)
    low, width = edges[..., :-1], jnp.diff(edges, axis=-1)

    @jax.checkpoint
    def step(total: Array, rule: tuple[Array, Array]) -> tuple[Array, None]:
        z = low + rule[0] * width
        return total + jnp.sum(rule[1] * width * jnp.exp(-z * z / 2) * integrand(z), axis=-1), None

    nodes = tuple(jnp.asarray(part, edges.dtype) for part in legendre(PANEL))
    start = jnp.zeros(jnp.broadcast_shapes(low.shape[:-1]), edges.dtype)
    return jax.lax.scan(step, start, nodes)[0] / math.sqrt(2 * math.pi)


def _mass(edges: Array) -> tuple[Array, Array]:
    """The probabilities (..., m + 1) of a standard normal between sorted edges, and a point of each interval."""
    ends = [jnp.full((*edges.shape[:-1], 1), side * FARTHEST, edges.dtype) for side in (-1, 1)]
    edges = jnp.concatenate([ends[0], jnp.sort(edges, axis=-1), ends[1]], axis=-1)
    low, high = edges[..., :-1], edges[..., 1:]
    near, far = jnp.where(low + high > 0, low, -high), jnp.where(low + high > 0, high, -low)  # away from 0, to relative accuracy
    return (erfc(near / math.sqrt(2)) - erfc(far / math.sqrt(2))) / 2, (low + high) / 2


def _layer(kappa: Array) -> list[Array]:
    """∫_0^1 exp(-κ²/x²) x^(2n) dx for n below `KNOWN`."""
    square = kappa * kappa
    end = jnp.exp(-square)
    found = [end - math.sqrt(math.pi) * kappa * erfc(kappa)]
    for n in range(1, KNOWN):
        found.append((end - 2 * square * found[-1]) / (2 * n + 1))
    return found


def _times(p: list[Array], q: list[Array]) -> list[Array]:
    """The leading terms of a product of two power series."""
    return [sum((p[i] * q[n - i] for i in range(1, n + 1)), p[0] * q[n]) for n in range(len(p))]


def _lost(delta: Array, sigma: Array, reach: Array) -> tuple[Array, Array]:
    """∫_0^Y exp(-δ²/(8y²) - σ²y²/8) 2 dy/(1 + y²), and the same times cos t - cos θ = 2(Y² - y²)/((1 + y²)(1 + Y²)), Y = `reach` <= 1.

    Up to y_1, where σ²y²/8 is `SMOOTH`, all but the layer is a power series in y²: its leading terms are integrated exactly, and
    by nodes what is left, which vanishes where the layer does not. Beyond y_1 the layer is smooth.
    """
    scale, whole = sigma * sigma / 8, reach * reach
    first = jnp.minimum(reach, jnp.sqrt(SMOOTH / jnp.maximum(scale, SMOOTH)))
    safe = jnp.where(first > 0, first, 1)
    rate, square = scale * first * first, first * first
    kappa = jnp.where(first > 0, jnp.minimum(jnp.abs(delta) / (math.sqrt(8) * safe), FARTHEST), jnp.where(delta == 0, 0, FARTHEST))
    # in X = (y/y_1)²
    decay = [(-rate) ** n / math.factorial(n) for n in range(KNOWN)]
    inverse = [(-square) ** n for n in range(KNOWN)]
    drop = [2 * whole / (1 + whole), -2 * square / (1 + whole), *[jnp.zeros_like(whole)] * (KNOWN - 2)]
    plain = [2 * c for c in _times(decay, inverse)]
    weighted = _times(_times(plain, inverse), drop)
    layers = _layer(kappa)
    known = [sum((c * m for c, m in zip(series, layers, strict=True)), jnp.zeros_like(whole)) for series in (plain, weighted)]

    @jax.checkpoint
    def step(totals: tuple[Array, Array], rule: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        x, weight = rule
        near = jnp.exp(-((kappa / x) ** 2)) * weight * first
        smooth = 2 * jnp.exp(-rate * x * x) / (1 + square * x * x)
        fall = 2 * (whole - square * x * x) / ((1 + square * x * x) * (1 + whole))
        y = first + (reach - first) * x
        far = 2 * jnp.exp(-((delta / jnp.where(y > 0, y, 1)) ** 2) / 8 - scale * y * y) / (1 + y * y) * weight * (reach - first)
        beyond = 2 * (whole - y * y) / ((1 + y * y) * (1 + whole))
        return (
            totals[0] + near * (smooth - horner(plain, x * x)) + far,
            totals[1] + near * (smooth * fall - horner(weighted, x * x)) + far * beyond,
        ), None

    start = (first * known[0], first * known[1])
    return jax.lax.scan(step, start, tuple(jnp.asarray(part, reach.dtype) for part in legendre(NODES)))[0]


def _positions(kinks: np.ndarray, q: Array) -> Array:
    """κ/√q (..., m), within what floats of the normal density hold."""
    at = jnp.asarray(kinks, q.dtype)
    root = jnp.sqrt(jnp.where(q > 0, q, 1))[..., None]
    within = jnp.clip(at.reshape((1,) * q.ndim + at.shape) / root, -FARTHEST, FARTHEST)
    return jnp.where(q[..., None] > 0, within, FARTHEST * jnp.sign(at).reshape((1,) * q.ndim + at.shape))


@partial(jax.jit, static_argnames=("function", "kinks"))
def _second_moment(function: Callable[[Array], Array], kinks: tuple[float, ...], q: Array) -> Array:
    return _between(_positions(np.array(kinks), q), lambda z: function(safe_sqrt(q)[..., None] * z) ** 2)


@partial(jax.jit, static_argnames=("function", "derivative", "kinks", "jumps", "odd"))
def _dual(
    function: Callable[[Array], Array],
    derivative: Callable[[Array], Array],
    kinks: tuple[float, ...],
    jumps: tuple[float, ...],
    odd: bool,
    a: Array,
    b: Array,
    w: Array,
    v: Array,
) -> Dual:
    """Beyond θ = π/2 the second point is turned about: φ(v) = φ̃(-v) with φ̃(x) = φ(-x), or -φ(-x) where φ is odd."""
    squares = tuple(_second_moment(function, kinks, q) for q in (a, b))
    root_a, root_b = safe_sqrt(a), safe_sqrt(b)
    unit_a, unit_b = (jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 1) for square in squares)
    shape = jnp.broadcast_shapes(a.shape, b.shape, w.shape)
    obtuse = jnp.broadcast_to(w > v, shape)
    side = jnp.where(obtuse & (not odd), -1, 1).astype(w.dtype)
    near, far = jnp.broadcast_to(nearer(w, v), shape), jnp.broadcast_to(jnp.where(w <= v, v, w), shape)
    first, second = _positions(np.array(kinks), a), _positions(np.array(kinks), b)
    edges = jnp.concatenate([jnp.broadcast_to(first, (*shape, len(kinks))), side[..., None] * second], axis=-1)
    scaled, other = root_a[..., None], side[..., None] * root_b[..., None]
    apart = _between(edges, lambda z: (function(scaled * z) / unit_a[..., None] - function(other * z) / unit_b[..., None]) ** 2) / 2
    apart = apart - jax.lax.stop_gradient(jnp.where((a == b) & (side > 0), apart, 0))  # derivatives stay
    mass, middle = _mass(edges)
    slope = side * jnp.sum(mass * derivative(scaled * middle) * derivative(other * middle), axis=-1)
    reach = safe_sqrt(near / far)

    @jax.checkpoint
    def step(totals: tuple[Array, Array], pair: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], None]:
        h, k = jnp.broadcast_to(pair[0], shape), side * pair[1]
        height = pair[2] * jnp.exp(-(h * h + k * k) / 4) / (2 * math.pi)
        found = _lost(h - k, h + k, reach)
        return (totals[0] + height * found[0], totals[1] + height * found[1]), None

    i, j = (index.reshape(-1) for index in np.indices((len(kinks), len(kinks))))
    pairs = jnp.moveaxis(first, -1, 0)[i], jnp.moveaxis(second, -1, 0)[j], jnp.asarray(np.outer(jumps, jumps).reshape(-1), w.dtype)
    zeros = jnp.zeros(shape, w.dtype)
    lost, fallen = jax.lax.scan(step, (zeros, zeros), pairs)[0]
    small = apart + root_a * root_b / (unit_a * unit_b) * (slope * near - fallen)
    minus = jnp.where(obtuse & odd, 2 - small, small)
    plus = jnp.where(obtuse & odd, small, 2 - small)
    zero = (squares[0] == 0) | (squares[1] == 0)
    return Dual(jnp.where(zero, w, minus), jnp.where(zero, v, plus), side * (slope - lost), 0.0, squares)


def piecewise_kind(
    name: str,
    function: Callable[[Array], Array],
    derivative: Callable[[Array], Array],
    kinks: Sequence[float],
    jumps: Sequence[float],
    odd: bool,
) -> Kind:
    """The kind of a continuous φ, linear between its `kinks`, at which φ' rises by `jumps`."""
    where, rises = tuple(kinks), tuple(jumps)
    return Kind(
        name,
        function=function,
        derivative=derivative,
        second_moment=partial(_second_moment, function, where),
        dual=partial(_dual, function, derivative, where, rises, odd),
        kinks=where,
        odd=odd,
        numbers_per_pair=50 + 10 * len(where) + 6 * len(where) ** 2,  # sorted positions of both points, and every pair of kinks
    )


def _ramp(low: float, high: float, x: Array) -> Array:
    """1 between the kinks, ½ at them."""
    half = jnp.asarray(0.5, x.dtype)
    return jnp.heaviside(x - low, half) - jnp.heaviside(x - high, half)


HARD_TANH = piecewise_kind("hard_tanh", jax.nn.hard_tanh, partial(_ramp, -1.0, 1.0), (-1.0, 1.0), (1.0, -1.0), odd=True)
RELU6 = piecewise_kind("relu6", jax.nn.relu6, partial(_ramp, 0.0, 6.0), (0.0, 6.0), (1.0, -1.0), odd=False)
