"""Kernels of networks on points with positions (images, sequences): the state before the first layer, and its kernels afterwards."""

import math
from dataclasses import dataclass
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from kernelregime import _precision
from kernelregime._compiler import compiled
from kernelregime.activations.angles import magnitude
from kernelregime.grams import Block
from kernelregime.infinite.places import beyond
from kernelregime.layers import Dense, Fields, Folded, GlobalPool, Layer, Moments, Sequential, draws, offsets_kept
from kernelregime.layers.fields import Positions, Squares, gap_between
from kernelregime.layers.moments import signed
from kernelregime.layers.pooling import own_positions

FEW = 4  # channels that are summed in one loop over the pairs


def input_fields(x1: Array, x2: Array, positions: Positions, *, ntk: bool, own: Bool[Array, "N1 N2"] | None = None) -> Fields:
    """Σ⁰(p, p') = x1(p)·x2(p')/C for points (N1, *P, C) and (N2, *P', C); `own`: of a network that draws anew for each point, which pairs
    are one point in one draw, else None.
    """
    axes = x1.ndim - 2
    one, other = (_channels_first(x) for x in (x1, x2))
    first = second = None
    if positions == "all":
        each = None if own is None else jnp.ones((), bool)
        ones = (1,) * axes
        wide1, wide2 = (x.reshape(*x.shape[:-1], *ones, x.shape[-1]) for x in (one, other))
        deep1, deep2 = (x.reshape(len(x), *ones, *x.shape[1:]) for x in (one, other))
        first, second = _pairs(wide1, deep1, ntk, each), _pairs(wide2, deep2, ntk, each)
        one, other = wide1, deep2
    cross = _pairs(one[..., :, None], other[..., None, :], ntk, own)
    same = own  # of networks that draw anew for each point, equal points are not the same
    if positions == "all" and own is None:
        flat1, flat2 = (x.reshape(len(x), math.prod(x.shape[1:])) for x in (x1, x2))
        same = jnp.all(flat1[:, None] == flat2[None], axis=-1)
    return Fields(cross, first, second, same, axes, positions)


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


def pooled(before: Any, x1: Array, x2: Array, *, ntk: bool, pool: GlobalPool, variances: bool) -> Moments:
    """The moments of points (N1, *P, C) and (N2, *P, C) after the layers `before` and a pooling over all positions.

    One offset p' - p after another: memory of the order of the positions, not of their pairs. Without `variances` those of the points
    stay unknown, and each pair of points is given the least it can have, |E zz'| for both: all that a linear readout reads.
    """
    axes, lengths = x1.ndim - 2, x1.shape[1:-1]
    one, other = (_channels_first(x) for x in (x1, x2))
    weight = 1.0 if pool.reduction == "mean" else float(math.prod(lengths)) ** 2

    def moved(offset: Array) -> list[Array]:
        return [jnp.roll(x, -offset, axis=tuple(range(1, 1 + axes))) for x in (one, other)]

    def states(offset: Array, far: list[Array]) -> list[Moments]:
        """After the layers: of the points with one another, and of each set with itself, where variances are wanted."""
        pairs = [(one[..., :, None], far[1][..., None, :]), *(zip((one, other), far, strict=True) if variances else [])]
        given = [_pairs(x, y, ntk and index == 0, None) for index, (x, y) in enumerate(pairs)]
        return [before.propagate(Fields(m, None, None, None, axes, "offset", offset)).cross for m in given]

    def at(carry: Any, offsets: tuple[Array, Array]) -> tuple[Any, None]:
        (offset, following), (totals, error, _, far) = offsets, carry
        after = states(offset, far)
        values: list[Any] = [*(state.nngp for state in after), *([after[0].ntk] if ntk else [])]
        sums = [total + value for total, value in zip(totals, values, strict=True)]  # at each position: to add them up takes longer
        return (sums, jnp.maximum(error, jnp.asarray(after[0].error)), after[0].features, moved(following)), None

    pairs, points = (len(x1), len(x2)), [(len(x1),), (len(x2),)] if variances else []
    zeros = [jnp.zeros((*lengths, *shape), x1.dtype) for shape in (pairs, *points, *([pairs] if ntk else []))]
    start = (zeros, jnp.zeros((), x1.dtype), jnp.zeros((), x1.dtype), [one, other])  # at no offset
    offsets = jnp.stack(jnp.meshgrid(*(jnp.arange(n) for n in lengths), indexing="ij"), -1).reshape(-1, axes)
    (found, error, features, _), _ = jax.lax.scan(at, start, (offsets, jnp.roll(offsets, -1, axis=0)))
    found = [value.mean(axis=tuple(range(axes))) * (weight / math.prod(lengths)) for value in found]
    covariance, theta = found[0], found[-1] if ntk else None
    if variances:
        k1, k2 = found[1][:, None], found[2][None, :]
        middle = (k1 + k2) / 2
        gap = gap_between(Squares(k1, k2, middle - covariance, middle + covariance))
        flat1, flat2 = (x.reshape(len(x), -1) for x in (x1, x2))
        gap = jnp.where(jnp.all(flat1[:, None] == flat2[None], axis=-1), 0, gap)
    else:
        k1 = k2 = magnitude(covariance)
        gap = signed(covariance >= 0, jnp.zeros_like(covariance))
    gaussian = jax.eval_shape(states, offsets[0], [one, other])[0].gaussian
    return Moments(k1, k2, gap, theta, None, error, features, gaussian=gaussian)


