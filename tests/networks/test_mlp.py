import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernelregime import activations
from kernelregime._checks import InputError
from kernelregime.layers import Activation, Dense, Sequential
from kernelregime.networks import describe, mlp

KEY = jax.random.key(0)


def test_depth_counts_weight_layers_and_the_readout_is_linear():
    net = mlp(depth=4, width=7, outputs=3, activation="tanh", sigma_w2=1.5, sigma_b2=0.2, parameterization="standard")
    dense = Dense(7, 1.5, 0.2, "standard")
    assert net == Sequential(
        (dense, Activation("tanh"), dense, Activation("tanh"), dense, Activation("tanh"), Dense(3, 1.5, 0.2, "standard"))
    )


def test_every_hidden_layer_may_have_its_own_width():
    net = mlp(depth=3, width=[5, 9])
    assert [layer.width for layer in net.layers if isinstance(layer, Dense)] == [5, 9, 1]
    assert mlp(depth=1, width=5).layers == (Dense(1, 2.0),)


def test_a_network_maps_points_to_outputs():
    net = mlp(depth=3, width=8, outputs=2)
    params = net.init(jax.random.key(0), (4,))
    assert net.apply(params, jnp.ones((5, 4))).shape == (5, 2)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ({"depth": 0, "width": 4}, r"expected depth \(weight layers\) to be an integer of at least 1; got 0"),
        ({"depth": 3, "width": 0}, "expected width to be an integer of at least 1; got 0"),
        ({"depth": 3, "width": [4]}, "expected 2 hidden widths for depth 3; got 1"),
        ({"depth": 3, "width": 4, "outputs": 0}, "expected outputs to be an integer of at least 1"),
        ({"depth": 3, "width": 4, "activation": "relo"}, "did you mean 'relu'"),
        ({"depth": 3, "width": 4, "sigma_w2": -2}, r"expected sigma_w2 \(a variance\)"),
        ({"depth": 3, "width": 4, "parameterization": "mean-field"}, "expected parameterization to be one of"),
    ],
)
def test_hyperparameters_out_of_range_are_refused(arguments, wanted):
    with pytest.raises(InputError, match=wanted):
        mlp(**arguments)


def test_a_preset_describes_itself():
    found = describe(mlp(depth=3, width=[5, 9], outputs=2, activation="erf", sigma_w2=1.5, sigma_b2=0.2, parameterization="standard"))
    assert found is not None
    assert (found.depth, found.widths, found.activation) == (3, (5, 9, 2), activations.get("erf"))
    assert (found.sigma_w2, found.sigma_b2, found.parameterization) == (1.5, 0.2, "standard")


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("sigma_b2", [None, 0.1])
def test_parameters_are_counted_as_the_network_has_them(depth, sigma_b2):
    network = mlp(depth=depth, width=7, outputs=3, sigma_b2=sigma_b2)
    shapes = jax.eval_shape(lambda key: network.init(key, (5,), "float32"), jax.random.PRNGKey(0))
    found = describe(network)
    assert found is not None
    assert found.parameters(5) == sum(leaf.size for leaf in jax.tree.leaves(shapes))


def test_a_linear_model_has_no_activation_to_describe():
    found = describe(mlp(depth=1, width=5, sigma_b2=None))
    assert found is not None
    assert (found.depth, found.activation, found.sigma_b2) == (1, None, None)


@pytest.mark.parametrize(
    "other",
    [
        Dense(3),
        Sequential((Dense(3), Activation("relu"))),
        Sequential((Dense(3), Dense(3), Dense(3))),
        Sequential((Dense(3, 1.0), Activation("relu"), Dense(3, 2.0))),
        Sequential((Dense(3, 1.0, 0.0), Activation("relu"), Dense(3, 1.0))),
        Sequential((Dense(3), Activation("relu"), Dense(3), Activation("erf"), Dense(3))),
        Sequential((Dense(3), Activation("relu"), Dense(3, parameterization="standard"))),
        Sequential((Dense(3, s=(1, 2)), Activation("relu"), Dense(3, s=(2, 1)))),
    ],
)
def test_other_networks_are_not_described_as_one_with_shared_variances(other):
    assert describe(other) is None


@pytest.mark.parametrize("shape", [(4,), [4], (np.int64(4),)])
@pytest.mark.parametrize("key", [KEY, jax.random.PRNGKey(0)])
def test_parameters_are_drawn_for_the_shape_of_one_point(key, shape):
    assert mlp(depth=2, width=8).init(key, shape)[0]["w"].shape == (4, 8)


@pytest.mark.parametrize("made", [mlp(depth=2, width=8), Dense(8)])
@pytest.mark.parametrize(
    ("key", "shape", "wanted"),
    [
        (7, (4,), r"expected key to be a JAX random key; got 7; write jax.random.key\(7\)"),
        (None, (4,), "expected key to be a JAX random key; got None"),
        ((4,), KEY, "expected key to be a JAX random key; got "),
        (jax.random.split(KEY, 3), (4,), r"one JAX random key; got an array of keys of shape \(3,\); give one of them"),
        (KEY, 4, r"shape to be that of one point, a tuple such as \(784,\); got 4; write \(4,\)"),
        (KEY, np.ones((5, 4)), r"got an array of shape \(5, 4\); give x.shape\[1:\], here \(4,\)"),
        (KEY, jnp.ones((5, 2, 4)), r"here \(2, 4\)"),
        (KEY, np.array([4]), "give a tuple of integers"),
        (KEY, "4", "shape to be that of one point"),
        (KEY, (4.0,), "each number in shape to be an integer"),
        (KEY, (0,), "each number in shape to be an integer of at least 1"),
        (KEY, (), "points with at least one axis"),
    ],
)
def test_a_key_or_shape_that_is_none_is_refused(made, key, shape, wanted):
    with pytest.raises(InputError, match=wanted):
        made.init(key, shape)
