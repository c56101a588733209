"""The command line. Heavy imports happen inside the commands, so that `--help` answers at once."""

from kernelregime.cli.main import app, main

__all__ = ["app", "main"]
