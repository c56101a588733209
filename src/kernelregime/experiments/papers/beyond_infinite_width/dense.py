"""Batches of ReLU networks with sampled weights and zero biases, all trained: Θ(x, x) on one input, its rate, and a step of descent."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

NUMBERS = 1 << 22  # of all weights of the networks held at one time: 32 MiB


@dataclass(frozen=True)
class Networks:
    """Weights (draws, n_l, n_{l-1}) and biases (draws, n_l, 1) of layers 1 … L."""

    weights: list[np.ndarray]
    biases: list[np.ndarray]


@dataclass(frozen=True)
class Passes:
    """Columns (draws, n, 1): `units` x^0 … x^{L-1}, `deltas` δ^1 … δ^L, `masks` of the hidden layers; outputs and Θ(x, x), (draws,)."""

    units: list[np.ndarray]
    masks: list[np.ndarray]
    deltas: list[np.ndarray]
    outputs: np.ndarray
    theta: np.ndarray


def networks(widths: Sequence[int], *, sigma_w2: float, draws: int, rng: np.random.Generator) -> Iterator[Networks]:
    """Blocks of networks with W_ij ~ N(0, σ_w²/n_{l-1}), `draws` in all."""
    pairs = list(itertools.pairwise(widths))
    size = max(1, NUMBERS // sum(n * m for n, m in pairs))
    for start in range(0, draws, size):
        count = min(size, draws - start)
        weights = [rng.standard_normal((count, m, n)) * math.sqrt(sigma_w2 / n) for n, m in pairs]
        yield Networks(weights, [np.zeros((count, m, 1)) for _, m in pairs])


def passes(net: Networks) -> Passes:
    """Forwards and backwards on an input of unit norm (its direction does not matter to networks at initialization)."""
    x = np.zeros((len(net.weights[0]), net.weights[0].shape[2], 1))
    x[:, 0] = 1.0
    units, masks = [x], []
    for w, b in zip(net.weights[:-1], net.biases[:-1], strict=True):
        h = w @ units[-1] + b
        masks.append(h > 0)
        units.append(np.where(masks[-1], h, 0.0))
    outputs = net.weights[-1] @ units[-1] + net.biases[-1]
    deltas = [np.ones_like(outputs)]
    for w, mask in zip(net.weights[:0:-1], masks[::-1], strict=True):
        deltas.append(mask * (np.swapaxes(w, 1, 2) @ deltas[-1]))
    deltas.reverse()
    theta = sum(squares(delta) * (squares(unit) + 1) for delta, unit in zip(deltas, units, strict=True))
    return Passes(units, masks, deltas, outputs[:, 0, 0], np.asarray(theta))


def squares(column: np.ndarray) -> np.ndarray:
    """|v|², (draws,)."""
    return np.einsum("dnk,dnk->d", column, column)


def rate(net: Networks, at: Passes) -> np.ndarray:
    """The derivative of Θ(x, x) along ∇f, by a tangent forwards and one backwards; (draws,)."""
    change, forward = np.zeros_like(at.units[0]), [np.zeros_like(at.units[0])]
    for w, unit, delta, mask in zip(net.weights[:-1], at.units, at.deltas, at.masks, strict=False):
        # dW x = δ|x|², db = δ
        change = mask * (w @ change + delta * (squares(unit) + 1)[:, None, None])
        forward.append(change)
    back, backward = np.zeros_like(at.deltas[-1]), [np.zeros_like(at.deltas[-1])]
    for layer in range(len(net.weights) - 1, 0, -1):
        w, delta, unit = net.weights[layer], at.deltas[layer], at.units[layer]
        back = at.masks[layer - 1] * (np.swapaxes(w, 1, 2) @ back + unit * squares(delta)[:, None, None])
        backward.append(back)
    total = np.zeros(len(at.theta))
    for unit, delta, moved, turned in zip(at.units, at.deltas, forward, backward[::-1], strict=True):
        total += 2 * np.einsum("dnk,dnk->d", delta, turned) * (squares(unit) + 1)
        total += 2 * squares(delta) * np.einsum("dnk,dnk->d", unit, moved)
    return total


def stepped(net: Networks, at: Passes, sizes: np.ndarray) -> Networks:
    """The networks after a step of -`sizes`·∇f, `sizes` (draws,)."""
    step = sizes[:, None, None]
    weights = [w - (step * delta) @ np.swapaxes(unit, 1, 2) for w, delta, unit in zip(net.weights, at.deltas, at.units, strict=True)]
    return Networks(weights, [b - step * delta for b, delta in zip(net.biases, at.deltas, strict=True)])
