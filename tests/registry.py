"""Every activation, layer and network once: the laws in tests/laws run over these, so that a new entry needs no new test."""

from collections import Counter
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from compiling import quick

from kernelregime import activations, infinite, layers, networks
from kernelregime.activations import Nonlinearity
from kernelregime.layers import (
    Activation,
    Aggregate,
    Attention,
    Batch,
    Branches,
    ChannelsLast,
    Conv,
    Crop,
    Dense,
    Dropout,
    Flatten,
    GlobalPool,
    Identity,
    Last,
    Layer,
    LayerNorm,
    Pool,
    PositionMap,
    Recurrent,
    Resize,
    Sequential,
    Trained,
)

# Every activation with values, with its default parameters and, where it has a family or parameters that change its form, others.
ACTIVATIONS: dict[str, Nonlinearity] = {
    given: activations.get(given)
    for given in (
        *(name for name, kind in activations.REGISTRY.items() if kind.finite),
        "abrelu(a=-0.5, b=1.2)",
        "elu(alpha=0.5)",
        "erf(a=1.1, b=0.8, c=0.1)",
        "gaussian(a=1.1, b=0.02)",
        "hermite(degree=2)",
        "leaky_relu(alpha=0.3)",
        "monomial(degree=3)",
        "rectified_monomial(degree=0)",
        "rectified_monomial(degree=2)",
        "rectified_monomial(degree=3)",
        "sin(a=1.2, b=0.7, c=0.3)",
    )
} | {
    "polynomial(0.3, 0.8, 0.2)": activations.get("polynomial", coef=(0.3, 0.8, 0.2)),
}

# One layer of every class, with the shape of a point it takes.
LAYERS: dict[str, tuple[Layer, tuple[int, ...]]] = {
    "Dense": (Dense(6, 1.5, 0.2), (4,)),
    "Activation": (Activation("relu"), (4,)),
    "Sequential": (Sequential((Dense(6, 1.5), Activation("erf"), Dense(3, 1.1, 0.1, "standard"))), (4,)),
    "Attention": (Attention(6, 2, 4, 3, 1.5, 0.9, 1.1, 1.2, 0.2, embedding="concatenate", embedding_channels=2), (3, 2, 4)),
    "Branches": (Branches((Sequential((Dense(6, 1.5), Activation("erf"), Dense(4, 1.1))), Identity())), (4,)),
    "ChannelsLast": (ChannelsLast(), (3, 5, 6)),
    "Conv": (Conv(6, (3, 2), 1.5, 0.2, strides=(1, 2), dilation=(2, 1)), (5, 6, 3)),
    "Aggregate": (Aggregate(), (3, 4)),
    "Crop": (Crop(((1, None, 2), (0, 3, None))), (5, 6, 3)),
    "Dropout": (Dropout(0.8), (4,)),
    "Flatten": (Flatten(), (5, 6, 3)),
    "GlobalPool": (GlobalPool("sum"), (5, 6, 3)),
    "Identity": (Identity(), (4,)),
    "LayerNorm": (LayerNorm("all", 0.1), (5, 6, 3)),
    "Last": (Last(), (5, 3)),
    "PositionMap": (PositionMap([[1.0, -2.0, 0.5], [0.0, 1.5, -1.5]], axis=1), (5, 3, 2)),
    "Recurrent": (Recurrent(6, "erf", 1.5, 0.8, 0.2), (4, 3)),
    "Pool": (Pool((2, 3), (1, 2), "SAME", edges="inside"), (5, 6, 3)),
    "Trained": (Trained((Dense(6, 1.5, 0.2),), 0.5), (4,)),
    "Resize": (Resize((3, 8), "cubic"), (5, 6, 3)),
}

# Networks of every preset.
NETWORKS: dict[str, Sequential] = {
    # one for every way in which a dual is found
    **{
        f"{name} with biases": networks.mlp(depth=2, width=24, activation=ACTIVATIONS[name], sigma_w2=1.7, sigma_b2=0.1)
        for name in ("elu", "erf", "gelu", "hard_tanh", "identity", "polynomial(0.3, 0.8, 0.2)", "tanh")
    },
    "relu with biases": networks.mlp(depth=3, width=24, sigma_w2=1.7, sigma_b2=0.1),
    "relu, standard parameterization": networks.mlp(depth=3, width=[24, 40], sigma_w2=1.9, sigma_b2=0.2, parameterization="standard"),
    "deep relu without biases": networks.mlp(depth=31, width=24),
    "erf, three layers": networks.mlp(depth=3, width=24, activation="erf", sigma_w2=1.4),
    "no readout": Sequential((Dense(24, 1.7, 0.1), Activation("relu"))),
}


_WEIGHTS = {"sigma_w2": 1.6, "sigma_b2": 0.1}
_ENDS = {"pool": GlobalPool(), "flatten": Flatten()}


