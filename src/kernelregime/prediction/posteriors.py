"""Gaussian-process regression with any kernel: posterior and marginal likelihood."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from kernelregime._checks import fail, one_of
from kernelregime._linalg import Spectrum
from kernelregime.prediction.problem import Blocks, cross_of, joined, pose, prior_block, project, ridge_of, variances


@dataclass(frozen=True)
class Posterior:
    """Posterior of the noise-free function: `mean`, and `covariance` (None if only the diagonal was asked for) and `variance`.

    `log_marginal_likelihood` is log p(y), summed over outputs, in nats. `noise` is the absolute variance that was used.
    """

    mean: Float[np.ndarray, "M O"]
    covariance: Float[np.ndarray, "M M"] | None
    variance: Float[np.ndarray, " M"]
    log_marginal_likelihood: float
    noise: float
    status: str

    @property
    def std(self) -> Float[np.ndarray, " M"]:
        """Standard deviations; nan where the variance is negative beyond rounding (the status says so)."""
        return np.sqrt(np.where(self.variance < 0, np.nan, self.variance))


def posterior(
    kernel: Blocks,
    targets: Any,
    *,
    noise: float = 0.0,
    noise_relative: bool = False,
    points: Literal["test", "train"] = "test",
    covariance: Literal["full", "diagonal"] = "full",
    dtype: Any = None,
) -> Posterior:
    """Posterior of a Gaussian process with prior covariance `kernel`, given noisy values at the train points.

        mean = K(x, X) (K + S)⁻¹ y,    covariance = K(x, x') - K(x, X) (K + S)⁻¹ K(X, x')
        log p(y) = -½ Σ_o y_oᵀ (K + S)⁻¹ y_o - O/2 log det(K + S) - N·O/2 log 2π

    with K = `kernel.train`, K(x, X) = `kernel.cross`, K(x, x') = `kernel.test`, y = `targets` (N, O) or (N,), S = `noise` (a variance;
    times trace(K)/N if `noise_relative`). `kernel` the NNGP: Bayesian inference over all weights of a wide network. `kernel` the NTK as
    a prior: the same mean as training by gradient flow for ever, but not the covariance of such networks over initializations,
    which is `ensemble(ntk, nngp, targets, times=numpy.inf)`. `points="train"` needs `kernel.train` only.

    Without noise a singular K takes its pseudo-inverse; then the likelihood is the density on the range of K, or -inf for targets
    outside it. It is nan for an indefinite K + S. Returns a `Posterior`. Raises `InputError` as `train` does.
    Source: Rasmussen & Williams 2006, equations 2.23, 2.24 and 2.30.
    """
    one_of("points", points, ("test", "train"))
    full = one_of("covariance", covariance, ("full", "diagonal")) == "full"
    problem = pose(kernel.train, targets, dtype=dtype)
    if problem.coupled:
        raise fail("kernel.train of shape (N, N)", "a kernel that couples the outputs", "give the kernel of one output")
    spectrum = problem.spectrum
    shift = ridge_of("noise", noise, noise_relative, spectrum)
    shifted = spectrum.values.astype(np.float64) + shift
    inverse = np.divide(1.0, shifted, out=np.zeros_like(shifted), where=shifted != 0)
    residual = problem.residual
    if points == "test":
        mean, parts, notes = _test_posterior(kernel, spectrum, inverse, residual, full=full, noise=shift)
    else:
        mean, parts, notes = _train_posterior(spectrum, inverse, residual, full=full, noise=shift)
    second, raw, scale = parts
    variance, clipped = variances(raw, scale, spectrum.size * spectrum.rounding)
    likelihood, doubt = _likelihood(residual, shifted, inverse, spectrum)
    return Posterior(mean, second if full else None, variance, likelihood, shift, joined(*doubt, *notes, *clipped, spectrum.status))


def _test_posterior(
    kernel: Blocks, spectrum: Spectrum, inverse: np.ndarray, residual: np.ndarray, *, full: bool, noise: float
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray], tuple[str, ...]]:
    """Mean, (covariance, variance, size of the terms that cancel in it) and notes on the test points."""
    if kernel.cross is None:
        raise fail("kernel.cross", "None", "give K(test, train), or choose points='train'")
    modes, notes = project(cross_of("kernel.cross", kernel.cross, spectrum), spectrum, ridge=noise)
    start, note = prior_block("kernel.test", kernel.test, modes.shape[0], modes.dtype, full=full)
    diagonal = np.diagonal(start) if full else start
    pull = modes * inverse.astype(modes.dtype)
    second = start
    if full:
        half = start / 2 - pull @ modes.T / 2
        second = half + half.T
        raw = np.diagonal(second)
    else:
        raw = diagonal - np.sum(pull * modes, axis=1)
    top = max(float(spectrum.values[-1]), 0.0)
    scale = (np.sqrt(np.abs(diagonal)) + np.sqrt(top * np.sum(pull**2, axis=1))) ** 2
    return pull @ residual, (second, raw, scale), (*notes, note)


def _train_posterior(
    spectrum: Spectrum, inverse: np.ndarray, residual: np.ndarray, *, full: bool, noise: float
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray], tuple[str, ...]]:
    """Mean, (covariance, variance, its size) on the train points: K - K (K + S)⁻¹ K = S K (K + S)⁻¹ has nothing to cancel."""
    vectors = spectrum.vectors
    shrink = spectrum.values * inverse.astype(vectors.dtype)
    left = vectors * (noise * shrink).astype(vectors.dtype)
    raw = np.sum(left * vectors, axis=1)
    second = left @ vectors.T if full else raw
    return (vectors * shrink) @ residual, ((second + second.T) / 2, raw, np.sum(np.abs(left * vectors), axis=1)), ()


def _likelihood(residual: np.ndarray, shifted: np.ndarray, inverse: np.ndarray, spectrum: Spectrum) -> tuple[float, tuple[str, ...]]:
    """The log density of the targets from their eigenmodes, and a note where there is no ordinary density."""
    if (shifted < 0).any():
        return math.nan, ("no marginal likelihood: the covariance of the targets is indefinite (nan)",)
    modes = residual.astype(np.float64)
    outputs = modes.shape[1]
    live = shifted > 0
    fit = float(np.sum(modes**2 * inverse[:, None]))
    density = -fit / 2 - outputs / 2 * float(np.sum(np.log(shifted[live]) + math.log(2 * math.pi)))
    if live.all():
        return density, ()
    outside = float(np.sqrt(np.sum(modes[~live] ** 2)))
    if outside > spectrum.size * spectrum.rounding * float(np.sqrt(np.sum(modes**2))):
        return -math.inf, ("the targets are impossible under a singular kernel without noise: marginal likelihood -inf",)
    return density, ("the marginal likelihood is the density on the range of a singular kernel",)
