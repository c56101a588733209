import jax
import numpy as np
import pytest
from flax import linen

from kernelregime import empirical, networks
from kernelregime._checks import InputError
from kernelregime.layers import Activation, Conv, Dense, Flatten, Sequential


@pytest.fixture(scope="module")
def network():
    return networks.mlp(depth=3, width=[6, 5], outputs=2, activation="tanh", sigma_b2=0.1)


@pytest.fixture(scope="module")
def params(network):
    with jax.enable_x64(True):
        return network.init(jax.random.key(0), (4,))


def points(n, seed=1, shape=(4,)):
    return np.random.default_rng(seed).standard_normal((n, *shape))


def test_features_kernel_is_that_of_the_activations(network, params):
    x = points(5)

    def activations(p, x):
        for layer, own in zip(network.layers[:4], p, strict=False):
            x = layer.apply(own, x)
        return x

    expected = empirical.ntk((activations, params), x, output="full", method="jacobian")
    found = empirical.ntk(empirical.features((network, params), 3), x, output="full")
    assert found.shape == (5, 5, 5, 5)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    mean = empirical.ntk(empirical.features((network, params), -2), x)
    np.testing.assert_allclose(mean, np.einsum("ijoo->ij", expected) / 5, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_kernel_of_the_network_is_that_of_its_features_and_of_its_last_layer():
    # f = a V h: Θ = (a V) Θ^h (a V)ᵀ + a² h·h'
    network = networks.mlp(depth=2, width=7, outputs=3, activation="tanh", sigma_w2=1.7)
    with jax.enable_x64(True):
        params = network.init(jax.random.key(0), (4,))
    x, features = points(5), empirical.features((network, params), 1)
    theta = empirical.ntk(features, x, output="full")
    scale = np.sqrt(1.7 / 7)
    [V] = jax.tree.leaves(params[2])
    V = scale * np.asarray(V)
    V = V if V.shape == (3, 7) else V.T
    h = empirical.operator(features, x).values()
    expected = np.einsum("ok,ijks,ps->ijop", V, theta, V) + scale**2 * np.einsum("ij,op->ijop", h @ h.T, np.eye(3))
    np.testing.assert_allclose(empirical.ntk((network, params), x, output="full"), expected, rtol=1e-10, atol=1e-12)


def test_features_after_the_last_layer_are_the_outputs(network, params):
    x = points(5)
    np.testing.assert_allclose(empirical.ntk(empirical.features((network, params), -1), x), empirical.ntk((network, params), x), rtol=1e-13)


def test_units_with_positions_count_one_by_one():
    network = Sequential((Conv(3, (3,)), Activation("tanh"), Flatten(), Dense(2)))
    with jax.enable_x64(True):
        params = network.init(jax.random.key(0), (6, 2))
    before, after = (empirical.features((network, params), layer) for layer in (1, 2))
    x = points(4, shape=(6, 2))
    np.testing.assert_allclose(empirical.ntk(before, x, output="full"), empirical.ntk(after, x, output="full"), rtol=1e-12, atol=1e-14)
    assert empirical.ntk(before, x, output="diagonal").shape == (4, 4, 18)


def test_features_have_products_and_rates_too(network, params):
    x, features = points(5), empirical.features((network, params), 1)
    operator = empirical.operator(features, x)
    v = np.random.default_rng(0).standard_normal(operator.shape[1])
    np.testing.assert_allclose(operator.matvec(v), operator.dense() @ v, rtol=1e-11)
    direction = jax.tree.map(np.ones_like, features.params)
    assert empirical.ntk_rate(features, x, direction=direction).shape == (5, 5)


def test_features_of_a_flax_module_are_the_captured_activations():
    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            h = linen.tanh(linen.Dense(6, name="first")(x))
            return linen.Dense(2, name="last")(h)

    module = Net()
    variables = module.init(jax.random.key(0), np.ones((1, 4), "float32"))

    def first(variables, x):
        _, state = module.apply(variables, x, capture_intermediates=True, mutable="intermediates")
        return state["intermediates"]["first"]["__call__"][0]

    x = points(5).astype("float32")
    found = empirical.ntk((first, variables), x)  # of h = x W + b
    np.testing.assert_allclose(found, x @ x.T + 1, rtol=1e-5, atol=1e-5)


def test_what_has_no_such_layer_is_refused(network, params):
    for layer in (5, -6, "last", 1.0):
        with pytest.raises(InputError, match="layer to be an integer from -5 to 4"):
            empirical.features((network, params), layer)
    with pytest.raises(InputError, match="write f"):
        empirical.features((lambda p, x: x @ p, np.ones((4, 2))), 0)
