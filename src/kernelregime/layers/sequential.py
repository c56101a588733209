"""Layers one after another."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, reduce
from itertools import accumulate, pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
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
        return self.folded().propagate(moments)

    def folded(self, stops: Sequence[int] | None = None) -> "Folded":
        """The layers with their repeating blocks stacked; with `stops`, the layers up to each stop taken as one."""
        units = self.layers if stops is None else tuple(Sequential(self.layers[i:j]) for i, j in pairwise((0, *stops)))
        structures = [jax.tree.structure(unit) for unit in units]
        runs, start = [], 0
        while start < len(units):
            period, repeats = _longest_run(structures, start)
            blocks = [units[start + r * period : start + (r + 1) * period] for r in range(repeats)]
            runs.append(_Run(blocks[0] if repeats == 1 else jax.tree.map(_stacked, *blocks), repeats))
            start += period * repeats
        return Folded(tuple(runs))


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


def _stacked(*leaves: Any) -> Any:
    if not any(isinstance(leaf, jax.Array) for leaf in leaves):  # one array in place of many arguments, which compile slowly
        return np.array(leaves)
    return jnp.stack([jnp.asarray(leaf, jnp.result_type(float)) for leaf in leaves])


@partial(jax.tree_util.register_dataclass, data_fields=("block",), meta_fields=("repeats",))
@dataclass(frozen=True)
class _Run:
    """A block of layers and how often it repeats; if more than once, each leaf holds the values of all the repeats."""

    block: tuple[Layer, ...]
    repeats: int

    def fold(self, moments: Moments, *, keep: bool) -> tuple[Moments, list[Moments]]:
        """The state after the run and, with `keep`, that after each of its layers."""

        def step(state: Moments, block: tuple[Layer, ...]) -> tuple[Moments, list[Moments]]:
            states = list(accumulate(block, lambda m, layer: layer.propagate(m), initial=state))
            return states[-1], states[1:] if keep else []

        if self.repeats == 1:
            return step(moments, self.block)
        block = jax.tree.map(lambda leaf: jnp.asarray(leaf, moments.w.dtype), self.block)
        first = jax.tree.map(lambda leaf: leaf[0], block)
        if not _same_form(jax.eval_shape(lambda m: step(m, first)[0], moments), moments):
            moments, kept = step(moments, first)
            rest = jax.tree.map(lambda leaf: leaf[1] if self.repeats == 2 else leaf[1:], block)
            moments, others = _Run(rest, self.repeats - 1).fold(moments, keep=keep)
            return moments, kept + others
        moments, stacked = jax.lax.scan(step, moments, block)
        return moments, [jax.tree.map(lambda leaf, r=r: leaf[r], unit) for r in range(self.repeats) for unit in stacked]


def _same_form(one: Any, other: Any) -> bool:
    """Whether two states have one structure, with arrays of the same shapes and dtypes."""
    structure: Any = jax.tree.structure(one)
    return structure == jax.tree.structure(other) and all(
        (a.shape, a.dtype) == (jnp.shape(b), jnp.result_type(b)) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    )


@partial(jax.tree_util.register_dataclass, data_fields=("runs",), meta_fields=())
@dataclass(frozen=True)
class Folded:
    """Layers as runs of repeating blocks, each of which is folded by one loop."""

    runs: tuple[_Run, ...]

    def propagate(self, moments: Moments) -> Moments:
        """The state after the last layer."""
        return reduce(lambda m, run: run.fold(m, keep=False)[0], self.runs, moments)

    def states(self, moments: Moments) -> list[Moments]:
        """The state after each layer."""
        out: list[Moments] = []
        for run in self.runs:
            moments, kept = run.fold(moments, keep=True)
            out += kept
        return out