def _on_images(*layers: Layer, end: str = "pool") -> Sequential:
    return Sequential((*layers, _ENDS[end], Dense(1, 1.3, 0.2)))


_SIGNED = [[1.0, -2.0, 0.5], [0.0, 1.5, -1.5], [0.2, 0.2, 0.2], [0.0, 0.0, 0.0]]  # rows that add up to less, to nothing, to all
_OVER_ALL = np.random.default_rng(2).normal(size=(2, 2, 2, 2))

# Networks on points with positions, and the shape of a point; one for every way in which positions are mixed.
IMAGE_NETWORKS: dict[str, tuple[Sequential, tuple[int, ...]]] = {
    **{
        f"{padding}, stride {stride}, {end}": (
            _on_images(Conv(24, (3, 2), **_WEIGHTS, strides=(stride, 1), padding=padding), Activation("relu"), end=end),
            (4, 3, 2),
        )
        for padding in ("SAME", "VALID", "CIRCULAR")
        for stride in (1, 2)
        for end in ("pool", "flatten")
    },
    "one axis, dilated": (_on_images(Conv(24, (3,), **_WEIGHTS, dilation=(2,)), Activation("erf")), (6, 2)),
    "three axes": (_on_images(Conv(24, (2, 1, 2), **_WEIGHTS), Activation("relu")), (2, 2, 3, 2)),
    "transposed": (_on_images(Conv(24, (3, 2), **_WEIGHTS, strides=(2, 1), transposed=True), Activation("relu")), (2, 3, 2)),
    "transposed, beyond the image": (
        _on_images(Conv(24, (4,), **_WEIGHTS, strides=(2,), padding="VALID", transposed=True), Activation("relu"), end="flatten"),
        (3, 2),
    ),
    "locally connected": (_on_images(Conv(24, (2, 2), **_WEIGHTS, shared=False), Activation("relu")), (3, 3, 2)),
    "standard parameterization": (
        _on_images(Conv(24, (2, 2), **_WEIGHTS, parameterization="standard"), Activation("relu"), end="flatten"),
        (3, 3, 2),
    ),
    "weights at every position alone": (_on_images(Dense(24, 1.6, 0.1), Activation("relu")), (3, 2)),
    "mean pooling before": (_on_images(Pool((2, 2), (1, 1), "SAME"), Conv(24, (2, 2), **_WEIGHTS), Activation("relu")), (3, 3, 2)),
    "mean pooling inside the image": (
        _on_images(Conv(24, (2, 2), **_WEIGHTS), Activation("relu"), Pool((2, 2), (2, 2), "SAME", edges="inside"), end="flatten"),
        (3, 3, 2),
    ),
    "sum pooling": (_on_images(Conv(24, (2, 2), **_WEIGHTS), Activation("relu"), Pool((2, 2), (1, 1), "SAME", "sum")), (3, 3, 2)),
    "resized": (_on_images(Conv(24, (2, 2), **_WEIGHTS), Activation("relu"), Resize((2, 5), "cubic")), (3, 4, 2)),
    "aggregated": (Sequential((Aggregate(), Dense(24, 1.6, 0.1), Activation("relu"), Aggregate(), GlobalPool(), Dense(1, 1.3))), (4, 2)),
    "aggregated, flattened": (_on_images(Dense(24, 1.6, 0.1), Activation("relu"), Aggregate(), end="flatten"), (4, 2)),
    "mapped": (_on_images(Conv(24, (2, 2), **_WEIGHTS), Activation("relu"), PositionMap(_SIGNED, axis=1), end="flatten"), (3, 3, 2)),
    "mapped over all axes": (_on_images(PositionMap(_OVER_ALL, axis=None), Dense(24, 1.6), Activation("relu")), (2, 2, 2)),
    "several lengths": (_on_images(Conv(24, (3,), **_WEIGHTS), Activation("relu")), (5, 2)),
    "several lengths, flattened": (
        _on_images(
            Conv(24, (3,), **_WEIGHTS, strides=(2,), padding="CIRCULAR"),
            Activation("relu"),
            Pool((2,), (1,), "SAME", edges="inside"),
            Dropout(0.5),
            Crop(((None, 3, None),)),
            end="flatten",
        ),
        (8, 2),
    ),
    "several lengths, windows inside": (
        _on_images(Conv(24, (2,), **_WEIGHTS, strides=(2,), padding="VALID"), Activation("relu"), Pool((2,), (1,)), end="flatten"),
        (8, 2),
    ),
    "several lengths, the last": (Sequential((Dense(24, 1.6, 0.1), Activation("relu"), Last(), Dense(1, 1.3))), (5, 2)),
    "cropped": (
        _on_images(Conv(24, (2, 2), **_WEIGHTS), Activation("relu"), Crop(((1, None, None), (None, None, 2))), end="flatten"),
        (3, 4, 2),
    ),
    # with so many keys that the logits are Gaussian
    "softmax attention at 1/√d": (
        _on_images(Attention(24, 2, 256, 4, 1.5, 1.2, 1.3, 1.1, 0.1, scaling="root", embedding="concatenate", samples=1024)),
        (3, 2),
    ),
    "relu attention at 1/√d": (_on_images(Attention(24, 4, 256, 4, 1.5, scaling="root", weights="relu"), end="flatten"), (3, 2)),
    "several lengths, softmax attention at 1/√d": (_on_images(Attention(24, 4, 256, 4, scaling="root", samples=1024)), (4, 2)),
    "concatenated": (
        _on_images(
            Branches(
                (Sequential((Conv(16, (2, 2), **_WEIGHTS), Activation("relu"))), Sequential((Conv(8, (3, 3), 0.7), Activation("erf")))),
                "concatenate",
            )
        ),
        (3, 3, 2),
    ),
}


