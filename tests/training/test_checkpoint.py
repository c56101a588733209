"""Runs that are interrupted or killed, and resumed."""

import runpy
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from kernelregime import training
from kernelregime._checks import InputError
from kernelregime.training import checkpoint
from kernelregime.training.checkpoint import Saved
from kernelregime.training.probing import Record

SCRIPT = Path(__file__).with_name("killed_run.py")
KILLED = runpy.run_path(str(SCRIPT))
run, PARAMS = KILLED["run"], KILLED["PARAMS"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The checkpoint of the run without an interruption, and its trace."""
    path = tmp_path_factory.mktemp("finished") / "run.npz"
    trace = run(checkpoint=path)
    # what follows would prove little if nothing happened after the interruption, or nothing before
    assert trace.status == ("stopped", "finished", "finished")
    assert trace.stopped_at[0] < 20
    return path, trace


@pytest.fixture
def whole(finished):
    return finished[1]


def assert_bitwise(trace, other):
    for a, b in zip(jax.tree.leaves((trace.records, trace.params)), jax.tree.leaves((other.records, other.params)), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype
    assert jax.tree.structure(trace.records) == jax.tree.structure(other.records)
    for name in ("steps", "losses", "stopped_at"):
        np.testing.assert_array_equal(getattr(trace, name), getattr(other, name))
    assert trace.status == other.status


def test_a_killed_process_is_resumed_bitwise(tmp_path, whole):
    path = tmp_path / "run.npz"
    child = subprocess.run([sys.executable, str(SCRIPT), str(path)], check=False, capture_output=True, timeout=120)
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()[-2000:]
    steps = []
    resumed = run(checkpoint=path, progress=lambda step, *_: steps.append(step))
    assert steps[0] > 30  # the last checkpoint of the killed run, which died on its way to that of step 40
    assert_bitwise(resumed, whole)


def test_a_run_interrupted_in_a_probe_keeps_what_is_done_and_is_resumed_bitwise(tmp_path, whole):
    def interrupt(step, params):
        if step == 20:
            raise KeyboardInterrupt
        return KILLED["probe"](step, params)

    cut = run(checkpoint=tmp_path / "run.npz", probes={"weights": interrupt})
    assert cut.interrupted
    assert "interrupted" in cut.status
    np.testing.assert_array_equal(cut.steps, [0, 10])
    np.testing.assert_array_equal(cut.losses, whole.losses[:, :21])
    np.testing.assert_array_equal(cut.records["weights"]["first"], whole.records["weights"]["first"][:2])
    resumed = run(checkpoint=tmp_path / "run.npz")
    assert not resumed.interrupted
    assert_bitwise(resumed, whole)


def test_ctrl_c_in_the_middle_of_an_epoch_of_minibatches_is_resumed_bitwise(tmp_path):
    def interrupt(step, steps, losses):
        if step == 30:  # epochs begin at multiples of four
            signal.raise_signal(signal.SIGINT)

    options = {"optimizer": "adam", "learning_rate": 0.02, "batch_size": 3, "key": jax.random.key(1), "stop_fraction": None}
    uninterrupted = run(**options)
    cut = run(checkpoint=tmp_path / "run.npz", progress=interrupt, **options)
    assert cut.status == ("interrupted",) * 3
    np.testing.assert_array_equal(cut.losses, uninterrupted.losses[:, :31])
    assert_bitwise(run(checkpoint=tmp_path / "run.npz", **options), uninterrupted)


def test_an_interrupted_run_without_a_checkpoint_returns_what_is_done(whole):
    def interrupt(step, params):
        raise KeyboardInterrupt

    cut = run(probes={"weights": interrupt})
    assert cut.interrupted
    assert cut.status == ("interrupted",) * 3
    assert cut.records == {}
    assert cut.steps.shape == (0,)
    np.testing.assert_array_equal(cut.losses, whole.losses[:, :1])
    for leaf, start in zip(cut.params, PARAMS):
        np.testing.assert_array_equal(leaf, start.astype(np.float32))


def test_a_finished_checkpoint_gives_the_run_without_calling_a_probe(finished):
    def probe(step, params):
        raise AssertionError("called")

    assert_bitwise(run(checkpoint=finished[0], probes={"weights": probe}), finished[1])


def test_a_write_that_breaks_leaves_the_last_checkpoint_whole(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"

    def saved(step):
        return Saved((np.full(3, step),), np.ones((2, step + 1)), np.arange(step), {"a": Record("0", (np.arange(step),))})

    def breaks(file, **arrays):
        file.write(b"half of it")
        raise OSError("no space left on device")

    checkpoint.write(path, "mark", saved(4))
    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", breaks)
        with pytest.raises(OSError, match="no space"):
            checkpoint.write(path, "mark", saved(5))
    found, before = checkpoint.read(path, "mark"), saved(4)
    for name in ("state", "losses", "steps"):
        np.testing.assert_array_equal(getattr(found, name), getattr(before, name))
    np.testing.assert_array_equal(found.records["a"].nested, np.arange(4))


OTHERS = {
    "steps": {"steps": 61},
    "rates": {"learning_rate": [0.006, 0.0005, 0.0007]},
    "optimizer": {"optimizer": "gd"},
    "reduction": {"reduction": "mean"},
    "batch size": {"batch_size": 4, "key": jax.random.key(2)},
    "stop fraction": {"stop_fraction": 0.5},
    "probe steps": {"probe_steps": [0, 60]},
    "probe names": {"probes": {}},
    "precision": {"dtype": "float64"},
    "an array the probes use": {"depends_on": {"points": np.ones(3)}},
}


def assert_refused(path, message, call):
    before = path.read_bytes()
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("changes", OTHERS.values(), ids=OTHERS.keys())
def test_a_checkpoint_of_other_settings_is_refused_and_left_alone(finished, changes):
    assert_refused(finished[0], "checkpoint of these settings", lambda: run(checkpoint=finished[0], **changes))


@pytest.mark.parametrize("part", ["params", "x", "y"])
def test_a_checkpoint_of_other_data_or_params_is_refused_and_left_alone(finished, part):
    given = {"params": PARAMS, "x": KILLED["X"], "y": KILLED["Y"]}
    given[part] = jax.tree.map(lambda a: a + np.where(np.arange(a.size).reshape(a.shape) == 0, 1e-3, 0), given[part])
    assert_refused(finished[0], "checkpoint of these settings", lambda: run(**given, checkpoint=finished[0]))


@pytest.mark.parametrize(
    "other", [{}, {"rows": 24}, {"rows": 6, "points": [0.0]}, {"points": [0.0, 1.0]}, {"points": [0.0, 2.0], "rows": 24}]
)
def test_a_checkpoint_is_told_apart_by_what_its_probes_used(tmp_path, other):
    path = tmp_path / "run.npz"
    used = {"rows": 24, "points": np.array([0.0, 1.0])}
    whole = run(steps=2, probe_steps=[0], checkpoint=path, depends_on=used)
    assert_bitwise(run(steps=2, probe_steps=[0], checkpoint=path, depends_on=dict(reversed(used.items()))), whole)
    assert_refused(path, "checkpoint of these settings", lambda: run(steps=2, probe_steps=[0], checkpoint=path, depends_on=other))


def test_a_checkpoint_of_another_model_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "run.npz"
    w, x, y = np.ones((1, 2, 1)), np.ones((3, 2)), np.zeros((3, 1))
    options = {"steps": 2, "learning_rate": 0.01, "checkpoint": path}
    training.train(lambda p, x: x @ p, w, x, y, **options)
    assert_refused(path, "checkpoint of this model", lambda: training.train(lambda p, x: 2 * x @ p, w, x, y, **options))


@pytest.mark.parametrize("content", [b"", b"notes", "npz"])
def test_a_file_that_is_no_checkpoint_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "precious.npz"
    if content == "npz":
        np.savez(path, head=np.arange(3))
    else:
        path.write_bytes(content)
    assert_refused(path, "which is something else", lambda: run(checkpoint=path))


def test_a_checkpoint_that_could_not_be_written_is_refused_at_once(tmp_path):
    with pytest.raises(InputError, match="existing folder"):
        run(checkpoint=tmp_path / "nowhere" / "run.npz")
    with pytest.raises(InputError, match="to be a file"):
        run(checkpoint=tmp_path)


def test_factories_are_told_apart_by_the_numbers_they_hold():
    from functools import partial

    import optax

    def closed_over(decay):
        return lambda rate: optax.adamw(rate, weight_decay=decay)

    assert checkpoint.identity(closed_over(0.1)) == checkpoint.identity(closed_over(0.1)) != checkpoint.identity(closed_over(0.2))
    assert checkpoint.identity(lambda rate: optax.sgd(rate, 0.5)) != checkpoint.identity(lambda rate: optax.sgd(rate, 0.6))
    assert checkpoint.identity(partial(optax.sgd, momentum=0.5)) != checkpoint.identity(partial(optax.sgd, momentum=0.6))
    assert " at 0x" not in checkpoint.identity(closed_over(closed_over))
