"""From a name, a file or arrays to a data set."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from kernelregime._checks import fail, one_of
from kernelregime.data.dataset import Dataset, Points, Source, fingerprint
from kernelregime.data.download import obtain
from kernelregime.data.files import READERS, TARGETS, joined, single
from kernelregime.data.payload import named_folder
from kernelregime.data.published import IMAGES, TEXTS, Images, spelled
from kernelregime.data.scaling import SCALINGS
from kernelregime.data.split import split, subset
from kernelregime.data.targets import CODINGS, REGRESSIONS, Targets, chosen, understand
from kernelregime.data.toys import FIXED, TOYS, teacher


def names(folder: str | os.PathLike[str] | None = None) -> tuple[str, ...]:
    """The names `load` knows: the data sets that need no file, those that others publish, and the .npz and .csv files (without their
    ending) of `folder`, or else of the folder that the environment variable KERNELREGIME_DATA names.
    """
    place = named_folder(folder)
    known = (*FIXED, *TOYS, *IMAGES)
    return (*known, *sorted({path.stem for path in place.iterdir() if path.suffix in READERS} - {*known} if place else ()))


@dataclass(frozen=True)
class Choice:
    """What is taken from a source, and how: the arguments of `load`.

    `most`: train and test points at the most where `points_train` and `points_test` do not say. `whole`: without them, all points of a
    source with a split, in their order.
    """

    points_train: int | None = None
    points_test: int | None = None
    classes: int | Sequence[Any] | None = None
    seed: int = 0
    scaling: str = "standardize"
    target_coding: str | None = None
    flat: bool = True
    most: int | None = None
    whole: bool = False

    def __post_init__(self) -> None:
        one_of("scaling", self.scaling, SCALINGS)
        if self.target_coding is not None:
            one_of("target_coding", self.target_coding, CODINGS)
        if isinstance(self.seed, bool) or not isinstance(self.seed, (int, np.integer)) or self.seed < 0:
            raise fail("seed to be an integer of at least 0", repr(self.seed), "give one, for example 0")


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
    flat: bool = True,
) -> Dataset:
    """A data set by name or from a file, split, scaled and coded.

    `name_or_path`: "digits" (1797 handwritten digits of scikit-learn, 8 x 8 pixels); "gaussian" or "sphere" (toy data: x normal, or
    uniform on |x|² = d, with d = 16 and the teacher t(x) = z₁(1 + z₂)/√2, z_k = w_k·x on two random orthonormal directions; the
    classes are the sign of t, for regression y = t); "mnist", "fashion-mnist" or "cifar10" (images in [0, 1] with their official train
    and test sets; LeCun, Cortes & Burges 1998; Xiao, Rasul & Vollgraf 2017; Krizhevsky 2009); the path of a .npz or .csv file, or the
    name of one in `folder`.

    `folder`: where files are; without it, the folder that the environment variable KERNELREGIME_DATA names, if it is set. Images are read
    from their official files there, or else from mnist.npz, mnist_subset.npz and the like, which then name the data set. Without
    `folder` they are downloaded if need be, once, into the user's cache folder. Official files are checked by their SHA-256.

    .npz: `x` (or `images`, `data`, `features`, `inputs`) of shape (N, ...) and `y` (or `labels`, `targets`, `label`, `target`), with row
    numbers `train_idx` and `test_idx` if there is a split; or `x_train`, `y_train`, `x_test`, `y_test` (or `train_images` and the like).
    Bytes (uint8) are divided by 255.
    .csv: commas, semicolons or tabs between numbers in every column but the last, which holds the label or target; a first line of names
    is skipped.

    `flat`: points as rows (N, d); with False they keep the shape they have in the file, and images are (N, height, width, channels).

    Targets are classes if they are names, one-hot rows, or whole numbers of at most 20 different values; otherwise (and with a coding
    for regression always) they are regression. Asking for a class coding makes any whole numbers classes. What is decided unasked of whole
    numbers that may be meant otherwise (more values; such as -1 and 1, which do not count from 0 or 1) is said in `Dataset.notes`.

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
    one column for two classes. For regression: "regression" (default), the numbers themselves; "standardized-regression": less their
    mean on train and divided by their deviation there, column by column. "standardized": whichever of "standardized-one-hot" and
    "standardized-regression" fits the targets.

    Returns: `Dataset`. Raises: `InputError` for an unknown name (with the nearest), a file without points or labels, NaN, shapes that do
    not fit, one class only, more points than there are, official files that are damaged, and a download that fails.
    """
    choice = Choice(points_train, points_test, classes, seed, scaling, target_coding, flat)
    return prepared(read(name_or_path, choice, folder), choice)


def read(name_or_path: str | os.PathLike[str], choice: Choice, folder: str | os.PathLike[str] | None, *, labelled: bool = True) -> Source:
    """The data set of this name, or the file, read whole; toys are drawn as `choice` asks. `labelled=False`: a table of points only."""
    name = os.fspath(name_or_path)
    if name in TOYS:
        train, test = (choice.most if points is None else points for points in (choice.points_train, choice.points_test))
        return teacher(name, train=train, test=test, seed=int(choice.seed), regression=choice.target_coding in REGRESSIONS)
    if name in FIXED:
        return FIXED[name]()
    if spelled(name) in IMAGES:
        return _images(IMAGES[spelled(name)], folder)
    if spelled(name) in TEXTS:
        raise fail("a data set of points", f"{name!r}, which is text", f"use data.words({spelled(name)!r}, vocabulary=...) for its words")
    path = _path(name, folder)
    return READERS[path.suffix](path, labelled=labelled)


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
    flat: bool = True,
) -> Dataset:
    """A data set from arrays: points (N, ...) with labels (N,) or targets (N, O).

    With a test set both are taken as they are, in their order, unless `points_train` or `points_test` asks for fewer. Without, the points
    are split as in `load`, whose other arguments, rules and errors hold here too.
    """
    if (x_test is None) != (y_test is None):
        got = "x_test alone" if y_test is None else "y_test alone"
        raise fail("both x_test and y_test, or neither", got, "give the other one")
    choice = Choice(points_train, points_test, classes, seed, scaling, target_coding, flat, whole=x_test is not None)
    return prepared(single(name, x_train, y_train) if x_test is None else joined(name, x_train, y_train, x_test, y_test), choice)


def points(
    name_or_path: str | os.PathLike[str],
    *,
    count: int | None = None,
    most: int | None = None,
    seed: int = 0,
    scaling: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    labelled: bool = True,
) -> Points:
    """Points of a data set or file without the targets, which need not be there; of the train part, where there is a split.

    `count`: how many, a multiple of the number of classes and the same number of each (default: as many as there are, and no more than
    `most`). Sorted by class where there are any. `labelled=False`: the last column of a .csv file is a feature like the others.
    `scaling`: None is "standardize" for a table (.csv), whose features may have units of their own, and "unit-norm" for all else.
    `name_or_path`, `seed`, `folder` and errors: as in `load`.
    """
    choice = Choice(count, 1, seed=seed, scaling=scaling or "none", most=most)
    source = read(name_or_path, choice, folder, labelled=labelled)
    targets = None if source.targets is None else understand(source.targets, None)
    classes: tuple[int | str, ...] = ()
    groups = np.zeros(len(source.x), dtype=np.int64)
    if targets is not None and targets.labels is not None and len(targets.classes) > 1:
        groups, classes = targets.labels, targets.classes
    rows = subset(groups, source.train, classes=classes, count=count, most=most, seed=int(seed))
    rows = rows[np.argsort(groups[rows], kind="stable")]
    x = source.points(rows)
    scaled = SCALINGS[scaling or natural_scaling(source)](x, x)[0]
    return Points(scaled, groups[rows] if classes else None, source.name, classes, source.shape)


def natural_scaling(source: Source) -> str:
    """The scaling where none is asked for: of a table, whose features may have units of their own, each is standardized."""
    return "standardize" if source.table else "unit-norm"


def prepared(source: Source, choice: Choice) -> Dataset:
    """The data set that `choice` makes of a source."""
    if source.targets is None:
        got = f"only {', '.join(source.names)}" if source.names[1:] else "points alone"
        do = f"give {TARGETS[0]} (or {', '.join(TARGETS[1:])}), one for every point"
        raise fail(f"targets beside the points of {source.name}", got, do)
    targets, rows = chosen(understand(source.targets, choice.target_coding), choice.classes)
    train, test = _rows(source, targets, rows, choice)
    x_train, x_test = SCALINGS[choice.scaling](source.points(train), source.points(test))
    if not choice.flat:
        x_train, x_test = source.unflattened(x_train), source.unflattened(x_test)
    coded = targets.coded(train, test)
    arrays: dict[str, Any] = {
        "x_train": x_train,
        "y_train": coded.train,
        "x_test": x_test,
        "y_test": coded.test,
        "labels_train": None if targets.labels is None else targets.labels[train],
        "labels_test": None if targets.labels is None else targets.labels[test],
    }
    return Dataset(
        **arrays,
        name=source.name,
        classes=targets.classes,
        scaling=choice.scaling,
        target_coding=targets.coding,
        fingerprint=fingerprint(**arrays),
        target_mean=coded.mean,
        target_deviation=coded.deviation,
        notes=targets.notes,
    )


def _rows(source: Source, targets: Targets, rows: np.ndarray, choice: Choice) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of train and of test."""
    groups = np.zeros(len(source.x), dtype=np.int64) if targets.labels is None else targets.labels

    def cut(train: int | None, test: int | None) -> tuple[np.ndarray, np.ndarray]:
        return split(
            groups,
            rows,
            classes=targets.classes,
            train=source.train,
            test=source.test,
            points_train=train,
            points_test=test,
            seed=int(choice.seed),
            whole=choice.whole,
        )

    train, test = choice.points_train, choice.points_test
    if choice.most is None or (train is not None and test is not None):
        return cut(train, test)
    number, held = max(1, len(targets.classes)), [len(part) for part in cut(train, test)]
    largest = max(number, min(choice.most, held[0]) // number * number)
    return cut(largest if train is None else train, min(choice.most, held[1]) if test is None else test)


def _images(images: Images, folder: str | os.PathLike[str] | None) -> Source:
    """A published set of images, or the file that stands for it."""
    found = obtain(images.published, folder)
    if isinstance(found, Path):
        source = replace(READERS[found.suffix](found), table=False)
        return replace(source, shape=images.shape) if source.x.shape[1] == math.prod(images.shape) else source
    x, labels, train = images.read(found)
    return Source(images.published.name, x, labels, np.arange(train), np.arange(train, len(x)), images.shape)


def _path(name: str, folder: str | os.PathLike[str] | None) -> Path:
    """The file meant by `name`, by itself or in a folder that the user names, there with or without its ending."""
    place = named_folder(folder)
    inside = [place / name, *(place / f"{name}{ending}" for ending in READERS)] if place else []
    places = [*inside, Path(name)] if folder is not None else [Path(name), *inside]
    for path in places:
        if path.suffix in READERS and path.is_file():
            return path
    suffix = Path(name).suffix
    if suffix in READERS:
        raise fail(f"an existing {suffix} file", name, "check the path")
    if any(path.is_file() for path in places):
        raise fail(f"a file ending in {' or '.join(READERS)}", name, "convert it, or use data.from_arrays")
    one_of("data", name, names(folder))
    raise AssertionError(name)  # one_of raised, or the name was found above
