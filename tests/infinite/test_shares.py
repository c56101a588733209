"""Each layer's share of the NTK: against finite networks layer by layer, and as the parts of a whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quick

from kernelregime import diagnosis, empirical, infinite, networks
from kernelregime._checks import InputError
from kernelregime.layers import Activation, Batch, Branches, Conv, Dense, GlobalPool, Identity, LayerNorm, Pool, Sequential, Trained

pytestmark = pytest.mark.usefixtures("quick_grams")
RELU = Activation("relu")
X = np.random.default_rng(0).normal(size=(3, 5))
IMAGES = np.random.default_rng(0).normal(size=(3, 4, 4, 2))
SIDES = Branches((Sequential((RELU, Dense(8, 1.2, 0.1), RELU, Dense(8, 0.9))), Sequential((LayerNorm(), Dense(8, 0.7))), Identity()))
NETWORKS = {
    "mlp": (networks.mlp(depth=4, width=8, sigma_b2=0.1), X),
    "standard": (networks.mlp(depth=3, width=8, sigma_b2=0.1, parameterization="standard"), X),
    "branches": (Sequential((Dense(8), SIDES, RELU, Dense(1))), X),
    "product": (Sequential((Branches((Dense(8), Sequential((Dense(8), RELU))), "product"), Dense(1))), X),
    "pooled by offsets": (networks.cnn(depth=3, channels=8), IMAGES),
    "pooled between": (Sequential((Conv(8, (3, 3)), RELU, Pool((2, 2)), Conv(8, (3, 3)), RELU, GlobalPool(), Dense(1))), IMAGES),
    "several lengths": (
        Sequential((Dense(8), RELU, GlobalPool(), Dense(1))),
        Batch(IMAGES[:, 0], np.arange(4) < np.array([[2], [4], [3]])),
    ),
    "one layer": (Dense(3, 1.5, 0.2), X),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_shares_add_up_to_the_ntk_in_both_drivers(name):
    network, x = NETWORKS[name]
    found, whole = infinite.gram(network, x, by_layer=True), infinite.gram(network, x)
    assert len(found.layers) == len(found.ntk) == sum(bool(jax.tree.leaves(p)) for p in _layers(network, x))
    np.testing.assert_allclose(found.ntk.sum(axis=0), whole.ntk, rtol=1e-13)
    np.testing.assert_allclose(found.nngp, whole.nngp, rtol=1e-14)
    with jax.enable_x64(True):
        pure = quick(infinite.kernel(network, by_layer=True))(jax.tree.map(jnp.asarray, x))
    np.testing.assert_allclose(pure.ntk, found.ntk, rtol=1e-12)
    if name != "several lengths":
        apart = infinite.gram(network, x, x[:2], by_layer=True, memory=10**6, dtype="float32")
        np.testing.assert_allclose(apart.ntk, found.ntk[:, :, :2], rtol=2e-4)


def _layers(network, x):
    """The parameters of each layer that has some, whatever it is in."""
    params = jax.eval_shape(lambda: network.init(jax.random.key(0), x.shape[1:]))

    def parts(tree):
        return [tree] if isinstance(tree, dict) else [part for one in tree for part in parts(one)]

    return parts(params)


def test_shares_are_the_means_of_those_of_finite_networks():
    """With one hidden layer they are so at any width."""
    network = Sequential((Dense(16, 1.6, 0.1), RELU, Dense(1, 1.3, 0.2)))

    def one(key):
        params = network.init(key, (5,), jnp.float64)
        rows = jax.jacrev(lambda p: network.apply(p, jnp.asarray(X))[:, 0])(params)
        return jnp.stack([sum(flat @ flat.T for flat in (leaf.reshape(3, -1) for leaf in jax.tree.leaves(rows[i]))) for i in (0, 2)])

    with jax.enable_x64(True):
        sample = np.asarray(quick(jax.vmap(one))(jax.random.split(jax.random.key(0), 400)))
    found = infinite.gram(network, X, by_layer=True)
    assert found.layers == ("0 Dense", "2 Dense")
    assert (np.abs(sample.mean(axis=0) - found.ntk) <= 4 * sample.std(axis=0, ddof=1) / 20).all()


def test_rates_weigh_the_shares():
    parts = networks.mlp(depth=3, width=8, sigma_b2=0.1).layers
    whole = infinite.gram(Sequential(parts), X, by_layer=True)
    rates = (0.5, 0.0, 2.0)
    trained = [Trained((layer,), rate) for layer, rate in zip(parts[::2], rates, strict=True)]
    slow = infinite.gram(Sequential((trained[0], parts[1], trained[1], parts[3], trained[2])), X)
    np.testing.assert_allclose(slow.ntk, np.tensordot(rates, whole.ntk, 1), rtol=1e-13)
    np.testing.assert_array_equal(slow.nngp, whole.nngp)
    assert Trained((parts[0],), 0.5).init(jax.random.key(0), (5,))["w"].shape == (5, 8)


def test_shares_go_into_a_store(tmp_path):
    network = networks.mlp(depth=3, width=8)
    found = infinite.gram(network, X, by_layer=True, store=tmp_path / "s.zarr")
    np.testing.assert_array_equal(found.ntk.values, infinite.gram(network, X, by_layer=True).ntk)
    assert found.ntk.dims == ("layer", "x1", "x2")


def test_a_deep_network_is_one_loop():
    network = networks.mlp(depth=60, width=8)
    found = infinite.gram(network, X, by_layer=True)
    assert found.ntk.shape == (60, 3, 3)
    np.testing.assert_allclose(np.diagonal(found.ntk, axis1=1, axis2=2), np.tile(found.nngp.diagonal(), (60, 1)), rtol=1e-12)


def test_what_has_no_shares_is_refused():
    for options in ({"kind": "nngp"}, {"depths": (1, 2)}):
        with pytest.raises(InputError, match="by_layer=True for the NTK of one network"):
            infinite.gram(networks.mlp(depth=3, width=8), X, by_layer=True, **options)
    with pytest.raises(InputError, match="by_layer=True for the NTK of one network"):
        infinite.kernel(networks.mlp(depth=3, width=8), depths=(1, 2), by_layer=True)


def test_rates_of_the_user_stay_beside_the_shares():
    network = Sequential((Trained((Dense(8),), 0.5), RELU) * 3)
    found = infinite.gram(network, X, by_layer=True)
    np.testing.assert_allclose(found.ntk.sum(axis=0), infinite.gram(network, X).ntk, rtol=1e-13)
    bare = infinite.gram(Sequential((Dense(8), RELU) * 3), X, depths=(1, 2), kind="nngp").nngp
    np.testing.assert_array_equal(infinite.gram(network, X, depths=(1, 2), kind="nngp").nngp, bare)


def test_rates_are_numbers_for_one_layer_and_not_for_finite_networks():
    for layers, rate in (((Dense(4), Dense(5)), 1.0), (Dense(4), 1.0), ((Dense(4),), -1.0), ((Dense(4),), "a")):
        with pytest.raises(InputError):
            Trained(layers, rate)
    network = Sequential((Trained((Dense(8),), 0.0), RELU, Dense(1)))
    for finite in (
        lambda: diagnosis.crosscheck(network, X),
        lambda: empirical.ntk((network, network.init(jax.random.key(0), (5,))), X),
        lambda: diagnosis.diagnose(network, (X, X[:, :1]), steps=1),
    ):
        with pytest.raises(InputError, match="one learning rate"):
            finite()
