"""Learning rates of single layers."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from kernelregime._checks import fail
from kernelregime.layers.base import Layer, Shape, State
from kernelregime.layers.batch import applied
from kernelregime.layers.dense import check_variance
from kernelregime.layers.fields import Fields, blocks_of
from kernelregime.layers.moments import Moments


@partial(jax.tree_util.register_dataclass, data_fields=("layers", "learning_rate", "share"), meta_fields=())
@dataclass(frozen=True)
class Trained(Layer):
    """A layer, `layers` = (layer,), that is trained at `learning_rate` times the learning rate of the network; 0: it keeps its weights.

    At infinite width its own part of Θ is multiplied by the rate, and what comes from before passes as ever: Θ = Σ_l rate_l Θ_l. At
    finite width the function is that of the layer; the rate is for the optimizer to keep. `share`: numbers that multiply the rate, for
    `infinite.kernel(by_layer=True)`, which asks for one layer at a time.
    """

    layers: tuple[Layer]
    learning_rate: Any = 1.0
    share: Any = None

    def __post_init__(self) -> None:
        if not isinstance(self.layers, tuple) or len(self.layers) != 1:
            raise fail("layers as a tuple of one layer", repr(self.layers), "write Trained((Dense(8),), 0.5)")
        check_variance("learning_rate", self.learning_rate)

    def output_shape(self, shape: Shape) -> Shape:
        """That of the layer."""
        return self.layers[0].output_shape(shape)

    def init(self, key: Array, shape: Shape, dtype: Any = None) -> Any:
        """The parameters of the layer."""
        return self.layers[0].init(key, shape, dtype)

    def apply(self, params: Any, x: Any) -> Any:
        """The function of the layer."""
        return applied(self.layers[0], params, x)

    apply_batch = apply

    def propagate(self, state: State) -> State:
        """Σ' of the layer, and Θ' = A Θ + rate · B where that of the layer is A Θ + B."""
        before = _thetas(state)
        if not before:
            return self.layers[0].propagate(state)

        def after(thetas: dict[str, Array]) -> tuple[dict[str, Array], State]:
            found = self.layers[0].propagate(_with(state, thetas))
            return _thetas(found), found

        own, passed, found = jax.jvp(after, (jax.tree.map(jnp.zeros_like, before),), (before,), has_aux=True)
        rate = jnp.asarray(self.learning_rate, state.dtype)
        rate = rate if self.share is None else rate * jnp.asarray(self.share, state.dtype)
        return _with(found, {name: passed[name] + rate * own[name] for name in own})


def _thetas(state: State) -> dict[str, Array]:
    blocks = blocks_of(state) if isinstance(state, Fields) else {"": state}
    return {name: block.ntk for name, block in blocks.items() if block.ntk is not None}


def _with(state: State, thetas: dict[str, Array]) -> State:
    if isinstance(state, Moments):
        return replace(state, ntk=thetas[""])
    blocks: dict[str, Any] = {name: replace(block, ntk=thetas.get(name)) for name, block in blocks_of(state).items()}
    return replace(state, **blocks)


def weighted(layer: Layer, shape: Shape) -> list[str]:
    """The names of the layers with weights, in order: where they are, 1.0.2 for `layers[1].layers[0].layers[2]`, and what they are."""
    return [f"{where} {type(part).__name__}" for where, part in _parts(layer, shape, ())]


def split(layer: Layer, shape: Shape, rates: Any) -> Layer:
    """The network with each layer that has weights trained at a rate of its own, in the order of `weighted`."""
    names = {where: index for index, (where, _) in enumerate(_parts(layer, shape, ()))}

    def one(part: Layer, path: tuple[int, ...]) -> Layer:
        inner: tuple[Layer, ...] | None = getattr(part, "layers", None)
        if inner is not None:
            changed: dict[str, Any] = {"layers": tuple(one(p, (*path, i)) for i, p in enumerate(inner))}
            return replace(part, **changed)  # type: ignore[type-var]
        where = _name(path)
        return Trained((part,), share=rates[names[where]]) if where in names else part

    return one(layer, ())


def _parts(layer: Layer, shape: Shape, path: tuple[int, ...]) -> list[tuple[str, Layer]]:
    inner: tuple[Layer, ...] | None = getattr(layer, "layers", None)
    if inner is None:
        params = jax.eval_shape(lambda: layer.init(jax.random.key(0), shape))
        return [(_name(path), layer)] if jax.tree.leaves(params) else []
    found = []
    for index, part in enumerate(inner):
        found += _parts(part, shape, (*path, index))
        shape = part.output_shape(shape) if layer.in_turn else shape
    return found


def _name(path: tuple[int, ...]) -> str:
    return ".".join(map(str, path)) or "0"


def check_one_rate(layer: Any) -> None:
    """`InputError` for a network whose layers are trained at rates of their own, where one rate is meant for all."""
    if isinstance(layer, Trained) and not isinstance(layer.learning_rate, jax.Array) and layer.learning_rate != 1:
        do = "leave out Trained; infinite.kernel and infinite.gram know it"
        raise fail("a network whose layers are trained at one learning rate", f"Trained at {layer.learning_rate}", do)
    for part in getattr(layer, "layers", ()):
        check_one_rate(part)
