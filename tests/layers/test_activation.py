import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quick

from kernelregime import activations, infinite
from kernelregime._checks import InputError
from kernelregime.layers import Activation, Branches, Dense, Flatten, GlobalPool, LayerNorm, Sequential


def test_a_name_a_nonlinearity_and_a_function_are_all_activations():
    relu = activations.get("relu")
    assert Activation("relu") == Activation(relu)
    x = jnp.asarray([[-1.0, 2.0]])
    assert Activation("relu").init(jax.random.key(0), (2,)) == ()
    np.testing.assert_array_equal(Activation("relu").apply((), x), [[0.0, 2.0]])
    np.testing.assert_allclose(Activation(jnp.sin).apply((), x), jnp.sin(x))


def test_two_activations_in_a_row_have_no_gaussian_law_and_are_refused():
    net = Sequential((Dense(4), Activation("relu"), Activation("relu")))
    with pytest.raises(InputError, match="expected a layer with random weights before an activation"):
        infinite.kernel(net)(jnp.ones((1, 3)))


def test_an_activation_on_the_raw_input_is_refused():
    with pytest.raises(InputError, match="put a Dense or Conv layer between"):
        infinite.kernel(Sequential((Activation("relu"), Dense(4))))(jnp.ones((1, 3)))


def test_what_is_no_gaussian_for_an_activation_is_named_and_the_activation_in_each_branch_is_not_refused():
    weights, relu, x = (Dense(4), Dense(3)), Activation("relu"), jnp.ones((2, 3, 2))
    joined, refused = Branches(weights, "concatenate"), "units of an activation, a concatenation, a product, Flatten"
    for before in ((joined,), (Branches(weights[:1] * 2, "product"),), (Dense(4), relu, GlobalPool()), (Dense(4), Flatten())):
        with pytest.raises(InputError, match=f"before an activation, and no more than sums and means of its units between; got {refused}"):
            jax.eval_shape(infinite.kernel(Sequential((*before, relu))), x)
    with pytest.raises(InputError, match=f"before a LayerNorm.*; got {refused}"):
        jax.eval_shape(infinite.kernel(Sequential((joined, LayerNorm()))), x)
    inside = Branches(tuple(Sequential((layer, relu)) for layer in weights), "concatenate")
    for allowed in ((inside,), (Branches(weights[:1] * 2), relu), (Dense(4), GlobalPool(), relu)):
        assert jax.eval_shape(infinite.kernel(Sequential(allowed)), x).nngp.shape[:2] == (2, 2)


def test_quadrature_errors_of_all_layers_add_up():
    swish = activations.from_function(jax.nn.hard_swish, kinks=(-3.0, 3.0))
    with jax.enable_x64(True):
        x = jnp.asarray([[1.0, 2.0]])
        errors = [
            float(quick(infinite.kernel(Sequential((Dense(4), Activation(first), Dense(4), Activation(second)))))(x).error)
            for first, second in ((swish, "tanh"), ("tanh", swish), (swish, swish), ("tanh", "tanh"))
        ]
    assert min(errors[:3]) > 1e-6
    assert errors[3] < 1e-12
    assert errors[2] > max(errors[:2])
