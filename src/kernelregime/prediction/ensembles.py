"""Mean and covariance over random initializations of infinitely wide networks during training."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from kernelregime._checks import array, fail, one_of
from kernelregime._linalg import Spectrum, product, symmetric
from kernelregime.prediction.dynamics import Dynamics, Reduction, Relaxation, rate_of, relax, times_of
from kernelregime.prediction.problem import Blocks, cross_of, joined, pose, prior_block, project, ridge_of, variances
from kernelregime.prediction.trajectory import lift

Points = Literal["test", "train", "penalized"]


@dataclass(frozen=True)
class Ensemble:
    """Gaussian law of the outputs at `times`: `mean`, and `covariance` (None if only the diagonal was asked for) and `variance`.

    The outputs are independent and share one covariance. `ridge` is the absolute number that was used; `status` says what is unstable
    or rounded, then what the NTK Gram is.
    """

    times: Float[np.ndarray, " T"]
    mean: Float[np.ndarray, "T M O"]
    covariance: Float[np.ndarray, "T M M"] | None
    variance: Float[np.ndarray, "T M"]
    ridge: float
    status: str

    @property
    def std(self) -> Float[np.ndarray, "T M"]:
        """Standard deviations; nan where the variance is negative beyond rounding (the status says so)."""
        return np.sqrt(np.where(self.variance < 0, np.nan, self.variance))


def ensemble(
    ntk: Blocks,
    nngp: Blocks,
    targets: Any,
    *,
    times: Any,
    points: Points = "test",
    covariance: Literal["full", "diagonal"] = "full",
    dynamics: Dynamics = "flow",
    learning_rate: float = 1.0,
    reduction: Reduction = "sum",
    ridge: float = 0.0,
    ridge_relative: bool = False,
    dtype: Any = None,
) -> Ensemble:
    """Mean and covariance over random initializations of infinitely wide networks trained on squared loss.

    At initialization the outputs are a Gaussian process of mean 0 and covariance K = `nngp`; training is linear with Θ = `ntk`:

        f_t(x) = f_0(x) - A_t (f_0(X) - y),    A_t = Θ(x, X) (Θ + R)⁻¹ (I - E_t)
        mean = A_t y,    covariance = K(x, x') + A_t K(X, X) A'_tᵀ - A_t K(X, x') - K(x, X) A'_tᵀ

    with E_t, y = `targets`, `times`, `dynamics`, `learning_rate`, `reduction`, R = `ridge` and `ridge_relative` as in `train`. `points`:
    "test" uses the `cross` blocks of both kernels and `nngp.test`; "train" is f_t(X); "penalized" is y + E_t (f_0(X) - y) on the
    train points (equal to "train" without ridge). `covariance="diagonal"` computes variances only, without any M × M array.
    `ntk` = `nngp` is training of the last layer alone. Noise of variance v in each member's own targets: add v to the diagonal of
    `nngp.train` ("test"). A negative variance within rounding is set to zero, and the status says so.

    Returns an `Ensemble` (M = N on train points). Raises `InputError` as `train` does, or when a block that is needed is missing.
    Source: Lee et al. 2019 (arXiv 1902.06720), equations 14 and 15.
    """
    one_of("points", points, ("test", "train", "penalized"))
    full = one_of("covariance", covariance, ("full", "diagonal")) == "full"
    problem = pose(ntk.train, targets, dtype=dtype)
    spectrum = problem.spectrum
    if problem.coupled:
        raise fail("ntk.train of shape (N, N)", "a kernel that couples the outputs", "give the kernel of one output")
    when = times_of(times, dynamics)
    rate = rate_of(learning_rate, reduction, problem.targets.size)
    shift = ridge_of("ridge", ridge, ridge_relative, spectrum)
    factors = relax(spectrum.values, when, rate=rate, dynamics=dynamics, ridge=shift, order=2)
    prior, rounding, *notes = _prior(nngp.train, spectrum)
    if points == "test":
        basis, law, said = _test_law(ntk, nngp, spectrum, prior, factors, full=full, ridge=shift)
        moved, notes = factors.weight, [*notes, *said]
    else:
        basis, moved, kept = spectrum.vectors, factors.moved, factors.kept
        if points == "penalized":
            moved, kept = factors.moved_penalized, factors.decay
        law = _train_law(basis, _turned(prior, basis), kept, full=full)
    mean = factors.mark(lift(basis, moved[:, :, None] * problem.residual))
    second, raw, scale = law
    variance, clipped = variances(raw, scale, spectrum.size * rounding)
    status = joined(*factors.notes, *notes, *clipped, spectrum.status)
    return Ensemble(when, mean, factors.mark(second) if full else None, factors.mark(variance), shift, status)


def _prior(gram: Any, spectrum: Spectrum) -> tuple[np.ndarray, float, str]:
    """K(X, X), the rounding error of the kernels, and a note."""
    if isinstance(gram, Spectrum):
        given, own = array("nngp.train", gram.matrix(), rows=spectrum.size), gram.rounding
    else:
        given, own = array("nngp.train", gram, ndim=2, rows=spectrum.size), 0.0
    matrix, rounding, note = symmetric("nngp.train", given, spectrum.vectors.dtype)
    return matrix, max(rounding, own, spectrum.rounding), note


def _turned(prior: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Vᵀ K V in the eigenbasis V of the NTK."""
    return product(product(vectors.T, prior), vectors)


def _test_law(
    ntk: Blocks, nngp: Blocks, spectrum: Spectrum, prior: np.ndarray, factors: Relaxation, *, full: bool, ridge: float
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray], tuple[str, ...]]:
    """Θ(x, X) V, (covariance, variance, size of the terms that cancel in it) on the test points, and notes."""
    if ntk.cross is None or nngp.cross is None:
        raise fail("cross in both kernels", "None", "give K(test, train) of both, or choose points='train'")
    basis, notes = project(cross_of("ntk.cross", ntk.cross, spectrum), spectrum, ridge=ridge)
    shared = cross_of("nngp.cross", nngp.cross, spectrum)
    if shared.shape != basis.shape:
        raise fail(f"nngp.cross of the shape of ntk.cross {basis.shape}", f"shape {shared.shape}", "use the same test points")
    few = len(factors.weight) <= 2  # times: of more, the eigenbasis of the NTK saves a matrix product each
    if not few:
        prior, shared = _turned(prior, spectrum.vectors), product(shared, spectrum.vectors)
    start, note = prior_block("nngp.test", nngp.test, basis.shape[0], basis.dtype, full=full)
    diagonal = np.diagonal(start) if full else start
    seconds, firsts, scales = [], [], []
    top = _norm(prior)
    for weight in factors.weight:
        pull = product(basis * weight, spectrum.vectors.T) if few else basis * weight
        carried = product(pull, prior)
        if full:
            half = start / 2 + product(carried / 2 - shared, pull.T)
            seconds.append(half + half.T)
            firsts.append(np.diagonal(seconds[-1]))
        else:
            firsts.append(diagonal + np.sum((carried - 2 * shared) * pull, axis=1))
        scales.append((np.sqrt(np.abs(diagonal)) + np.sqrt(top * np.sum(pull**2, axis=1))) ** 2)
    return basis, (np.array(seconds if full else firsts), np.array(firsts), np.array(scales)), (*notes, note)


def _train_law(basis: np.ndarray, prior: np.ndarray, kept: np.ndarray, *, full: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(Covariance, variance, size of its terms) on the train points, as a congruence of the prior: no cancellation as t grows."""
    seconds, firsts, scales = [], [], []
    top = _norm(prior)
    for left in kept:
        pull = basis * left
        carried = product(pull, prior)
        if full:
            second = product(carried, pull.T)
            seconds.append((second + second.T) / 2)
        firsts.append(np.sum(carried * pull, axis=1))
        scales.append(top * np.sum(pull**2, axis=1))
    return np.array(seconds if full else firsts), np.array(firsts), np.array(scales)


def _norm(matrix: np.ndarray) -> float:
    """An upper bound on the largest eigenvalue: the largest row sum of magnitudes."""
    return float(np.max(np.sum(np.abs(matrix), axis=1)))
