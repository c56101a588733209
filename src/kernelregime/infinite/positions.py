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
from kernelregime.infinite.pixels import channels_in_front, equal, pairs_of
from kernelregime.infinite.places import beyond
from kernelregime.infinite.shares import by_rate
from kernelregime.layers import Batch, Fields, Layer, Moments
from kernelregime.layers.base import channels_first
from kernelregime.layers.fields import Positions
from kernelregime.layers.pooling import own_positions


def input_fields(
    x1: Batch, x2: Batch, positions: Positions, *, ntk: bool, own: Bool[Array, "N1 N2"] | None = None, tilt: bool = False
) -> Fields:
    """Σ⁰(p, p') = x1(p)·x2(p')/C for points (N1, *P, C) and (N2, *P, C); `own`: of a network that draws anew for each point, which pairs
    are one point in one draw, else None; `tilt`: with what derivatives need.
    """
    x1, x2 = x1.hidden(), x2.hidden()
    axes = x1.ndim - 2
    one, other = (channels_in_front(x.values) for x in (x1, x2))
    first = second = None
    if positions == "all":
        each = None if own is None else jnp.ones((), bool)
        ones = (1,) * axes
        wide1, wide2 = (x.reshape(*x.shape[:-1], *ones, x.shape[-1]) for x in (one, other))
        deep1, deep2 = (x.reshape(len(x), *ones, *x.shape[1:]) for x in (one, other))
        first, second = (pairs_of(*sides, ntk, each, tilt=tilt) for sides in ((wide1, deep1), (wide2, deep2)))
        one, other = wide1, deep2
    cross = pairs_of(one[..., :, None], other[..., None, :], ntk, own, tilt=tilt)
    same = own  # of networks that draw anew for each point, equal points are not the same
    if positions == "all" and own is None:
        same = reduce(jnp.logical_and, [equal(a, b) for a, b in zip(jax.tree.leaves(x1), jax.tree.leaves(x2), strict=True)])
    present, graph = ((a, b) if a is not None else None for a, b in ((x1.present, x2.present), (x1.graph, x2.graph)))
    there, weights = (pair and tuple(jnp.moveaxis(part, 0, -1) for part in pair) for pair in (present, graph))
    return Fields(cross, first, second, same, axes, positions, present=there, graph=weights)


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
            after: Any = layers.propagate(x1.values, x2.values, ntk="ntk" in kinds)
        else:
            after = layers.propagate(input_fields(x1, x2, positions, ntk="ntk" in kinds, own=own))
        return {kind: kernels_of(after, kind, kept) for kind in kinds}, error_of(after)

    found, error = by_rate(run, layers, shares)
    return found, error + beyond(*found.values())


@dataclass(frozen=True)
class FieldPairs:
    """The pair function of a kernel of points with positions, rows of `first` with those of `second` (None: those of `first`).

    `positions`: which pairs of positions the layers read; for "offset", `layers` are a `ByOffsets`. `kept`: which
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
