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


def _call(*arguments, **options):
    command = [str(Path(sys.executable).with_name("kernelregime")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, **options)


@pytest.fixture(scope="session")
def call():
    """The command line in a new process."""
    return _call


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
