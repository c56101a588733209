"""Losses of a batch, and what they are divided by."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from kernelregime._checks import fail

LossFunction = Callable[[Any, Any], Any]


def _half_squares(outputs: Float[Array, "N O"], y: Float[Array, "N O"]) -> Float[Array, ""]:
    return 0.5 * jnp.sum((outputs - y) ** 2)


def _cross_entropy(outputs: Float[Array, "N O"], y: Float[Array, "N O"]) -> Float[Array, ""]:
    return -jnp.sum(y * jax.nn.log_softmax(outputs, axis=-1))


LOSSES: dict[str, LossFunction] = {"mse": _half_squares, "cross_entropy": _cross_entropy}
REDUCTIONS = ("sum", "mean")


def loss_function(loss: str, reduction: str) -> LossFunction:
    """The loss of outputs (N, O) against targets (N, O), as a number."""
    total = LOSSES[loss]
    if reduction == "sum":
        return total

    def mean(outputs: Any, y: Any) -> Any:
        return total(outputs, y) / (y.size if loss == "mse" else len(y))

    return mean


def check_targets(loss: str, y: np.ndarray) -> None:
    """Cross-entropy needs class probabilities."""
    if loss != "cross_entropy":
        return
    if y.shape[1] < 2 or (y < 0).any() or not np.allclose(y.sum(1), 1.0, rtol=0, atol=1e-5):
        got = f"targets of shape {y.shape}, rows from {y.sum(1).min():.3g} to {y.sum(1).max():.3g} in sum, least entry {y.min():.3g}"
        raise fail("class probabilities in every row of y for cross_entropy", got, "use one-hot targets, or loss='mse'")
