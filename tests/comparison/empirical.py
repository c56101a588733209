"""Finite networks with stored weights against their reference outputs, NTKs and expansions."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from comparison import translate
from comparison.record import Outcome
from kernelregime import empirical
from kernelregime.layers import Dense, Sequential

RTOL = 1e-10
STEP = 0.01  # added to every parameter where an expansion is evaluated
OUTPUTS = {"full": "full", "trace": "trace", "diag": "diagonal"}


def compare(outcome: Outcome, entry: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Compare every array of one case; `UnsupportedError` if its spec cannot be expressed."""
    network = translate.network(entry["spec"])
    n1 = len(arrays["x1"])
    points = np.concatenate([arrays["x1"], arrays["x2"]])
    rows = {"1": slice(0, n1), "2": slice(n1, None)}
    with jax.enable_x64(True):
        params = parameters(network, arrays)
        moved = jax.tree.map(lambda leaf: leaf + STEP, params)
        f = np.asarray(network.apply(params, jnp.asarray(points)))
        expansions = {"linearized": empirical.linearize((network, params)), "taylor2": empirical.taylor((network, params), order=2)}
        expanded = {name: np.asarray(function(moved, jnp.asarray(arrays["x1"]))) for name, function in expansions.items()}
    ntk = {short: empirical.ntk((network, params), points, output=output, dtype="float64") for short, output in OUTPUTS.items()}
    own = np.einsum("iio->io", ntk["diag"])
    for name in entry["arrays"]:
        part, _, rest = name.partition("_")
        if name in ("x1", "x2") or name[:1] in "Wb":
            continue
        if part in ("f1", "f2") and rest in ("", *expanded):
            ours = expanded[rest] if rest else f[rows[part[1]]]
            outcome.compare(name, ours, arrays[name], RTOL * float(np.max(np.abs(arrays[name]))))
        elif part in ("ntk", "nngp") and rest[3:] in OUTPUTS:
            first, second, output = rows[rest[0]], rows[rest[1]], rest[3:]
            ours = ntk[output][first, second] if part == "ntk" else _moment(f[first], f[second], output)
            diagonal = own if part == "ntk" else f**2
            outcome.compare(name, ours, arrays[name], RTOL * _scale(diagonal[first], diagonal[second], output))
        else:
            outcome.fail(f"array {name} is not understood", math.inf, name)


def parameters(network: Sequential, arrays: Mapping[str, np.ndarray]) -> tuple[Any, ...]:
    """W0, b0, W1, ... as the parameters of the network's Dense layers, in order."""
    params: list[Any] = []
    for layer in network.layers:
        if not isinstance(layer, Dense):
            params.append(())
            continue
        index = sum(isinstance(p, dict) for p in params)
        weights = {"w": jnp.asarray(arrays[f"W{index}"])}
        if layer.sigma_b2 is not None:
            weights["b"] = jnp.asarray(arrays[f"b{index}"])
        params.append(weights)
    return tuple(params)


def _scale(first: np.ndarray, second: np.ndarray, output: str) -> np.ndarray:
    """√(k₁₁k₂₂) in the shape of the array, from k (N, O) of each point and output."""
    if output == "trace":
        return np.sqrt(np.outer(first.mean(axis=1), second.mean(axis=1)))
    pairs = np.sqrt(first[:, None, :, None] * second[None, :, None, :])
    return pairs if output == "full" else np.einsum("ijoo->ijo", pairs)


def _moment(first: np.ndarray, second: np.ndarray, output: str) -> np.ndarray:
    """Products of the outputs of pairs of points."""
    pairs = first[:, None, :, None] * second[None, :, None, :]
    if output == "full":
        return pairs
    diagonal = np.einsum("ijoo->ijo", pairs)
    return diagonal if output == "diag" else diagonal.mean(axis=2)
