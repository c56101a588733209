"""Experiments: what a paper claims, the runs that measure it at several scales, and how their results become claims with verdicts."""

import hashlib
import json
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from kernelregime.claims import Claim
from kernelregime.results import Cell, Paper, plain

Scale = Literal["smoke", "laptop", "paper"]
SCALES: tuple[Scale, ...] = ("smoke", "laptop", "paper")
Params = Mapping[str, Any]
Arrays = Mapping[str, np.ndarray]


class Measured:
    """The cells of an experiment with the arrays that each gave, in the order in which they were planned."""

    def __init__(self, cells: Sequence[Cell], arrays: Mapping[str, Arrays]) -> None:
        self._found = [(cell.params, arrays[cell.name]) for cell in cells]

    def where(self, **params: Any) -> list[tuple[Params, Arrays]]:
        """Parameters and arrays of the cells with these parameters."""
        return [(given, arrays) for given, arrays in self._found if all(given.get(name) == value for name, value in params.items())]

    def one(self, **params: Any) -> Arrays:
        """The arrays of the only cell with these parameters."""
        ((_, arrays),) = self.where(**params)
        return arrays


@dataclass(frozen=True)
class Experiment:
    """One row of the claims.

    `cells`: for each scale, by name, the keyword arguments of `run` (JSON values); `run(seed=..., **arguments)`, a function of a module,
    returns arrays of NumPy; cells do not depend on one another. `claims` makes the claims of what all cells gave. `seconds`: about how
    long a cell with these arguments takes on one core. `version` grows when results would no longer compare with those stored before.
    """

    key: str
    paper: Paper
    title: str
    statement: str
    source: str
    cells: Callable[[Scale], Mapping[str, Params]]
    run: Callable[..., Arrays]
    claims: Callable[[Measured], Sequence[Claim]]
    seconds: Callable[..., float]
    figures: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    version: int = 1
    seed: int = 0

    def plan(self, scale: Scale) -> tuple[Cell, ...]:
        """The cells at a scale, each with a seed of its own that depends on nothing but its name."""
        cells = []
        for name, params in self.cells(scale).items():
            seed = np.random.SeedSequence([self.seed, zlib.crc32(f"{self.key}/{name}".encode())]).generate_state(1)[0]
            cells.append(Cell(name, plain(dict(params)), int(seed)))
        return tuple(cells)

    def digest(self, scale: Scale) -> str:
        """A hash of the version and of all that the cells are called with."""
        words = [self.key, self.version, [[cell.name, cell.params, cell.seed] for cell in self.plan(scale)]]
        return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()[:16]

    def cost(self, scale: Scale) -> float:
        """About how many seconds all cells take on one core."""
        return math.fsum(self.seconds(**cell.params) for cell in self.plan(scale))
