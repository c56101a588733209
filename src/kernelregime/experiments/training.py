"""Training inside of a cell: an interrupt ends the cell, so that no half-trained network is stored, and the next run goes on from there."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from kernelregime import training
from kernelregime.training.checkpoint import ForeignCheckpointError

ENDING = ".checkpoint.npz"
_files: ContextVar[Iterator[Path] | None] = ContextVar("files", default=None)


@contextmanager
def checkpoints(folder: Path, name: str) -> Iterator[None]:
    """A context in which calls of `train_cell`, one after another, keep checkpoints of this name in `folder`, where that exists."""
    token = _files.set((folder / f"{name}.{count}{ENDING}" for count in itertools.count()) if folder.is_dir() else None)
    try:
        yield
    finally:
        _files.reset(token)


def forget(folder: Path, name: str) -> None:
    """Remove the checkpoints of a cell that is stored."""
    for path in folder.glob(f"{name}.*{ENDING}"):
        path.unlink()


def train_cell(*args: Any, **options: Any) -> Any:
    """`training.train`, whose interrupted runs it would return, with `KeyboardInterrupt` in their place; in a cell, with a checkpoint."""
    files = _files.get()
    file = None if files is None else next(files)
    try:
        trace = training.train(*args, **options, checkpoint=file)
    except ForeignCheckpointError:  # of other code under the same version
        assert file is not None
        file.unlink()
        trace = training.train(*args, **options, checkpoint=file)
    if trace.interrupted:
        raise KeyboardInterrupt
    return trace
