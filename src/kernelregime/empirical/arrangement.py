"""How the axes of a product's input and of its gradient make up the gradient of the parameter in the product.

For out_bpm = Σ_k in_bpk w_bkm, with blocks b, positions p, features k and m, the gradient of w is Σ_p in_bpk δ_bpm. A linear map of one
position is the case of one b and one p; a convolution reads the windows of its input; an embedding reads ones at its indices.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array

Turns = tuple[Literal["position", "block"], ...]  # what the turns of each loop around a value count as, from the inside


@dataclass(frozen=True)
class Axes:
    """Blocks, positions and features of an array, as axes longer than 1; `split` (axis, groups): blocks in front of an axis of features."""

    blocks: tuple[int, ...]
    positions: tuple[int, ...]
    features: tuple[int, ...]
    split: tuple[int, int] | None = None

    def __call__(self, x: Array) -> Array:
        """As (B, P, M)."""
        x, axes = _divided(x, self.split), self
        if self.split is not None:
            at = self.split[0]
            blocks, positions, features = (tuple(a + (a >= at) for a in group) for group in (self.blocks, self.positions, self.features))
            axes = Axes((*blocks, at), positions, features)
        order = (*axes.blocks, *axes.positions, *axes.features)
        sizes = [math.prod(x.shape[a] for a in group) for group in (axes.blocks, axes.positions, axes.features)]
        return x.transpose([a for a in range(x.ndim) if a not in order] + list(order)).reshape(sizes)

    def moved(self, to: Callable[[int], int]) -> "Axes":
        """The same where axis a has become to(a)."""
        split = None if self.split is None else (to(self.split[0]), self.split[1])
        blocks, positions, features = (tuple(map(to, group)) for group in (self.blocks, self.positions, self.features))
        return Axes(blocks, positions, features, split)


def _divided(x: Array, split: tuple[int, int] | None) -> Array:
    if split is None:
        return x
    at, groups = split
    return x.reshape(*x.shape[:at], groups, x.shape[at] // groups, *x.shape[at + 1 :])


def long_axes(shape: Sequence[int], axes: Sequence[int]) -> tuple[int, ...]:
    """Those of the axes that are longer than 1."""
    return tuple(a for a in axes if shape[a] != 1)


@dataclass(frozen=True)
class Ones:
    """Of a parameter that is added at all positions: the number 1 at each of them."""

    positions: int

    def __call__(self, x: Array) -> Array:
        """As (1, P, 1)."""
        return jnp.broadcast_to(jnp.reshape(x, (1, 1, 1)), (1, self.positions, 1))


@dataclass(frozen=True)
class Indices:
    """The indices (..., 1) of a gather along one axis of n, outside of it -1 with mode "drop", at its ends with "clip"."""

    n: int
    mode: str

    def __call__(self, x: Array) -> Array:
        """As (1, P)."""
        flat = jnp.reshape(x, (1, -1))
        if self.mode == "none":
            return flat
        if self.mode == "clip":
            return jnp.clip(flat, 0, self.n - 1)
        return jnp.where((flat >= 0) & (flat < self.n), flat, -1)


@dataclass(frozen=True)
class Windows:
    """The windows of the input of a convolution, as (groups, batch and positions, what a window holds).

    `batch`, `channels`, `places`: its axes; `window`, `strides`, `padding`, `dilation`, `spread` (of the input) along `places`.
    """

    batch: int
    channels: int
    places: tuple[int, ...]
    window: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    spread: tuple[int, ...]
    groups: int

    def __call__(self, x: Array) -> Array:
        """As (B, P, K)."""
        x = x.transpose(self.batch, *self.places, self.channels)
        edges = [(0, 0, 0), *((low, high, gap - 1) for (low, high), gap in zip(self.padding, self.spread, strict=True)), (0, 0, 0)]
        x = jax.lax.pad(x, jnp.zeros((), x.dtype), edges)
        taps = [x]
        for axis, (size, stride, apart) in enumerate(zip(self.window, self.strides, self.dilation, strict=True), 1):
            count = max((x.shape[axis] - (size - 1) * apart - 1) // stride + 1, 0)
            starts = range(0, size * apart, apart)
            taps = [jax.lax.slice_in_dim(tap, s, s + max((count - 1) * stride + 1, 0), stride, axis) for tap in taps for s in starts]
        found = jnp.stack(taps, axis=-2)  # (batch, *places, taps, channels): channels, which lie side by side, stay so
        positions = math.prod(found.shape[: len(self.window) + 1])
        if self.groups == 1:
            return found.reshape(1, positions, -1)
        found = found.reshape(positions, len(taps), self.groups, -1)
        return found.transpose(2, 0, 1, 3).reshape(self.groups, positions, -1)


Reading = Axes | Ones | Indices | Windows


def arranged(x: Array, reading: Reading, turns: Turns) -> Array:
    """(B, P, ...) of a value with the turns of loops first, the outermost in front."""
    if not turns:
        return reading(x)
    inner = jax.vmap(lambda one: arranged(one, reading, turns[:-1]))(x)
    if turns[-1] == "position":
        inner = jnp.moveaxis(inner, 0, 1)
        return inner.reshape(inner.shape[0], -1, *inner.shape[3:])
    return inner.reshape(-1, *inner.shape[2:])


def sizes(shape: Sequence[int], dtype: Any, reading: Reading, turns: Turns) -> tuple[int, ...]:
    """The shape of what `arranged` gives."""
    form: Any = jax.eval_shape(lambda x: arranged(x, reading, turns), jax.ShapeDtypeStruct(tuple(shape), dtype))
    return tuple(form.shape)