def _lengths(x: Any) -> Batch:
    """Points of which each has one position less than the one before, down to two."""
    lengths = np.maximum(x.shape[1] - np.arange(len(x)), 2)
    return Batch(x, np.arange(x.shape[1]) < lengths[:, None])


def _graphs(x: Any) -> Batch:
    """Points on graphs of their own, with weights of both signs."""
    rng = np.random.default_rng(3)
    return Batch(x, None, np.stack([rng.normal(size=(x.shape[1],) * 2) for _ in x]).astype(x.dtype))


def given(name: str, x: Any) -> Any:
    """The points as the network of this name takes them."""
    return _lengths(x) if name.startswith("several lengths") else _graphs(x) if name.startswith("aggregated") else x


def called(layer: Layer, params: Any, x: Any) -> Any:
    """The layer at finite width; on one graph for all points, where it needs one."""
    if not isinstance(layer, Aggregate):
        return layer.apply(params, x)
    graph = np.random.default_rng(3).normal(size=(x.shape[1],) * 2).astype(x.dtype)
    return layer.apply_batch(params, Batch(x, None, jnp.broadcast_to(graph, (len(x), *graph.shape)))).values


PRESETS = {"mlp", "cnn", "myrtle", "resnet", "transformer"}


TRACED: Counter[Any] = Counter()  # how often each structure of network and inputs was traced


def _kernels(network: Sequential, x: Any) -> Any:
    TRACED[jax.tree.structure(network), x.shape, x.dtype.name] += 1
    return infinite.kernel(network)(x)


kernels = jax.jit(_kernels)


@quick
def one_by_one(network: Sequential, x: Any) -> tuple[Any, Any]:
    """Kernels of each point with all, and of each point alone."""
    k = infinite.kernel(network)
    return jax.vmap(lambda row: k(row[None], x))(x), jax.vmap(lambda row: k(row[None]))(x)


def total(network: Sequential, x: Any, weights: Any) -> Any:
    """A weighted sum of all entries of both kernels."""
    k = infinite.kernel(network)(x)
    return (weights[0] * k.nngp + weights[1] * k.ntk).sum()


gradients = quick(jax.grad(total, argnums=(0, 1)))


def rotated(u: np.ndarray, angle: float, rng: np.random.Generator) -> np.ndarray:
    """u turned by `angle`, of the same length to rounding."""
    away = rng.normal(size=u.size)
    away -= (away @ u) / (u @ u) * u
    return np.cos(angle) * u + np.sin(angle) * np.linalg.norm(u) * away / np.linalg.norm(away)


@cache
def points() -> np.ndarray:
    """Points in every relation that loses digits: identical, at angles 1e-1 ... 1e-8 from parallel and opposite, collinear, zero."""
    rng = np.random.default_rng(0)
    u, w = rng.normal(size=(2, 5))
    near = [rotated(u, angle, rng) for angle in (1e-1, 1e-2, 1e-4, 1e-6, 1e-8)]
    return np.stack([u, u, *near, 2.5 * u, -u, -1.5 * near[2], -near[4], 0 * u, w, 1e-3 * w])


def unlisted() -> dict[str, set[str]]:
    """What the library exports and this registry lacks."""
    exported = {name for name in layers.__all__ if isinstance(getattr(layers, name), type) and issubclass(getattr(layers, name), Layer)}
    return {
        "activations": {name for name, kind in activations.REGISTRY.items() if kind.finite} - set(ACTIVATIONS),
        "families": set(activations.FAMILIES) - {name.partition("(")[0] for name in ACTIVATIONS},
        "layers": exported - {"Layer"} - set(LAYERS),
        "presets": {name for name in networks.__all__ if getattr(networks, name).__annotations__.get("return") is Sequential} - PRESETS,
    }
