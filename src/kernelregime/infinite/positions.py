"""Kernels of networks on points with positions (images, sequences): the state before the first layer, and its kernels afterwards."""

import math
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from kernelregime import _precision
from kernelregime._checks import fail
from kernelregime._compiler import compiled
from kernelregime.grams import Block
from kernelregime.infinite.places import beyond
from kernelregime.infinite.shares import by_rate
from kernelregime.layers import Batch, Fields, Folded, GlobalPool, Layer, Moments, Sequential, draws, offsets_kept
from kernelregime.layers.fields import Positions, Squares, gap_between
from kernelregime.layers.moments import signed
from kernelregime.layers.pooling import own_positions
from kernelregime.layers.resizing import channels_first

FEW = 4  # channels that are summed in one loop over the pairs


def input_fields(x1: Batch, x2: Batch, positions: Positions, *, ntk: bool, own: Bool[Array, "N1 N2"] | None = None) -> Fields:
    """Σ⁰(p, p') = x1(p)·x2(p')/C for points (N1, *P, C) and (N2, *P, C); `own`: of a network that draws anew for each point, which pairs
    are one point in one draw, else None.
    """
    x1, x2 = x1.hidden(), x2.hidden()
    axes = x1.ndim - 2
    one, other = (jnp.moveaxis(x.values, 0, -2) for x in (x1, x2))  # (*P, N, C)
    first = second = None
    if positions == "all":
        each = None if own is None else jnp.ones((), bool)
        ones = (1,) * axes
        wide1, wide2 = (x.reshape(*x.shape[:axes], *ones, *x.shape[axes:]) for x in (one, other))
        deep1, deep2 = (x.reshape(*ones, *x.shape) for x in (one, other))
        first, second = _pairs(wide1, deep1, ntk, each), _pairs(wide2, deep2, ntk, each)
        one, other = wide1, deep2
    cross = _pairs(one[..., :, None, :], other[..., None, :, :], ntk, own)
    same = own  # of networks that draw anew for each point, equal points are not the same
    if positions == "all" and own is None:
        same = reduce(jnp.logical_and, [_equal(a, b) for a, b in zip(jax.tree.leaves(x1), jax.tree.leaves(x2), strict=True)])
    present, graph = ((a, b) if a is not None else None for a, b in ((x1.present, x2.present), (x1.graph, x2.graph)))
    there, weights = (pair and tuple(jnp.moveaxis(part, 0, -1) for part in pair) for pair in (present, graph))
    return Fields(cross, first, second, same, axes, positions, present=there, graph=weights)


def _equal(x: Array, y: Array) -> Array:
    """Which of the points x (N1, ...) and y (N2, ...) are equal."""
    flat1, flat2 = x.reshape(len(x), -1), y.reshape(len(y), -1)
    return jnp.all(flat1[:, None] == flat2[None], axis=-1)


def paired(network: Layer, x1: Any, x2: Any) -> tuple[Batch, Batch]:
    """Two sets of points with positions as batches, channels last, with `present` and `graph` in both or in none.

    Raises: `InputError` for arrays that do not fit, and a graph in one alone.
    """
    turned = channels_first(network)
    given = [x if isinstance(x, Batch) else Batch(x) for x in (x1, x2)]
    first, second = ((x.turned() if turned else x).checked() for x in given)
    if (first.graph is None) != (second.graph is None):
        raise fail("a graph for the points of both x1 and x2, or of none", "one of one alone", "give graph= in both batches")
    if first.present is not None or second.present is not None:
        given = [x if x.present is not None else replace(x, present=np.ones(x.shape[:-1], bool)) for x in (first, second)]
        first, second = given
    return first, second


def by_offsets(network: Layer) -> tuple[Folded, GlobalPool, tuple[Layer, ...]] | None:
    """The layers before a global pooling, it, and those after it, where pairs of positions far apart alike can go through by themselves."""
    if not isinstance(network, Sequential) or draws(network):
        return None
    for index, layer in enumerate(network.layers):
        if isinstance(layer, GlobalPool):
            before = network.layers[:index]
            return (Sequential(before).folded(), layer, network.layers[index + 1 :]) if before else None
        if not offsets_kept(layer):
            return None
    return None