def _channels_first(x: Array) -> Array:
    """(C, *P, N) of points (N, *P, C)."""
    return jnp.moveaxis(x, (-1, 0), (0, -1))


def _pairs(x: Array, y: Array, ntk: bool, own: Array | None) -> Moments:
    """Moments of channels along the first axis; what differs and what adds up between the two is summed without cancellation."""
    channels = len(x)
    k1, k2 = (x * x).mean(0), (y * y).mean(0)
    squares = Squares(k1, k2, *(total / (2 * channels) for total in _differences(x, y)))
    # numbers are parallel or opposite, whatever their lengths
    gap = gap_between(squares) if channels > 1 else signed(squares.apart <= squares.across, jnp.zeros_like(squares.apart))
    features = jnp.asarray(channels, gap.dtype)
    theta = jnp.zeros_like(gap) if ntk else None
    return Moments(k1, k2, gap, theta, None, jnp.zeros((), gap.dtype), features, gaussian=False, own=own)


def _differences(x: Array, y: Array) -> tuple[Array, Array]:
    """|x ∓ y|² over the first axis, a few channels after another, so that no array holds them all for all pairs."""

    def add(totals: tuple[Array, Array], channel: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        one, other = channel
        return (totals[0] + (one - other) ** 2, totals[1] + (one + other) ** 2), None

    zeros = jnp.zeros(jnp.broadcast_shapes(x.shape, y.shape)[1:], x.dtype)
    return jax.lax.scan(add, (zeros, zeros), (x, y), unroll=FEW)[0]


def kernels_of(state: Any, kind: str, positions: Positions) -> Array:
    """A kernel after the last layer: (N1, N2), then the axes of positions that are left, (*P), or of "all" pairs (*P, *P')."""
    if isinstance(state, Moments):
        return getattr(state, kind)
    moments = own_positions(state) if positions == "own" else state.cross
    return jnp.moveaxis(getattr(moments, kind), (-2, -1), (0, 1))


def error_of(state: Any) -> Array:
    """The quadrature error after the last layer."""
    return jnp.asarray(state.error if isinstance(state, Moments) else state.cross.error)


@compiled(static=("kinds", "positions", "kept"))
def propagate_fields(
    layers: Any, x1: Array, x2: Array, own: Array | None, *, kinds: tuple[str, ...], positions: Positions, kept: Positions
) -> tuple[dict[str, Array], Array]:
    """The kernels of each kind for points (N1, *P, C) and (N2, *P, C), and the quadrature error; infinite where one is not finite."""
    if positions == "offset":
        before, pool, last = layers
        variances = not all(isinstance(layer, Dense) for layer in last)
        after: Any = pooled(before, x1, x2, ntk="ntk" in kinds, pool=pool, variances=variances)
        after = reduce(lambda state, layer: layer.propagate(state), last, after)
    else:
        after = layers.propagate(input_fields(x1, x2, positions, ntk="ntk" in kinds, own=own))
    found = {kind: kernels_of(after, kind, kept) for kind in kinds}
    return found, error_of(after) + beyond(*found.values())


@dataclass(frozen=True)
class FieldPairs:
    """The pair function of a kernel of points with positions, rows of `first` with those of `second` (None: those of `first`).

    `positions`: which pairs of positions the layers read; for "offset", `layers` are those of `by_offsets`. `kept`: which
    of them are given where some are left. `draws`: whether a point with itself is one draw of the network (`Dropout`).
    """

    layers: Any
    first: np.ndarray
    second: np.ndarray | None
    kinds: tuple[str, ...]
    positions: Positions
    kept: Positions
    draws: bool
    dtype: np.dtype

    def __call__(self, rows: slice, columns: slice) -> Block:
        """The kernels of one block, with the axes of positions that are left, and the quadrature error."""
        x1, x2 = self.first[rows], (self.first if self.second is None else self.second)[columns]
        own = None
        if self.draws:
            own = np.arange(rows.start, rows.stop)[:, None] == np.arange(columns.start, columns.stop)[None]
            own = own & (self.second is None)
        with _precision.enter(self.dtype):
            found, error = propagate_fields(self.layers, x1, x2, own, kinds=self.kinds, positions=self.positions, kept=self.kept)
            return Block({name: _precision.to_host(value, self.dtype) for name, value in found.items()}, float(error))
