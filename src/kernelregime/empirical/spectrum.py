"""The spectrum of an operator known by its products alone: top eigenpairs, trace, log-determinant, density of eigenvalues."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse.linalg
from jaxtyping import Float

from kernelregime import _checks
from kernelregime.empirical.lanczos import Quadrature, quadrature, radau

Product = Callable[[np.ndarray], np.ndarray]
Progress = Callable[[int, int], None]
STEPS = 64  # of Lanczos, a probe: Ghorbani et al. (2019) took 80 for the Hessians of large networks
SAMPLES = 16
GRID = 512
WIDTH = 0.01  # of the density's Gaussians, as a fraction of the largest eigenvalue
REACH = 4  # standard deviations of the Gaussians by which the grid goes beyond the eigenvalues


@dataclass(frozen=True)
class Estimate:
    """A number estimated from `samples` random probes, with its standard error; `samples=0`: computed exactly.

    `truncation`: how much `mean` may be too large because Lanczos stopped, beside the statistical error.
    """

    mean: float
    sem: float
    samples: int
    truncation: float = 0.0


@dataclass(frozen=True)
class Eigenpairs:
    """The largest eigenvalues `values` (k,), descending, with their eigenvectors `vectors` (N·O, k) in columns.

    `residuals` (k,): |Θv - λv| for each; an eigenvalue of Θ lies within that distance of λ.
    """

    values: Float[np.ndarray, " k"]
    vectors: Float[np.ndarray, "n k"] = field(repr=False)
    residuals: Float[np.ndarray, " k"] = field(repr=False)


@dataclass(frozen=True)
class SpectralDensity:
    """The density of eigenvalues at `grid` (G,): `mean` and `sem` (G,) over `samples` probes; each eigenvalue a Gaussian of standard
    deviation `width`, the whole of integral 1. `steps`: those of Lanczos for each probe, at most.
    """

    grid: Float[np.ndarray, " G"] = field(repr=False)
    mean: Float[np.ndarray, " G"] = field(repr=False)
    sem: Float[np.ndarray, " G"] = field(repr=False)
    samples: int
    width: float
    steps: int


def top(
    operator: scipy.sparse.linalg.LinearOperator, k: int, *, tol: float, seed: int, progress: Callable[[int], None] | None
) -> Eigenpairs:
    """The `k` largest eigenpairs of a symmetric operator."""
    n, done = operator.shape[0], 0
    count, tolerance = _checks.integer("k", k), _checks.real("tol", tol, least=0)
    if count >= n:
        raise _checks.fail(f"k below the {n} rows of the kernel", str(count), "use numpy.linalg.eigh(operator.dense())")

    def product(vector: np.ndarray) -> np.ndarray:
        nonlocal done
        result, done = operator.matvec(vector), done + 1
        if progress:
            progress(done)
        return result

    counted = scipy.sparse.linalg.LinearOperator(operator.shape, matvec=product, dtype=operator.dtype)
    start = np.random.default_rng(_checks.integer("seed", seed, least=0)).standard_normal(n).astype(operator.dtype)
    try:
        values, vectors = scipy.sparse.linalg.eigsh(counted, count, which="LA", v0=start, tol=tolerance)
    except scipy.sparse.linalg.ArpackNoConvergence as error:
        found = f"{len(error.eigenvalues)} of {count} eigenpairs have converged to {tolerance:g}"
        raise _checks.RunError(f"{found}; ask for a larger tol or more of them (a cluster may be cut apart)") from None
    values, vectors = values[::-1], vectors[:, ::-1]
    left = np.stack([product(vector) - value * vector for value, vector in zip(values, vectors.T, strict=True)], 1)
    return Eigenpairs(values, vectors, np.linalg.norm(left, axis=0))


def trace(squares: Product, size: int, dtype: np.dtype, *, samples: int, seed: int, progress: Progress | None) -> Estimate:
    """The trace of J Jᵀ from |Jᵀv|², given by `squares`, in vectors v of random signs."""
    values = [float(squares(probe)) for probe in _probes(size, dtype, samples, seed, progress)]
    return Estimate(*_statistics(values), len(values))


def logdet(apply: Product, size: int, dtype: np.dtype, shift: float, **options: Any) -> Estimate:
    """The logarithm of det(A + shift·1) of a positive semidefinite operator A; `options` as in `quadratures`."""
    above = _checks.real("shift", shift, above=0)
    values, gaps = [], []
    for found in quadratures(apply, size, dtype, **options):
        # A rounding error below the spectrum, which begins at zero.
        lower = min(0.0, found.nodes[0]) - float(np.finfo(dtype).eps) * max(abs(found.nodes[0]), abs(found.nodes[-1]))
        gauss, below = (size * float(rule.weights @ np.log(np.maximum(rule.nodes, 0) + above)) for rule in (found, radau(found, lower)))
        values.append(gauss)
        gaps.append(gauss - below)
    return Estimate(*_statistics(values), len(values), max(0.0, float(np.mean(gaps))))


def density(apply: Product, size: int, dtype: np.dtype, *, grid: Any, width: float | None, **options: Any) -> SpectralDensity:
    """The density of eigenvalues of an operator; `options` as in `quadratures`."""
    given = None if grid is None else _checks.array("grid", grid, ndim=1).astype(np.float64)
    spread = None if width is None else _checks.real("width", width, above=0)
    found = list(quadratures(apply, size, dtype, **options))
    least, largest = min(rule.nodes[0] for rule in found), max(rule.nodes[-1] for rule in found)
    if spread is None:
        spread = WIDTH * largest
        if not spread > 0:
            raise _checks.fail("a kernel that is not zero", f"largest eigenvalue {largest:.3g}", "give a width")
    at = np.linspace(least - REACH * spread, largest + REACH * spread, GRID) if given is None else given
    values = np.stack([_broadened(rule, at, spread) for rule in found])
    return SpectralDensity(at, *_statistics(values), len(found), spread, max(rule.nodes.size for rule in found))


def _broadened(rule: Quadrature, grid: np.ndarray, width: float) -> np.ndarray:
    heights = np.exp(-(((grid[:, None] - rule.nodes) / width) ** 2) / 2) / (width * np.sqrt(2 * np.pi))
    return heights @ rule.weights


def quadratures(
    apply: Product, size: int, dtype: np.dtype, *, samples: int, steps: int, seed: int, memory: int, progress: Progress | None
) -> Iterator[Quadrature]:
    """The quadrature in each of `samples` vectors of random signs."""
    count = min(_checks.integer("steps", steps), size)
    need = count * size * np.dtype(dtype).itemsize
    if need > memory:
        wanted = f"a memory budget of at least {need} bytes ({count} vectors of Lanczos)"
        raise _checks.fail(wanted, f"{memory} bytes", "give fewer steps, or the operator a larger memory=")
    for probe in _probes(size, dtype, samples, seed, progress):
        yield quadrature(apply, probe, count)


def _probes(size: int, dtype: np.dtype, samples: int, seed: int, progress: Progress | None) -> Iterator[np.ndarray]:
    """Vectors of random signs; `progress` is called after each has been used."""
    count = _checks.integer("samples", samples, least=2)
    rng = np.random.default_rng(_checks.integer("seed", seed, least=0))
    for done in range(1, count + 1):
        yield (2 * rng.integers(2, size=size) - 1).astype(dtype)
        if progress:
            progress(done, count)


def _statistics(values: Any) -> tuple[Any, Any]:
    """The mean over the first axis and its standard error."""
    mean, sem = np.mean(values, axis=0), np.std(values, axis=0, ddof=1) / np.sqrt(len(values))
    return (float(mean), float(sem)) if mean.ndim == 0 else (mean, sem)
