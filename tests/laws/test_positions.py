"""Networks on points with positions: against many finite networks, and the drivers against one another."""

import pickle
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quick
from registry import IMAGE_NETWORKS, given

from kernelregime import grams, infinite
from kernelregime.infinite.gram import problem
from kernelregime.layers import Batch

SEEDS = 600


def images(shape):
    """Two points and one more that is equal to the first."""
    x = np.random.default_rng(0).normal(size=(2, *shape))
    return np.concatenate([x, x[:1]])


@quick
def kernels(network, x, other):
    return infinite.kernel(network)(x, other)


def drawn(network, x):
    """f(x)f(x') and the NTK of finite networks, (seeds, N, N)."""

    def one(key):
        params = network.init(key, x.shape[1:], jnp.float64)
        f = network.apply(params, x)[:, 0]
        rows = jax.jacrev(lambda p: network.apply(p, x)[:, 0])(params)
        flat = jnp.concatenate([leaf.reshape(len(x), -1) for leaf in jax.tree.leaves(rows)], axis=1)
        return jnp.outer(f, f), flat @ flat.T

    return quick(jax.vmap(one))(jax.random.split(jax.random.key(0), SEEDS))


@pytest.mark.parametrize("name", IMAGE_NETWORKS)
def test_both_kernels_are_the_means_over_finite_networks(name):
    """With one layer of random weights before the readout both are so at any width."""
    network, shape = IMAGE_NETWORKS[name]
    x = given(name, jnp.asarray(images(shape)[:2]))
    expected = kernels(network, x, None)
    for sample, kernel in zip(drawn(network, x), (expected.nngp, expected.ntk), strict=True):
        sem = sample.std(axis=0, ddof=1) / np.sqrt(SEEDS)
        assert (np.abs(sample.mean(axis=0) - kernel) <= 4 * sem).all()


@pytest.mark.parametrize(
    "name",
    [
        "SAME, stride 2, pool",
        "mean pooling inside the image",
        "resized",
        "several lengths",
        "several lengths, softmax attention at 1/√d",
        "aggregated",
    ],
)
def test_tiles_engines_and_precisions_give_the_kernels_of_the_pure_function(name):
    network, shape = IMAGE_NETWORKS[name]
    x = given(name, images(shape))
    if isinstance(x, Batch):
        x = jax.tree.map(lambda leaf: np.concatenate([leaf[:2], leaf[:1]]), x)
    expected, other = (
        kernels(network, jax.tree.map(jnp.asarray, x), None),
        kernels(network, *(jax.tree.map(jnp.asarray, y) for y in (x, x[:2]))),
    )
    asked = problem(network, x)
    little = int(1.5 * (asked.bytes_per_pair + 2 * asked.bytes_per_point))
    assert grams.cost(asked, memory=little).tiles == 6
    for memory in (None, little):
        found = infinite.gram(network, x, memory=memory)
        np.testing.assert_allclose(found.ntk, expected.ntk, rtol=1e-13)
        np.testing.assert_allclose(found.nngp, expected.nngp, rtol=1e-13)
        assert found.ntk[0, 2] == found.ntk[0, 0]
        np.testing.assert_allclose(infinite.gram(network, x, x[:2], memory=memory).ntk, other.ntk, rtol=1e-13)
    low = infinite.gram(network, x, dtype="float32")
    assert low.ntk.dtype == np.float32
    np.testing.assert_allclose(low.ntk, expected.ntk, rtol=1e-5)
    again, block = pickle.loads(pickle.dumps(asked.tile)), (slice(0, 2), slice(2, 3))
    np.testing.assert_array_equal(again(*block).matrices["ntk"], asked.tile(*block).matrices["ntk"])


@pytest.mark.parametrize("name", IMAGE_NETWORKS)
def test_derivatives_by_pixels_and_variances_are_those_of_differences(name):
    network, shape = IMAGE_NETWORKS[name]
    x, step = jnp.asarray(images(shape)[:2]), 1e-5
    leaves, structure = jax.tree.flatten(network)
    sides = given(name, x)

    def total(x, leaves):
        k = infinite.kernel(jax.tree.unflatten(structure, leaves))(replace(sides, values=x) if isinstance(sides, Batch) else x)
        return k.nngp[0, 1] + 0.3 * k.ntk[0, 1] + 0.1 * k.ntk[1, 1]

    both = quick(jax.value_and_grad(total, argnums=(0, 1)))
    by_leaf = both(x, leaves)[1][1]
    away = jnp.asarray(np.random.default_rng(1).normal(size=x.shape))
    # positions of zeros have no correlation, whose derivative would tell; of rectified logits without variance there is none
    zeros = [] if name == "relu attention at 1/√d" else [x.at[0, ..., 0, :].set(0)]
    for at in (x, *zeros):
        by_pixel = both(at, leaves)[1][0]
        slope = (both(at + step * away, leaves)[0] - both(at - step * away, leaves)[0]) / (2 * step)
        np.testing.assert_allclose((by_pixel * away).sum(), slope, rtol=1e-6)
    more, less = ([leaf * (1 + sign * step) for leaf in leaves] for sign in (1, -1))
    slope = (both(x, more)[0] - both(x, less)[0]) / (2 * step)
    np.testing.assert_allclose(sum(jnp.sum(g * leaf) for g, leaf in zip(by_leaf, leaves, strict=True)), slope, rtol=1e-6)
