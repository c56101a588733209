"""A run on disk: written whole or not at all, and read back only into the same run."""

import hashlib
import json
import os
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kernelregime._checks import InputError, fail
from kernelregime.training.probing import Record

SCHEMA = "kernelregime.training/1"
ANOTHER = "name another file, or delete this one; nothing was written"
SAME_LOSS = 1e-3  # relative difference of initial losses that another machine's rounding can explain


@dataclass(frozen=True)
class Saved:
    """A run as far as it has come: leaves of its state, losses (S, n + 1), probe steps and records (stacked along T)."""

    state: tuple[np.ndarray, ...]
    losses: np.ndarray
    steps: np.ndarray
    records: dict[str, Record]


def identity(function: Callable[..., Any]) -> str:
    """A text that tells functions apart: name or repr, and the constants in a function's code, its defaults and what it closes over."""
    parts = [getattr(function, "__qualname__", ""), repr(function)]
    code = getattr(function, "__code__", None)
    if code is not None:
        held = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
        parts += [repr(code.co_consts), repr(code.co_names), repr(getattr(function, "__defaults__", None)), repr(held)]
    # neither addresses nor the places of source files
    return re.sub(r' at 0x[0-9a-f]+|, file ".*?"|, line \d+', "", " ".join(parts))


def fingerprint(settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of the settings (JSON types) and of the arrays with their shapes and types."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, value in arrays.items():
        digest.update(f"{name}:{value.dtype.str}:{value.shape};".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def check_place(path: Path) -> None:
    """An error, before anything is computed, if the checkpoint could not be written."""
    if path.is_dir():
        raise fail("checkpoint to be a file", f"the folder {path}", "name a file in it, for example checkpoint.npz")
    if not path.parent.is_dir():
        raise fail("checkpoint in an existing folder", str(path), f"create {path.parent}")


class ForeignCheckpointError(InputError):
    """The checkpoint belongs to another run."""


def _foreign(expected: str, got: str) -> ForeignCheckpointError:
    return ForeignCheckpointError(str(fail(expected, got, ANOTHER)))


def write(path: Path, mark: str, saved: Saved) -> None:
    """Replace the file at `path` in one go."""
    arrays = {"losses": saved.losses, "steps": saved.steps}
    arrays |= {f"state/{k}": leaf for k, leaf in enumerate(saved.state)}
    for place, record in enumerate(saved.records.values()):
        arrays |= {f"record/{place}/{k}": leaf for k, leaf in enumerate(record.leaves)}
    forms = {name: [record.form, len(record.leaves)] for name, record in saved.records.items()}
    head = json.dumps({"schema": SCHEMA, "fingerprint": mark, "state": len(saved.state), "forms": forms})
    staged = path.with_name(path.name + ".part")
    with staged.open("wb") as file:
        np.savez(file, head=np.asarray(head), **arrays)  # type: ignore[arg-type]
    os.replace(staged, path)


def read(path: Path, mark: str) -> Saved | None:
    """The run saved at `path`, None if there is no file; `InputError` unless it has this fingerprint."""
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        head = json.loads(str(arrays["head"]))
        known = head["schema"] == SCHEMA
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile):
        known = False
    if not known:
        raise _foreign("a checkpoint of a training run", f"{path}, which is something else")
    if head["fingerprint"] != mark:
        raise _foreign("a checkpoint of these settings, data and initial params", f"{path}, which is of others")
    records = {}
    for place, (name, (form, leaves)) in enumerate(head["forms"].items()):
        records[name] = Record(form, tuple(arrays[f"record/{place}/{k}"] for k in range(leaves)))
    state = tuple(arrays[f"state/{k}"] for k in range(head["state"]))
    return Saved(state, arrays["losses"], arrays["steps"], records)


def check_model(path: Path, saved: Saved, first: np.ndarray) -> None:
    """`InputError` unless the saved run began with these losses: functions have no fingerprint, their values do."""
    before = saved.losses[:, 0]
    if not np.allclose(before, first, rtol=SAME_LOSS, atol=0):
        got = f"{path}, whose initial losses differ ({before[0]:.6g} there, {first[0]:.6g} here)"
        raise _foreign("a checkpoint of this model", got)
