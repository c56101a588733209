"""Each layer's share of the NTK: the network with a learning rate for every layer, and one of them 1 at a time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kernelregime.layers import Layer
from kernelregime.layers.rates import split, weighted

RATE = "learning_rate"


def shared(network: Layer, shape: tuple[int, ...]) -> tuple[Layer, tuple[str, ...]]:
    """The network with unit vectors for learning rates, an entry for each layer with weights, and the names of these layers."""
    names = tuple(weighted(network, shape))
    return split(network, shape, np.eye(len(names))), names


def by_rate(run: Callable[[Any], tuple[dict[str, Any], Any]], layers: Any, count: int) -> tuple[dict[str, Any], Any]:
    """`run(layers)`, kernels by kind and the error, with the NTKs of all `count` entries of the learning rates along a last axis."""
    if not count:
        return run(layers)
    paths, structure = jax.tree_util.tree_flatten_with_path(layers)
    rates = [
        index for index, (path, leaf) in enumerate(paths) if getattr(path[-1], "name", "") == RATE and jnp.shape(leaf)[-1:] == (count,)
    ]
    leaves = [leaf for _, leaf in paths]

    def one(chosen: list[Any]) -> tuple[Any, Any]:
        filled = list(leaves)
        for index, rate in zip(rates, chosen, strict=True):
            filled[index] = rate
        found, error = run(jax.tree.unflatten(structure, filled))
        return found.pop("ntk"), (found, error)

    mapped = jax.vmap(one, in_axes=-1, out_axes=(-1, None))
    ntk, (found, error) = mapped([jnp.asarray(leaves[index]) for index in rates])
    return {**found, "ntk": ntk}, error
