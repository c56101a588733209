"""Data from files: .npz and .csv."""

import csv
import math
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kernelregime._checks import array, counted, fail
from kernelregime.data.dataset import Source

POINTS = ("x", "images", "data", "features", "inputs")
SEPARATORS = (",", ";", "\t")
TARGETS = ("y", "labels", "targets", "label", "target")


def points(name: str, value: Any) -> np.ndarray:
    """Points (N, ...) as rows (N, d): bytes (uint8) as they are, all else as float64."""
    x = array(name, value, finite=False)
    if x.ndim < 2:
        raise fail(f"{name} of shape (N, features) or (N, height, width, ...)", f"shape {x.shape}", "give one row for every point")
    rows = np.ascontiguousarray(x.reshape(len(x), -1), dtype=np.uint8 if x.dtype == np.uint8 else np.float64)
    _check_finite(name, rows)
    return rows


def _check_finite(name: str, rows: np.ndarray) -> None:
    """Raises `InputError` that names the first row with a NaN or an infinity."""
    bad = np.flatnonzero(~np.isfinite(rows).reshape(len(rows), -1).all(axis=1))
    if bad.size:
        others = f" and {bad.size - 1} more" if bad.size > 1 else ""
        raise fail(f"{name} to be finite", f"NaN or infinity in row {bad[0]} (counted from 0){others}", "remove or impute them")


def joined(name: str, x_train: Any, y_train: Any, x_test: Any, y_test: Any, *, where: str = "") -> Source:
    """One source out of a train and a test set; `where` as in `single`."""
    if (np.asarray(x_train).dtype == np.uint8) != (np.asarray(x_test).dtype == np.uint8):
        got = f"{np.asarray(x_train).dtype} and {np.asarray(x_test).dtype}"
        raise fail("x_train and x_test in one type (uint8 is divided by 255)", got, "convert both to float64")
    train, test = points(f"x_train{where}", x_train), points(f"x_test{where}", x_test)
    if train.shape[1] != test.shape[1]:
        raise fail(f"x_test with {counted(train.shape[1], 'feature')}, as x_train has", f"{test.shape[1]}", "give both in the same format")
    y, y_other = _targets(f"y_train{where}", y_train, len(train)), _targets(f"y_test{where}", y_test, len(test))
    if y.shape[1:] != y_other.shape[1:] or (y.dtype.kind in "USO") != (y_other.dtype.kind in "USO"):
        got = f"{y.dtype} {y.shape} and {y_other.dtype} {y_other.shape}"
        raise fail("y_train and y_test of one type and width", got, "give both in the same format")
    count = len(train)
    both = np.concatenate([train, test])
    shape = np.shape(x_train)[1:]
    return Source(name, both, np.concatenate([y, y_other]), np.arange(count), np.arange(count, len(both)), shape)


def single(name: str, x: Any, y: Any, train: np.ndarray | None = None, test: np.ndarray | None = None, *, where: str = "") -> Source:
    """One source out of one set of points, with their targets and the rows of train and test where they are given.

    `where`: what stands behind x and y in messages, as the name of a file.
    """
    rows = points(f"x{where}", x)
    return Source(name, rows, None if y is None else _targets(f"y{where}", y, len(rows)), train, test, np.shape(x)[1:])


def _targets(name: str, value: Any, rows: int) -> np.ndarray:
    y = np.asarray(value)
    if y.dtype.kind not in "USObiuf":
        raise fail(f"{name} to hold labels or numbers", f"dtype {y.dtype}", "convert it")
    if y.ndim == 0 or len(y) != rows:
        raise fail(
            f"{name} with {counted(rows, 'row')}, one for every point", f"shape {y.shape}", "give one label or target for every point"
        )
    if y.dtype.kind == "f":
        _check_finite(name, y)
    return y


