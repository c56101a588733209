"""From positions to fewer of them, or to none: pooling and flattening."""

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from kernelregime._checks import fail, one_of
from kernelregime.layers.base import Layer, Reach, Shape
from kernelregime.layers.convolution import check_axes
from kernelregime.layers.fields import Fields, Squares, gap_between, moments_of, own_pairs, positions_of, same_as_alone, squares_of
from kernelregime.layers.moments import Moments
from kernelregime.layers.windows import Padding, Window, windows_of

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

        def along(x: Array, start: int) -> Array:
            """Means over the windows along the axes from `start`."""
            for axis, window in enumerate(self.windows, start):
                x = window.total(x, [axis]) / _column(window.counts(x.shape[axis]), x, axis)
            return x

        def weighed(x: Array, start: int) -> Array:
            """Times the sum of the weights of each output position along the axes from `start`, of which `x` has the outputs."""
            for axis, length in enumerate(lengths):
                x = x * _column(self._factor(axis, length), x, start + axis)
            return x

        lengths = positions_of(state)
        return mixed(state, along, weighed)

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
        weight = 1.0 if self.reduction == "mean" else float(math.prod(lengths))

        def along(x: Array, start: int) -> Array:
            return x.mean(axis=tuple(range(start, start + len(lengths))), keepdims=True)

        after = mixed(state, along, lambda x, _: x * weight)
        return without_positions(after)


@partial(jax.tree_util.register_dataclass, data_fields=(), meta_fields=())
@dataclass(frozen=True)
class Flatten(Layer):
    """All positions and channels of a point as one axis of features.

    At infinite width the mean of Σ(p, p) and of Θ(p, p) over the positions.
    """

    reach: ClassVar[Reach] = "own"

    def output_shape(self, shape: Shape) -> Shape:
        """(features,)."""
        return (math.prod(shape),)

    def init(self, key: Array, shape: Shape, dtype: Any = None) -> tuple[()]:
        """No parameters."""
        return ()

    def apply(self, params: tuple[()], x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """Reshaped."""
        return x.reshape(len(x), -1)

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


def mixed(state: Fields, along: Any, weighed: Any) -> Fields:
    """A fixed linear map of positions, the same for all channels: x(q) = s_q Σ_p m_qp x(p) with Σ_p m_qp = 1.

    `along(x, start)`: Σ_p m_qp x(p) for the axes from `start`; `weighed(x, start)`: times s_q. With ½E(x(p) ∓ x(p'))² written A_pp',
    that of a pair of means is Σ_pp' m m' A_pp' less half of the spread of either, Σ_pp' m_qp m_qp' ½E(x(p) - x(p'))².
    """
    axes = state.axes
    assert state.first is not None  # positions are "all" before a layer that needs them
    assert state.second is not None

    def both(x: Array) -> Array:
        return along(along(x, 0), axes)

    squares = [squares_of(block) for block in (state.cross, state.first, state.second)]
    cross, first, second = (s.map(lambda k: along(k, 0), lambda k: along(k, axes), both) for s in squares)
    spread1, spread2 = own_pairs(first.apart, axes), own_pairs(second.apart, axes)  # (*Q, N)

    def block(means: Squares, before: Moments, one: Array, other: Array) -> Moments:
        k1, k2 = means.k1 - one, means.k2 - other
        middle = (one + other) / 2
        centred = Squares(k1, k2, means.apart - middle, means.across - middle)
        gap = gap_between(centred, nonnegative=before.nonnegative)
        ntk = None if before.ntk is None else weighed(weighed(both(before.ntk), 0), axes)
        scaled = replace(centred, k1=weighed(weighed(k1, 0), 0), k2=weighed(weighed(k2, axes), axes))
        return replace(moments_of(scaled, before, ntk, error=error), gap=gap)

    error = jnp.maximum(jnp.maximum(state.cross.error, state.first.error), state.second.error)
    ones = (1,) * axes
    lead = spread1.shape[:axes]
    one, other = spread1.reshape(*lead, *ones, -1), spread2.reshape(*ones, *lead, -1)
    found = [
        block(cross, state.cross, one[..., :, None], other[..., None, :]),
        block(first, state.first, one, spread1.reshape(*ones, *lead, -1)),
        block(second, state.second, spread2.reshape(*lead, *ones, -1), other),
    ]
    return same_as_alone(replace(state, cross=found[0], first=found[1], second=found[2]))


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
