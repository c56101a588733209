"""Runs the cells of an experiment on an engine of `grams`. Each is stored when it ends; a stopped run goes on with those left."""

import importlib
import json
import shutil
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from kernelregime import grams
from kernelregime._checks import RunError, fail, one_of
from kernelregime.experiments.experiment import SCALES, Arrays, Experiment, Measured, Scale
from kernelregime.grams.lock import held
from kernelregime.grams.tiles import Block, Plan
from kernelregime.results import (
    ARRAYS,
    RESULT,
    Cell,
    Reproduction,
    created,
    environment,
    load_reproduction,
    ours,
    plain_json,
    save_arrays,
    staged,
    store_reproduction,
)

SCHEMA = "kernelregime.experiment/1"
PLAN, CELLS, FAILURE = "plan.json", "cells", "failure"
TRIES = 2  # of a cell in one run

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Place:
    """Where the results of an experiment at a scale lie: `plan.json` and `cells/` while it runs, `result.json` and `arrays.npz` then."""

    folder: Path
    experiment: Experiment
    scale: Scale

    @property
    def identity(self) -> dict[str, Any]:
        """What tells this run from others."""
        return {"schema": SCHEMA, "key": self.experiment.key, "scale": self.scale, "digest": self.experiment.digest(self.scale)}

    def file(self, cell: Cell) -> Path:
        """Where a cell is stored."""
        return self.folder / CELLS / f"{cell.name}.npz"

    def done(self) -> list[Cell]:
        """The cells that are stored."""
        return [cell for cell in self.experiment.plan(self.scale) if self.file(cell).exists()]

    def check(self, *, resume: bool, overwrite: bool) -> bool:
        """Whether a run goes on with what the folder holds. Raises: `InputError` where it would have to remove what it may not."""
        found = sorted(path.name for path in self.folder.iterdir()) if self.folder.exists() else []
        strange = [name for name in found if name not in (PLAN, CELLS, RESULT, ARRAYS) or (name != CELLS and not ours(self.folder / name))]
        if strange:
            got = f"{self.folder} with {strange[0]!r}"
            raise fail("a folder of this experiment alone", got, "name another folder; nothing was written")
        head = next((self.folder / name for name in (PLAN, RESULT) if name in found), None)
        same = head is not None and json.loads(head.read_text(encoding="utf-8"))["digest"] == self.identity["digest"]
        if not found or overwrite or (resume and same):
            return bool(found) and not overwrite
        what = "a result of other settings" if not same else "a finished result" if RESULT in found else f"{len(self.done())} cells done"
        do = "give resume=True to go on with it or keep it, or overwrite=True to begin anew"
        raise fail(
            "a new folder", f"{self.folder} with {what}", do if same else "give overwrite=True to begin anew, or name another folder"
        )

    def finished(self) -> Reproduction | None:
        """The result of this very run, where it stands already."""
        if not (self.folder / RESULT).is_file():
            return None
        found = load_reproduction(self.folder)
        return found if (found.key, found.scale, found.digest) == (self.experiment.key, self.scale, self.identity["digest"]) else None


def place(experiment: Experiment, scale: str, folder: str | Path) -> Place:
    """The folder of an experiment at a scale below `folder`. Raises: `InputError` for a scale that does not exist."""
    one_of("scale", scale, SCALES)
    return Place(Path(folder) / scale / experiment.key, experiment, next(known for known in SCALES if known == scale))


