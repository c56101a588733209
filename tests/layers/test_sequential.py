from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import QUICK

from kernelregime import infinite
from kernelregime._checks import InputError
from kernelregime.layers import Activation, Dense, Sequential
from kernelregime.layers.sequential import _longest_run

X = np.random.default_rng(0).normal(size=(4, 6))


def equations(network, depths=None):
    """The size of the traced kernel program."""
    return sum(1 for line in str(jax.make_jaxpr(infinite.kernel(network, depths=depths))(jnp.asarray(X))).splitlines() if "=" in line)


def repeated(depth, **dense):
    return Sequential((*(layer for _ in range(depth) for layer in (Dense(9, **dense), Activation("relu"))), Dense(1)))


def test_the_program_does_not_grow_with_depth():
    assert equations(repeated(40)) == equations(repeated(4))


@pytest.mark.parametrize("few", [(1, 2, 3, 4), (2, 4), (1, 3, 4)])
def test_the_program_does_not_grow_with_the_number_of_depths(few):
    many = [depth for depth in range(1, 41) if depth in few or (depth > 4 and depth % 7)]
    assert equations(repeated(40), many) == equations(repeated(4), few)


def alternating(sigma_w2, depth):
    """Biases in every second layer: the repeating block has two layers of weights."""
    weighted = [Dense(9, sigma_w2 * (1 + i / 10), 0.1 if i % 2 == 0 else None) for i in range(depth)]
    return Sequential(tuple(layer for dense in weighted for layer in (dense, Activation("relu")))[:-1])


@pytest.fixture(scope="module")
def alone():
    """Value and slope in the variance of a sum of entries, for networks of one depth to six."""

    def total(sigma_w2, depth):
        k = infinite.kernel(alternating(sigma_w2, depth))(jnp.asarray(X))
        return (k.nngp + 2 * k.ntk)[0].sum()

    return [jax.jit(jax.value_and_grad(partial(total, depth=depth)), compiler_options=QUICK)(1.7) for depth in range(1, 7)]


@pytest.mark.parametrize("depths", [(1, 2, 3, 4, 5, 6), (2, 4, 6), (1, 2, 5)])
def test_kernels_and_gradients_at_several_depths_are_those_of_the_networks_cut_there(depths, alone):
    def totals(sigma_w2):
        k = infinite.kernel(alternating(sigma_w2, 6), depths=depths)(jnp.asarray(X))
        found = (k.nngp + 2 * k.ntk)[:, 0].sum(-1)
        return found, found

    slopes, values = jax.jit(jax.jacrev(totals, has_aux=True), compiler_options=QUICK)(1.7)
    np.testing.assert_allclose(np.stack([values, slopes], 1), [alone[depth - 1] for depth in depths], rtol=1e-5)


def test_layers_of_different_variances_share_the_loop_and_keep_their_own():
    variances = np.linspace(1, 3, 5)
    net = Sequential(tuple(layer for s in variances for layer in (Dense(9, float(s), 0.1), Activation("relu"))))
    with jax.enable_x64(True):
        x = jnp.asarray(X)
        k = jax.jit(infinite.kernel(net))(x)
        single = [Sequential((Dense(9, float(s), 0.1), Activation("relu"))) for s in variances]
        nested = jax.jit(infinite.kernel(Sequential(tuple(single))))(x)
        np.testing.assert_allclose(k.ntk, nested.ntk, rtol=1e-13)
        reverse = jax.jit(infinite.kernel(Sequential(tuple(reversed(single)))))(x)
        assert not np.allclose(k.ntk, reverse.ntk, rtol=1e-3)


@pytest.mark.parametrize(
    ("structures", "start", "expected"),
    [
        ("ababab", 0, (2, 3)),
        ("abcd", 0, (1, 1)),
        ("aaaab", 0, (1, 4)),
        ("xababy", 1, (2, 2)),
        ("abcabcab", 0, (3, 2)),
        ("a", 0, (1, 1)),
        ("aabaab", 0, (3, 2)),
    ],
)
def test_the_longest_repetition_is_found(structures, start, expected):
    assert _longest_run(list(structures), start) == expected


def test_a_sequence_of_sequences_is_the_sequence_of_their_layers():
    inner = Sequential((Dense(5, 1.5), Activation("erf")))
    net = Sequential((inner, Dense(2, 1.0, 0.1)))
    params = net.init(jax.random.key(0), (6,))
    assert len(params) == 2
    assert net.output_shape((6,)) == (2,)
    x = jnp.asarray(X, jnp.float32)
    expected = net.layers[1].apply(params[1], inner.apply(params[0], x))
    np.testing.assert_array_equal(net.apply(params, x), expected)


def test_layers_alike_draw_different_parameters():
    params = repeated(3).init(jax.random.key(0), (9,))
    first, second = params[2]["w"], params[4]["w"]
    assert first.shape == second.shape
    assert not np.allclose(first, second)


def test_no_layers_at_all_are_refused():
    with pytest.raises(InputError, match="expected at least one layer; got none"):
        Sequential(())
