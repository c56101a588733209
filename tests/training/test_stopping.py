"""Seeds that stop and seeds that diverge: exactly when, and with which params."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernelregime import training
from kernelregime.training import loop

RNG = np.random.default_rng(7)
X, Y = RNG.standard_normal((5, 9)), RNG.standard_normal((5, 2))  # more features than points: the loss tends to zero
W = RNG.standard_normal((4, 9, 2))  # four seeds
VALUES, VECTORS = np.linalg.eigh(X @ X.T)
RATE = 1 / VALUES[-1]


def linear(params, x):
    return x @ params["w"]


def closed_losses(w, steps, rate):
    """Losses (steps + 1,) of gradient descent on the linear model."""
    modes = ((VECTORS.T @ (X @ w - Y)) ** 2).sum(1)
    return 0.5 * ((1 - rate * VALUES) ** (2 * np.arange(steps + 1)[:, None]) * modes).sum(1)


def closed_weights(w, steps, rate):
    """w_t = w_0 - Xᵀ K⁻¹ (I - (I - ηK)^t) (X w_0 - Y), K = X Xᵀ."""
    return w - X.T @ VECTORS @ (((1 - (1 - rate * VALUES) ** steps) / VALUES)[:, None] * (VECTORS.T @ (X @ w - Y)))


@pytest.mark.parametrize("chunk", [3, 1024])
def test_a_seed_stops_at_the_first_step_below_the_fraction_however_the_run_is_cut(monkeypatch, chunk):
    monkeypatch.setattr(loop, "BUFFER", chunk)
    fraction = 0.03
    trace = training.train(linear, {"w": W}, X, Y, steps=300, learning_rate=RATE, stop_fraction=fraction, probe_steps=[0])
    for seed, w in enumerate(W):
        losses = closed_losses(w, 300, RATE)
        expected = int(np.argmax(losses <= fraction * losses[0]))
        assert trace.stopped_at[seed] == expected > 0
        np.testing.assert_allclose(trace.losses[seed, : expected + 1], losses[: expected + 1], rtol=1e-11)
        assert (trace.losses[seed, expected:] == trace.losses[seed, expected]).all()
        np.testing.assert_allclose(trace.params["w"][seed], closed_weights(w, expected, RATE), rtol=1e-11)
    assert trace.status == ("stopped",) * 4
    assert len(set(trace.stopped_at)) > 1
    assert trace.losses.shape[1] == trace.stopped_at.max() + 1
    np.testing.assert_array_equal(trace.steps, [0, trace.stopped_at.max()])


def test_a_seed_that_does_not_get_there_is_finished_and_one_that_does_at_the_last_step_has_stopped():
    arrivals = [int(np.argmax(closed_losses(w, 300, RATE) <= 0.03 * closed_losses(w, 0, RATE)[0])) for w in W]
    steps = sorted(arrivals)[1]
    trace = training.train(linear, {"w": W}, X, Y, steps=steps, learning_rate=RATE, stop_fraction=0.03)
    assert trace.status == tuple("stopped" if arrival <= steps else "finished" for arrival in arrivals)
    assert set(trace.status) == {"stopped", "finished"}
    np.testing.assert_array_equal(trace.stopped_at, [arrival if arrival <= steps else -1 for arrival in arrivals])


def test_a_perfect_start_stops_at_once():
    trace = training.train(linear, {"w": np.zeros((1, 9, 2))}, X, np.zeros((5, 2)), steps=5, learning_rate=RATE, stop_fraction=0.1)
    assert (trace.status, trace.stopped_at[0], trace.losses.shape) == (("stopped",), 0, (1, 1))


def test_a_loss_a_million_times_the_initial_one_has_diverged_at_the_step_of_the_closed_form():
    rate = np.array([RATE, 3 * RATE, RATE, RATE])  # 3/λ_max is above the stable 2/λ_max
    trace = training.train(linear, {"w": W}, X, Y, steps=60, learning_rate=rate)
    losses = closed_losses(W[1], 60, 3 * RATE)
    expected = int(np.argmax(losses > 1e6 * losses[0]))
    assert expected > 0
    assert trace.status == ("finished", "diverged", "finished", "finished")
    np.testing.assert_array_equal(trace.stopped_at, [-1, expected, -1, -1])
    np.testing.assert_allclose(trace.losses[1, : expected + 1], losses[: expected + 1], rtol=1e-9)
    for seed in (0, 2, 3):
        np.testing.assert_allclose(trace.losses[seed], closed_losses(W[seed], 60, RATE), rtol=1e-9)


@pytest.mark.parametrize("options", [{"optimizer": "momentum"}, {"batch_size": 3, "key": jax.random.key(0)}])
def test_a_step_to_nan_is_not_taken_and_no_nan_is_left(options):
    # √w has no value once a step takes w below zero
    def root(params, x):
        return jnp.sqrt(params["w"]) * x

    trace = training.train(
        root,
        {"w": np.array([[1.0], [1.0]])},
        np.ones((6, 1)),
        np.full((6, 1), 0.5),
        steps=50,
        learning_rate=[1e-3, 3.0],
        probes={"w": lambda step, params: params["w"]},
        **options,
    )
    assert trace.status == ("finished", "diverged")
    assert trace.stopped_at[1] == 0
    assert trace.params["w"][1, 0] == 1.0
    assert np.isfinite(trace.losses).all()
    assert np.isfinite(trace.records["w"]).all()
    assert trace.losses[0, -1] < trace.losses[0, 0]


@jax.custom_jvp
def silent(b):
    """Zero, with a derivative of one: what it depends on grows unseen."""
    return jnp.zeros_like(b)


@silent.defjvp
def _silent_jvp(primals, tangents):
    return jnp.zeros_like(primals[0]), tangents[0]


def test_params_that_overflow_unseen_by_the_loss_have_diverged():
    def f(params, x):
        return x + silent(params["b"])

    # f - y = -1 throughout, so that b grows by the learning rate at every step; three times 8e307 overflows
    trace = training.train(f, {"b": np.zeros((1, 1))}, np.zeros((1, 1)), np.ones((1, 1)), steps=9, learning_rate=8e307)
    assert trace.status == ("diverged",)
    assert trace.stopped_at[0] == 2
    assert trace.params["b"][0, 0] == 2 * 8e307
    assert (trace.losses == 0.5).all()


def test_a_run_ends_when_every_seed_has_stopped_or_diverged():
    trace = training.train(linear, {"w": W[:2]}, X, Y, steps=10_000, learning_rate=[RATE, 5 * RATE], stop_fraction=0.03)
    assert trace.status == ("stopped", "diverged")
    assert trace.losses.shape[1] == trace.stopped_at.max() + 1