def most_positions(layer: Layer, shape: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """The largest number of positions on the way of a point through a layer (added up over branches), and its shape after it."""
    inner: tuple[Layer, ...] | None = getattr(layer, "layers", None)
    most = math.prod(shape[:-1])
    if inner is None:
        after = layer.output_shape(shape)
        return max(most, math.prod(after[:-1])), after
    if not layer.in_turn:
        return sum(most_positions(part, shape)[0] for part in inner), layer.output_shape(shape)
    for part in inner:
        found, shape = most_positions(part, shape)
        most = max(most, found)
    return most, shape


def pooled(before: Any, x1: Array, x2: Array, *, ntk: bool, pool: GlobalPool) -> Moments:
    """The moments of points (N1, *P, C) and (N2, *P, C) after the layers `before` and a pooling over all positions.

    One offset p' - p after another: memory of the order of the positions, not of their pairs.
    """
    axes, lengths = x1.ndim - 2, x1.shape[1:-1]
    one, other = (jnp.moveaxis(x, 0, -2) for x in (x1, x2))  # (*P, N, C)
    weight = 1.0 if pool.reduction == "mean" else float(math.prod(lengths)) ** 2

    def states(offset: Array) -> list[Moments]:
        """After the layers: of the points with one another, and of each set with itself, of which only the variances are wanted."""
        far1, far2 = (jnp.roll(x, -offset, axis=tuple(range(axes))) for x in (one, other))
        pairs = ((one[..., :, None, :], far2[..., None, :, :]), (one, far1), (other, far2))
        given = [_pairs(x, y, ntk and index == 0, None) for index, (x, y) in enumerate(pairs)]
        return [before.propagate(Fields(m, None, None, None, axes, "offset", offset)).cross for m in given]

    def at(totals: Any, offset: Array) -> tuple[Any, None]:
        after = states(offset)
        values: list[Any] = [after[0].nngp, after[1].nngp, after[2].nngp, *([after[0].ntk] if ntk else [])]
        means = [total + value.mean(axis=tuple(range(axes))) for total, value in zip(totals[0], values, strict=True)]
        return (means, jnp.maximum(totals[1], jnp.asarray(after[0].error)), after[0].features), None

    shapes = [(len(x1), len(x2)), (len(x1),), (len(x2),), *([(len(x1), len(x2))] if ntk else [])]
    zeros = [jnp.zeros(shape, x1.dtype) for shape in shapes]
    start = (zeros, jnp.zeros((), x1.dtype), jnp.zeros((), x1.dtype))
    offsets = jnp.stack(jnp.meshgrid(*(jnp.arange(n) for n in lengths), indexing="ij"), -1).reshape(-1, axes)
    (found, error, features), _ = jax.lax.scan(at, start, offsets)
    covariance, k1, k2 = (value * (weight / math.prod(lengths)) for value in found[:3])
    theta = found[3] * (weight / math.prod(lengths)) if ntk else None
    wide1, wide2 = k1[:, None], k2[None, :]
    middle = (wide1 + wide2) / 2
    gap = gap_between(Squares(wide1, wide2, middle - covariance, middle + covariance))
    gap = jnp.where(_equal(x1, x2), 0, gap)
    gaussian = jax.eval_shape(states, offsets[0])[0].gaussian
    return Moments(wide1, wide2, gap, theta, None, error, features, gaussian=gaussian)


def _pairs(x: Array, y: Array, ntk: bool, own: Array | None) -> Moments:
    """Moments of channels along the last axis; what differs and what adds up between the two is summed without cancellation."""
    channels = x.shape[-1]
    k1, k2 = (x * x).mean(-1), (y * y).mean(-1)
    squares = Squares(k1, k2, *(total / (2 * channels) for total in _differences(x, y)))
    # numbers are parallel or opposite, whatever their lengths
    gap = gap_between(squares) if channels > 1 else signed(squares.apart <= squares.across, jnp.zeros_like(squares.apart))
    features = jnp.asarray(channels, gap.dtype)
    theta = jnp.zeros_like(gap) if ntk else None
    return Moments(k1, k2, gap, theta, None, jnp.zeros((), gap.dtype), features, gaussian=False, own=own)


def _differences(x: Array, y: Array) -> tuple[Array, Array]:
    """|x ∓ y|² over the last axis; of many channels one after another, so that no array holds them all for all pairs."""
    if x.shape[-1] <= FEW:
        return ((x - y) ** 2).sum(-1), ((x + y) ** 2).sum(-1)

    def add(totals: tuple[Array, Array], channel: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        one, other = channel
        return (totals[0] + (one - other) ** 2, totals[1] + (one + other) ** 2), None

    zeros = jnp.zeros(jnp.broadcast_shapes(x.shape, y.shape)[:-1], x.dtype)
    return jax.lax.scan(add, (zeros, zeros), (jnp.moveaxis(x, -1, 0), jnp.moveaxis(y, -1, 0)))[0]


def kernels_of(state: Any, kind: str, positions: Positions) -> Array:
    """A kernel after the last layer: (N1, N2), then the axes of positions that are left, (*P), or of "all" pairs (*P, *P')."""
    if isinstance(state, Moments):
        return getattr(state, kind)
    moments = own_positions(state) if positions == "own" else state.cross
    return jnp.moveaxis(getattr(moments, kind), (-2, -1), (0, 1))


def error_of(state: Any) -> Array:
    """The quadrature error after the last layer."""
    return jnp.asarray(state.error if isinstance(state, Moments) else state.cross.error)


@compiled(static=("kinds", "positions", "kept", "shares"))
def propagate_fields(
    layers: Any, x1: Batch, x2: Batch, own: Array | None, *, kinds: tuple[str, ...], positions: Positions, kept: Positions, shares: int
) -> tuple[dict[str, Array], Array]:
    """The kernels of each kind for points (N1, *P, C) and (N2, *P, C), and the quadrature error; infinite where one is not finite.

    `shares`: of how many layers the NTK is given apart, along a last axis.
    """

    def run(layers: Any) -> tuple[dict[str, Array], Array]:
        if positions == "offset":
            before, pool, last = layers
            start: Any = pooled(before, x1.values, x2.values, ntk="ntk" in kinds, pool=pool)
            after: Any = reduce(lambda state, layer: layer.propagate(state), last, start)
        else:
            after = layers.propagate(input_fields(x1, x2, positions, ntk="ntk" in kinds, own=own))
        return {kind: kernels_of(after, kind, kept) for kind in kinds}, error_of(after)

    found, error = by_rate(run, layers, shares)
    return found, error + beyond(*found.values())


@dataclass(frozen=True)
class FieldPairs:
    """The pair function of a kernel of points with positions, rows of `first` with those of `second` (None: those of `first`).

    `positions`: which pairs of positions the layers read; for "offset", `layers` are those of `by_offsets`. `kept`: which
    of them are given where some are left. `draws`: whether a point with itself is one draw of the network (`Dropout`). `shares`: as in
    `propagate_fields`.
    """

    layers: Any
    first: Batch
    second: Batch | None
    kinds: tuple[str, ...]
    positions: Positions
    kept: Positions
    draws: bool
    dtype: np.dtype
    shares: int = 0

    def __call__(self, rows: slice, columns: slice) -> Block:
        """The kernels of one block, with the axes of positions that are left, and the quadrature error."""
        x1, x2 = self.first[rows], (self.first if self.second is None else self.second)[columns]
        own = None
        if self.draws:
            own = np.arange(rows.start, rows.stop)[:, None] == np.arange(columns.start, columns.stop)[None]
            own = own & (self.second is None)
        with _precision.enter(self.dtype):
            options = {"kinds": self.kinds, "positions": self.positions, "kept": self.kept, "shares": self.shares}
            found, error = propagate_fields(self.layers, x1, x2, own, **options)
            return Block({name: _precision.to_host(value, self.dtype) for name, value in found.items()}, float(error))
