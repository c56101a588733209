"""The spectrum of a Gram matrix, and what it says of the matrix."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64

from kernelregime._checks import fail
from kernelregime.observables.alignment import square

Status = Literal["positive definite", "singular to rounding", "indefinite", "zero"]
SPACING = {"bfloat16": 2.0**-7, "float16": 2.0**-10, "float32": 2.0**-23, "float64": 2.0**-52}  # between 1 and the next number


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues of a Gram matrix, descending and as computed, with `status` in words.

    `status`: "positive definite"; "singular to rounding" (the least eigenvalue, which may be a tiny negative number, is within
    `tolerance` of zero: repeated, collinear or too many points); "indefinite" (an eigenvalue below -`tolerance`: no Gram matrix, or a
    kernel computed with too few digits); "zero". `condition_number` is λ_max/λ_min, infinite unless positive definite.
    `effective_rank` is exp(-Σ p log p) with p = λ/Σλ (negative λ count as zero).
    """

    eigenvalues: Float64[np.ndarray, "N"] = field(repr=False)
    condition_number: float
    effective_rank: float
    tolerance: float
    status: Status


def spectrum(gram: Any) -> Spectrum:
    """Eigenvalues of a symmetric Gram matrix, its condition number and effective rank.

    `gram`: K (N, N), symmetric. The tolerance for zero is N ε λ_max, the size of the rounding errors of K and of the solver, with ε
    the spacing of K's own precision at 1 (1.2e-7 for float32, 2.2e-16 for float64). Units: those of K.

    Returns: `Spectrum`. Raises: `InputError` for NaN, a matrix that is not square, or one whose two halves differ by more than rounding.
    Source: effective rank: Roy and Vetterli 2007, "The effective rank", with eigenvalues for singular values.

    >>> import numpy as np
    >>> found = spectrum(np.diag([1.0, 4.0]))
    >>> found.eigenvalues.tolist(), found.condition_number, found.status
    ([4.0, 1.0], 4.0, 'positive definite')
    """
    k = square("gram", gram)
    if k.ndim != 2:
        raise fail("one gram (N, N)", f"shape {k.shape}", "call it for each of them")
    given = np.asarray(gram).dtype
    epsilon = SPACING.get(given.name, SPACING["float64"])
    gap, top = float(np.abs(k - k.T).max()), float(np.abs(k).max())
    # a symmetric pair is two sums of the same products, in another order: some tens of roundings, more in long sums
    if gap > 1e4 * epsilon * top:
        raise fail("a symmetric gram", f"halves that differ by {gap:.3g}", "give the kernel of one set of points with itself")
    values = np.linalg.eigvalsh((k + k.T) / 2)[::-1]
    tolerance = len(k) * epsilon * max(abs(values[0]), abs(values[-1]))
    status = _status(float(values[-1]), tolerance, top)
    condition = float(values[0] / values[-1]) if status == "positive definite" else math.inf
    return Spectrum(values, condition, _effective_rank(values), float(tolerance), status)


def _status(least: float, tolerance: float, top: float) -> Status:
    if top == 0:
        return "zero"
    if least < -tolerance:
        return "indefinite"
    return "positive definite" if least > tolerance else "singular to rounding"


def _effective_rank(values: np.ndarray) -> float:
    positive = values[values > 0]
    if positive.size == 0:
        return 0.0
    p = positive / positive.sum()
    p = p[p > 0]
    return float(np.exp(-np.sum(p * np.log(p))))
