"""Runs the cells of an experiment on an engine of `grams`. Each is stored when it ends; a stopped run goes on with those left."""

import importlib
import json
import math
import shutil
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from kernelregime import grams
from kernelregime._checks import RunError, fail, one_of
from kernelregime.experiments.experiment import SCALES, Arrays, Experiment, Measured, Scale
from kernelregime.experiments.training import checkpoints, forget
from kernelregime.grams.engines import Engine
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
PLAN, CELLS = "plan.json", "cells"
KNOWN = (PLAN, CELLS, RESULT, ARRAYS)
SECONDS, ENVIRONMENT, FAILURE = ".seconds", ".environment", ".failure"  # beside the arrays of a cell
TEXTS = ("paper", "title", "statement", "source", "figures", "choices")
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

    def left(self) -> list[Cell]:
        """The cells that are not stored."""
        return [] if self.finished() else [cell for cell in self.experiment.plan(self.scale) if not self.file(cell).exists()]

    def check(self, *, resume: bool, overwrite: bool) -> bool:
        """Whether a run goes on with what the folder holds. Raises: `InputError` where it would have to remove what it may not.

        With `resume`, cells and results of these settings are kept whatever `overwrite` says, which then stands for others.
        """
        found = self._held()
        foreign = sorted(name for name in found if name not in KNOWN or (name != CELLS and not ours(self.folder / name)))
        if foreign:
            got = f"{self.folder} with {foreign[0]!r}"
            raise fail("a folder of this experiment alone", got, "name another folder; nothing was written")
        if not found:
            return False
        head = next((self.folder / name for name in (PLAN, RESULT) if name in found), None)
        same = head is not None and json.loads(head.read_text(encoding="utf-8")).get("digest") == self.identity["digest"]
        if resume and same:
            return True
        if overwrite:
            return False
        what = "a result of other settings" if not same else "a finished result" if RESULT in found else f"{len(self.done())} cells done"
        do = "give resume=True to go on with it or keep it, or overwrite=True to begin anew"
        raise fail(
            "a new folder", f"{self.folder} with {what}", do if same else "give overwrite=True to begin anew, or name another folder"
        )

    def _held(self) -> set[str]:
        """What the folder holds, save what a killed run left half-written or empty."""
        names = {path.name for path in self.folder.iterdir()} if self.folder.exists() else set()
        names -= {f"{name}.part" for name in KNOWN}
        return names - {CELLS} if names == {CELLS} and not any((self.folder / CELLS).iterdir()) else names

    def clear(self) -> None:
        """Empty the folder, of which `check` has told that it may be."""
        for path in self.folder.iterdir() if self.folder.exists() else ():
            shutil.rmtree(path) if path.name == CELLS else path.unlink()

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
    was stopped (what is stored is not computed again); a finished result is kept, and judged by the claims as they are now.
    `overwrite`: begin anew; with `resume`, only where the folder holds a run of other settings.
    Raises: `InputError` for a folder with other results, or an unfinished run without `resume`.
    """
    at, run = place(experiment, scale, folder), grams.engine(engine, workers)
    at.folder.parent.mkdir(parents=True, exist_ok=True)
    with held(at.folder):
        if not at.check(resume=resume, overwrite=overwrite):
            at.clear()
        if finished := at.finished():
            return _renewed(at, finished)
        with created(at.folder / CELLS):
            if not (at.folder / PLAN).exists():
                _write(at.folder / PLAN, plain_json(at.identity | {"environment": environment()}))
            _run_missing(at, run, progress)
            return _collected(at)


@dataclass(frozen=True)
class Cells:
    """The pair function that an engine calls: row i is cell i. `function`: module and name, so that it can be sent anywhere.

    `folder`: where networks in training keep their checkpoints.
    """

    function: tuple[str, str]
    cells: tuple[Cell, ...]
    folder: str

    def __call__(self, rows: slice, _: slice) -> Block:
        """The arrays of one cell with the seconds it took, or what it raised."""
        cell, start = self.cells[rows.start], time.perf_counter()
        run = getattr(importlib.import_module(self.function[0]), self.function[1])
        try:
            with warnings.catch_warnings(), checkpoints(Path(self.folder), cell.name):
                warnings.simplefilter("ignore", RuntimeWarning)  # what leaves the range of floats shows in the arrays
                arrays = run(seed=cell.seed, **cell.params)
        except Exception:  # whatever it is, the other cells go on
            return Block({FAILURE: np.asarray(traceback.format_exc())})
        where = json.dumps(environment() | {"device": jax.default_backend()})
        beside = {SECONDS: np.asarray(time.perf_counter() - start), ENVIRONMENT: np.asarray(where)}
        return Block({name: np.asarray(value) for name, value in arrays.items()} | beside)


def _run_missing(at: Place, run: Engine, progress: Progress | None) -> None:
    cells = at.experiment.plan(at.scale)

    def left() -> list[int]:
        return [index for index, cell in enumerate(cells) if not at.file(cell).exists()]

    def told() -> None:
        if progress:
            progress(at.experiment.key, len(cells) - len(left()), len(cells))

    told()
    for attempt in range(TRIES):
        engine = run if attempt == 0 else run._replace(workers=1)  # so that it is known which cell ends its process
        failed: set[int] = set()
        while waiting := [index for index in left() if index not in failed]:
            try:
                for index, block in _blocks(at, engine, waiting):
                    if _stored(at.file(cells[index]), block):
                        told()
                    else:
                        failed.add(index)
            except RunError as error:  # workers keep dying, over the first that is left or one beside it
                index = next(index for index in left() if index not in failed)
                _write(at.file(cells[index]).with_suffix(".txt"), f"its process ended: {error}")
                failed.add(index)
        if not failed:
            return
    raise RunError(_told(at, [cells[index] for index in left()]))


def _blocks(at: Place, run: Engine, indices: Sequence[int]) -> Iterator[tuple[int, Block]]:
    """What these cells give, as they end."""
    cells = at.experiment.plan(at.scale)
    function, folder = (at.experiment.run.__module__, at.experiment.run.__qualname__), str((at.folder / CELLS).absolute())
    with closing(run.run(Cells(function, cells, folder), Plan(len(cells), 1, 1, False), [(index, 0) for index in indices])) as blocks:
        for (index, _), block in blocks:
            yield index, block


def _stored(file: Path, block: Block) -> bool:
    """Whether a cell gave arrays, which are stored; what it raised is recorded in their place."""
    record = file.with_suffix(".txt")
    if FAILURE in block.matrices:
        _write(record, str(block.matrices[FAILURE]))
        return False
    save_arrays(file, block.matrices, schema=SCHEMA)
    record.unlink(missing_ok=True)
    forget(file.parent, file.stem)
    return True


def _told(at: Place, failed: Sequence[Cell]) -> str:
    first = at.file(failed[0]).with_suffix(".txt")
    cause = first.read_text(encoding="utf-8").strip().splitlines()[-1]
    return (
        f"expected every cell of {at.experiment.key} to run; got {len(failed)} that failed {TRIES} times, the first of them "
        f"{failed[0].name!r} ({cause}); see {first}; the others are stored, resume=True (--resume) tries these again"
    )


def _collected(at: Place) -> Reproduction:
    """The result of all cells, in the place of their files."""
    arrays: dict[str, Arrays] = {}
    cells, where = [], []
    for cell in at.experiment.plan(at.scale):
        with np.load(at.file(cell), allow_pickle=False) as stored:
            found = {name: stored[name] for name in stored.files}
        cells.append(replace(cell, seconds=float(found.pop(SECONDS))))
        where.append(json.loads(str(found.pop(ENVIRONMENT))))
        arrays[cell.name] = found
    experiment = at.experiment
    result = Reproduction(
        **{name: getattr(experiment, name) for name in TEXTS},
        key=experiment.key,
        version=experiment.version,
        scale=at.scale,
        digest=at.identity["digest"],
        cells=tuple(cells),
        claims=tuple(experiment.claims(Measured(cells, arrays))),
        arrays=arrays,
        environment=_together(where),
        seconds=math.fsum(cell.seconds for cell in cells),
    )
    store_reproduction(result, at.folder)
    shutil.rmtree(at.folder / CELLS)
    (at.folder / PLAN).unlink()
    return result


def _together(where: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The environment of the last cell, and under "others" those of cells that were computed elsewhere or with other versions."""
    last = max(where, key=lambda found: found["time"])
    others: list[dict[str, Any]] = []
    for found in where:
        if all(found | {"time": ""} != known | {"time": ""} for known in (last, *others)):
            others.append(found)
    return last | ({"others": others} if others else {})


def _renewed(at: Place, finished: Reproduction) -> Reproduction:
    """A finished result with the claims and words of today, stored anew if they differ."""
    again = judged(at.experiment, finished)
    if plain_json(asdict(replace(again, arrays={}))) != plain_json(asdict(replace(finished, arrays={}))):
        store_reproduction(again, at.folder)
    return again


def judged(experiment: Experiment, result: Reproduction) -> Reproduction:
    """The result in the experiment's words of today, with its claims made anew of its arrays."""
    words = {name: getattr(experiment, name) for name in TEXTS}
    return replace(result, **words, claims=tuple(experiment.claims(Measured(result.cells, result.arrays))))


def _write(path: Path, text: str) -> None:
    with staged(path) as part:
        part.write_text(text + "\n", encoding="utf-8")
