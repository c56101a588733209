import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import NETWORKS, points

from kernelregime import activations, infinite, networks
from kernelregime._compiler import WIDEST, understood
from kernelregime._precision import enter
from kernelregime.infinite.pairs import Pairs, Points, portable, propagate
from kernelregime.layers import Dense


def pairs(network):
    return Pairs(portable(network.folded()), Points.of(points()), None, ("nngp", "ntk"), several=False, dtype=np.dtype("float64"))


@pytest.mark.parametrize("name", ["relu with biases", "deep relu without biases", "tanh with biases"])
def test_a_pickled_pair_function_gives_the_same_blocks_and_errors(name):
    made = pairs(NETWORKS[name])
    again = pickle.loads(pickle.dumps(made))
    for rows, columns in ((slice(0, 5), slice(0, 5)), (slice(5, 13), slice(0, 5))):
        expected, found = made(rows, columns), again(rows, columns)
        assert found.error == expected.error
        for kind in ("nngp", "ntk"):
            np.testing.assert_array_equal(found.matrices[kind], expected.matrices[kind])


def test_the_blocks_are_those_of_the_gram_matrix():
    whole = infinite.gram(NETWORKS["relu with biases"], points())
    block = pairs(NETWORKS["relu with biases"])(slice(5, 13), slice(0, 5))
    np.testing.assert_allclose(block.matrices["ntk"], whole.ntk[5:13, :5], rtol=1e-13)


def test_variances_on_a_device_keep_their_digits_where_64_bits_are_not_on():
    with enter("float64"):
        network = networks.mlp(depth=2, width=4, sigma_w2=jnp.asarray(1 / 3))
        layers = portable(network.folded())
    with enter("float32"):
        again = pickle.loads(pickle.dumps(layers))
    leaves = jax.tree.leaves(again, is_leaf=lambda n: isinstance(n, Dense))
    assert not any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(again))
    assert leaves[0].sigma_w2 == 1 / 3


THREE = activations.from_function(lambda x: jnp.clip(x, -1, 1) + 2 * jax.nn.relu(x), kinks=(-1.0, 0.0, 1.0))
SHIFTED = activations.from_function(lambda x: 1 + jax.nn.relu(x), kinks=(0.0,))


@pytest.mark.parametrize("activation", ["relu", "gelu", "erf", "gabor", "relu6", "rbf", SHIFTED, THREE])
def test_a_program_needs_no_more_for_a_pair_than_is_planned_for(activation):
    phi, n = activations.get(activation), 128
    k, gap = np.linspace(0.9, 1.1, n), np.full((n, n), 0.5)
    layers = networks.mlp(depth=4, width=8, activation=phi, sigma_b2=0.1).folded()
    with enter("float64"):
        program = jax.jit(propagate.__wrapped__, static_argnames=("kinds", "several"), compiler_options=understood(WIDEST))
        program = program.lower(layers, k[:, None], k[None], gap, features=3.0, kinds=("nngp", "ntk"), several=False).compile()
    assert program.memory_analysis().temp_size_in_bytes <= (phi.kind.numbers_per_pair + 1) * 8 * n * n


@pytest.mark.parametrize("activation", ["tanh", "elu"])
def test_a_program_needs_no_more_for_a_point_than_is_planned_for(activation):
    phi, n, dtype = activations.get(activation), 32, np.dtype("float64")
    k, gap = np.linspace(0.9, 1.1, n), np.full((n, n), 0.5)
    layers = networks.mlp(depth=4, width=8, activation=phi, sigma_b2=0.1).folded()
    with enter(dtype):
        program = jax.jit(propagate.__wrapped__, static_argnames=("kinds", "several"))
        program = program.lower(layers, k[:, None], k[None], gap, features=3.0, kinds=("nngp", "ntk"), several=False).compile()
    assert 0.9 <= program.memory_analysis().temp_size_in_bytes / (phi.kind.bytes_per_point(dtype) * n) <= 1.03
