import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernelregime import empirical, networks
from kernelregime._checks import InputError


def images():
    net = networks.cnn(outputs=3, depth=3, channels=4)
    return (net, net.init(jax.random.key(0), (8, 8, 2))), np.random.default_rng(0).standard_normal((5, 8, 8, 2)).astype("float32")


def test_an_explanation_names_each_parameter_once_with_its_form_positions_and_work():
    model, x = images()
    told = empirical.explain(model, x)
    assert told.method == "structured"
    assert sorted(name for part in told.parts for name in part.parameters) == ["0.w", "2.w", "5.w"]
    [first] = [part for part in told.parts if part.parameters == ("0.w",)]
    assert (first.form, first.positions, first.blocks) == ("jacobian", 64, 1)
    assert first.kept == 4 * 3 * 18 * 4  # bytes of float32, of 3 outputs, for 3·3·2 inputs and 4 channels
    assert first.operations == 5 * 2 * 3 * 64 * 18 * 4 + 25 * 2 * 3 * 18 * 4
    assert "2.w" in str(told)


def test_few_positions_and_wide_layers_are_contracted_by_inner_products():
    params, x = {"w": jnp.ones((50, 40)), "v": jnp.ones((40, 2))}, np.ones((6, 2, 50), "float32")
    told = empirical.explain((lambda p, x: jnp.tanh(x @ p["w"]).sum(1) @ p["v"], params), x)
    assert {part.parameters: part.form for part in told.parts} == {("w",): "gram", ("v",): "gram"}


def test_a_budget_below_the_gradients_takes_products_and_says_so():
    params, x = {"w": np.ones((300, 300), "float32"), "v": np.ones((300, 2), "float32")}, np.eye(4, 300, dtype="float32")

    def f(p, x):
        return jnp.tanh(x @ jnp.abs(p["w"])) @ p["v"]

    least = 2.2 * 4 * 300 * 300
    told = empirical.explain((f, params), x, memory=int(3 * least))
    assert (told.method, told.reason) == ("products", "gradients of a pair of points do not fit into the memory")
    assert empirical.explain((f, params), x, memory=int(20 * least)).method == "structured"
    whole = empirical.ntk((f, params), x, output="full")
    np.testing.assert_allclose(empirical.ntk((f, params), x, output="full", memory=int(3 * least)), whole, rtol=2e-5)


def test_what_is_asked_for_is_done_and_a_method_that_finds_nothing_to_take_apart_says_so():
    params, x = {"a": np.ones(3)}, np.ones((2, 3))
    assert empirical.explain((lambda p, x: (p["a"] * x).sum(1), params), x).method == "jacobian"
    assert empirical.explain(*images(), method="jacobian").reason == "as asked"


def test_products_have_no_parts_by_layer():
    with pytest.raises(InputError, match="another method for kernels by layer"):
        empirical.ntk(*images(), by_layer=True, method="products")
