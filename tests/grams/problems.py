"""Problems for the tests of engines and stores: cheap pair functions of a module, which other processes can import."""

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kernelregime.grams import Block, Output, Problem

X = np.random.default_rng(0).integers(-9, 10, size=(21, 3)).astype(float)


@dataclass(frozen=True)
class Dots:
    """Dot products of the points and twice that as "ntk"; notes every tile in `log`, waits, and may end its process, once."""

    x: np.ndarray = field(default_factory=lambda: X)
    log: str = ""
    wait: float = 0.0
    killed: str = ""

    def __call__(self, rows, columns):
        if self.killed and rows.start and not Path(self.killed).exists():
            Path(self.killed).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.wait)
        if self.log:
            with Path(self.log).open("a") as file:
                file.write(f"{rows.start} {columns.start}\n")
        dots = self.x[rows] @ self.x[columns].T
        return Block({"nngp": dots, "ntk": 2 * dots}, error=1e-9 * rows.start)


@dataclass(frozen=True)
class Deadly:
    """A pair function that ends every process it is called in."""

    def __call__(self, rows, columns):
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Cores:
    """The one core that a tile is computed on; -1 where it is free to use several."""

    def __call__(self, rows, columns):
        time.sleep(0.2)  # or one worker takes all tiles before the other has started
        core, *others = os.sched_getaffinity(0)
        found = np.full((rows.stop - rows.start, columns.stop - columns.start), -1.0 if others else float(core))
        return Block({"nngp": found, "ntk": found})


def problem(tile=None, n2=None, **identity):
    """N = 21: with a budget of `MEMORY` and a store, 15 tiles of 5 points."""
    outputs = {"nngp": Output(), "ntk": Output()}
    return Problem(tile or Dots(), len(X), n2, outputs, np.dtype("float64"), 100.0, identity=lambda: {"points": "X", **identity})


def expected():
    return X @ X.T


MEMORY = 4500
