"""Whether a Gram matrix is positive definite, and how well conditioned, relative to the rounding of its entries."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg

from kernelregime import _linalg
from kernelregime._checks import array, fail, integer

POINTS = 3000  # whose eigenvalues are found in seconds
PASSES = 3  # over a larger matrix, for its largest eigenvalue
STRIP = 1024  # points a side of the blocks in which it is read, where it has no chunks


@dataclass(frozen=True)
class Conditioning:
    """The ends of the spectrum of a Gram matrix K of N `points`, and what they say. Nothing is added to its diagonal.

    `largest`, `least`: λ_max and λ_min, as computed. `rounding`: N·ε·λ_max, the error of every eigenvalue that the rounding of the
    entries of K may cause (ε: the spacing of its dtype). `below`: how many eigenvalues are within `rounding` of zero; `negative`: how
    many are below -`rounding`. `status`: in words. `sample`: of how many points the eigenvalues are. Where it is below N they are those
    of a random principal submatrix, beside which λ_min of K can only be smaller (Cauchy's interlacing), and `largest` is a lower bound
    of λ_max of K itself from powers of K.
    """

    points: int
    sample: int
    largest: float
    least: float
    rounding: float
    below: int
    negative: int
    status: str

    @property
    def whole(self) -> bool:
        """Whether these are the eigenvalues of the whole matrix."""
        return self.sample == self.points


def conditioning(gram: Any, *, points: int = POINTS, seed: int = 0) -> Conditioning:
    """The conditioning of a symmetric Gram matrix, in memory or in a store.

    `gram`: K (N, N), a NumPy array or the `xarray.DataArray` of a store, which is read block by block. With N > `points` the
    eigenvalues are those of `points` of its points, drawn with `seed`; the cost is of order points³ and some passes over K.

    Raises: `InputError` for a matrix that is not square, finite and symmetric.

    >>> conditioning(np.diag([1.0, 4.0])).status
    'positive definite: condition number 4'
    """
    size = integer("points", points)
    n = len(gram)
    if np.ndim(gram) != 2 or np.shape(gram) != (n, n):
        raise fail("gram to be a square matrix", f"shape {np.shape(gram)}", "give the kernel of the points with themselves")
    if n <= size:
        return _judged(array("gram", gram, ndim=2), n, None)
    chosen = np.sort(np.random.default_rng(seed).choice(n, size, replace=False))
    part, top = _read(gram, chosen)
    return _judged(array("gram", part), n, top)


def _judged(matrix: np.ndarray, n: int, top: float | None) -> Conditioning:
    """The report on K itself (`top=None`), or from a principal submatrix and a bound of λ_max of the whole."""
    even, rounding, note = _linalg.symmetric("gram", matrix, np.dtype("float64"))
    values = scipy.linalg.eigvalsh(even, overwrite_a=True, check_finite=False)
    largest = float(max(-values[0], values[-1])) if top is None else max(top, float(values[-1]))
    level = n * rounding * largest
    status = _linalg.judge(values, rounding)[2]
    if top is not None:
        below = "an eigenvalue of the whole is at most" if values[0] >= -level else "so is the whole: an eigenvalue is at most"
        status = f"of {len(values)} of {n} points: {status}; {below} {values[0]:.2g}"
    words = "; ".join(filter(None, (status, note)))
    counts = int(np.sum(np.abs(values) <= level)), int(np.sum(values < -level))
    return Conditioning(n, len(values), largest, float(values[0]), level, *counts, words)


def _read(gram: Any, chosen: np.ndarray) -> tuple[np.ndarray, float]:
    """The rows and columns `chosen`, and the Rayleigh quotient of a vector that powers of K have turned towards its first eigenvector."""
    n = len(gram)
    part = np.empty((len(chosen), len(chosen)), np.dtype(gram.dtype))
    vector, quotient = np.full(n, 1 / math.sqrt(n)), 0.0
    for step in range(PASSES):
        turned = np.zeros(n)
        for rows, columns, block in _blocks(gram):
            turned[rows] += block @ vector[columns]
            if step == 0:
                i, j = (np.flatnonzero((chosen >= where.start) & (chosen < where.stop)) for where in (rows, columns))
                part[np.ix_(i, j)] = block[np.ix_(chosen[i] - rows.start, chosen[j] - columns.start)]
        quotient, norm = float(vector @ turned), float(np.linalg.norm(turned))
        if not norm > 0 or not math.isfinite(norm):
            break
        vector = turned / norm
    return part, quotient


def _blocks(gram: Any) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """The matrix block by block, as it is stored."""
    side = (getattr(gram, "encoding", {}).get("chunks") or (STRIP,))[0]
    places = [slice(start, min(start + side, len(gram))) for start in range(0, len(gram), side)]
    for rows in places:
        for columns in places:
            yield rows, columns, np.asarray(gram[rows, columns])
