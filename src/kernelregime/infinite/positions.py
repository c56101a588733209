"""Kernels of networks on points with positions (images, sequences): the state before the first layer, and its kernels afterwards."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from kernelregime import _precision
from kernelregime._compiler import compiled
from kernelregime.grams import Block
from kernelregime.infinite.places import beyond
from kernelregime.layers import Fields, Folded, Layer, Moments
from kernelregime.layers.fields import Squares, gap_between
from kernelregime.layers.moments import signed

Positions = Literal["own", "all"]


def input_fields(x1: Array, x2: Array, positions: Positions, *, ntk: bool, own: Bool[Array, "N1 N2"] | None = None) -> Fields:
    """Σ⁰(p, p') = x1(p)·x2(p')/C for points (N1, *P, C) and (N2, *P', C); `own`: which pairs are one point, in one draw."""
    axes = x1.ndim - 2
    one, other = (jnp.moveaxis(x, 0, -2) for x in (x1, x2))  # (*P, N, C)
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
        flat1, flat2 = (x.reshape(len(x), math.prod(x.shape[1:])) for x in (x1, x2))
        same = jnp.all(flat1[:, None] == flat2[None], axis=-1)
    return Fields(cross, first, second, same, axes, positions)


def _pairs(x: Array, y: Array, ntk: bool, own: Array | None) -> Moments:
    """Moments of channels along the last axis; what differs and what adds up between the two is summed without cancellation."""
    channels = x.shape[-1]
    k1, k2 = (x * x).mean(-1), (y * y).mean(-1)
    squares = Squares(k1, k2, ((x - y) ** 2).mean(-1) / 2, ((x + y) ** 2).mean(-1) / 2)
    # numbers are parallel or opposite, whatever their lengths
    gap = gap_between(squares) if channels > 1 else signed(squares.apart <= squares.across, jnp.zeros_like(squares.apart))
    features = jnp.asarray(channels, gap.dtype)
    theta = jnp.zeros_like(gap) if ntk else None
    return Moments(k1, k2, gap, theta, None, jnp.zeros((), gap.dtype), features, gaussian=False, own=own)


def kernels_of(state: Any, kind: str) -> Array:
    """A kernel after the last layer: (N1, N2), then the axes of positions that are left, (*P) or (*P, *P')."""
    if isinstance(state, Moments):
        return getattr(state, kind)
    value = getattr(state.cross, kind)
    return jnp.moveaxis(value, (-2, -1), (0, 1))


def error_of(state: Any) -> Array:
    """The quadrature error after the last layer."""
    return jnp.asarray(state.error if isinstance(state, Moments) else state.cross.error)


@compiled(static=("kinds", "positions"))
def propagate_fields(
    layers: Layer | Folded, x1: Array, x2: Array, own: Array | None, *, kinds: tuple[str, ...], positions: Positions
) -> tuple[dict[str, Array], Array]:
    """The kernels of each kind for points (N1, *P, C) and (N2, *P, C), and the quadrature error; infinite where one is not finite."""
    after = layers.propagate(input_fields(x1, x2, positions, ntk="ntk" in kinds, own=own))
    found = {kind: kernels_of(after, kind) for kind in kinds}
    return found, error_of(after) + beyond(*found.values())


@dataclass(frozen=True)
class FieldPairs:
    """The pair function of a kernel of points with positions, rows of `first` with those of `second` (None: those of `first`).

    `positions`: which pairs of positions the layers read. `draws`: whether a point with itself is one draw of the network (`Dropout`).
    """

    layers: Layer | Folded
    first: np.ndarray
    second: np.ndarray | None
    kinds: tuple[str, ...]
    positions: Positions
    draws: bool
    dtype: np.dtype

    def __call__(self, rows: slice, columns: slice) -> Block:
        """The kernels of one block, with the axes of positions that are left, and the quadrature error."""
        x1, x2 = self.first[rows], (self.first if self.second is None else self.second)[columns]
        own = None
        if self.draws and self.second is None:
            own = np.arange(rows.start, rows.stop)[:, None] == np.arange(columns.start, columns.stop)[None]
        with _precision.enter(self.dtype):
            found, error = propagate_fields(self.layers, x1, x2, own, kinds=self.kinds, positions=self.positions)
            return Block({name: _precision.to_host(value, self.dtype) for name, value in found.items()}, float(error))
