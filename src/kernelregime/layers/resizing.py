"""Fixed maps of positions: resized images, parts of them, and the order of their axes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from kernelregime._checks import fail, integer, one_of
from kernelregime.layers.base import Layer, Reach, Shape
from kernelregime.layers.batch import Batch
from kernelregime.layers.convolution import check_axes, check_whole
from kernelregime.layers.fields import hidden, positions_of
from kernelregime.layers.moments import Moments
from kernelregime.layers.pooling import mixed
from kernelregime.layers.windows import written

Method = Literal["nearest", "linear", "cubic", "lanczos3", "lanczos5"]


@partial(jax.tree_util.register_dataclass, data_fields=(), meta_fields=("positions", "method", "antialias"))
@dataclass(frozen=True)
class Resize(Layer):
    """Points resized to so many `positions` along each axis, by interpolation with the `method` of `jax.image.resize`."""

    positions: tuple[int, ...]
    method: Method = "linear"
    antialias: bool = True

    reach: ClassVar[Reach] = "all"
    linear: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.positions, tuple) or not self.positions:
            raise fail("a number of positions for each axis, a tuple", repr(self.positions), written(self.positions, 16))
        one_of("method", self.method, ("nearest", "linear", "cubic", "lanczos3", "lanczos5"))
        for length in self.positions:
            integer("a number of positions", length)

    def output_shape(self, shape: Shape) -> Shape:
        """(*positions, channels)."""
        if len(shape) != len(self.positions) + 1:
            raise fail(f"points with {len(self.positions)} axes of positions, and channels", f"shape {shape}", "reshape x, channels last")
        return (*self.positions, shape[-1])

    def init(self, key: Array, shape: Shape, dtype: Any = None) -> tuple[()]:
        """No parameters."""
        return ()

    def apply(self, params: tuple[()], x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """Resized."""
        shape = (len(x), *self.output_shape(x.shape[1:]))
        return jax.image.resize(x, shape, self.method, antialias=self.antialias)

    def propagate(self, state: Any) -> Any:
        """Σ'(q, q') = Σ_pp' m_qp m_q'p' Σ(p, p') with the weights m of the interpolation, and the same for Θ."""
        check_axes(state, len(self.positions))
        check_whole(state, self)
        maps = [self._map(n, length, state.dtype) for n, length in zip(positions_of(state), self.positions, strict=True)]

        def along(x: Array, start: int, _: int) -> Array:
            for axis, weights in enumerate(maps, start):
                x = jnp.moveaxis(jnp.tensordot(weights, x, axes=(1, axis), precision="highest"), 0, axis)
            return x

        if self.method not in ("nearest", "linear"):  # weights of both signs
            state = state.each(partial(replace, nonnegative=False))
        return hidden(mixed(state, along, [jnp.ones((1,) * (state.axes + 1), state.dtype)] * 2))

    def _map(self, n: int, length: int, dtype: Any) -> Array:
        return jax.image.resize(jnp.eye(n, dtype=dtype), (length, n), self.method, antialias=self.antialias)


@partial(jax.tree_util.register_dataclass, data_fields=(), meta_fields=("slices",))
@dataclass(frozen=True)
class Crop(Layer):
    """Some of the positions: for each axis (start, stop, step), as in x[start:stop:step]."""

    slices: tuple[tuple[int | None, int | None, int | None], ...]

    reach: ClassVar[Reach] = "each"
    linear: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.slices, tuple) or not all(isinstance(part, tuple) and len(part) == 3 for part in self.slices):
            raise fail("slices as a tuple of (start, stop, step)", repr(self.slices), "write ((0, 3, None), (None, None, 2))")

    def output_shape(self, shape: Shape) -> Shape:
        """(*positions, channels)."""
        if len(shape) != len(self.slices) + 1:
            raise fail(f"points with {len(self.slices)} axes of positions, and channels", f"shape {shape}", "reshape x, channels last")
        left = tuple(len(np.arange(n)[slice(*part)]) for n, part in zip(shape, self.slices, strict=False))
        if 0 in left:
            raise fail("slices that leave some positions", f"{self.slices} of {shape[:-1]}", "give other slices")
        return (*left, shape[-1])

    def init(self, key: Array, shape: Shape, dtype: Any = None) -> tuple[()]:
        """No parameters."""
        return ()

    def apply(self, params: tuple[()], x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """The part of x."""
        self.output_shape(x.shape[1:])
        return x[(slice(None), *(slice(*part) for part in self.slices))]

    def propagate(self, state: Any) -> Any:
        """Σ and Θ at the positions that are left."""
        check_axes(state, len(self.slices))
        self.output_shape((*positions_of(state), 1))
        parts = [slice(*part) for part in self.slices]
        after = replace(state, present=None).each(partial(_part, parts=parts * (2 if state.positions == "all" else 1)))
        there = state.present and tuple(part[tuple(parts)] for part in state.present)
        return replace(after, present=there, graph=state.graph and tuple(w[parts[0], parts[0]] for w in state.graph))

    def apply_batch(self, params: tuple[()], batch: Batch) -> Batch:
        """The part of each point, and of its graph."""
        parts = tuple(slice(*part) for part in self.slices)
        return Batch(
            self.apply(params, batch.values),
            None if batch.present is None else batch.present[(slice(None), *parts)],
            None if batch.graph is None else batch.graph[:, parts[0], parts[0]],
        )


def _part(moments: Moments, *, parts: Sequence[slice]) -> Moments:
    def of(x: Array | None) -> Any:
        # an axis along which a variance is one number for all has nothing to leave out
        return None if x is None else x[tuple(part if n > 1 else slice(None) for part, n in zip(parts, x.shape, strict=False))]

    m = moments
    return replace(m, k1=of(m.k1), k2=of(m.k2), gap=of(m.gap), ntk=of(m.ntk), tilt=of(m.tilt))


@partial(jax.tree_util.register_dataclass, data_fields=(), meta_fields=())
@dataclass(frozen=True)
class ChannelsLast(Layer):
    """Points (channels, *positions) as (*positions, channels), the order of all other layers: the first layer of a network, or none."""

    reach: ClassVar[Reach] = "each"
    keeps_offsets: ClassVar[bool] = True
    channels_in_front: ClassVar[bool] = True
    linear: ClassVar[bool] = True

    def output_shape(self, shape: Shape) -> Shape:
        """The channels last."""
        if len(shape) < 2:
            raise fail("points (channels, *positions)", f"shape {shape}", "leave ChannelsLast out")
        return (*shape[1:], shape[0])

    def init(self, key: Array, shape: Shape, dtype: Any = None) -> tuple[()]:
        """No parameters."""
        return ()

    def apply(self, params: tuple[()], x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """The channels last."""
        return jnp.moveaxis(x, 1, -1)

    def apply_batch(self, params: tuple[()], batch: Batch) -> Batch:
        """The channels of the values last."""
        return replace(batch, values=self.apply(params, batch.values))

    def propagate(self, state: Any) -> Any:
        """Unchanged: the moments of the inputs know of the order."""
        return state