def read_npz(path: Path, *, labelled: bool = True) -> Source:
    """A .npz file with x and y (by any of `POINTS` and `TARGETS`; without y: points alone), or with each of these for train and test."""
    where = f" in {path.name}"
    try:
        with np.load(path, allow_pickle=False) as stored:
            held = {key.lower(): stored[key] for key in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        reason = str(error).split("\n")[0][:100]
        raise fail("an .npz file of plain arrays", f"{path.name} ({reason})", "write it with numpy.savez and no object arrays") from None
    if any(key in held for key in _of("train", POINTS)):
        wanted = [_of(part, names) for part in ("train", "test") for names in (POINTS, TARGETS)]
        return joined(path.stem, *(_named(path, held, keys) for keys in wanted), where=where)
    x, y = _named(path, held, POINTS), next((held[key] for key in TARGETS if labelled and key in held), None)
    if "train_idx" not in held and "test_idx" not in held:
        return replace(single(path.stem, x, y, where=where), names=tuple(held))
    train, test = (_index(key, _named(path, held, (key,)), len(x)) for key in ("train_idx", "test_idx"))
    common = int(np.isin(train, test).sum())
    if common:
        raise fail("train_idx and test_idx without a common row", f"{common} common", "keep the test points out of train")
    return single(path.stem, x, y, train, test, where=where)


def _of(part: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """The names of points or targets of train or test: x_train or train_x, and so on."""
    return tuple(key for name in names for key in (f"{name}_{part}", f"{part}_{name}"))


def _named(path: Path, held: Mapping[str, np.ndarray], keys: tuple[str, ...]) -> np.ndarray:
    for key in keys:
        if key in held:
            return held[key]
    others = f" (or {', '.join(map(repr, keys[1:]))})" if keys[1:] else ""
    raise fail(f"{keys[0]!r}{others} in {path.name}", f"only {', '.join(sorted(held)) or 'nothing'}", "add it with numpy.savez")


def _index(name: str, value: np.ndarray, rows: int) -> np.ndarray:
    if value.ndim != 1 or value.dtype.kind not in "iu" or value.size == 0 or value.min() < 0 or value.max() >= rows:
        got = f"{value.dtype} of shape {value.shape}"
        raise fail(f"{name} to be row numbers between 0 and {rows - 1}", got, "give integers, at least one")
    if np.unique(value).size != value.size:
        raise fail(f"{name} to name every row once", "repeated rows", "drop the repetitions")
    return value.astype(np.int64)


def read_csv(path: Path, *, labelled: bool = True) -> Source:
    """A table separated by commas, semicolons or tabs: numbers, with the label or target in the last column (`labelled=False`: numbers
    only); a first line of names is skipped.
    """
    numbers = "numbers in every column but the last" if labelled else "numbers in every column"
    try:
        separator = _separator(path)
        width, skip = _layout(path, separator, 1 + labelled)
        row = np.dtype([("x", np.float64, (width - labelled,)), *[("y", object)] * labelled])
        table = np.loadtxt(path, row, comments=None, delimiter=separator, skiprows=skip, quotechar='"', ndmin=1, encoding="utf-8-sig")
        fault = "" if np.isfinite(table["x"]).all() else _fault(path, separator, skip, width - labelled)
    except (OSError, UnicodeDecodeError) as error:
        raise fail("a readable text file in UTF-8", f"{path.name} ({type(error).__name__})", "save it as CSV in UTF-8") from None
    except ValueError as error:
        if type(error) is not ValueError:
            raise
        fault = _fault(path, separator, skip, width - labelled) or str(error).split(";")[0].rstrip(".")
    if fault:
        raise fail(f"a table of numbers in {path.name}", fault, f"fill in or drop what is missing, {numbers}")
    y = _cells(path, separator, skip, width, table["y"]) if labelled else None
    return replace(single(path.stem, table["x"], y), table=True)


def _separator(path: Path) -> str:
    """The separator that finds the most numbers in the second row (a first may hold names); a comma where none is better."""
    rows = {}
    for separator in SEPARATORS:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows[separator] = _first_rows(file, separator)[1]
    numbers = {separator: sum(map(_is_number, row)) for separator, row in rows.items()}
    found = max(SEPARATORS, key=lambda separator: numbers[separator])
    if sum(_is_number(cell.replace(",", ".")) for cell in rows[";"]) > max(numbers.values()):
        do = "save it with decimal points"
        raise fail(f"numbers with decimal points in {path.name}", "decimal commas between semicolons", do)
    return found


def _layout(path: Path, separator: str, least: int) -> tuple[int, int]:
    """The number of columns (at least `least`), and of lines to skip before the first row."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        first, second, skip = _first_rows(file, separator)
    if len(first) < least:
        raise fail(
            "two or more columns, the target in the last",
            f"{len(first)} in {path.name}",
            "separate the columns by commas, semicolons or tabs",
        )
    return len(first), skip if _is_header(first, second) else skip - 1


def _cells(path: Path, separator: str, skip: int, width: int, column: np.ndarray) -> np.ndarray:
    """The last column: numbers if all of its cells are, else names."""
    cells = [str(cell).strip() for cell in column]
    numbers = all(_is_number(cell) for cell in cells if cell)
    found = np.asarray([float(cell or "nan") for cell in cells] if numbers else cells)
    if not (np.isfinite(found).all() if numbers else all(cells)):
        fault = _fault(path, separator, skip, width if numbers else width - 1)
        raise fail(f"a label or target in every row of {path.name}", fault, "fill in or drop those rows")
    return found


def _fault(path: Path, separator: str, skip: int, numbers: int) -> str:
    """What is wrong, and in which line, with the first row after `skip` lines that is of another length than the first, or has an empty
    cell, or among its first `numbers` cells one that is no finite number; empty where nothing is.
    """
    width = 0
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file, delimiter=separator)
        for row in rows:
            if rows.line_num <= skip or not any(cell.strip() for cell in row):
                continue
            width = width or len(row)
            if len(row) != width:
                return f"{counted(len(row), 'column')} in line {rows.line_num}, where the first row has {width}"
            for column, cell in enumerate(row, 1):
                if not cell.strip():
                    return f"an empty cell in line {rows.line_num}, column {column}"
                if column <= numbers and not (_is_number(cell) and math.isfinite(float(cell))):
                    return f"{cell.strip()!r} in line {rows.line_num}, column {column}"
    return ""


def _first_rows(file: Any, separator: str) -> tuple[list[str], list[str], int]:
    """The first two rows that are not empty, and the number of lines up to the end of the first."""
    reader = csv.reader(file, delimiter=separator)
    found: list[tuple[list[str], int]] = []
    for row in reader:
        if any(cell.strip() for cell in row):
            found.append((row, reader.line_num))
        if len(found) == 2:
            break
    if not found:
        raise fail("a table with at least one row", "an empty file", "give data")
    return found[0][0], found[-1][0], found[0][1]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_header(first: list[str], second: list[str]) -> bool:
    """Names where the next row has numbers; a name over a column of names cannot be told from a name in it."""
    return any(not _is_number(name) and _is_number(cell) for name, cell in zip(first, second))


READERS: dict[str, Callable[..., Source]] = {".npz": read_npz, ".csv": read_csv}
