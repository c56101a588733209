"""The data of a diagnosis: by name, from a file, as arrays, or ready."""

import os
from dataclasses import replace
from typing import Any

import numpy as np

from kernelregime._checks import counted, fail
from kernelregime.data import Dataset
from kernelregime.data.dataset import Source
from kernelregime.data.files import joined, single
from kernelregime.data.load import Choice, natural_scaling, prepared, read
from kernelregime.data.targets import STANDARDIZED
from kernelregime.diagnosis.settings import Settings

POINTS = 120  # train points: with ten classes the kernel of all outputs has 1,200 rows, decomposed in a second


def load(
    name: str | os.PathLike[str],
    *,
    points_train: int | None = None,
    points_test: int | None = None,
    scaling: str | None = None,
    target_coding: str | None = None,
    seed: int = 0,
    folder: str | os.PathLike[str] | None = None,
    flat: bool = True,
) -> Dataset:
    """`data.load` with the defaults of a diagnosis: about 120 balanced train and test points; rows on the sphere |x|² = d, but the
    features of a .csv table standardized, because their units are their own; and targets of mean 0 and variance 1 (classes coded
    "standardized-one-hot", numbers "standardized-regression"), so that neither their unit nor the outputs at initialization decide.

    Raises: `InputError` as `data.load` does.
    """
    choice = Choice(points_train, points_test, None, seed, scaling or "none", target_coding or STANDARDIZED, flat, most=POINTS)
    # what is to be scaled how depends on what is found, and large data are read once
    return _prepared(read(name, choice, folder), choice, scaling)


def understood(data: Any, settings: Settings) -> Dataset:
    """What `diagnose` was given as data: a `Dataset`, arrays (X, y) or (x_train, y_train, x_test, y_test), or a name or file.

    Raises: `InputError` for anything else, and for parts of a data set that do not fit one another or the loss.
    """
    coding = "one-hot" if settings.loss == "cross_entropy" else STANDARDIZED
    if isinstance(data, Dataset):
        dataset = data
    elif isinstance(data, (str, os.PathLike)):
        dataset = load(data, target_coding=coding)
    elif isinstance(data, (tuple, list)) and len(data) in (2, 4):
        pool = len(data) == 2  # a test set that is given is taken as it is
        choice = Choice(target_coding=coding, most=POINTS if pool else None, whole=not pool)
        dataset = _prepared(single("arrays", *data) if pool else joined("arrays", *data), choice, None)
    else:
        got = f"{len(data)} parts" if isinstance(data, (tuple, list)) else f"a {type(data).__name__}"
        wanted = "a data.Dataset, arrays (X, y) or (x_train, y_train, x_test, y_test), or the name of data or a file"
        raise fail(wanted, got, "see data.from_arrays and diagnosis.load")
    _check_parts(dataset)
    _check_targets(dataset, settings)
    return dataset


def _prepared(source: Source, choice: Choice, scaling: str | None) -> Dataset:
    return prepared(source, replace(choice, scaling=scaling or natural_scaling(source)))


def _check_parts(dataset: Dataset) -> None:
    """Raises `InputError` for a data set that was put together from parts of different lengths, or has NaN."""
    for part in ("train", "test"):
        x = getattr(dataset, f"x_{part}")
        for name in (f"y_{part}", f"labels_{part}"):
            value = getattr(dataset, name)
            if value is not None and len(value) != len(x):
                raise fail(f"{name} with {counted(len(x), 'row')}, as x_{part} has", f"{len(value)}", "give one row for every point")
        for name in (f"x_{part}", f"y_{part}"):
            if not np.isfinite(getattr(dataset, name)).all():
                raise fail(f"{name} to be finite", "NaN or infinity", "remove or impute them")
    for name in ("x", "y"):
        train, test = (np.shape(getattr(dataset, f"{name}_{part}")) for part in ("train", "test"))
        if train[1:] != test[1:] or len(train) < 2:
            raise fail(f"{name}_train (N, ...) and {name}_test (M, ...) alike", f"shapes {train} and {test}", "give both in one format")


def _check_targets(dataset: Dataset, settings: Settings) -> None:
    """Raises `InputError` for targets with nothing to learn, and for targets that cross-entropy cannot take."""
    y = dataset.y_train
    if not np.ptp(y, axis=0).any():
        raise fail("targets that differ between train points", "the same target for all", "give other targets")
    if settings.loss == "cross_entropy" and (y.shape[1] < 2 or (y < 0).any() or not np.allclose(y.sum(axis=1), 1)):
        raise fail("class probabilities as targets for cross_entropy", f"coding {dataset.target_coding}", 'use target coding "one-hot"')
