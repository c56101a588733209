"""Fully connected networks with one output in the paper's parameterization, several at a time; hidden layers in one loop."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from kernelregime import activations

LEAST_DEPTH = 3


def drawn(depth: int, width: int, features: int, *, sigma_w2: Sequence[float], sigma_b2: float, seed: int) -> dict[str, np.ndarray]:
    """Weights and biases of one network for each σ_w², float32: W_ij ~ N(0, σ_w²/n), b ~ N(0, σ_b²). `depth` >= 3 weight layers."""
    rng, count = np.random.default_rng(seed), len(sigma_w2)
    deviation = np.sqrt(np.array(sigma_w2))

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal((count, *shape))

    def weights(*shape: int) -> np.ndarray:
        scale = deviation.reshape(count, *(1 for _ in shape)) / np.sqrt(shape[-2])
        return np.asarray(scale * normal(*shape), np.float32)

    def biases(*shape: int) -> np.ndarray:
        return np.asarray(np.sqrt(sigma_b2) * normal(*shape), np.float32)

    middle = depth - 2
    return {
        "w_first": weights(features, width),
        "b_first": biases(width),
        "w_middle": weights(middle, width, width),
        "b_middle": biases(middle, width),
        "w_last": weights(width, 1),
        "b_last": biases(1),
    }


def network(activation: str) -> Callable[[Any, Any], Any]:
    """f(params, x), (N, 1), of one network."""
    phi = activations.get(activation)

    def layer(h: Any, params: tuple[Any, Any]) -> tuple[Any, None]:
        w, b = params
        return phi(h) @ w + b, None

    def f(params: Any, x: Any) -> Any:
        h = x @ params["w_first"] + params["b_first"]
        h, _ = jax.lax.scan(layer, h, (params["w_middle"], params["b_middle"]))
        return phi(h) @ params["w_last"] + params["b_last"]

    return f