def reproduce(
    experiment: Experiment,
    scale: str = "laptop",
    *,
    folder: str | Path = "runs/reproduce",
    engine: str = "threads",
    workers: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Reproduction:
    """Run an experiment and store its result in `folder`/scale/key.

    Every cell is stored when it ends. A cell that raises is tried once more after the others; what still fails is recorded beside the
    cells and ends the run with `RunError`, the others stay. `engine`, `workers`: as in `grams.assemble`. `resume`: go on with a run that
    was stopped (what is stored is not computed again); a finished result is returned as it is. `overwrite`: begin anew.
    Raises: `InputError` for a folder with other results, or an unfinished run without `resume`.
    """
    at, run = place(experiment, scale, folder), grams.engine(engine, workers)
    start = time.perf_counter()
    at.folder.parent.mkdir(parents=True, exist_ok=True)
    with held(at.folder):
        if resume and not overwrite and (finished := at.finished()):
            return finished
        if not at.check(resume=resume, overwrite=overwrite):
            shutil.rmtree(at.folder, ignore_errors=True)
        with created(at.folder / CELLS):
            if not (at.folder / PLAN).exists():
                _write(at.folder / PLAN, plain_json(at.identity | {"environment": environment()}))
            _run_missing(at, run, progress)
            return _collected(at, time.perf_counter() - start)


@dataclass(frozen=True)
class Cells:
    """The pair function that an engine calls: row i is cell i. `function`: module and name, so that it can be sent anywhere."""

    function: tuple[str, str]
    cells: tuple[Cell, ...]

    def __call__(self, rows: slice, _: slice) -> Block:
        """The arrays of one cell with the seconds it took, or what it raised."""
        cell, start = self.cells[rows.start], time.perf_counter()
        run = getattr(importlib.import_module(self.function[0]), self.function[1])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # what leaves the range of floats shows in the arrays
                arrays = run(seed=cell.seed, **cell.params)
        except Exception:  # whatever it is, the other cells go on
            return Block({FAILURE: np.asarray(traceback.format_exc())})
        return Block({name: np.asarray(value) for name, value in arrays.items()} | {"seconds": np.asarray(time.perf_counter() - start)})


def _run_missing(at: Place, run: Any, progress: Progress | None) -> None:
    cells = at.experiment.plan(at.scale)
    function = (at.experiment.run.__module__, at.experiment.run.__qualname__)
    left = [index for index, cell in enumerate(cells) if not at.file(cell).exists()]
    done = len(cells) - len(left)
    if progress:
        progress(at.experiment.key, done, len(cells))
    for _ in range(TRIES):
        failed = []
        places: Iterable[tuple[int, int]] = [(index, 0) for index in left]
        with closing(run.run(Cells(function, cells), Plan(len(cells), 1, 1, False), places)) as blocks:
            for (index, _), block in blocks:
                failure = at.file(cells[index]).with_suffix(".txt")
                if FAILURE in block.matrices:
                    failed.append(index)
                    _write(failure, str(block.matrices[FAILURE]))
                    continue
                save_arrays(at.file(cells[index]), block.matrices, schema=SCHEMA)
                failure.unlink(missing_ok=True)
                done += 1
                if progress:
                    progress(at.experiment.key, done, len(cells))
        if not failed:
            return
        left = sorted(failed)
    raise RunError(_told(at, [cells[index] for index in left]))


def _told(at: Place, failed: Sequence[Cell]) -> str:
    first = at.file(failed[0]).with_suffix(".txt")
    cause = first.read_text(encoding="utf-8").strip().splitlines()[-1]
    return (
        f"expected every cell of {at.experiment.key} to run; got {len(failed)} that failed {TRIES} times, the first of them "
        f"{failed[0].name!r} ({cause}); see {first}; the others are stored, resume=True (--resume) tries these again"
    )


def _collected(at: Place, seconds: float) -> Reproduction:
    """The result of all cells, in the place of their files."""
    arrays: dict[str, Arrays] = {}
    cells = []
    for cell in at.experiment.plan(at.scale):
        with np.load(at.file(cell), allow_pickle=False) as stored:
            found = {name: stored[name] for name in stored.files}
        cells.append(replace(cell, seconds=float(found.pop("seconds"))))
        arrays[cell.name] = found
    experiment = at.experiment
    result = Reproduction(
        **{name: getattr(experiment, name) for name in ("key", "paper", "title", "statement", "source", "figures", "choices", "version")},
        scale=at.scale,
        digest=at.identity["digest"],
        cells=tuple(cells),
        claims=tuple(experiment.claims(Measured(cells, arrays))),
        arrays=arrays,
        environment=environment(),
        seconds=seconds,
    )
    store_reproduction(result, at.folder)
    shutil.rmtree(at.folder / CELLS)
    (at.folder / PLAN).unlink()
    return result


def judged(experiment: Experiment, result: Reproduction) -> Reproduction:
    """The result with its claims made anew of its arrays."""
    return replace(result, claims=tuple(experiment.claims(Measured(result.cells, result.arrays))))


def _write(path: Path, text: str) -> None:
    with staged(path) as part:
        part.write_text(text + "\n", encoding="utf-8")
