"""The linearization of a model trains as models do, and as its kernel says."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kernelregime import empirical, prediction, training


def net(p, x):
    return jnp.tanh(x @ p["w"] / 2 + p["b"]) @ p["v"] / 4


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    shapes = {"w": (4, 32), "b": (32,), "v": (32, 2)}
    params = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    return params, rng.standard_normal((12, 4)), rng.standard_normal((5, 4)), rng.standard_normal((12, 2))


@pytest.fixture(scope="module")
def kernels(data):
    params, x, test, _ = data
    return [empirical.ntk((net, params), *points, output="full") for points in ((x,), (test, x))]


def predicted(data, kernels, **options):
    params, x, test, y = data
    initial = [empirical.operator((net, params), points).values() for points in (x, test)]
    gram, cross = kernels
    return prediction.train(gram, y, cross=cross, initial=initial[0], initial_test=initial[1], **options)


def trained(data, optimizer, steps, rate, f=None):
    """The params after so many steps, and the losses on the way."""
    params, x, _, y = data
    linear = f or empirical.linearize((net, params))
    one = jax.tree.map(lambda leaf: np.asarray(leaf)[None], params)
    trace = training.train(linear, one, x, y, steps=steps, learning_rate=rate, optimizer=optimizer)
    return jax.tree.map(lambda leaf: leaf[0], trace.params), trace


def test_descent_on_the_linearization_is_the_closed_form_of_its_kernel(data, kernels):
    params, x, test, _ = data
    rate, steps = 0.02, 300
    found, _ = trained(data, "gd", steps, rate)
    exact = predicted(data, kernels, times=[steps], dynamics="descent", learning_rate=rate)
    linear = empirical.linearize((net, params))
    with jax.enable_x64(True):
        np.testing.assert_allclose(linear(found, x), exact.train[0], rtol=0, atol=1e-11)
        np.testing.assert_allclose(linear(found, test), exact.test[0], rtol=0, atol=1e-11)


def test_descent_approaches_gradient_flow_as_its_steps_become_small(data, kernels):
    params, x, _, _ = data
    linear, time = empirical.linearize((net, params)), 2.0
    flow = predicted(data, kernels, times=[time]).train[0]
    errors = []
    for steps in (100, 200, 400):
        found, _ = trained(data, "gd", steps, time / steps)
        with jax.enable_x64(True):
            errors.append(np.abs(np.asarray(linear(found, x)) - flow).max())
    assert errors[2] <= 0.01 * np.abs(flow).max()
    np.testing.assert_allclose([errors[0] / errors[1], errors[1] / errors[2]], 2, rtol=0.1)  # of first order in the step


@pytest.mark.parametrize(("optimizer", "rate"), [("momentum", 0.01), ("adam", 0.02), (lambda rate: optax.adamw(rate), 0.02)])
def test_the_linearization_trains_with_other_optimizers(data, optimizer, rate):
    found, trace = trained(data, optimizer, 200, rate)
    assert trace.losses[0, -1] < 0.2 * trace.losses[0, 0]
    assert jax.tree.map(np.shape, found) == jax.tree.map(np.shape, data[0])


def test_the_linearization_trains_in_a_loop_of_optax(data):
    params, x, _, y = data
    linear, optimizer = empirical.linearize((net, params)), optax.sgd(0.01, momentum=0.9)
    with jax.enable_x64(True):
        now = jax.tree.map(jnp.asarray, params)
        state = optimizer.init(now)

        @jax.jit
        def step(now, state):
            gradient = jax.grad(lambda p: 0.5 * jnp.sum((linear(p, x) - y) ** 2))(now)
            updates, state = optimizer.update(gradient, state, now)
            return optax.apply_updates(now, updates), state

        for _ in range(50):
            now, state = step(now, state)
    found, _ = trained(data, "momentum", 50, 0.01)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), now, found)
