"""From positions to fewer of them, or to none: pooling and flattening."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from kernelregime._checks import fail, one_of
from kernelregime.activations.angles import above_zero
from kernelregime.layers.base import Layer, Reach, Shape
from kernelregime.layers.batch import Batch
from kernelregime.layers.convolution import alone, check_axes
from kernelregime.layers.fields import (
    Fields,
    Squares,
    beside,
    blocks_of,
    hidden,
    moments_of,
    own_pairs,
    positions_of,
    same_as_alone,
    scaled,
    squares_of,
)
from kernelregime.layers.moments import Moments
from kernelregime.layers.windows import Padding, Window, kept, present_taps, windows_of

Reduction = Literal["mean", "sum"]


@partial(jax.tree_util.register_dataclass, data_fields=(), meta_fields=("window", "strides", "padding", "reduction", "edges"))
@dataclass(frozen=True)
class Pool(Layer):
    """The mean or sum of x over windows of positions, for points (*positions, channels).

    `window`, `strides` (default: those of the window), `padding` as in `Conv`. `reduction`: "mean" or "sum". `edges` of a mean: "inside"
    divides by the positions of the window that are inside the image, "all" by all of its taps, also those on padding.
    """

    window: tuple[int, ...]
    strides: tuple[int, ...] | None = None
    padding: Padding = "VALID"
    reduction: Reduction = "mean"
    edges: Literal["inside", "all"] = "all"

    reach: ClassVar[Reach] = "all"
    linear: ClassVar[bool] = True

    def __post_init__(self) -> None:
        one_of("reduction", self.reduction, ("mean", "sum"))
        one_of("edges", self.edges, ("inside", "all"))
        windows_of(self.window, self.strides or self.window, None, self.padding)

    @property
    def windows(self) -> tuple[Window, ...]:
        """The window along each axis of positions."""
        return windows_of(self.window, self.strides or self.window, None, self.padding)

    def output_shape(self, shape: Shape) -> Shape:
        """(*positions, channels), with as many positions as there are windows."""
        _check_axes(shape, len(self.window))
        return (*(w.length(n) for w, n in zip(self.windows, shape[:-1], strict=True)), shape[-1])

    def init(self, key: Array, shape: Shape, dtype: Any = None) -> tuple[()]:
        """No parameters."""
        return ()

    def apply(self, params: tuple[()], x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """The means or sums."""
        self.output_shape(x.shape[1:])  # which refuses points of another number of axes
        for axis, (window, length) in enumerate(zip(self.windows, x.shape[1:-1], strict=True)):
            factor = self._factor(axis, length) / window.counts(length)
            x = window.total(x, [axis + 1]) * _column(factor, x, axis + 1)
        return x

    def propagate(self, state: Any) -> Any:
        """Σ'(q, q') = Σ_pp' m_qp m_q'p' Σ(p, p'), and the same for Θ, where m are the weights of the positions."""
        check_axes(state, len(self.window))

        def along(x: Array, start: int, _: int) -> Array:
            """Means over the windows along the axes from `start`."""
            for axis, window in enumerate(self.windows, start):
                x = window.total(x, [axis]) / _column(window.counts(x.shape[axis]), x, axis)
            return x

        lengths = positions_of(state)
        factors = [self._factor(axis, length) for axis, length in enumerate(lengths)]
        scale = jnp.asarray(reduce(np.multiply.outer, factors), state.dtype)[..., None]
        scales: Sequence[Array] = (scale, scale)
        there = state.present and tuple(kept(self.windows, part) for part in state.present)
        if state.present is not None:
            scales = [scale * self._inside(part, state.dtype) for part in state.present]
        after = mixed(replace(state, present=None), along, scales)
        return hidden(replace(after, present=there))

    def apply_batch(self, params: tuple[()], batch: Batch) -> Batch:
        """The means or sums of what is there, where `Batch` tells that an output is."""
        values = self.apply(params, batch.hidden().values)
        if batch.present is None:
            return replace(batch, values=values)
        present = jnp.moveaxis(batch.present, 0, -1)
        values = values * jnp.moveaxis(self._inside(present, values.dtype), -1, 0)[..., None]
        return replace(batch, values=values, present=jnp.moveaxis(kept(self.windows, present), -1, 0)).hidden()

    def _inside(self, present: Array, dtype: Any) -> Array:
        """What a mean over the positions inside is multiplied by where only some are there, (*Q, N), from (*P, N); else 1."""
        if self.reduction == "sum" or self.edges == "all":
            return jnp.ones((1,) * present.ndim, dtype)
        inside, there = (present_taps(self.windows, part) for part in (jnp.ones_like(present), present))
        return inside.astype(dtype) / jnp.maximum(there, 1).astype(dtype)

    def _factor(self, axis: int, length: int) -> np.ndarray:
        """The sum of the weights of each output position along one axis of this length: 1 for a mean."""
        window = self.windows[axis]
        counts = window.counts(length)
        if self.reduction == "sum":
            return counts.astype(float)
        return np.ones(len(counts)) if self.edges == "inside" else counts / window.size


@partial(jax.tree_util.register_dataclass, data_fields=(), meta_fields=("reduction",))
@dataclass(frozen=True)
class GlobalPool(Layer):
    """The mean or sum of x over all positions."""

    reduction: Reduction = "mean"

    reach: ClassVar[Reach] = "all"
    linear: ClassVar[bool] = True

    def __post_init__(self) -> None:
        one_of("reduction", self.reduction, ("mean", "sum"))

    def output_shape(self, shape: Shape) -> Shape:
        """(channels,)."""
        _check_axes(shape, None)
        return shape[-1:]

    def init(self, key: Array, shape: Shape, dtype: Any = None) -> tuple[()]:
        """No parameters."""
        return ()

    def apply(self, params: tuple[()], x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """The mean or sum."""
        axes = tuple(range(1, x.ndim - 1))
        return x.mean(axis=axes) if self.reduction == "mean" else x.sum(axis=axes)

    def propagate(self, state: Any) -> Any:
        """The mean or sum of Σ(p, p') and of Θ(p, p') over all pairs of positions."""
        check_axes(state, state.axes if isinstance(state, Fields) else 1)
        lengths = positions_of(state)
        weights = [jnp.full((1,) * (state.axes + 1), self._weight(math.prod(lengths)), state.dtype)] * 2
        if state.present is not None:
            weights = [self._weight_of(part, range(state.axes), state.dtype) for part in state.present]

        def along(x: Array, start: int, _: int) -> Array:
            return x.mean(axis=tuple(range(start, start + len(lengths))), keepdims=True)

        return without_positions(mixed(replace(state, present=None), along, weights))

    def apply_batch(self, params: tuple[()], batch: Batch) -> Array:
        """The mean or sum over what is present."""
        values = self.apply(params, batch.hidden().values)
        if batch.present is None:
            return values
        positions = math.prod(batch.shape[1:-1])
        weight = self._weight_of(batch.present, range(1, batch.ndim - 1), values.dtype).reshape(-1, 1)
        return values * weight / self._weight(positions)

    def _weight(self, positions: int) -> float:
        """What the mean over all positions is multiplied by."""
        return 1.0 if self.reduction == "mean" else float(positions)

    def _weight_of(self, there: Array, axes: Iterable[int], dtype: Any) -> Array:
        """The same where only some are present."""
        positions = math.prod(there.shape[axis] for axis in axes)
        if self.reduction == "sum":
            return jnp.full([1 if axis in axes else n for axis, n in enumerate(there.shape)], float(positions), dtype)
        return positions / jnp.maximum(there.sum(axis=tuple(axes), keepdims=True), 1).astype(dtype)


@partial(jax.tree_util.register_dataclass, data_fields=(), meta_fields=())
@dataclass(frozen=True)
class Flatten(Layer):
    """All positions and channels of a point as one axis of features.

    At infinite width the mean of Σ(p, p) and of Θ(p, p) over the positions.
    """

    reach: ClassVar[Reach] = "own"
    linear: ClassVar[bool] = True

    def output_shape(self, shape: Shape) -> Shape:
        """(features,)."""
        return (math.prod(shape),)

    def init(self, key: Array, shape: Shape, dtype: Any = None) -> tuple[()]:
        """No parameters."""
        return ()

    def apply(self, params: tuple[()], x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """Reshaped."""
        return x.reshape(len(x), -1)

    def apply_batch(self, params: tuple[()], batch: Batch) -> Array:
        """Reshaped, with zeros for what is not there."""
        return self.apply(params, batch.hidden().values)

    def propagate(self, state: Any) -> Any:
        """The mean over the positions."""
        if isinstance(state, Moments):
            return state
        lengths = positions_of(state)
        moments = own_positions(state)
        axes = tuple(range(state.axes))
        features = moments.features * math.prod(lengths)

        def mean(x: Array) -> Array:
            return jnp.mean(jnp.broadcast_to(x, (*lengths, *x.shape[state.axes :])), axis=axes)

        ntk = None if moments.ntk is None else mean(moments.ntk)
        return moments_of(squares_of(moments).map(mean, mean, mean), moments, ntk, features=features, gaussian=False)


Along = Callable[[Array, int, int], Array]


def mixed(state: Fields, along: Along, scales: Sequence[Array], sums: Sequence[Array] | None = None) -> Fields:
    """A linear map of positions, the same for all channels: x(q) = s_q Σ_p m_qp x(p) with Σ_p m_qp = r_q.

    `along(x, start, side)`: Σ_p m_qp x(p) for the axes from `start`, with the map of the first or the second set of points. `scales`:
    s_q >= 0 of both, (*Q, N or 1). `sums`: r_q of both, alike; 1 if None. With κ = Σ_p m_qp k(p), and ½E(x(p) ∓ x(p'))² written A_pp',
    that of a pair of means is Σ_pp' m m' A_pp' + ½(r - r')(κ - κ') less half of the spread of either, Σ_pp' m_qp m_qp' ½E(x(p) - x(p'))².
    """
    axes = state.axes
    assert state.first is not None  # positions are "all" before a layer that needs them
    assert state.second is not None
    sides = {"cross": (0, 1), "first": (0, 0), "second": (1, 1)}
    before = blocks_of(state)

    def both(x: Array, one: int, other: int) -> Array:
        return along(along(x, 0, one), axes, other)

    def linear(name: str) -> tuple[Squares, Any]:
        (one, other), theta = sides[name], before[name].ntk
        parts = squares_of(before[name]).map(lambda k: along(k, 0, one), lambda k: along(k, axes, other), lambda x: both(x, one, other))
        return parts, None if theta is None else both(theta, one, other)

    squares, thetas = (dict(zip(sides, values, strict=True)) for values in zip(*map(linear, sides), strict=True))
    error = reduce(jnp.maximum, [jnp.asarray(block.error) for block in before.values()])
    spreads = beside(state, own_pairs(squares["first"].apart, axes), own_pairs(squares["second"].apart, axes))
    totals = None if sums is None else beside(state, *sums)

    def block(name: str) -> Moments:
        means, (one, other) = squares[name], spreads[name]
        k1, k2, middle = means.k1, means.k2, (one + other) / 2
        if totals is not None:
            r1, r2 = totals[name]
            middle = middle - (r1 - r2) * (k1 - k2) / 2
            k1, k2 = r1 * k1, r2 * k2
        centred = Squares(above_zero(k1 - one), above_zero(k2 - other), means.apart - middle, means.across - middle)
        return moments_of(centred, before[name], thetas[name], error=error)

    after: dict[str, Any] = {name: block(name) for name in sides}
    for name in ("first", "second"):  # a unit with itself, whatever rounding left
        gap = after[name].gap
        after[name] = replace(after[name], gap=jnp.where(alone(gap.shape, axes), 0, gap))
    return scaled(same_as_alone(replace(state, **after)), *scales)


def own_positions(state: Fields) -> Moments:
    """The moments of pairs of points at equal positions, (*P, N1, N2)."""
    moments, axes = state.cross, state.axes
    if state.positions == "own":
        return moments
    lead = positions_of(state)
    one, other = (k.reshape(*lead, *k.shape[2 * axes :]) for k in (moments.k1, moments.k2))
    ntk, tilt = (None if x is None else own_pairs(x, axes) for x in (moments.ntk, moments.tilt))
    return replace(moments, k1=one, k2=other, gap=own_pairs(moments.gap, axes), ntk=ntk, tilt=tilt)


def without_positions(state: Fields) -> Moments:
    """The moments of pairs of points that have one position."""

    def last(x: Array | None) -> Any:
        return None if x is None else x.reshape(x.shape[-2:])

    m = state.cross
    return replace(m, k1=last(m.k1), k2=last(m.k2), gap=last(m.gap), ntk=last(m.ntk), tilt=last(m.tilt))


def _column(values: np.ndarray, x: Array, axis: int) -> Array:
    return jnp.asarray(values, x.dtype).reshape([-1 if a == axis else 1 for a in range(x.ndim)])


def _check_axes(shape: Shape, axes: int | None) -> None:
    if len(shape) < 2 or (axes is not None and len(shape) != axes + 1):
        wanted = "points (*positions, channels)" if axes is None else f"points with {axes} axes of positions, and channels"
        raise fail(wanted, f"shape {shape}", "reshape x, channels last")
