"""Symmetric positive semidefinite matrices: one eigendecomposition, and in words what it says about the matrix."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.linalg
from jaxtyping import Float

from kernelregime._checks import array, fail
from kernelregime._precision import enter, resolve, to_host

LARGE = 2**31  # multiplications from which on a matrix product is worth a program of its own
BLOCK = 1024  # rows compared at once with their mirror image, so that the check needs little memory


@dataclass(frozen=True)
class Spectrum:
    """Eigendecomposition G = V diag(λ) Vᵀ of a symmetric matrix, and what it says about the matrix.

    `values` λ ascend and `vectors` V holds their eigenvectors in columns. Values that cannot be told from zero are exactly zero;
    `tolerance` is the largest value so treated, and `rank` counts the others. `rounding` is the relative rounding error of the
    entries of G. `status` starts with "positive definite", "singular to rounding" or "indefinite".
    """

    values: Float[np.ndarray, " N"]
    vectors: Float[np.ndarray, "N N"]
    status: str
    rank: int
    tolerance: float
    rounding: float

    @property
    def size(self) -> int:
        """The number N of rows of the matrix."""
        return int(self.values.size)

    @property
    def kind(self) -> Literal["positive definite", "singular", "indefinite"]:
        """The status as one of three words."""
        least = self.values[0]
        return "positive definite" if least > 0 else "singular" if least == 0 else "indefinite"

    @property
    def null(self) -> np.ndarray:
        """Which values are zero, as a mask of shape (N,)."""
        return self.values == 0

    def matrix(self) -> Float[np.ndarray, "N N"]:
        """V diag(λ) Vᵀ."""
        return (self.vectors * self.values) @ self.vectors.T


def eigen(gram: Any, *, dtype: Any = None) -> Spectrum:
    """Eigendecomposition of a symmetric positive semidefinite matrix, with its status.

    G v_i = λ_i v_i with `gram` = G of shape (N, N). Let ε be the machine epsilon of the coarser of the dtype of `gram` and the
    working one (`dtype`, by default that of `gram`: float32 or float64). A matrix known to a relative ε has eigenvalues known to
    about ε·λ_max, at worst N·ε·λ_max. So: a negative value down to -N·ε·λ_max is rounding, and counts as zero; a positive one
    counts as zero below √N·ε·λ_max, or below twice the depth of the negative ones, which show the actual error. Anything more
    negative is kept and makes the matrix "indefinite". Nothing is added to the diagonal.

    Returns a `Spectrum` in the working precision. Raises `InputError` when `gram` is not square, finite and symmetric (to √ε of
    its largest entry; a smaller one is averaged away, and said if beyond N·ε).

    >>> eigen([[2.0, 2.0], [2.0, 2.0]]).values
    array([0., 4.])
    """
    given = array("gram", gram, ndim=2)
    matrix, rounding, note = symmetric("gram", given, resolve(dtype, given))
    values, vectors = scipy.linalg.eigh(matrix, driver="evd", overwrite_a=True, check_finite=False)
    values, tolerance, status = judge(values, rounding)
    rank = int(np.count_nonzero(values))
    return Spectrum(values, vectors, "; ".join(filter(None, (status, note))), rank, tolerance, rounding)


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The matrix product in their precision; large ones by JAX on this host, in two thirds of NumPy's time. Not to be written to."""
    dtype = np.result_type(a, b)
    if a.size * b.shape[-1] < LARGE:
        return a @ b
    import jax
    import jax.numpy as jnp

    with enter(dtype), jax.default_device(jax.local_devices(backend="cpu")[0]):
        return to_host(jnp.matmul(a, b, precision="highest"), dtype)


def symmetric(name: str, given: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, float, str]:
    """A copy of `given` in `dtype` and exactly symmetric, its relative rounding error, and a note on what symmetry changed.

    `InputError` if it is not square, or not symmetric to the root of its rounding error.
    """
    n = given.shape[0]
    if given.shape != (n, n):
        raise fail(f"{name} to be a square matrix", f"shape {given.shape}", "give the kernel of the points with themselves")
    matrix = given.astype(dtype)
    rounding = max(float(np.finfo(dtype).eps), _epsilon(given.dtype))
    largest = float(np.max(np.abs(matrix)))
    gap = max(float(np.max(np.abs(matrix[i : i + BLOCK] - matrix[:, i : i + BLOCK].T))) for i in range(0, n, BLOCK))
    if gap > math.sqrt(rounding) * largest:
        wanted = f"{name} to be symmetric to {math.sqrt(rounding):.1e} of its largest entry"
        raise fail(wanted, f"a difference of {gap / largest:.1e}", "pass the kernel of one set of points with itself")
    if gap == 0:
        return matrix, rounding, ""
    said = f"{name} was symmetrized (asymmetry {gap / largest:.1e} of its largest entry)" if gap > n * rounding * largest else ""
    return (matrix + matrix.T) / 2, rounding, said


def _epsilon(dtype: np.dtype) -> float:
    """Machine epsilon of a floating dtype; 0 for integers, which are exact."""
    if dtype.name == "bfloat16":
        return 2.0**-7
    return float(np.finfo(dtype).eps) if dtype.kind == "f" else 0.0


def judge(values: np.ndarray, rounding: float) -> tuple[np.ndarray, float, str]:
    """The values with those at rounding level set to zero, the level, and the status in words."""
    n, least, largest = values.size, float(values[0]), float(max(-values[0], values[-1]))
    allowed = n * rounding * largest
    indefinite = least < -allowed
    tolerance = math.sqrt(n) * rounding * largest if indefinite else max(math.sqrt(n) * rounding * largest, -2 * least)
    zeros = np.abs(values) <= tolerance
    cleaned = np.where(zeros, values.dtype.type(0), values)
    if indefinite:
        causes = "a kernel computed in lower precision or estimated at random, blocks of different parameters or data, not a kernel at all"
        return cleaned, tolerance, f"indefinite: least eigenvalue {least:.3g} is beyond rounding ({-allowed:.1e}); likely causes: {causes}"
    if not zeros.any():
        return cleaned, tolerance, f"positive definite: condition number {largest / least:.2g}"
    said = f"eigenvalues within {tolerance:.1e} of zero, the least {least:.1e}, are treated as zero"
    return cleaned, tolerance, f"singular to rounding: numerical rank {n - int(zeros.sum())} of {n} ({said})"
