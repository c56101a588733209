"""One folder per result: `result.json` and `arrays.npz`. A folder that holds anything else is never written over."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from kernelregime._checks import fail
from kernelregime.results.schema import Diagnosis, plain

RESULT, ARRAYS, REPORT, CHECKPOINT = "result.json", "arrays.npz", "report.html", "checkpoint.npz"


def folder_for(
    folder: str | os.PathLike[str],
    *,
    files: tuple[str, ...] = (RESULT, ARRAYS, REPORT, CHECKPOINT),
    finished: str = RESULT,
    overwrite: bool = False,
) -> Path:
    """`folder` as a path, free for the `files` of one result, of which `finished` is the last one written.

    Raises: `InputError` if it holds any other file, or a finished result without `overwrite`; nothing is written then.
    """
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise fail("an output folder", f"{path}, which is a file", "name a folder")
    try:
        held = {p.name for p in path.iterdir()} if path.exists() else set()
    except OSError as error:
        raise fail("a readable folder", f"{path} ({error.strerror})", "name another folder") from error
    foreign = sorted(held - set(files) - {f"{name}.part" for name in files})
    if foreign:
        raise fail("an output folder that is new or empty", f"{path} with {foreign[0]!r} in it", "name another folder; nothing was written")
    if finished in held and not overwrite:
        raise fail(
            "an output folder without a result", f"{path} with {finished}", "name another folder or add --overwrite; nothing was written"
        )
    return path


def create(folder: Path) -> None:
    """Create `folder` and those above it; `InputError` where that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise fail("a folder that can be created", f"{folder} ({error.strerror})", "name another folder") from error


def plain_json(value: Any) -> str:
    """`value` as indented JSON; numbers that are not finite become null."""
    return json.dumps(plain(value), indent=1, allow_nan=False, ensure_ascii=False)


def write(diagnosis: Diagnosis, folder: str | os.PathLike[str]) -> Path:
    """Write `result.json` and `arrays.npz` into `folder`, each whole or not at all; returns the folder."""
    path = Path(folder)
    create(path)
    staged = path / (ARRAYS + ".part")
    with staged.open("wb") as file:
        np.savez_compressed(file, **diagnosis.arrays)  # type: ignore[arg-type]
    os.replace(staged, path / ARRAYS)
    staged = path / (RESULT + ".part")
    staged.write_text(plain_json(diagnosis.to_json()) + "\n", encoding="utf-8")
    os.replace(staged, path / RESULT)
    return path


def read(folder: str | os.PathLike[str]) -> Diagnosis:
    """The diagnosis stored in `folder`; raises `InputError` where there is none."""
    path = Path(folder)
    if not (path / RESULT).is_file() or not (path / ARRAYS).is_file():
        raise fail(f"a folder with {RESULT} and {ARRAYS}", str(path), "name the folder of a finished diagnosis")
    with np.load(path / ARRAYS, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    return Diagnosis.from_json(json.loads((path / RESULT).read_text(encoding="utf-8")), arrays)
