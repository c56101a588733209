"""The infinite-width kernels against Monte Carlo over wide finite networks, on fixed seeds, within 4 standard errors.

Kernels of width n have a bias of the order of 1/n and a standard deviation of the order of 1/√n: at this width and number of draws the
bias is below one standard error. Where φ grows faster than x, kernels have heavy tails: fewer layers, more units, smaller variances.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quick
from registry import ACTIVATIONS, rotated

from kernelregime import infinite, networks

DRAWS, WIDTH, WIDEST = 96, 512, 4096
GROWING = {name for name, phi in ACTIVATIONS.items() if abs(phi(jnp.asarray(8.0))) > 3 * abs(phi(jnp.asarray(4.0))) > 0}


def inputs():
    rng = np.random.default_rng(3)
    u = rng.normal(size=4)
    return jnp.asarray(np.stack([u, rotated(u, 0.5, rng), -0.7 * rng.normal(size=4)]), jnp.float32)


def network(name, width, parameterization):
    depth, width, sigma_w2 = (2, max(width, WIDEST), 0.2) if name in GROWING else (3, width, 1.6)
    phi = ACTIVATIONS[name]
    return networks.mlp(depth=depth, width=width, activation=phi, sigma_w2=sigma_w2, sigma_b2=0.3, parameterization=parameterization)


@cache
def drawn_params(growing, parameterization):
    """Parameters of all draws, which depend on the widths and variances alone: one draw serves every activation."""
    net = network(min(GROWING) if growing else "identity", WIDTH, parameterization)
    with jax.enable_x64(False):
        keys = jax.random.split(jax.random.key(1), DRAWS)
        return quick(lambda keys: jax.lax.map(lambda key: net.init(key, (4,), jnp.float32), keys))(keys)


def finite_kernels(net, params, x):
    """For one draw: the NNGP of the readout from the last hidden layer, averaged over its units, and the NTK of the one output."""
    hidden = x
    for layer, p in zip(net.layers[:-1], params[:-1], strict=True):
        hidden = layer.apply(p, hidden)
    readout = net.layers[-1]
    nngp = readout.sigma_w2 * (hidden @ hidden.T) / hidden.shape[1] + readout.sigma_b2
    jacobian = [leaf.reshape(len(x), -1) for leaf in jax.tree.leaves(jax.jacrev(lambda p: net.apply(p, x)[:, 0])(params))]
    return nngp, sum(rows @ rows.T for rows in jacobian)


@quick
def sample(net, drawn, x):
    return jax.lax.map(lambda params: finite_kernels(net, params, x), drawn)


def sampled_kernels(name, parameterization):
    with jax.enable_x64(False):
        sampled = sample(network(name, WIDTH, parameterization), drawn_params(name in GROWING, parameterization), inputs())
    return [np.asarray(values, np.float64) for values in sampled]


@quick
def infinite_kernels(net, x):
    return infinite.kernel(net)(x)[:2]


def limit(name, width, parameterization):
    return [np.asarray(k) for k in infinite_kernels(network(name, width, parameterization), inputs().astype(jnp.float64))]


@pytest.mark.parametrize(("name", "parameterization"), [*((name, "ntk") for name in ACTIVATIONS), ("relu", "standard")])
def test_wide_networks_have_the_kernels_of_infinite_width(name, parameterization):
    for sampled, expected in zip(sampled_kernels(name, parameterization), limit(name, WIDTH, parameterization), strict=True):
        sem = sampled.std(axis=0, ddof=1) / np.sqrt(DRAWS)
        assert sem.max() < 0.03 * expected.max()
        # the float32 of each draw: its error is no part of the standard error
        rounding = WIDTH * 2.0**-24 * expected.max()  # of a sum over the units in float32, in whatever order the machine takes it
        assert (np.abs(sampled.mean(axis=0) - expected) <= 4 * sem + rounding).all()


def test_both_parameterizations_are_one_law_of_functions():
    """With the same draws of N(0, 1), W = σ_w w/√n and b = σ_b β in one are the parameters themselves in the other."""
    ntk, standard = network("tanh", 64, "ntk"), network("tanh", 64, "standard")
    x = inputs()
    function = quick(lambda net: net.apply(net.init(jax.random.key(5), (4,), x.dtype), x))
    a, b = function(ntk), function(standard)
    np.testing.assert_allclose(a, b, rtol=1e-5)


def test_outputs_of_wide_networks_have_the_nngp_as_covariance():
    net, x, draws = network("relu", 128, "ntk"), inputs(), 1000
    with jax.enable_x64(False):
        keys = jax.random.split(jax.random.key(6), draws)
        f = quick(lambda keys: jax.lax.map(lambda key: net.apply(net.init(key, (4,)), x)[:, 0], keys))(keys)
    f = np.asarray(f, np.float64)
    products = f[:, :, None] * f[:, None, :]
    sem = products.std(axis=0, ddof=1) / np.sqrt(draws)
    assert (np.abs(products.mean(axis=0) - limit("relu", 128, "ntk")[0]) <= 4 * sem).all()
