"""A training run that kills its own process: started by a test with the place of its checkpoint."""

import os
import signal
import sys

import jax.numpy as jnp
import numpy as np

from kernelregime import training

RNG = np.random.default_rng(3)
X, Y = RNG.standard_normal((12, 5)), RNG.standard_normal((12, 2))
PARAMS = [RNG.standard_normal((3, 5, 8)) / 2, RNG.standard_normal((3, 8, 2)) / 2]


def model(params, x):
    """A network of one hidden layer."""
    return jnp.tanh(x @ params[0]) @ params[1]


def probe(step, params):
    """Nested records."""
    return {"first": params[0][:, 0], "sums": (params[1].sum((1, 2)), np.float64(step))}


def run(params=PARAMS, x=X, y=Y, **options):
    """Descent with momentum on three seeds, one of which stops early, with a probe of nested records."""
    settings = {
        "steps": 60,
        "learning_rate": [0.006, 0.0005, 0.0006],
        "optimizer": "momentum",
        "stop_fraction": 0.38,
        "probe_steps": range(0, 61, 10),
        "probes": {"weights": probe},
        "dtype": "float32",
    }
    return training.train(model, params, x, y, **{**settings, **options})


def kill(step, steps, losses):
    """End this process as the kernel would, between two checkpoints."""
    if step >= 40:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    run(checkpoint=sys.argv[1], progress=kill)
