import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kernelregime import infinite
from kernelregime.cli import interrupts, main
from kernelregime.cli.progress import bars

COMMAND = [str(Path(sys.executable).with_name("kernelregime")), "diagnose"]
pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")


class Left(BaseException):
    """Where the process would have ended."""


@pytest.fixture
def ends(monkeypatch):
    """Ends of the process, which must not take the tests with them."""
    codes = []

    def leave(code):
        codes.append(code)
        raise Left

    monkeypatch.setattr(os, "_exit", leave)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield codes
    signal.signal(signal.SIGINT, before)


def send():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)  # in which it arrives


def test_an_interrupt_that_someone_swallows_is_raised_at_the_next_step_of_progress(ends):
    with interrupts.watched(), bars(quiet=True) as progress:
        progress("task", 1, 3)
        with pytest.raises(KeyboardInterrupt):
            send()
        with pytest.raises(KeyboardInterrupt):
            progress("task", 2, 3)
        interrupts._seen.clear()


def test_an_interrupt_that_the_garbage_collector_swallows_is_not_lost_and_not_printed(ends, capsys):
    def collecting(phase, info):
        if phase == "start":
            send()

    with interrupts.watched():
        gc.callbacks.append(collecting)
        try:
            gc.collect()
        finally:
            gc.callbacks.remove(collecting)
        assert interrupts.seen()
        with pytest.raises(KeyboardInterrupt), bars(quiet=True):
            pass
    assert capsys.readouterr().err == ""


def test_signals_are_as_before_when_the_watch_ends(ends):
    hook = sys.unraisablehook
    with interrupts.watched():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert sys.unraisablehook is hook


def test_an_interrupt_that_is_to_be_ignored_is_ignored(ends):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interrupts.watched():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupt_ends_a_command_with_130_in_whatever_form_it_arrives(ends, monkeypatch, capsys, tmp_path, error):
    def work(*arguments, **options):
        try:
            send()
        except KeyboardInterrupt:
            raise error from None

    monkeypatch.setattr(infinite, "gram", work)
    monkeypatch.setattr(
        sys, "argv", ["kernelregime", "kernel", "--data", "sphere", "--points", "8", "--quiet", "--out", str(tmp_path / "k")]
    )
    with pytest.raises(Left):
        main()
    assert ends == [130]
    assert capsys.readouterr().err == "interrupted\n"
    assert not (tmp_path / "k").exists()


def started(*arguments, env=None):
    """A diagnosis in a process of its own that heeds SIGINT even if these tests do not."""
    heed = (
        "import signal, runpy, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", heed, *COMMAND, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def wait_for(path, process):
    deadline = time.monotonic() + 120
    while not path.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)


@pytest.mark.parametrize("seconds", [0.1, 0.7, 1.5])
def test_an_interrupt_while_jax_compiles_ends_in_order(quick, tmp_path, seconds):
    out = tmp_path / "new" / "out"
    process = started(*quick, "--depth", "5", "--width", "256", "--out", str(out))
    wait_for(out, process)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert errors.startswith("interrupted: ")
    assert errors.count("\n") == 1
    assert "nothing was trained" not in errors or not out.parent.exists()


def test_an_interrupt_keeps_what_is_done_and_the_same_command_goes_on(call, compiled, quick, tmp_path):
    out = tmp_path / "out"
    long = [*quick, "--steps", "6000", "--stop-fraction", "1e-9", "--out", str(out)]
    process = started(*long, env=compiled)
    wait_for(out / "checkpoint.npz", process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "same command" in errors
    assert [p.name for p in out.iterdir()] == ["checkpoint.npz"]
    other = call("diagnose", *long, "--sigma-w2", "1.5")
    assert other.returncode == 2
    assert "--overwrite" in other.stderr
    assert (out / "checkpoint.npz").exists()
    again = call("diagnose", *long)
    assert again.returncode == 0, again.stderr
    assert sorted(p.name for p in out.iterdir()) == ["arrays.npz", "report.html", "result.json"]
