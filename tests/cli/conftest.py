import os
import subprocess
import sys
from pathlib import Path

import pytest

from kernelregime.cli import main

QUICK = [
    "--depth",
    "2",
    "--width",
    "32",
    "--data",
    "sphere",
    "--points-train",
    "16",
    "--points-test",
    "8",
    "--draws",
    "10",
    "--steps",
    "60",
    "--quiet",
]


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """The environment of processes that compile quickly and keep their programs for one another: most of the time of a small diagnosis."""
    cache = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    return {**os.environ, **cache, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}


@pytest.fixture(scope="session")
def call(compiled):
    """The command line in a new process."""

    def run(*arguments):
        command = [str(Path(sys.executable).with_name("kernelregime")), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=compiled)

    return run


@pytest.fixture(scope="session")
def quick():
    """Options of a diagnosis that takes a moment."""
    return QUICK


@pytest.fixture
def answer(monkeypatch, capsys):
    """The command line without a new process: exit code, output, errors."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["kernelregime", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0, *capsys.readouterr()

    return run


@pytest.fixture
def refused(answer):
    """The one line with which the command line refuses its arguments."""

    def run(*arguments):
        code, out, errors = answer(*arguments)
        assert (code, out, errors.count("\n")) == (2, "", 1), errors
        assert errors.startswith("error: expected ")
        assert errors.count("; got ") == 1
        return errors.removeprefix("error: ").rstrip("\n")

    return run
