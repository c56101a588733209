"""Diagnose a model of your own: any function f(params, x), here a network with a skip connection that no spec describes."""

import jax
import jax.numpy as jnp

from kernelregime import data, diagnosis, empirical

FEATURES, HIDDEN = 16, 128


def init(key):
    """Fresh parameters, one key a seed."""
    one, two, three = jax.random.split(key, 3)
    return {
        "in": jax.random.normal(one, (FEATURES, HIDDEN)),
        "mix": jax.random.normal(two, (HIDDEN, HIDDEN)),
        "out": jax.random.normal(three, (HIDDEN, 2)),
    }


def f(params, x):
    """Points (N, 16) to outputs (N, 2), in the ntk parameterization."""
    h = jnp.tanh(x @ params["in"] / FEATURES**0.5)
    h = h + jnp.tanh(h @ params["mix"] / HIDDEN**0.5)
    return h @ params["out"] / HIDDEN**0.5


def main():
    """Verdict, the evidence behind it, and what cannot be said without a spec."""
    dataset = data.load("sphere", points_train=32, points_test=32, scaling="unit-norm", target_coding="standardized-one-hot")
    result = diagnosis.diagnose(f, dataset, init=init, draws=50)
    print(result.verdict.regime, "and", result.verdict.trainable)
    for reason in result.verdict.reasons:
        print(" -", reason)
    print("not available:", *result.missing, sep="\n - ")

    # The kernel itself: traced over outputs, all outputs, in float64.
    params = init(jax.random.PRNGKey(0))
    theta = empirical.ntk((f, params), dataset.x_train[:4], dtype="float64")
    full = empirical.ntk((f, params), dataset.x_train[:4], output="full", dtype="float64")
    print(theta.shape, full.shape)
    return result


if __name__ == "__main__":
    main()
