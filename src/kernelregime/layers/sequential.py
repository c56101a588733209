"""Layers one after another."""

from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernelregime._checks import fail
from kernelregime.layers.base import Layer, Shape
from kernelregime.layers.moments import Moments

LONGEST_PERIOD = 16  # layers in a repeating block that is worth looking for


@partial(jax.tree_util.register_dataclass, data_fields=("layers",), meta_fields=())
@dataclass(frozen=True)
class Sequential(Layer):
    """The composition of `layers`, first to last.

    At infinite width a block of layers that repeats is folded by a loop, so that compiling costs the same at any depth.
    """

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise fail("at least one layer", "none", "give Sequential((Dense(...), ...))")

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of one point after the last layer."""
        return reduce(lambda s, layer: layer.output_shape(s), self.layers, shape)

    def init(self, key: Array, shape: Shape, dtype: Any = None) -> tuple[Any, ...]:
        """One entry of parameters per layer."""
        keys = jax.random.split(key, len(self.layers))
        alike: dict[Any, list[int]] = {}
        for index, layer in enumerate(self.layers):
            alike.setdefault((jax.tree.structure(layer), shape), []).append(index)
            shape = layer.output_shape(shape)
        params: list[Any] = [None] * len(self.layers)
        for (_, inputs), indices in alike.items():
            # layers of one structure draw together: compiling a random draw is slow, and a deep network has many
            stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(self.layers[i] for i in indices))
            drawn = jax.vmap(lambda layer, k, inputs=inputs: layer.init(k, inputs, dtype))(stacked, keys[jnp.array(indices)])
            for position, index in enumerate(indices):
                params[index] = jax.tree.map(lambda leaf, position=position: leaf[position], drawn)
        return tuple(params)

    def apply(self, params: tuple[Any, ...], x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """The layers at finite width, in order."""
        for layer, layer_params in zip(self.layers, params, strict=True):
            x = layer.apply(layer_params, x)
        return x

    def propagate(self, moments: Moments) -> Moments:
        """The layers at infinite width, in order."""
        structures = [jax.tree.structure(layer) for layer in self.layers]
        start = 0
        while start < len(self.layers):
            period, repeats = _longest_run(structures, start)
            block = self.layers[start : start + period]
            moments = _fold(block, moments)
            rest = [self.layers[start + r * period : start + (r + 1) * period] for r in range(1, repeats)]
            if rest:
                moments = _loop(rest, moments)
            start += period * repeats
        return moments


def _fold(layers: tuple[Layer, ...], moments: Moments) -> Moments:
    return reduce(lambda m, layer: layer.propagate(m), layers, moments)


def _longest_run(structures: list[Any], start: int) -> tuple[int, int]:
    """(period, repeats) of the block at `start` that covers the most layers by repeating; (1, 1) if none repeats."""
    best = (1, 1)
    for period in range(1, min(LONGEST_PERIOD, (len(structures) - start) // 2) + 1):
        repeats = 1
        block = structures[start : start + period]
        while structures[start + repeats * period : start + (repeats + 1) * period] == block:
            repeats += 1
        if repeats > 1 and period * repeats > best[0] * best[1]:
            best = (period, repeats)
    return best


def _loop(blocks: list[tuple[Layer, ...]], moments: Moments) -> Moments:
    """Fold `blocks` of one structure by a scan over their numeric leaves."""
    dtype = moments.w.dtype
    stacked = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf, dtype) for leaf in leaves]), *blocks)
    after = jax.eval_shape(lambda m: _fold(blocks[0], m), moments)
    structure: Any = jax.tree.structure(moments)
    same = jax.tree.structure(after) == structure and all(
        (a.shape, a.dtype) == (jnp.shape(b), jnp.result_type(b))
        for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(moments), strict=True)
    )
    if not same:  # a first block that changes the state's shape more than once
        return _fold(tuple(layer for block in blocks for layer in block), moments)
    return jax.lax.scan(lambda m, block: (_fold(block, m), None), moments, stacked)[0]
