"""Probes: when they are called, with what, and how their records are kept."""

from itertools import pairwise

import numpy as np
import pytest

from kernelregime import training
from kernelregime._checks import InputError
from kernelregime.training import geometric_steps
from kernelregime.training.probing import Record

W = np.random.default_rng(0).standard_normal((2, 3, 1))
X, Y = np.eye(3), np.zeros((3, 1))


def linear(params, x):
    return x @ params["w"]


def run(**options):
    return training.train(linear, {"w": W}, X, Y, **({"steps": 20, "learning_rate": 0.1} | options))


def test_probes_get_the_params_of_their_step_and_records_are_stacked_along_steps():
    calls = []

    def probe(step, params):
        calls.append(step)
        assert isinstance(params["w"], np.ndarray)
        return params["w"]

    trace = run(probes={"w": probe}, probe_steps=[7, 0, 3, 7])
    assert calls == [0, 3, 7, 20]
    np.testing.assert_array_equal(trace.steps, [0, 3, 7, 20])
    # w_t = (1 - η)^t w_0 on the identity
    np.testing.assert_allclose(trace.records["w"], 0.9 ** np.array([0, 3, 7, 20])[:, None, None, None] * W, rtol=1e-13)


def test_records_keep_their_nesting_and_tuples_become_lists():
    def probe(step, params):
        return {"norm": np.linalg.norm(params["w"]), "deep": {"pair": (step, params["w"][:, 0]), "nothing": None}}

    trace = run(probes={"a": probe, "b": lambda step, params: step}, probe_steps=[0, 5])
    assert trace.records["a"]["norm"].shape == (3,)
    assert trace.records["a"]["deep"]["nothing"] is None
    first, second = trace.records["a"]["deep"]["pair"]
    np.testing.assert_array_equal(first, [0, 5, 20])
    assert second.shape == (3, 2, 1)
    np.testing.assert_array_equal(trace.records["b"], [0, 5, 20])


def test_a_probe_may_change_what_it_gets_without_touching_the_training():
    def vandal(step, params):
        params["w"][:] = np.nan
        return 0.0

    trace = run(probes={"vandal": vandal}, probe_steps=range(21))
    np.testing.assert_allclose(trace.losses, 0.5 * 0.81 ** np.arange(21) * (W**2).sum((1, 2))[:, None], rtol=1e-13)


def test_probes_are_called_at_geometric_steps_by_default():
    trace = run(steps=3000, probes={"step": lambda step, params: step})
    np.testing.assert_array_equal(trace.steps, geometric_steps(3000))
    np.testing.assert_array_equal(trace.records["step"], geometric_steps(3000))


@pytest.mark.parametrize("steps", [1, 2, 7, 100, 12345])
def test_geometric_steps_begin_with_zero_and_one_end_with_the_last_and_grow_by_nearly_one_factor(steps):
    found = geometric_steps(steps)
    assert found[:2] == (0, 1)
    assert found[-1] == steps
    assert len(found) <= 17
    factor = steps ** (1 / 15)
    for before, after in pairwise(found[1:]):
        assert after == before + 1 or (before - 0.5) * factor - 0.5 <= after <= (before + 0.5) * factor + 0.5


def test_progress_is_told_of_every_chunk_up_to_the_last_step():
    seen = []
    trace = run(steps=5000, progress=lambda step, steps, losses: seen.append((step, steps, losses)))
    steps = [step for step, _, _ in seen]
    assert steps == sorted(set(steps))
    assert steps[-1] == 5000
    for step, total, losses in seen:
        assert total == 5000
        np.testing.assert_array_equal(losses, trace.losses[:, step])


def test_a_probe_that_changes_its_form_ends_the_run_with_one_line():
    with pytest.raises(InputError, match="'odd' to return the same form at every step") as caught:
        run(steps=2, probes={"odd": lambda step, params: np.zeros(step + 1)})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["word", object(), {"a": np.array([None])}, np.array(["a"])])
def test_what_is_no_number_cannot_be_recorded(value):
    with pytest.raises(InputError, match="'odd' to return arrays of numbers"):
        Record.of("odd", value)


@pytest.mark.parametrize("other", [{"b": 1.0}, {"a": [1.0]}, {"a": 1}, {"a": np.ones(2)}, {"a": 1.0, "b": 1.0}])
def test_records_of_another_form_are_told_apart(other):
    first = Record.of("odd", {"a": 0.0})
    assert Record.of("odd", {"a": 5.0}).like("odd", first).nested == {"a": 5.0}
    with pytest.raises(InputError, match="same form"):
        Record.of("odd", other).like("odd", first)
