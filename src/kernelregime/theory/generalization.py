"""Risk of least squares with more or fewer parameters than points, and bounds on the test error of a kernel regime."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float64

from kernelregime._checks import array, fail, integer, real
from kernelregime._linalg import Spectrum, eigen


def least_squares_limit(x: Any, y: Any, start: Any = None) -> Float64[np.ndarray, "P"]:
    """Where gradient descent on ‖X w - y‖² goes from `start`: the solution of least squares nearest to it.

    w = w_0 + X⁺ (y - X w_0), X⁺ the pseudo-inverse, for every learning rate below 2/λ_max(XᵀX). From w_0 = 0 (the default) it is the
    solution of least norm. `x`: X (N, P), one point a row. `y` (N,). `start`: w_0 (P,). Returns: w (P,), float64.
    Raises: `InputError` for shapes that do not fit and values that are not finite.
    Source: Seleznova 2024, theorem 2.4; from w_0 ≠ 0 by the same argument: all steps lie in the row space of X.

    >>> least_squares_limit([[1.0, 1.0]], [2.0]).round(12)
    array([1., 1.])
    """
    features = array("x", x, ndim=2).astype(np.float64, copy=False)
    targets = array("y", y, ndim=1, rows=len(features)).astype(np.float64, copy=False)
    first = np.zeros(features.shape[1]) if start is None else array("start", start, ndim=1, rows=features.shape[1])
    moved: np.ndarray = np.linalg.lstsq(features, targets - features @ first, rcond=None)[0]
    return first + moved


def excess_risk_limit(ratio: Any, *, signal: float, noise: float) -> Float64[np.ndarray, "..."]:
    """Excess risk of ridgeless least squares as points N and parameters P grow with P/N → γ, for inputs of covariance 1.

    R(γ) = σ² γ/(1-γ) for γ < 1, and r² (1 - 1/γ) + σ²/(γ-1) for γ > 1; infinite at γ = 1 (without noise 0 there).
    The expected squared error on new noisy data is R + σ². `ratio`: γ > 0, any shape. `signal`: r² = ‖w*‖². `noise`: σ², the variance of
    the noise in the targets. For r² > σ² the risk has a minimum at γ = r/(r-σ) and *rises* to r² from there.
    Returns: R, the shape of `ratio`. Raises: `InputError` for bad input.
    Source: Hastie et al. 2022, theorem 1; Seleznova 2024, theorem 2.5, has σ²/(1-γ) above γ = 1 and ‖w*‖ = r².

    >>> excess_risk_limit([0.5, 2.0], signal=4.0, noise=1.0)
    array([1., 3.])
    """
    gamma, r2, sigma2 = _risk_input(ratio, signal, noise)
    with np.errstate(divide="ignore"):
        variance = np.where(gamma < 1, gamma / np.abs(1 - gamma), 1 / np.abs(gamma - 1))
    bias = r2 * np.maximum(1 - 1 / gamma, 0)
    return np.asarray(bias + (sigma2 * variance if sigma2 > 0 else 0.0))


def printed_risk_limit(ratio: Any, *, signal: float, noise: float) -> Float64[np.ndarray, "..."]:
    """The risk as the thesis prints it: σ² γ/(1-γ) for γ < 1, r² (1 - 1/γ) + σ²/(1-γ) for γ > 1.

    It falls to -∞ above γ = 1, and lacks the σ² of the noise in new data, which the thesis' definition of the risk (eq. 2.45) includes.
    The thesis sets ‖w*‖ = r²: read literally, `signal` = r² = ‖w*‖. Shapes and errors as in `excess_risk_limit`; infinite at γ = 1.
    Source: Seleznova 2024, theorem 2.5, eq. 2.46.
    """
    gamma, r2, sigma2 = _risk_input(ratio, signal, noise)
    with np.errstate(divide="ignore"):
        variance = np.where(gamma < 1, gamma, 1.0) / (1 - gamma)
    return np.asarray(r2 * np.maximum(1 - 1 / gamma, 0) + (sigma2 * variance if sigma2 > 0 else 0.0))


def expected_excess_risk(points: int, parameters: int, *, signal: float, noise: float) -> float:
    """Excess risk of ridgeless least squares on N Gaussian points with P parameters, averaged over the train set: exact.

    σ² P/(N-P-1) for P <= N-2, and r² (1 - N/P) + σ² N/(P-N-1) for P >= N+2; infinite between, where noise has no finite mean effect.
    `points`: N, `parameters`: P; rows of X are N(0, 1_P). `signal`: r² = ‖w*‖². `noise`: σ². The expected squared error on new data is
    σ² more. Raises: `InputError` for bad input.
    Source: the mean of an inverse Wishart matrix, E (XᵀX)⁻¹ = 1/(N-P-1).

    >>> expected_excess_risk(10, 4, signal=1.0, noise=1.0)
    0.8
    """
    n, p = integer("points", points), integer("parameters", parameters)
    r2, sigma2 = real("signal", signal, least=0), real("noise", noise, least=0)
    bias = r2 * max(1 - n / p, 0.0)
    if sigma2 == 0:
        return bias
    left = abs(n - p) - 1
    return bias + sigma2 * min(n, p) / left if left > 0 else math.inf


def least_risk_ratio(*, signal: float, noise: float) -> float:
    """The γ = P/N > 1 at which the excess risk of ridgeless least squares is least among γ > 1: r/(r-σ), or inf where r² <= σ².

    `signal`: r² = ‖w*‖². `noise`: σ². Raises: `InputError` for bad input. Source: Hastie et al. 2022, section 3.3 (γ = √SNR/(√SNR - 1)).
    """
    r, sigma = math.sqrt(real("signal", signal, least=0)), math.sqrt(real("noise", noise, least=0))
    return r / (r - sigma) if r > sigma else math.inf


def arora_bound(gram: Any, targets: Any) -> float:
    """The leading term √(2 yᵀΘ⁻¹y/N) of a bound on the test loss of a network in the kernel regime.

    It bounds the mean of any loss in [0, 1] that has slope at most 1 in the output and is 0 at the target, after training to zero loss;
    a term of order √(log(N/(λ_min δ))/N), with probability 1 - δ, is left out. Above 1 it says nothing. `gram`: Θ (N, N), or its
    `Spectrum`, of the train points, in the scale of the outputs. `targets`: y (N,) or (N, 1), |y| <= 1 in the source.
    Returns: a number; inf where Θ is singular and y has a part that no function of the kernel reaches.
    Raises: `InputError` for shapes that do not fit, several outputs, and a Gram that is indefinite or not symmetric.
    Source: Arora et al. 2019 (arXiv 1901.08584), theorem 5.1, there for the first layer of two; Seleznova 2024, eq. 2.62.

    >>> float(arora_bound([[2.0, 0.0], [0.0, 2.0]], [1.0, -1.0]))
    1.0
    """
    norm, points = _norm(gram, targets)
    return math.sqrt(2 * norm / points)


def deep_bound(gram: Any, targets: Any, *, depth: int) -> float:
    """The bound L √(yᵀΘ⁻¹y/N) for networks of L weight layers at the edge of chaos, without its constant and logarithms.

    Only its growth means something: with depth, points or targets. `depth`: L. The rest as in `arora_bound`. Θ(x, x) itself grows
    linearly with L at the edge of chaos, so the bound grows like √L in deep networks, where Θ is close to Θ(x, x)(¾ 1 + ¼ 11ᵀ).
    Source: Cao and Gu 2019 (arXiv 1905.13210), the bound in terms of the NTK.
    """
    norm, points = _norm(gram, targets)
    return integer("depth", depth) * math.sqrt(norm / points)


def scale_free_bound(gram: Any, targets: Any) -> float:
    """The leading term 2√(yᵀΘ⁻¹y tr Θ)/N, which does not change when Θ is multiplied by a number, as the trained function does not.

    It is twice the Rademacher complexity of the functions of norm √(yᵀΘ⁻¹y), and equals `arora_bound` where the mean of Θ(x_i, x_i) is ½,
    as in the source of that one; for other NTKs `arora_bound` may lie below the error. The rest as there.
    Source: Bartlett and Mendelson 2002, theorem 8 and lemma 22.

    >>> round(scale_free_bound([[2.0, 0.0], [0.0, 2.0]], [1.0, -1.0]), 12)
    2.0
    """
    spectrum = gram if isinstance(gram, Spectrum) else eigen(gram)
    norm, points = _norm(spectrum, targets)
    return 2 * math.sqrt(norm * float(np.sum(spectrum.values, dtype=np.float64))) / points


def _norm(gram: Any, targets: Any) -> tuple[float, int]:
    """yᵀΘ⁻¹y and N."""
    spectrum = gram if isinstance(gram, Spectrum) else eigen(gram)
    y = array("targets", targets, ndim=(1, 2), rows=spectrum.size).astype(np.float64, copy=False)
    if y.size != spectrum.size:
        raise fail("targets of one output, (N,) or (N, 1)", f"shape {y.shape}", "bound every output for itself")
    if spectrum.kind == "indefinite":
        raise fail("a positive semidefinite gram", spectrum.status, "compute it in float64")
    parts = (spectrum.vectors.T.astype(np.float64) @ y.ravel()) ** 2
    null = spectrum.null
    rounding = spectrum.size * np.finfo(np.float64).eps + spectrum.rounding
    if float(np.sum(parts[null])) > rounding * float(np.sum(parts)):
        return math.inf, spectrum.size
    return float(np.sum(parts[~null] / spectrum.values[~null])), spectrum.size


def _risk_input(ratio: Any, signal: float, noise: float) -> tuple[np.ndarray, float, float]:
    gamma = array("ratio", ratio).astype(np.float64)
    if gamma.min() <= 0:
        raise fail("ratios P/N above 0", f"{gamma.min():g}", "give parameters over points")
    return gamma, real("signal", signal, least=0), real("noise", noise, least=0)
