"""What an experiment on a paper's claims is once computed: its cells' arrays, the claims with their verdicts, and where it was computed."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kernelregime._checks import fail
from kernelregime.claims import Claim, Estimate, Verdict
from kernelregime.results.schema import plain
from kernelregime.results.store import ARRAYS, RESULT, created, plain_json, save_arrays, staged

REPRODUCTION = "kernelregime.reproduction/1"
BETWEEN = "/"  # a cell's name and that of its array, in the archive


@dataclass(frozen=True)
class Cell:
    """One run of an experiment: its name, what it was called with (JSON), its seed, and the seconds it took."""

    name: str
    params: Mapping[str, Any]
    seed: int
    seconds: float = math.nan


@dataclass(frozen=True)
class Paper:
    """A paper: its name here (a module's), its title, and who published it where."""

    name: str
    title: str
    citation: str


@dataclass(frozen=True)
class Reproduction:
    """A finished experiment on claims of a paper.

    `key`: its row among the claims (B1). `source`: where the paper states them; `figures`: those of the paper it redraws. `choices`: what
    the paper leaves open and was chosen here. `version` and `digest` tell results of other code or settings apart. `arrays`: by cell and
    name.
    """

    key: str
    paper: Paper
    title: str
    statement: str
    source: str
    figures: tuple[str, ...]
    choices: tuple[str, ...]
    version: int
    scale: str
    digest: str
    cells: tuple[Cell, ...]
    claims: tuple[Claim, ...]
    arrays: Mapping[str, Mapping[str, np.ndarray]] = field(repr=False)
    environment: Mapping[str, Any] = field(default_factory=dict, repr=False)
    seconds: float = math.nan
    schema: str = REPRODUCTION

    @property
    def verdict(self) -> Verdict:
        """Of the paper's own claims, as printed: one that fails, else one left inconclusive, decides."""
        found = {claim.verdict for claim in self.claims if claim.origin == "printed"} or {claim.verdict for claim in self.claims}
        order: tuple[Verdict, ...] = ("fails", "inconclusive", "holds")
        return next((verdict for verdict in order if verdict in found), "inconclusive")

    def each(self, name: str, **params: Any) -> list[np.ndarray]:
        """The array of this name of every cell with these parameters."""
        return [self.arrays[cell.name][name] for cell in self.select(**params)]

    def select(self, **params: Any) -> list[Cell]:
        """The cells with these parameters, in the order in which they were planned."""
        return [cell for cell in self.cells if all(plain(cell.params.get(key)) == plain(value) for key, value in params.items())]


def store(result: Reproduction, folder: Path) -> Path:
    """Write `result.json` and `arrays.npz` into `folder`, each whole or not at all; returns the folder."""
    with created(folder):
        out = asdict(result)
        del out["arrays"]
        out["claims"] = [asdict(claim) | {"verdict": claim.verdict} for claim in result.claims]
        flat = {f"{cell}{BETWEEN}{name}": value for cell, arrays in result.arrays.items() for name, value in arrays.items()}
        save_arrays(folder / ARRAYS, flat, schema=REPRODUCTION)
        with staged(folder / RESULT) as part:
            part.write_text(plain_json(out) + "\n", encoding="utf-8")
    return folder


def load(folder: Path) -> Reproduction:
    """What `store` wrote into `folder`. Raises: `InputError` where there is no such result, or one of another schema."""
    if not (folder / RESULT).is_file() or not (folder / ARRAYS).is_file():
        raise fail(f"a folder with {RESULT} and {ARRAYS} of claims", str(folder), "run kernelregime reproduce first")
    data = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    if data.get("schema") != REPRODUCTION:
        raise fail(f"a result with schema {REPRODUCTION}", repr(data.get("schema")), "read it with the version that wrote it")
    cells = tuple(Cell(**_numbers(item, "seconds")) for item in data.pop("cells"))
    arrays: dict[str, dict[str, np.ndarray]] = {cell.name: {} for cell in cells}
    with np.load(folder / ARRAYS, allow_pickle=False) as held:
        for name in held.files:
            cell, _, array = name.partition(BETWEEN)
            arrays[cell][array] = held[name]
    claims = tuple(_claim(item) for item in data.pop("claims"))
    texts: dict[str, Any] = {name: tuple(data.pop(name)) for name in ("figures", "choices")}
    paper = Paper(**data.pop("paper"))
    return Reproduction(**_numbers(data, "seconds"), **texts, paper=paper, cells=cells, claims=claims, arrays=arrays)


def _claim(item: dict[str, Any]) -> Claim:
    kept = {name: value for name, value in _numbers(item, "predicted").items() if name != "verdict"}
    measured = _numbers(kept.pop("measured"), "mean", "sem")
    return Claim(**kept, measured=Estimate(measured["mean"], measured["sem"], int(measured["n"])))


def _numbers(item: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """`item` with nan where these are null."""
    return {key: math.nan if key in names and value is None else value for key, value in item.items()}
