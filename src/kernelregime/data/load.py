"""From a name, a file or arrays to a data set."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kernelregime._checks import fail, from_registry, one_of
from kernelregime.data.dataset import Dataset, Source, fingerprint
from kernelregime.data.files import READERS, joined, single
from kernelregime.data.scaling import SCALINGS
from kernelregime.data.split import split
from kernelregime.data.targets import CODINGS, REGRESSION, chosen, understand
from kernelregime.data.toys import FIXED, TOYS, teacher


def names(folder: str | os.PathLike[str] | None = None) -> tuple[str, ...]:
    """The names `load` knows: the data sets that need no file, and the .npz and .csv files of `folder` (without their ending)."""
    found = {path.stem for path in _folder(folder).iterdir() if path.suffix in READERS} if folder is not None else set()
    return (*FIXED, *TOYS, *sorted(found - {*FIXED, *TOYS}))


def load(
    name_or_path: str | os.PathLike[str],
    *,
    points_train: int | None = None,
    points_test: int | None = None,
    classes: int | Sequence[Any] | None = None,
    seed: int = 0,
    scaling: str = "standardize",
    target_coding: str | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> Dataset:
    """A data set by name or from a file, split, scaled and coded.

    `name_or_path`: "digits" (1797 handwritten digits of scikit-learn, 8 x 8 pixels); "gaussian" or "sphere" (toy data: x normal, or
    uniform on |x|² = d, with d = 16 and the teacher t(x) = z₁(1 + z₂)/√2, z_k = w_k·x on two random orthonormal directions; the
    classes are the sign of t, for regression y = t); the path of a .npz or .csv file, or the name of one in `folder`.

    .npz: `x` (or `images`, `data`) of shape (N, ...) and `y` (or `labels`, `targets`), with row numbers `train_idx` and `test_idx` if
    there is a split; or `x_train`, `y_train`, `x_test`, `y_test`. Points are flattened; bytes (uint8) are divided by 255.
    .csv: commas, numbers in every column but the last, which holds the label or target; a first line of names is skipped.

    Targets are classes if they are names, one-hot rows, or whole numbers of at most 20 different values; otherwise (and with
    `target_coding="regression"` always) they are regression. Asking for a class coding makes any whole numbers classes.

    `points_train` N: a multiple of the number of classes, the same number of each (default: the largest balanced train set; 256 toy
    points). `points_test` M: as equal as can be (default: the whole test set; without a split, of each class a fifth of the smallest;
    256 toy points). `classes`: the first k of them (an integer) or their names. `seed`: which points, and the toys' directions; a larger
    N holds the smaller ones.

    `scaling`, fitted on train, d features, and what it makes of |x|²/d (the first layer's variance is q = σ_w² |x|²/d + σ_b²):
    "standardize": every feature of mean 0 and deviation 1; features that are constant on train become 0; |x|²/d is on average the
    fraction of features that are not constant. "unit-variance": every feature of mean 0, all divided by one number; |x|²/d is 1 on average.
    "unit-norm": every row scaled to |x|²/d = 1, train and test, not centred; q is σ_w² + σ_b² for every point. "none": as it is.

    `target_coding`, with C classes: "centred-one-hot" (default for classes): 1 - 1/C and -1/C; "standardized-one-hot":
    the same times C/√(C-1), so that every column has mean 0 and variance 1 on balanced classes; "one-hot"; "plus-minus-one": -1 and 1,
    one column for two classes; "regression": the numbers themselves.

    Returns: `Dataset`. Raises: `InputError` for an unknown name (with the nearest), a file without points or labels, NaN, shapes that do
    not fit, one class only, and more points than there are.
    """
    one_of("scaling", scaling, SCALINGS)
    if target_coding is not None:
        one_of("target_coding", target_coding, CODINGS)
    name = os.fspath(name_or_path)
    if name in TOYS:
        source = teacher(name, train=points_train, test=points_test, seed=_seed(seed), regression=target_coding == REGRESSION)
    elif name in FIXED:
        source = FIXED[name]()
    else:
        path = _path(name, folder)
        source = READERS[path.suffix](path)
    return _prepare(source, points_train, points_test, classes, seed, scaling, target_coding)


def from_arrays(
    x_train: Any,
    y_train: Any,
    x_test: Any = None,
    y_test: Any = None,
    *,
    points_train: int | None = None,
    points_test: int | None = None,
    classes: int | Sequence[Any] | None = None,
    seed: int = 0,
    scaling: str = "standardize",
    target_coding: str | None = None,
    name: str = "arrays",
) -> Dataset:
    """A data set from arrays: points (N, ...) with labels (N,) or targets (N, O).

    With a test set both are taken as they are, in their order, unless `points_train` or `points_test` asks for fewer. Without, the points
    are split as in `load`, whose other arguments, rules and errors hold here too.
    """
    if (x_test is None) != (y_test is None):
        got = "x_test alone" if y_test is None else "y_test alone"
        raise fail("both x_test and y_test, or neither", got, "give the other one")
    source = single(name, x_train, y_train) if x_test is None else joined(name, x_train, y_train, x_test, y_test)
    return _prepare(source, points_train, points_test, classes, seed, scaling, target_coding, whole=x_test is not None)


def _prepare(
    source: Source,
    points_train: int | None,
    points_test: int | None,
    classes: int | Sequence[Any] | None,
    seed: int,
    scaling: str,
    target_coding: str | None,
    *,
    whole: bool = False,
) -> Dataset:
    scale = from_registry("scaling", scaling, SCALINGS)
    targets, rows = chosen(understand(source.targets, target_coding), classes)
    groups = np.zeros(len(source.x), dtype=np.int64) if targets.labels is None else targets.labels
    train, test = split(
        groups,
        rows,
        classes=targets.classes,
        train=source.train,
        test=source.test,
        points_train=points_train,
        points_test=points_test,
        seed=_seed(seed),
        whole=whole,
    )
    x_train, x_test = scale(source.x[train], source.x[test])
    labels = (None, None) if targets.labels is None else (targets.labels[train], targets.labels[test])
    arrays = {
        "x_train": x_train,
        "y_train": targets.coded(train),
        "x_test": x_test,
        "y_test": targets.coded(test),
        "labels_train": labels[0],
        "labels_test": labels[1],
    }
    return Dataset(
        **arrays,
        name=source.name,
        classes=targets.classes,
        scaling=scaling,
        target_coding=targets.coding,
        fingerprint=fingerprint(**arrays),
    )


def _seed(seed: int) -> int:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise fail("seed to be an integer of at least 0", repr(seed), "give one, for example 0")
    return int(seed)


def _folder(folder: str | os.PathLike[str]) -> Path:
    path = Path(folder)
    if not path.is_dir():
        raise fail("folder to be a folder", str(path), "name an existing folder")
    return path


def _path(name: str, folder: str | os.PathLike[str] | None) -> Path:
    """The file meant by `name`, by itself or in `folder`, with or without its ending."""
    places = [Path(name)] if folder is None else [_folder(folder) / name, Path(name)]
    for place in places:
        if place.suffix in READERS and place.is_file():
            return place
        for ending in READERS if folder is not None else ():
            with_ending = place.with_name(place.name + ending)
            if with_ending.is_file():
                return with_ending
    suffix = Path(name).suffix
    if suffix in READERS:
        raise fail(f"an existing {suffix} file", name, "check the path")
    if any(place.is_file() for place in places):
        raise fail(f"a file ending in {' or '.join(READERS)}", name, "convert it, or use data.from_arrays")
    known = names(folder)
    one_of("data", name, known)
    raise AssertionError(name)  # one_of raised, or the name was found above
