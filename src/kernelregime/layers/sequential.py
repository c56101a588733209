"""Layers one after another."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from kernelregime._checks import fail
from kernelregime._compiler import form
from kernelregime.layers.base import Layer, Shape, State, check_key, checked_shape
from kernelregime.layers.batch import Batch, applied
from kernelregime.layers.moments import Moments

Kept = dict[str, Array]  # kernels by their kind, a slot for every stop and one more
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
        check_key(key)
        shape = checked_shape(shape)
        keys = jax.random.split(key, len(self.layers))
        alike: dict[Any, list[int]] = {}
        for index, layer in enumerate(self.layers):
            alike.setdefault((form(layer), shape), []).append(index)
            shape = layer.output_shape(shape)
        params: list[Any] = [None] * len(self.layers)
        for (_, inputs), indices in alike.items():
            # layers of one structure draw together: compiling a random draw is slow, and a deep network has many
            stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(self.layers[i] for i in indices))
            drawn = jax.vmap(lambda layer, k, inputs=inputs: layer.init(k, inputs, dtype))(stacked, keys[jnp.array(indices)])
            for position, index in enumerate(indices):
                params[index] = jax.tree.map(lambda leaf, position=position: leaf[position], drawn)
        return tuple(params)

    def apply(self, params: tuple[Any, ...], x: Float[Array, "n ..."] | Batch) -> Any:
        """The layers at finite width, in order; of a `Batch` a `Batch`, or an array once no positions are left."""
        for layer, layer_params in zip(self.layers, params, strict=True):
            x = applied(layer, layer_params, x)
        return x

    apply_batch = apply

    def propagate(self, state: State) -> State:
        """The layers at infinite width, in order."""
        return self.folded().propagate(state)

    def folded(self, stops: Sequence[int] = ()) -> "Folded":
        """The layers, their repeating blocks stacked; with `stops` (rising), those up to the last of them, marked at each."""
        layers = self.layers[: stops[-1]] if stops else self.layers
        structures = [form(layer) for layer in layers]
        place = {stop - 1: slot for slot, stop in enumerate(stops)}
        runs, start = [], 0
        while start < len(layers):
            period, repeats = _longest_run(structures, start)
            while repeats == 1 and start + period < len(layers) and not layers[start + period].grows and _alone(structures, start + period):
                period += 1  # what follows weights is computed with them
            blocks = [layers[start + r * period : start + (r + 1) * period] for r in range(repeats)]
            # what is kept after no stop goes into a last slot that nobody reads
            slots = np.array([place.get(start + i, len(stops)) for i in range(period * repeats)], np.int32).reshape(repeats, period)
            marked = tuple(int(i) for i in np.flatnonzero((slots < len(stops)).any(0)))
            block = blocks[0] if repeats == 1 else jax.tree.map(_stacked, *blocks)
            runs.append(_Run(block, slots[0, marked] if repeats == 1 else slots[:, marked], marked, repeats))
            start += period * repeats
        return Folded(tuple(runs), len(stops))


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


def _alone(structures: list[Any], start: int) -> bool:
    """Whether no repeating block begins here."""
    return _longest_run(structures, start) == (1, 1)


def _stacked(*leaves: Any) -> Any:
    if not any(isinstance(leaf, jax.Array) for leaf in leaves):  # one array in place of many arguments, which compile slowly
        return np.array(leaves)
    return jnp.stack([jnp.asarray(leaf, jnp.result_type(float)) for leaf in leaves])


@partial(jax.tree_util.register_dataclass, data_fields=("block", "slots"), meta_fields=("marked", "repeats"))
@dataclass(frozen=True)
class _Run:
    """A block of layers and how often it repeats; if more than once, each leaf holds the values of all the repeats.

    `marked`: the layers of the block after which kernels are kept, in at least one of the repeats; `slots` (..., marked): where.
    """

    block: tuple[Layer, ...]
    slots: Any
    marked: tuple[int, ...]
    repeats: int

    def fold(self, moments: Any, kept: Kept, apart: Any = None) -> tuple[Any, Kept]:
        """The state after the run, and `kept` with the kernels after its marked layers put into their slots; `apart` as in `once`."""

        def step(carry: tuple[Any, Kept], unit: tuple[tuple[Layer, ...], Any]) -> tuple[tuple[Any, Kept], None]:
            (state, found), (block, slots) = carry, unit
            for index, layer in enumerate(block):
                state = layer.propagate(state)
                if index in self.marked:
                    slot = slots[self.marked.index(index)]
                    found = {kind: _put(value, getattr(state, kind), slot) for kind, value in found.items()}
            return (state, found), None

        if self.repeats == 1:
            return once(lambda carry: step(carry, (self.block, self.slots))[0], (moments, kept), apart)
        units = (jax.tree.map(lambda leaf: jnp.asarray(leaf, moments.dtype), self.block), jnp.asarray(self.slots))
        first = jax.tree.map(lambda leaf: leaf[0], units)
        if not _same_form(jax.eval_shape(lambda m: step((m, {}), first)[0][0], moments), moments):
            moments, kept = once(lambda carry: step(carry, first)[0], (moments, kept), apart)
            block, slots = jax.tree.map(lambda leaf: leaf[1] if self.repeats == 2 else leaf[1:], units)
            return _Run(block, slots, self.marked, self.repeats - 1).fold(moments, kept, apart)
        return jax.lax.scan(step, (moments, kept), units)[0]


def once(change: Callable[[Any], Any], state: Any, apart: Any) -> Any:
    """`change(state)`; in a branch of its own if `apart` is given, a boolean that is true, and of which the compiler does not know it.

    The compiler computes what one loop over many pairs gives to another again for each place where it is read, nine times under a
    window: not what comes out of a branch.
    """
    if apart is None:
        return change(state)
    form = jax.eval_shape(change, state)
    return jax.lax.cond(apart, change, lambda _: jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), form), state)


def _put(slots: Array, value: Array, slot: Any) -> Array:
    return jax.lax.dynamic_update_index_in_dim(slots, value, slot, 0)


def _same_form(one: Any, other: Any) -> bool:
    """Whether two states have one structure, with arrays of the same shapes and dtypes."""
    structure: Any = jax.tree.structure(one)
    return structure == jax.tree.structure(other) and all(
        (a.shape, a.dtype) == (jnp.shape(b), jnp.result_type(b)) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    )


@partial(jax.tree_util.register_dataclass, data_fields=("runs",), meta_fields=("stops",))
@dataclass(frozen=True)
class Folded:
    """Layers as runs of repeating blocks, each of which is folded by one loop, and the number of stops on the way."""

    runs: tuple[_Run, ...]
    stops: int

    def propagate(self, state: State, *, apart: Any = None) -> State:
        """The state after the last layer; `apart` as in `once`."""
        return reduce(lambda m, run: run.fold(m, {}, apart)[0], self.runs, state)

    def stacked(self, moments: Moments, kinds: Sequence[str]) -> tuple[Moments, Kept]:
        """The state after the last layer, and the kernels of each kind ("nngp", "ntk") at all stops, along a first axis."""
        forms = jax.eval_shape(lambda m: {kind: getattr(after, kind) for after in (self.propagate(m),) for kind in kinds}, moments)
        kept = {kind: jnp.zeros((self.stops + 1, *form.shape), form.dtype) for kind, form in forms.items()}
        for run in self.runs:
            moments, kept = run.fold(moments, kept)
        return moments, {kind: value[: self.stops] for kind, value in kept.items()}
