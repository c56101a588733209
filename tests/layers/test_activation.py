import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quick

from kernelregime import activations, infinite
from kernelregime._checks import InputError
from kernelregime.layers import Activation, Dense, Sequential


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
    with pytest.raises(InputError, match="put a Dense layer between"):
        infinite.kernel(Sequential((Activation("relu"), Dense(4))))(jnp.ones((1, 3)))


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
