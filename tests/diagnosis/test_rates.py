"""Learning rates at which the linearization is stable, is not, or may be, and what the verdict says of each."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kernelregime import diagnosis, training
from kernelregime.diagnosis import course

BASE = {"depth": 2, "width": 64, "steps": 60}


@pytest.fixture(scope="module")
def stable(small, quick):
    """The largest stable learning rate of each seed of the network."""
    return 2 * np.array(quick(small, **BASE).config["training"]["learning_rate"])


def reasons(found):
    return " | ".join(found.verdict.reasons)


def test_a_rate_at_which_networks_and_linearizations_diverge_is_inconclusive_and_gives_no_width_and_no_time(small, quick):
    found = quick(small, **BASE, learning_rate=10.0)
    assert (found.verdict.regime, found.verdict.trainable) == ("inconclusive", "inconclusive")
    assert "times the largest that is stable while the NTK is constant; 5 of 5 seeds diverged" in found.verdict.reasons[0]
    assert not any(item.text.startswith(("width for a ", "steps in which")) for item in found.verdict.advice)


@pytest.mark.parametrize("optimizer", ["gd", "momentum"])
def test_a_rate_that_no_first_step_survives_is_inconclusive(small, quick, optimizer):
    found = quick(small, **BASE, optimizer=optimizer, learning_rate=1e30)
    assert found.verdict.regime == "inconclusive"
    assert found.config["training"]["steps_taken"] == [0] * 5


def test_a_rate_above_the_stable_one_that_the_networks_survive_is_said_and_inconclusive(small, quick, stable):
    rate = 1.2 * stable.max()
    found = quick(small, **BASE, learning_rate=rate)
    assert found.verdict.regime == "inconclusive"
    assert f"up to {rate / stable.min():.3g} times the largest that is stable" in found.verdict.reasons[0]
    assert "did not diverge" in found.verdict.reasons[0]
    assert "its linearization does not describe it" not in reasons(found)


def cubic(params, x):
    return (x @ params["a"]) * params["b"] ** 3


def unit(key):
    return {"a": jax.random.normal(key, (16, 2)) / 4, "b": jnp.ones(2)}


def test_a_network_that_diverges_under_adam_where_stability_is_not_known_is_inconclusive_in_words(small):
    found = diagnosis.diagnose(cubic, small, init=unit, optimizer="adam", learning_rate=10.0, steps=60, draws=6, probes=3)
    assert (found.verdict.regime, found.verdict.trainable) == ("inconclusive", "inconclusive")
    assert "5 of 5 seeds diverged" in found.verdict.reasons[0]
    assert "not known for adam" in found.verdict.reasons[0]


def test_below_the_stable_rate_nothing_is_said_of_it(small, quick, stable):
    assert "learning rate" not in reasons(quick(small, **BASE, learning_rate=0.99 * stable.min()))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ("stable", "beyond")),
        ({"batch_size": 24}, ("stable", "beyond")),
        ({"reduction": "mean"}, ("stable", "beyond")),
        ({"optimizer": "momentum"}, ("stable", "beyond")),
        ({"batch_size": 8}, ("stable", "unknown")),
        ({"loss": "cross_entropy"}, ("stable", "unknown")),
        ({"loss": "cross_entropy", "reduction": "mean"}, ("stable", "unknown")),
        ({"batch_size": 8, "reduction": "mean"}, ("unknown", "unknown")),
        ({"optimizer": "momentum", "loss": "cross_entropy"}, ("unknown", "unknown")),
        ({"optimizer": "momentum", "batch_size": 8}, ("unknown", "unknown")),
        ({"optimizer": "adam", "learning_rate": 1.0}, ("unknown", "unknown")),
        ({"optimizer": optax.adamw, "learning_rate": 1.0}, ("unknown", "unknown")),
    ],
)
def test_what_is_known_of_a_rate_just_below_and_just_above_the_stable_one(small, options, words):
    settings, largest = diagnosis.Settings(**options), 7.0
    stable = 2 * (1 + settings.momentum) / largest * settings.size(small.y_train)
    run = SimpleNamespace(learning_rate=np.array([0.99, 1.01]) * stable, initial=SimpleNamespace(largest=np.full(2, largest)), seeds=2)
    assert course.stabilities(run, small, settings)[0] == words


def test_descent_on_minibatches_of_a_summed_loss_or_on_cross_entropy_is_stable_below_the_bound_of_the_full_kernel():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((12, 30)), rng.standard_normal((1, 30, 3))
    rate = 0.999 * 2 / np.linalg.eigvalsh(x @ x.T)[-1]
    hot = np.eye(3)[np.arange(12) % 3]
    for options in ({"batch_size": 4, "key": jax.random.key(0)}, {"loss": "cross_entropy"}):
        trace = training.train(lambda p, x: x @ p, w, x, hot, steps=300, learning_rate=rate, **options)
        assert (trace.losses[0, 1:] <= trace.losses[0, 0]).all()
        assert trace.losses[0, -1] < 1e-2 * trace.losses[0, 0]
