"""One folder per result: `result.json` and `arrays.npz`. A file that is not of this package is never written over."""

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from kernelregime._checks import InputError, fail
from kernelregime.results.marks import ours
from kernelregime.results.schema import SCHEMA, Diagnosis, plain

RESULT, ARRAYS, REPORT, CHECKPOINT = "result.json", "arrays.npz", "report.html", "checkpoint.npz"


def folder_for(
    folder: str | os.PathLike[str],
    *,
    files: tuple[str, ...] = (RESULT, ARRAYS, REPORT, CHECKPOINT),
    finished: str = RESULT,
    overwrite: bool = False,
) -> Path:
    """`folder` as a path, free for the `files` of one result, of which `finished` is the last one written.

    Free is a folder that is new or empty, or holds the checkpoint of a run that was cut short; with `overwrite` also one that holds
    these files from an earlier result. Whose a file is, its contents say and not its name.
    Raises: `InputError` for any other folder; nothing is written then.
    """
    path = Path(folder)
    held = _held(path) - {f"{name}.part" for name in files}
    foreign = sorted(name for name in held if name not in files or not ours(path / name))
    if foreign:
        raise _taken(path, f"{foreign[0]!r} in it, which is no file of an earlier result", "name another folder")
    if finished in held and not overwrite:
        raise _taken(path, f"{finished} of a finished result", "name another folder or give overwrite=True")
    if held and CHECKPOINT not in held and not overwrite:
        raise _taken(path, f"{min(held)!r} of an earlier result", "name another folder or give overwrite=True")
    return path


def _held(path: Path) -> set[str]:
    """The names in a folder; none where it does not exist."""
    if path.exists() and not path.is_dir():
        raise fail("an output folder", f"{path}, which is a file", "name a folder")
    try:
        return {p.name for p in path.iterdir()} if path.exists() else set()
    except OSError as error:
        raise fail("a readable folder", f"{path} ({error.strerror})", "name another folder") from error


def _taken(path: Path, holding: str, do: str) -> InputError:
    return fail("an output folder that is new or empty", f"{path} with {holding}", f"{do}; nothing was written")


@contextmanager
def created(folder: Path) -> Iterator[Path]:
    """`folder`, made with those above it; those that were new go again if an error leaves them empty.

    Raises: `InputError` where the folder cannot be made.
    """
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise fail("a folder that can be created", f"{folder} ({error.strerror})", "name another folder") from error
        yield folder
    except BaseException:
        for path in new:
            try:
                path.rmdir()
            except OSError:  # not empty, or never made
                continue
        raise


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """A file beside `path` to write to, which takes its place when all went well and is removed otherwise."""
    part = path.with_name(path.name + ".part")
    try:
        yield part
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def save_arrays(path: Path, arrays: Mapping[str, Any], *, schema: str = SCHEMA) -> None:
    """Write an .npz file in one go, with `schema` as the archive's comment."""
    with staged(path) as part:
        with part.open("wb") as file:
            np.savez_compressed(file, **arrays)
        with zipfile.ZipFile(part, "a") as archive:
            archive.comment = schema.encode()


def plain_json(value: Any) -> str:
    """`value` as indented JSON; numbers that are not finite become null."""
    return json.dumps(plain(value), indent=1, allow_nan=False, ensure_ascii=False)


def write(diagnosis: Diagnosis, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write `result.json` and `arrays.npz` into `folder`, each whole or not at all; returns the folder.

    Raises: `InputError` for a folder that is not free (see `folder_for`); nothing is written then.
    """
    path = folder_for(folder, overwrite=overwrite)
    with created(path):
        text = plain_json(diagnosis.to_json()) + "\n"
        save_arrays(path / ARRAYS, diagnosis.arrays)
        with staged(path / RESULT) as part:
            part.write_text(text, encoding="utf-8")
    return path


def read(folder: str | os.PathLike[str]) -> Diagnosis:
    """The diagnosis stored in `folder`; raises `InputError` where there is none."""
    path = Path(folder)
    if not (path / RESULT).is_file() or not (path / ARRAYS).is_file():
        raise fail(f"a folder with {RESULT} and {ARRAYS}", str(path), "name the folder of a finished diagnosis")
    with np.load(path / ARRAYS, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    return Diagnosis.from_json(json.loads((path / RESULT).read_text(encoding="utf-8")), arrays)
