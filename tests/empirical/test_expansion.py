import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernelregime import empirical
from kernelregime._checks import InputError


def quadratic(p, x):
    return (x @ p["w"]) * p["v"] + p["n"]


def test_expansions_of_a_polynomial_are_its_terms():
    rng = np.random.default_rng(0)
    at = {"w": rng.standard_normal((3, 2)), "v": rng.standard_normal(2), "n": 4}
    to = {"w": rng.standard_normal((3, 2)), "v": rng.standard_normal(2), "n": 5}
    x = rng.standard_normal((4, 3))
    dw, dv = to["w"] - at["w"], to["v"] - at["v"]
    first = (x @ at["w"]) * at["v"] + 4 + (x @ dw) * at["v"] + (x @ at["w"]) * dv
    with jax.enable_x64(True):
        np.testing.assert_allclose(empirical.linearize((quadratic, at))(to, x), first, rtol=1e-13)
        np.testing.assert_allclose(empirical.taylor((quadratic, at), 2)(to, x), first + (x @ dw) * dv, rtol=1e-13)
        np.testing.assert_allclose(empirical.taylor((quadratic, at), 3)(to, x), first + (x @ dw) * dv, rtol=1e-13)


def test_expansion_of_the_exponential_is_its_series():
    with jax.enable_x64(True):
        for order in (1, 2, 3, 4, 5):
            value = empirical.taylor((lambda p, x: jnp.exp(p * x), 0.0), order)(2.0, jnp.ones(1))
            np.testing.assert_allclose(value, sum(2.0**k / np.prod(np.arange(1.0, k + 1)) for k in range(order + 1)), rtol=1e-14)


def test_linearization_is_linear_in_params_and_has_the_kernel_of_the_function_everywhere(models, jit):
    model = models["mlp"]
    with jax.enable_x64(True):
        at, to, x = model.params(0), model.params(1), model.points(4)
        linear = empirical.linearize((model.f, at))
        kernel = jit(empirical.ntk_function(linear, output="full"))(to, x)
        np.testing.assert_allclose(kernel, jit(empirical.ntk_function(model.f, output="full"))(at, x), rtol=1e-11, atol=1e-13)
        middle = jax.tree.map(lambda a, b: 0.25 * a + 0.75 * b, at, to)
        ends = linear(at, x), linear(to, x)
        np.testing.assert_allclose(linear(middle, x), 0.25 * ends[0] + 0.75 * ends[1], rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(ends[0], model.f(at, x), rtol=1e-14)


def test_expansion_keeps_the_precision_of_the_function():
    params = {"w": np.ones((3, 2), "float32"), "v": np.ones(2, "float32"), "n": 1}
    assert empirical.linearize((quadratic, params))(params, np.ones((1, 3), "float32")).dtype == np.float32


def test_a_function_of_points_first_is_refused():
    params = {"w": np.ones((3, 2), "float32"), "v": np.ones(2, "float32"), "n": 1}
    with pytest.raises(InputError, match=r"works as f\(x, params\) alone"):
        empirical.linearize((lambda x, p: quadratic(p, x), params))(params, np.ones((1, 3), "float32"))


def test_params_of_another_model_and_orders_below_one_are_refused():
    params = {"w": np.ones((3, 2)), "v": np.ones(2), "n": 1}
    linear = empirical.linearize((quadratic, params))
    for other in (params | {"v": np.ones(1)}, {"w": np.ones((3, 2)), "v": np.ones(2)}):
        with pytest.raises(InputError, match="structure and shapes of params0"):
            linear(other, np.ones((1, 3)))
    with pytest.raises(InputError, match="order"):
        empirical.taylor((quadratic, params), 0)
