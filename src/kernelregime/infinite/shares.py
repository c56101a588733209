"""Each layer's share of the NTK: the network with a learning rate for every layer, and one of them 1 at a time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kernelregime._checks import fail
from kernelregime.layers import Layer
from kernelregime.layers.rates import split, weighted

SHARE = "share"


def shared(network: Layer, shape: tuple[int, ...]) -> tuple[Layer, tuple[str, ...]]:
    """The network with unit vectors for the shares, an entry for each layer with weights, and the names of these layers."""
    names = tuple(weighted(network, shape))
    if not names:
        raise fail("a network with weights, whose shares by_layer=True gives", "none", "leave by_layer out")
    return split(network, shape, np.eye(len(names))), names


def by_rate(run: Callable[[Any], tuple[dict[str, Any], Any]], layers: Any, count: int) -> tuple[dict[str, Any], Any]:
    """`run(layers)`, kernels by kind and the error, with the NTKs of all `count` entries of the shares along a last axis."""
    if not count:
        return run(layers)
    paths, structure = jax.tree_util.tree_flatten_with_path(layers)
    shares = [index for index, (path, _) in enumerate(paths) if getattr(path[-1], "name", "") == SHARE]
    leaves = [leaf for _, leaf in paths]

    def one(chosen: list[Any]) -> tuple[Any, Any]:
        filled = list(leaves)
        for index, rate in zip(shares, chosen, strict=True):
            filled[index] = rate
        found, error = run(jax.tree.unflatten(structure, filled))
        return found.pop("ntk"), (found, error)

    mapped = jax.vmap(one, in_axes=-1, out_axes=(-1, None))
    ntk, (found, error) = mapped([jnp.asarray(leaves[index]) for index in shares])
    return {**found, "ntk": ntk}, error
