"""A data set that is ready to train on, and the source it is cut from."""

import hashlib
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64, Int64, UInt8


@dataclass(frozen=True)
class Source:
    """Points (N, d) with their targets as they were found: bytes stay bytes, which stand for numbers in [0, 1] (an eighth of the memory).

    `targets`: None where there are points only. `train`, `test`: row numbers where the source comes with a split. `shape`: that of one
    point before it became a row of d numbers. `table`: whether the points are rows of a table, whose columns may have units of their own.
    `names`: of the arrays in the file, where it holds several.
    """

    name: str
    x: Float64[np.ndarray, "N d"] | UInt8[np.ndarray, "N d"]
    targets: np.ndarray | None
    train: np.ndarray | None = None
    test: np.ndarray | None = None
    shape: tuple[int, ...] | None = None
    table: bool = False
    names: tuple[str, ...] = ()

    def points(self, rows: np.ndarray) -> Float64[np.ndarray, "n d"]:
        """These rows as numbers."""
        x = self.x[rows]
        return np.divide(x, 255, dtype=np.float64) if x.dtype == np.uint8 else x

    def unflattened(self, x: np.ndarray) -> np.ndarray:
        """Rows (n, d) in the shape their points had."""
        return x if self.shape is None else x.reshape(len(x), *self.shape)


@dataclass(frozen=True)
class Dataset:
    """Train and test points with coded targets.

    `x_train` (N, d), `x_test` (M, d) after scaling (with `flat=False` (N, ...) and (M, ...), images (N, height, width, channels));
    `y_train` (N, O), `y_test` (M, O) coded targets; `labels_train` (N,) and `labels_test` (M,): positions in `classes`, or None for
    regression (and then `classes` is empty). `scaling`, `target_coding`: as in `load`.
    `fingerprint`: SHA-256 of all the arrays with their names, types and shapes; equal data have equal fingerprints.
    `target_mean`, `target_deviation`: of standardized regression, a number for each output: y · deviation + mean are the targets as
    they were given (empty for other codings). `notes`: what was decided about the data that the user may want otherwise, in words.
    """

    x_train: Float64[np.ndarray, "N *d"] = field(repr=False)
    y_train: Float64[np.ndarray, "N O"] = field(repr=False)
    x_test: Float64[np.ndarray, "M *d"] = field(repr=False)
    y_test: Float64[np.ndarray, "M O"] = field(repr=False)
    labels_train: Int64[np.ndarray, "N"] | None = field(repr=False)
    labels_test: Int64[np.ndarray, "M"] | None = field(repr=False)
    name: str
    classes: tuple[int | str, ...]
    scaling: str
    target_coding: str
    fingerprint: str
    target_mean: tuple[float, ...] = ()
    target_deviation: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Points:
    """Points without targets: `x` (N, d) after scaling, and `labels` (N,), positions in `classes`, where there are classes (else None).

    `shape`: that of one point before it became a row, as of an image (height, width, channels).
    """

    x: Float64[np.ndarray, "N d"] = field(repr=False)
    labels: Int64[np.ndarray, "N"] | None = field(repr=False)
    name: str
    classes: tuple[int | str, ...]
    shape: tuple[int, ...] | None = None


def fingerprint(**arrays: np.ndarray | None) -> str:
    """SHA-256 of arrays with their names, types and shapes (in little-endian order, on every machine the same)."""
    digest = hashlib.sha256()
    for name, value in sorted(arrays.items()):
        if value is None:
            digest.update(f"{name}:none;".encode())
            continue
        portable = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<"))
        digest.update(f"{name}:{portable.dtype.str}:{portable.shape};".encode())
        digest.update(portable.data if portable.size else b"")
    return digest.hexdigest()
