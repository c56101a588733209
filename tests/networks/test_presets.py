"""Presets beyond fully-connected networks, their order of channels, widths, and the parameterization of feature learning."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quick

from kernelregime import diagnosis, infinite, networks
from kernelregime._checks import InputError
from kernelregime.layers import Activation, Batch, ChannelsLast, Conv, Dense, GlobalPool, Identity, Last, Recurrent, Sequential

pytestmark = pytest.mark.usefixtures("quick_grams")
IMAGES = np.random.default_rng(0).normal(size=(2, 3, 8, 6))


@pytest.mark.parametrize("readout", ["pool", "flatten"])
def test_the_order_of_channels_changes_nothing_else(readout):
    options = {"depth": 3, "channels": 4, "readout": readout}
    first, last = networks.cnn(**options, channel_order="first"), networks.cnn(**options)
    turned = np.moveaxis(IMAGES, 1, -1)
    np.testing.assert_array_equal(infinite.gram(first, IMAGES).ntk, infinite.gram(last, turned).ntk)
    found, other = (quick(infinite.kernel(net))(jnp.asarray(x, jnp.float32)) for net, x in ((first, IMAGES), (last, turned)))
    np.testing.assert_array_equal(found.ntk, other.ntk)
    params = first.init(jax.random.key(0), IMAGES.shape[1:])
    np.testing.assert_allclose(
        first.apply(params, jnp.asarray(IMAGES, jnp.float32)), last.apply(params[1:], jnp.asarray(turned, jnp.float32)), rtol=1e-6
    )
    there = np.arange(6) < np.array([[[4]], [[6]]]) * np.ones((2, 8, 1))
    batches = Batch(IMAGES, there), Batch(turned, there)
    np.testing.assert_array_equal(*(infinite.gram(net, x).ntk for net, x in zip((first, last), batches, strict=True)))


def test_channels_change_their_order_once():
    network = Sequential((Conv(4, (3, 3)), ChannelsLast(), GlobalPool()))
    with pytest.raises(InputError, match="first layer"):
        infinite.gram(network, IMAGES)


@pytest.mark.parametrize("readout", ["pool", "flatten"])
def test_a_transformer_has_finite_and_infinite_kernels(readout):
    network = networks.transformer(blocks=2, channels=16, heads=4, readout=readout, sigma_b2=0.1)
    x = np.random.default_rng(0).normal(size=(3, 4, 5))
    found = infinite.gram(network, x)
    np.testing.assert_allclose(found.nngp, found.nngp.T, rtol=1e-14)
    assert (np.linalg.eigvalsh(found.ntk) > 0).all()
    params = network.init(jax.random.key(0), (4, 5))
    assert network.apply(params, jnp.asarray(x, jnp.float32)).shape == (3, 1)


def test_a_transformer_block_of_finite_width_goes_to_the_infinite_kernels():
    network = networks.transformer(blocks=1, channels=16, heads=8, expand=1, activation="relu")
    checked = diagnosis.crosscheck(network, np.random.default_rng(0).normal(size=(2, 3, 2)), draws=150, multiples=(2, 5))
    assert (checked.nngp.status, checked.ntk.status) == ("agrees", "agrees"), str(checked)


def test_every_hidden_width_grows_and_outputs_stay():
    wide = networks.widened(networks.resnet(blocks=1, outputs=3), 2)
    params = jax.eval_shape(lambda: wide.init(jax.random.key(0), (8, 8, 3)))
    assert jax.tree.leaves(params)[-1].shape == (128, 3)
    assert networks.widened(networks.mlp(depth=3, width=8), 3, outputs=5).layers[-1].width == 5


def moved(network, x, y, steps=20, rate=0.3):
    """How far the last hidden layer moves, relative to where it starts."""
    hidden = Sequential(network.layers[:-2])
    x, y = jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)
    slope = jax.jit(jax.grad(lambda p: jnp.mean((network.apply(p, x) - y) ** 2)))
    apart = []
    for seed in range(4):
        params = start = network.init(jax.random.key(seed), x.shape[1:])
        for _ in range(steps):
            params = jax.tree.map(lambda p, g: p - rate * g, params, slope(params))
        before, after = (hidden.apply(p[:-2], x) for p in (start, params))
        apart.append(float(jnp.linalg.norm(after - before) / jnp.linalg.norm(before)))
    return np.mean(apart)


def test_features_move_alike_at_all_widths_in_mup_and_less_and_less_in_ntk():
    x = np.random.default_rng(0).normal(size=(8, 16))
    y = np.sign(x[:, :1])
    for parameterization, exponent in (("mup", 0.0), ("ntk", -0.5)):
        options = {"depth": 3, "activation": "tanh", "sigma_w2": 1.5, "sigma_b2": 0.1, "parameterization": parameterization}
        narrow, wide = (moved(networks.mlp(width=width, **options), x, y) for width in (64, 1024))
        assert abs(np.log(wide / narrow) / np.log(16) - exponent) < 0.1
    images = np.random.default_rng(0).normal(size=(4, 5, 5, 2))
    options = {"depth": 3, "activation": "tanh", "sigma_w2": 1.5, "parameterization": "mup"}
    narrow, wide = (moved(networks.cnn(channels=c, **options), images, y[:4], steps=10) for c in (32, 256))
    assert abs(np.log(wide / narrow) / np.log(8)) < 0.15


def recurrent(width, parameterization):
    """Two recurrent layers and the last state, which is where `moved` looks."""
    first, second = (Recurrent(width, "tanh", 1.2, 1.0, 0.1, parameterization, role) for role in ("input", "hidden"))
    return Sequential((first, second, Last(), Identity(), Dense(1, 1.5, 0.1, parameterization, role="output")))


def transformer(width, parameterization):
    """With four heads at any width."""
    options = {"activation": "tanh", "sigma_w2": 1.5, "sigma_b2": 0.1, "expand": 1}
    return networks.transformer(blocks=1, channels=width, heads=4, parameterization=parameterization, **options)


@pytest.mark.parametrize("build", [recurrent, transformer])
def test_features_of_sequences_move_alike_at_all_widths_in_mup_and_less_and_less_in_ntk(build):
    x = np.random.default_rng(0).normal(size=(4, 3, 5))
    slopes = {}
    for parameterization in ("mup", "ntk"):
        narrow, wide = (moved(build(n, parameterization), x, np.sign(x[:, 0, :1]), steps=6, rate=0.1) for n in (32, 256))
        slopes[parameterization] = np.log(wide / narrow) / np.log(8)
    assert abs(slopes["mup"]) < 0.1
    assert slopes["ntk"] < -0.4  # -1/2, and what outputs that start at random add


def test_mup_has_the_outputs_of_infinite_width_shrink_and_no_kernel():
    network = networks.mlp(depth=3, width=64, parameterization="mup")
    assert [layer.role for layer in network.layers[::2]] == ["input", "hidden", "output"]
    for kernel in (lambda: infinite.gram(network, np.ones((2, 3))), lambda: infinite.kernel(network)(jnp.ones((2, 3)))):
        with pytest.raises(InputError, match="features move"):
            kernel()
    sizes = []
    for width in (64, 1024):
        net = networks.mlp(depth=3, width=width, parameterization="mup")
        outs = [net.apply(net.init(jax.random.key(seed), (3,)), jnp.ones((1, 3)))[0, 0] for seed in range(100)]
        sizes.append(np.std(outs))
    assert abs(sizes[1] / sizes[0] * 4 - 1) < 4 * 1.5 / np.sqrt(2 * 100)
    assert networks.describe(network) is None
    hidden = Sequential((Dense(64, 2.0, 0.1, "mup", role="input"), Activation("relu"), Dense(64, 2.0, 0.1, "mup"), Activation("relu")))
    ours = Sequential((Dense(64, 2.0, 0.1), Activation("relu"), Dense(64, 2.0, 0.1), Activation("relu")))
    means = [
        np.mean([jnp.mean(net.apply(net.init(jax.random.key(seed), (3,)), jnp.ones((1, 3))) ** 2) for seed in range(100)])
        for net in (hidden, ours)
    ]
    np.testing.assert_allclose(*means, rtol=0.1)  # features start as those of the other parameterizations
