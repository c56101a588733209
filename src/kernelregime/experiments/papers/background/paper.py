"""The paper, and what its experiments share: real data in parts that do not overlap."""

from functools import lru_cache

import numpy as np

from kernelregime import data
from kernelregime._checks import fail
from kernelregime.results import Paper

PAPER = Paper(
    "background",
    "Analyzing Training Dynamics of Deep Neural Networks: Insights and Limitations of the Neural Tangent Kernel Regime",
    "Seleznova, doctoral thesis, LMU Munich 2024, chapter 2",
)
ORDER = 2024  # seed of the order of the points: one for all cells, so that their parts do not overlap


@lru_cache(maxsize=2)
def _points(name: str) -> tuple[np.ndarray, np.ndarray]:
    found = data.load(name, scaling="unit-norm")
    assert found.labels_train is not None
    assert found.labels_test is not None
    x = np.concatenate([found.x_train, found.x_test])
    labels = np.concatenate([found.labels_train, found.labels_test])
    order = np.random.default_rng(ORDER).permutation(len(x))
    return x[order], labels[order]


def part(name: str, number: int, size: int, *, classes: tuple[int, int] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Part `number` of a data set, of `size` points: rows with |x|² = d, and targets -1 and 1.

    Targets: the first class or the second of `classes`, as many of each; without them odd or even digits.
    """
    x, labels = _points(name)
    if classes is None:
        rows = np.arange(number * size, (number + 1) * size)
        y = np.where(labels % 2 == 0, 1.0, -1.0)
    else:
        half = size // 2
        chosen = [np.flatnonzero(labels == label)[number * half : (number + 1) * half] for label in classes]
        rows = np.stack(chosen, axis=1).ravel()  # in turn, so that the first of them are balanced too
        y = np.where(labels == classes[1], 1.0, -1.0)
    if len(rows) < size or rows[-1] >= len(x):
        raise fail(f"at least {(number + 1) * size} points for part {number} of size {size}", f"{len(x)} of {name}", "take a smaller scale")
    return x[rows], y[rows]
