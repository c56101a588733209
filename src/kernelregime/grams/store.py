"""Gram matrices in a Zarr store (format 3): one chunk for every tile, a marker for every tile that is done, and what they are of.

The group holds an array of shape (N1, N2) + tail for every matrix, with NaN where nothing was computed yet; `done` and `error`, a
number for every tile; and coordinates. Its attributes hold the schema, the identity (network, data, precision, version), the plan
and the environment. A tile's chunks are on the disk before its marker is written, so that a marker never stands without data;
every chunk carries a checksum.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelregime._checks import InputError, RunError, fail
from kernelregime.grams import layout, lock
from kernelregime.grams.identity import difference
from kernelregime.grams.tiles import Block, Output, Place, Plan, Problem
from kernelregime.results import environment

if TYPE_CHECKING:
    import xarray

SCHEMA = "kernelregime.gram/1"
RESUME = "run the same gram again with this store, which computes what is missing"


@dataclass
class Writer:
    """A store that this process writes to. `done`, `error`: of every tile; `repaired`: how many tiles were found damaged."""

    path: Path
    group: Any
    plan: Plan
    outputs: Mapping[str, Output]
    done: np.ndarray
    error: np.ndarray
    repaired: int = 0

    def missing(self) -> Iterator[Place]:
        """The tiles still to compute."""
        return (place for place in self.plan.places() if not self.done[place])

    def put(self, place: Place, block: Block) -> None:
        """Store a tile, then its marker. Raises: `RunError` when the disk is full; the tile then does not count as done."""
        try:
            for name, output in self.outputs.items():
                for at, value in self.plan.pieces(place, output, block.matrices[name]):
                    self.group[name][self.plan.block(at)] = value
                    layout.flush(layout.chunk(self.path, name, at, value.ndim))
            self.error[place], self.done[place] = block.error, 1
            self.mark(place[0])
        except OSError as error:
            self.done[place] = 0
            stored = f"{int(self.done.sum())} of {len(list(self.plan.places()))} tiles are stored"
            got = f"{error.strerror or error} at {self.path}"
            raise RunError(f"expected a disk that takes every tile; got {got} ({stored}); make room, then {RESUME}") from error

    def mark(self, row: int) -> None:
        """Write the markers and errors of a row of tiles."""
        self.group["error"][row] = self.error[row]
        self.group["done"][row] = self.done[row]


@contextmanager
def writing(path: Path, problem: Problem, plan: Callable[[], Plan]) -> Iterator[Writer]:
    """The store at `path`, made with `plan()` or, where it exists already, resumed with its own plan.

    Raises: `InputError` where there is something else, the store of another problem, someone else who writes to it, or too little room.
    """
    layout.zarr()
    identity = _identity(problem)
    _check_path(path)
    with ExitStack() as held:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(lock.held(path))
            layout.clean(path)
            if _is_new(path):
                _create(path, problem, plan(), identity)
            writer = _resumed(path, problem, identity)
        except OSError as error:
            raise RunError(f"expected a store that can be written; got {error}; check the path, its permissions and the disk") from error
        yield writer


def progress(path: Path, problem: Problem) -> tuple[Plan, int] | None:
    """The plan of a store and how many of its tiles are done, or None where there is none yet. Raises: `InputError` as `writing`."""
    layout.zarr()
    identity = _identity(problem)
    _check_path(path)
    if _is_new(path):
        return None
    group = _group(path)
    _check(path, group, identity)
    return _plan(group), int(layout.markers(group)[0].sum())


def open(path: str | os.PathLike[str], *, partial: bool = False) -> "xarray.Dataset":
    """The Gram matrices in a store, as an `xarray.Dataset` that reads what is used when it is used.

    Variables `nngp`, `ntk` (as far as stored), dimensions `x1`, `x2` and those of the tail. Attributes: `schema`, `identity`, `plan`,
    `environment`, and `error`, the largest error of a tile. `partial`: open a store that is not finished, with NaN where no tile is.

    Raises: `InputError` where there is no store, where tiles are not done yet, and where chunks are missing or of the wrong size. A
    chunk with wrong contents is an error of its checksum when it is read; `verify` looks for such chunks in advance.
    """
    layout.zarr()
    import xarray

    folder = Path(path)
    group = _group(folder)
    plan, (done, error) = _plan(group), layout.markers(group)
    total = len(list(plan.places()))
    if done.sum() < total and not partial:
        raise fail("a finished store", f"{folder} with {int(done.sum())} of {total} tiles", f"{RESUME}, or open it with partial=True")
    damaged = layout.damaged(folder, group, plan, done)
    if damaged:
        got = f"{folder} with {len(damaged)} damaged or missing tiles, the first at {damaged[0]}"
        raise fail("a store with all its chunks", got, RESUME)
    found = xarray.open_zarr(folder, consolidated=False, chunks=None, decode_cf=False, drop_variables=("done", "error"))
    return found.assign_attrs(error=float(error.max()))


def verify(path: str | os.PathLike[str]) -> int:
    """Read every chunk of a store against its checksum, and count tiles that are damaged; the next run with it computes them again.

    Raises: `InputError` where there is no store, or someone writes to it.
    """
    layout.zarr()
    folder = Path(path)
    _group(folder)
    with lock.held(folder):
        group = _group(folder, mode="r+")
        plan, (done, error) = _plan(group), layout.markers(group)
        damaged = layout.damaged(folder, group, plan, done, read=True)
        _forget(Writer(folder, group, plan, {}, done, error), damaged)
    return len(damaged)


def free(path: Path) -> int:
    """Bytes free where a store is, or will be."""
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.is_dir())
    return shutil.disk_usage(existing).free


def _check_path(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise fail("a folder for the store", f"{path}, which is a file", "name another store")


def _is_new(path: Path) -> bool:
    return not path.exists() or not any(path.iterdir())


def _create(path: Path, problem: Problem, plan: Plan, identity: Mapping[str, Any]) -> None:
    """An empty store, which appears whole or not at all."""
    need, room = layout.size(problem, plan, list(plan.places())), free(path)
    if need > room:
        raise fail(f"{need:,} bytes free for the store", f"{room:,} at {path.parent}", "make room, or name a store elsewhere")
    part = Path(tempfile.mkdtemp(dir=path.parent, prefix=layout.part(path)))
    try:
        attributes = {
            "schema": SCHEMA,
            "identity": identity,
            "plan": asdict(plan),
            "environment": environment(),
        }
        layout.create(part, problem, plan, attributes)
        part.chmod(0o755)
        part.rename(path)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    layout.flush(path.parent)


def _resumed(path: Path, problem: Problem, identity: Mapping[str, Any]) -> Writer:
    group = _group(path, mode="r+")
    _check(path, group, identity)
    writer = Writer(path, group, _plan(group), problem.outputs, *layout.markers(group))
    damaged = layout.damaged(path, group, writer.plan, writer.done)
    _forget(writer, damaged)
    writer.repaired = len(damaged)
    need, room = layout.size(problem, writer.plan, list(writer.missing())), free(path)
    if need > room:
        raise fail(f"{need:,} bytes free for the rest of the store", f"{room:,} at {path}", "make room, then run it again")
    return writer


def _forget(writer: Writer, places: list[Place]) -> None:
    """Take back the markers of damaged tiles, then remove what is left of their chunks."""
    for place in places:
        writer.done[place] = 0
    for row in {place[0] for place in places}:
        writer.mark(row)
    for place in places:
        layout.remove(writer.path, writer.group, writer.plan, place)


def _group(path: Path, mode: str = "r") -> Any:
    zarr = layout.zarr()
    if not path.is_dir():
        raise fail("a store of Gram matrices", f"{path}, where there is none", "name the store= of an earlier gram")
    try:
        group = zarr.open_group(path, mode=mode, zarr_format=3)
        schema = group.attrs.get("schema")
        if schema == SCHEMA:
            for name in ("done", "error", *group.attrs["identity"]["matrices"]):
                group[name]
    except Exception as error:  # what zarr says of metadata that are missing or cut off varies with its version
        raise _foreign(path, " ".join(str(error).split())[:120] or type(error).__name__) from error
    if schema != SCHEMA:
        raise _foreign(path, f"schema {schema!r}")
    return group


def _foreign(path: Path, what: str) -> InputError:
    do = "name another store; if this was one, its metadata are damaged: move it away and compute it again"
    return fail(f"a store of Gram matrices with schema {SCHEMA}", f"{path} ({what})", do)


def _plan(group: Any) -> Plan:
    return Plan(**group.attrs["plan"])


def _identity(problem: Problem) -> Mapping[str, Any]:
    if problem.identity is None:
        raise fail("a problem with an identity= for a store", "none", "say in it what tells this matrix from others")
    own = {"matrices": sorted(problem.outputs), "shape": list(problem.shape), "symmetric": problem.n2 is None}
    version = environment()["packages"]["kernelregime"]
    return layout.plain({**problem.identity(), **own, "dtype": np.dtype(problem.dtype).name, "version": version})


def _check(path: Path, group: Any, identity: Mapping[str, Any]) -> None:
    """`InputError` where the store is of something else."""
    found = difference(group.attrs["identity"], identity)
    if found:
        raise fail("the store of the same network, data, precision and version", f"{path} with {found}", "name another store")
