"""A network of one hidden layer, its parameters and points, at the same numbers for all tests."""

import jax.numpy as jnp
import numpy as np


def net(p, x):
    return jnp.tanh(x @ p["w"] / 2 + p["b"]) @ p["v"]


def params_of(seed=0, dtype="float64"):
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in {"w": (4, 6), "b": (6,), "v": (6, 3)}.items()}


def points(n, seed=1):
    return np.random.default_rng(seed).standard_normal((n, 4))
