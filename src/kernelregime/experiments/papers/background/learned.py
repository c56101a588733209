"""Networks whose NTK is compared with the targets before, while and after they learn them."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from kernelregime import empirical, networks
from kernelregime.experiments.experiment import Arrays
from kernelregime.experiments.papers.background.trained import errors
from kernelregime.experiments.training import train_cell
from kernelregime.layers import Layer
from kernelregime.observables import alignment

DEPTH = 3
RATE = 1e-2  # of Adam
STEPS = (0.0, 0.03, 0.1, 0.3, 1.0)  # fractions of the training at which the NTK is taken


@lru_cache(maxsize=1)
def _measured(width: int) -> tuple[Layer, Callable[..., Any]]:
    """The network, and its NTK and outputs: compiled once."""
    network = networks.mlp(depth=DEPTH, width=width, sigma_w2=2.0)
    ntk = empirical.ntk_function(network.apply)
    return network, jax.jit(lambda now, x: (ntk(now, x), network.apply(now, x)[:, 0]))


def run(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray, *, width: int, steps: int, seed: int) -> Arrays:
    """`alignment` of the NTK on the train points at `steps`; test errors of the network at the end, and of the kernel at the start."""
    network, both = _measured(width)
    every = np.concatenate([x, x_test]).astype(np.float32)
    params = jax.tree.map(lambda leaf: np.asarray(leaf)[None], network.init(jax.random.key(seed), x.shape[1:], np.float32))

    def probe(_: int, now: object) -> dict[str, np.ndarray]:
        gram, outputs = both(jax.tree.map(lambda leaf: leaf[0], now), every)
        return {"ntk": np.asarray(gram), "outputs": np.asarray(outputs)}

    shown = sorted({round(fraction * steps) for fraction in STEPS})
    trace = train_cell(
        network.apply,
        params,
        every[: len(x)],
        y[:, None].astype(np.float32),
        steps=steps,
        learning_rate=RATE,
        optimizer="adam",
        reduction="mean",
        probes={"now": probe},
        probe_steps=shown,
    )
    grams, outputs = (trace.records["now"][name].astype(np.float64) for name in ("ntk", "outputs"))
    n, start, final = len(x), outputs[0], outputs[-1]
    by_kernel = start[n:] + grams[0, n:, :n] @ np.linalg.lstsq(grams[0, :n, :n], y - start[:n], rcond=None)[0]
    return {
        "steps": np.array(shown),
        "alignment": alignment(grams[:, :n, :n], y),
        **{f"{name}_network": value for name, value in errors(final[n:], y_test).items()},
        **{f"{name}_kernel": value for name, value in errors(by_kernel, y_test).items()},
    }
