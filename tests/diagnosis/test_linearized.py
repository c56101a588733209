"""The linearized network beside each seed: by formula, step by step, and by loops of its own."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kernelregime import InputError, diagnosis, empirical, training
from kernelregime.diagnosis import initial as initials
from kernelregime.diagnosis.linearized import linearized
from kernelregime.diagnosis.subject import subject

SEEDS = 3
TIMES = np.broadcast_to(np.array([0, 1, 5, 40])[:, None], (4, SEEDS))


def function(params, x):
    return jnp.tanh(x @ params["a"]) @ params["b"]


def initialize(key):
    one, two = jax.random.split(key)
    return {"a": jax.random.normal(one, (16, 12)) / 4, "b": jax.random.normal(two, (12, 2)) / 3}


@pytest.fixture(scope="module")
def model():
    return subject(function, (16,), init=initialize, dtype="float64")


@pytest.fixture(scope="module")
def started(model, small):
    settings = diagnosis.Settings(seeds=SEEDS, dtype="float64")
    return initials.initialize(model, small, settings, np.arange(24), lambda *_: None)


def follow(model, small, start, rates, *, progress=lambda *_: None, **options):
    settings = diagnosis.Settings(seeds=SEEDS, dtype="float64", **options)
    return linearized(model, small, settings, start, rates, TIMES, progress)


def in_steps(start):
    """The same start, for which no formula is known."""
    return dataclasses.replace(start, spectra=None, cross=None)


@pytest.mark.parametrize("excess", [0.5, 0.99, 1.3, 2.0, 30.0])
def test_the_linearization_step_by_step_is_its_formula_below_and_above_the_stable_rate(model, small, started, excess):
    rates = excess * 2 / started.largest
    formula, steps = (follow(model, small, start, rates) for start in (started, in_steps(started)))
    np.testing.assert_array_equal(formula.diverged, steps.diverged)
    assert formula.diverged.all() == formula.diverged.any() == (excess > 1)
    for name in ("train", "test"):
        one, other = getattr(formula, name), getattr(steps, name)
        # rounding grows with the outputs themselves
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9 * np.abs(one).max())


def test_the_largest_eigenvalue_from_products_is_that_of_the_full_kernel(small, started):
    for seed in range(SEEDS):
        params = jax.tree.map(lambda leaf, s=seed: leaf[s], started.params)
        value = initials.largest_eigenvalue(function, params, small.x_train, "float64")
        np.testing.assert_allclose(value, started.largest[seed], rtol=initials.LANCZOS)


def decayed(rate):
    return optax.adamw(rate, weight_decay=1.0)


def test_weight_decay_moves_the_params_and_not_the_point_of_expansion(model, small, started):
    found = follow(model, small, started, np.full(SEEDS, 0.01), optimizer=decayed, learning_rate=0.01)
    with jax.enable_x64(True):
        begin = jax.tree.map(lambda leaf: jnp.asarray(leaf[1]), started.params)
        expanded = empirical.linearize((function, begin))
        x, y = jnp.asarray(small.x_train), jnp.asarray(small.y_train)
        optimizer = decayed(0.01)

        @jax.jit
        def update(params, memory):
            gradient = jax.grad(lambda p: 0.5 * jnp.sum((expanded(p, x) - y) ** 2))(params)
            updates, memory = optimizer.update(gradient, memory, params)
            return optax.apply_updates(params, updates), memory

        params, memory = begin, optimizer.init(begin)
        for _ in range(TIMES[-1, 1]):
            params, memory = update(params, memory)
        np.testing.assert_allclose(found.train[-1, 1], expanded(params, x), rtol=1e-9, atol=1e-12)


def test_seeds_that_diverged_with_their_first_step_leave_the_linearization_at_its_start(model, small, started):
    settings = diagnosis.Settings(seeds=SEEDS, dtype="float64", optimizer="momentum")
    nowhere = np.zeros((2, SEEDS), int)
    found = linearized(model, small, settings, started, np.full(SEEDS, 1e30), nowhere, lambda *_: None)
    np.testing.assert_array_equal(found.train, np.broadcast_to(started.train, (2, *started.train.shape)))
    np.testing.assert_array_equal(found.test, np.broadcast_to(started.test, (2, *started.test.shape)))
    assert not found.diverged.any()


def stop_at(task):
    """Progress that interrupts when this task has begun."""

    def progress(name, done, total):
        if name == task:
            raise KeyboardInterrupt

    return progress


def test_an_interrupt_of_the_linearization_is_passed_on(model, small, started):
    with pytest.raises(KeyboardInterrupt):
        follow(model, small, in_steps(started), 1 / started.largest, progress=stop_at("linearized network"))


MOMENTUM = {"init": initialize, "optimizer": "momentum", "steps": 30, "draws": 6, "probes": 3, "kernel_points": 12}


def test_a_diagnosis_interrupted_in_its_linearization_goes_on_from_its_checkpoint_and_no_other_does(small, tmp_path):
    file = tmp_path / "run.npz"
    with pytest.raises(KeyboardInterrupt):
        diagnosis.diagnose(function, small, progress=stop_at("linearized network"), checkpoint=file, **MOMENTUM)
    moved = dataclasses.replace(small, x_test=small.x_test + 1e-3)
    for dataset, changes in ((small, {"kernel_points": 6}), (moved, {})):
        before = file.read_bytes()
        with pytest.raises(training.ForeignCheckpointError):
            diagnosis.diagnose(function, dataset, checkpoint=file, **{**MOMENTUM, **changes})
        assert file.read_bytes() == before
    whole = diagnosis.diagnose(function, small, **MOMENTUM)
    rest = diagnosis.diagnose(function, small, checkpoint=file, **MOMENTUM)
    np.testing.assert_array_equal(rest.arrays["linear_test_outputs"], whole.arrays["linear_test_outputs"])
    assert issubclass(training.ForeignCheckpointError, InputError)
