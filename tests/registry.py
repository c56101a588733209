"""Every activation, layer and network once: the laws in tests/laws run over these, so that a new entry needs no new test."""

from collections import Counter
from functools import cache
from typing import Any

import jax
import numpy as np
from compiling import quick

from kernelregime import activations, infinite, layers, networks
from kernelregime.activations import Nonlinearity
from kernelregime.layers import Activation, Dense, Layer, Sequential

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


PRESETS = {"mlp"}


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
