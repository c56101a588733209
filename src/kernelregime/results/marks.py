"""How a file of this package is told from anyone else's: each carries a mark, whatever its name."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

MAKER = "kernelregime"
_HEAD = 8192  # bytes in which pages and figures name their maker


def ours(path: Path) -> bool:
    """Whether this package wrote the file: a schema of ours in JSON and archives, the maker's name in pages and figures."""
    test = _TESTS.get(path.suffix.lower())
    try:
        return test is not None and path.is_file() and test(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile):
        return False


def _json(path: Path) -> bool:
    return _schema(path.read_text(encoding="utf-8"))


def _archive(path: Path) -> bool:
    """The schema is the archive's comment, or (a checkpoint) in the array `head`."""
    with zipfile.ZipFile(path) as archive:
        if archive.comment.startswith(f"{MAKER}.".encode()):
            return True
    with np.load(path, allow_pickle=False) as stored:
        return _schema(str(stored["head"]))


def _schema(text: str) -> bool:
    return str(json.loads(text)["schema"]).startswith(f"{MAKER}.")


def _contains(*marks: bytes) -> Callable[[Path], bool]:
    def test(path: Path) -> bool:
        with path.open("rb") as file:
            head = file.read(_HEAD)
        return any(mark in head for mark in marks)

    return test


_TESTS: dict[str, Callable[[Path], bool]] = {
    ".json": _json,
    ".npz": _archive,
    ".html": _contains(f'<meta name="generator" content="{MAKER}">'.encode()),
    ".svg": _contains(f"<dc:title>{MAKER}</dc:title>".encode()),
    ".png": _contains(f"Software\0{MAKER}".encode()),
}
