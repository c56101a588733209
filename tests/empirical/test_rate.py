import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hidden_layer import net, params_of, points

from kernelregime import empirical, networks
from kernelregime._checks import InputError
from kernelregime.empirical import rate


def moved(params, direction, step):
    return jax.tree.map(lambda a, b: a + step * b, params, direction)


@pytest.mark.parametrize("output", ["trace", "full", "diagonal"])
@pytest.mark.parametrize("x2", [None, points(5, 2)], ids=["one set", "two sets"])
def test_rate_is_that_of_finite_differences_at_any_memory(output, x2):
    params, direction, x1, step = params_of(), params_of(3), points(7), 1e-5
    ahead, behind = (empirical.ntk((net, moved(params, direction, s)), x1, x2, output=output) for s in (step, -step))
    expected = (ahead - behind) / (2 * step)
    found = empirical.ntk_rate((net, params), x1, x2, direction=direction, output=output)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7 * np.abs(expected).max())
    tiles = []
    small = empirical.ntk_rate(
        (net, params), x1, x2, direction=direction, output=output, memory=16_000, progress=lambda *count: tiles.append(count)
    )
    assert len(tiles) > 1
    np.testing.assert_allclose(small, found, rtol=0, atol=1e-12 * np.abs(found).max())


@pytest.mark.parametrize("name", ["convolution", "custom vjp", "custom jvp", "attention", "embedding"])
def test_rate_of_other_models_is_that_of_finite_differences_however_gradients_are_found(models, name, jit):
    model, step = models[name], 1e-5
    params, direction, x = model.params(), model.params(1), model.points(3)
    with jax.enable_x64(True):
        velocity = jax.tree.leaves(direction)
        one, two = (jit(rate._rate(lambda: model.f, "full", way))(params, velocity, x, x) for way in ("jacobian", "structured"))
        kernel = jit(empirical.ntk_function(model.f, output="full"))
        difference = (kernel(moved(params, direction, step), x) - kernel(moved(params, direction, -step), x)) / (2 * step)
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-12 * np.abs(one).max())
    np.testing.assert_allclose(one, difference, rtol=0, atol=1e-6 * np.abs(one).max())


def test_kernel_of_a_linear_model_does_not_move():
    rng = np.random.default_rng(0)
    params, direction = rng.standard_normal((2, 4, 3))
    found = empirical.ntk_rate((lambda p, x: jnp.sin(x) @ p, params), points(6), direction=direction)
    assert found.shape == (6, 6)
    assert not found.any()


def test_linearized_model_has_a_kernel_that_does_not_move():
    linear = empirical.linearize((net, params_of()))
    found = empirical.ntk_rate((linear, params_of()), points(4), direction=params_of(3))
    assert np.abs(found).max() <= 1e-12


def test_rate_of_a_linear_network_is_its_closed_form():
    # f = v·Wx: Θ = |v|² x·x' + Wx·Wx'
    rng = np.random.default_rng(0)
    params, direction = ({"W": rng.standard_normal((5, 4)), "v": rng.standard_normal(5)} for _ in range(2))
    x1, x2 = points(6), points(3, 2)
    found = empirical.ntk_rate((lambda p, x: x @ p["W"].T @ p["v"], params), x1, x2, direction=direction)
    first = 2 * params["v"] @ direction["v"] * x1 @ x2.T
    second = x1 @ direction["W"].T @ params["W"] @ x2.T
    np.testing.assert_allclose(found, first + second + x1 @ params["W"].T @ direction["W"] @ x2.T, rtol=1e-13, atol=1e-13)


def test_direction_of_gradient_flow_is_the_gradient_of_the_loss_downwards():
    y = np.random.default_rng(5).standard_normal((9, 3))

    def loss(outputs):
        return 0.5 * jnp.sum((outputs - y) ** 2)

    params, x = params_of(), points(9)
    found = empirical.gradient_flow_direction((net, params), x, loss, memory=10_000)
    with jax.enable_x64(True):
        exact = jax.grad(lambda p: loss(net(p, x)))(params)
        slope = np.asarray(net(params, x)) - y
    given = empirical.gradient_flow_direction((net, params), x, slope)
    for name, leaf in exact.items():
        np.testing.assert_allclose(found[name], -leaf, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(given[name], -leaf, rtol=1e-12, atol=1e-13)


def test_rate_times_a_small_learning_rate_is_the_change_in_a_step_of_gradient_descent():
    y, x, eta = np.random.default_rng(5).standard_normal((9, 3)), points(9), 1e-4
    params = params_of()
    velocity = empirical.gradient_flow_direction((net, params), x, lambda outputs: 0.5 * jnp.sum((outputs - y) ** 2))
    change = empirical.ntk((net, moved(params, velocity, eta)), x) - empirical.ntk((net, params), x)
    half = empirical.ntk((net, moved(params, velocity, eta / 2)), x) - empirical.ntk((net, params), x)
    first = eta * empirical.ntk_rate((net, params), x, direction=velocity)
    errors = [np.abs(a - b).max() for a, b in ((change, first), (half, first / 2))]
    assert errors[0] <= 0.05 * np.abs(change).max()
    assert 3.6 <= errors[0] / errors[1] <= 4.4  # of second order in the learning rate


def test_rate_of_a_network_is_computed_in_the_dtype_asked_for():
    network = networks.mlp(depth=3, width=16, outputs=2)
    params, direction = (network.init(jax.random.key(seed), (4,)) for seed in (0, 1))
    single = empirical.ntk_rate((network, params), points(5), direction=direction)
    double = empirical.ntk_rate((network, params), points(5), direction=direction, dtype="float64")
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(single, double, rtol=0, atol=1e-5 * np.abs(double).max())
    assert np.array_equal(double, double.T)


def test_estimate_covers_what_the_compiler_reserves(models):
    for name in ("convolution", "updates of low rank"):
        model, rows = models[name].scaled(8), 32
        params, x = model.params(dtype="float32"), model.points(rows, dtype="float32")
        leaves = jax.tree.leaves(params)
        compute = rate._rate(lambda f=model.f: f, "trace", "auto")
        reserved = jax.jit(compute).lower(params, leaves, x, x).compile().memory_analysis()
        each, pair = rate._costs(compute, params, x, leaves)
        assert reserved.temp_size_in_bytes + reserved.output_size_in_bytes <= 2 * rows * each + rows**2 * pair


def test_what_does_not_fit_is_refused():
    model = (net, params_of())
    with pytest.raises(InputError, match="direction of the structure and shapes of params"):
        empirical.ntk_rate(model, points(3), direction=params_of()["w"])
    with pytest.raises(InputError, match="direction to be finite"):
        empirical.ntk_rate(model, points(3), direction={**params_of(), "b": np.full(6, np.inf)})
    with pytest.raises(InputError, match="output"):
        empirical.ntk_rate(model, points(3), direction=params_of(), output="sum")
    with pytest.raises(InputError, match=r"loss\(outputs\) to be a number"):
        empirical.gradient_flow_direction(model, points(3), lambda outputs: outputs.sum(0))
    with pytest.raises(InputError, match=r"shape \(3, 3\)"):
        empirical.gradient_flow_direction(model, points(3), np.ones((2, 3)))
