"""Data that need no file: the handwritten digits of scikit-learn, and random points with a known teacher."""

from collections.abc import Callable

import numpy as np

from kernelregime._checks import integer
from kernelregime.data.dataset import Source

INPUTS = 16  # features of the random points
POINTS = 256  # of train and of test, where nothing is asked


def digits() -> Source:
    """1797 handwritten digits of 8 x 8 pixels in [0, 1], ten classes (UCI, as shipped by scikit-learn)."""
    from sklearn.datasets import load_digits

    x, labels = load_digits(return_X_y=True)
    return Source("digits", np.asarray(x, dtype=np.float64) / 16, np.asarray(labels, dtype=np.int64), shape=(8, 8, 1))


def teacher(name: str, *, train: int | None, test: int | None, seed: int, regression: bool) -> Source:
    """Random points with the teacher t(x) = z₁(1 + z₂)/√2, z_k = w_k·x for random orthonormal w_1, w_2.

    "gaussian": x ~ N(0, I_d); "sphere": x uniform on |x|² = d; d = 16. Regression: y = t(x), of mean 0 and variance 1 (gaussian) or
    (1 + d/(d+2))/2 (sphere). Classes: the sign of t, -1 and 1. t has a part linear in x and a part that no linear function explains.
    The two signs alternate: the reflection z₁ → -z₁ keeps the law of x and turns the sign, so every point has the law of x given its sign.
    """
    counts = [POINTS if n is None else integer(f"points_{part}", n) for part, n in (("train", train), ("test", test))]
    directions, *draws = np.random.default_rng(seed).spawn(3)
    w = np.linalg.qr(directions.standard_normal((INPUTS, 2)))[0]
    parts = [_points(name, count, w, rng) for count, rng in zip(counts, draws)]
    x = np.concatenate(parts)
    t = _teach(x, w)
    targets = t if regression else np.where(t > 0, 1, -1)
    return Source(name, x, targets, np.arange(counts[0]), np.arange(counts[0], len(x)))


def _teach(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    return _along(x, w[:, 0]) * (1 + _along(x, w[:, 1])) / np.sqrt(2)


def _along(x: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """x·w row by row: a matrix product may round a row in another way when there are more rows, and then train sets would not be nested."""
    return (x * direction).sum(1)


def _points(name: str, count: int, w: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    x = rng.standard_normal((count, INPUTS))
    if name == "sphere":
        x *= np.sqrt(INPUTS) / np.linalg.norm(x, axis=1, keepdims=True)
    wanted = np.where(np.arange(count) % 2, 1.0, -1.0)
    wrong = np.sign(_teach(x, w)) != wanted
    x[wrong] -= 2 * np.outer(_along(x[wrong], w[:, 0]), w[:, 0])
    return x


TOYS: tuple[str, ...] = ("gaussian", "sphere")
FIXED: dict[str, Callable[[], Source]] = {"digits": digits}
