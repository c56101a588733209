import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quick
from registry import LAYERS, NETWORKS, called, kernels, points

from kernelregime.infinite.kernel import input_moments

KEY = jax.random.key(0)


@pytest.fixture(params=LAYERS)
def case(request):
    return LAYERS[request.param]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_outputs_have_the_declared_shape_and_the_dtype_of_the_inputs(case, dtype):
    layer, shape = case
    params = layer.init(KEY, shape, dtype)
    x = jax.random.normal(jax.random.key(1), (7, *shape), dtype)
    out = called(layer, params, x)
    assert out.shape == (7, *layer.output_shape(shape))
    assert out.dtype == dtype
    assert {leaf.dtype.name for leaf in jax.tree.leaves(params)} <= {dtype}


def test_each_row_is_computed_by_itself(case):
    layer, shape = case
    params = layer.init(KEY, shape)
    x = jax.random.normal(jax.random.key(1), (5, *shape))
    one_by_one = jax.vmap(lambda row: called(layer, params, row[None])[0])(x)
    np.testing.assert_allclose(called(layer, params, x), one_by_one, rtol=1e-13, atol=1e-14)


def test_parameters_depend_on_the_key_alone(case):
    layer, shape = case
    first, again, other = (jax.tree.leaves(layer.init(key, shape)) for key in (KEY, KEY, jax.random.key(1)))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert all(not (a == b).all() for a, b in zip(first, other, strict=True))


def test_layers_are_hashable_in_structure_and_numeric_in_their_leaves(case):
    layer, _ = case
    leaves, structure = jax.tree.flatten(layer)
    hash(structure)
    assert all(np.asarray(leaf).dtype == float for leaf in leaves)
    assert jax.tree.unflatten(structure, leaves) == layer


@quick
def step(layer, moments):
    return layer.propagate(moments)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_folds_its_layers_in_order(name):
    network, x = NETWORKS[name], jnp.asarray(points())
    moments = input_moments(x, x)
    for layer in network.layers:
        moments = step(layer, moments)
    looped = kernels(network, x)
    for kind in ("nngp", "ntk"):
        ours, expected = np.asarray(getattr(looped, kind)), np.asarray(getattr(moments, kind))
        root = np.sqrt(np.diagonal(expected))
        assert (np.abs(ours - expected) <= 1e-14 * len(network.layers) * np.outer(root, root)).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_init_and_output_shape_go_through_the_whole_network(name):
    network = NETWORKS[name]
    out = jax.eval_shape(lambda x: network.apply(network.init(KEY, (5,)), x), jnp.asarray(points()))
    assert out.shape == (len(points()), *network.output_shape((5,)))
    assert out.dtype == jnp.float64


def test_the_nngp_alone_is_the_same_without_an_ntk_in_the_state():
    network, x = NETWORKS["relu with biases"], jnp.asarray(points()[2:5])
    after = jax.jit(lambda x: network.propagate(input_moments(x, x, ntk=False)))(x)
    assert after.ntk is None
    np.testing.assert_allclose(after.nngp, kernels(network, x).nngp, rtol=1e-14)
