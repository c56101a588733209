"""The spectrum of the infinite-width kernels of deep networks, for points at equal distances from one another.

N points of equal variance and equal correlations have a kernel with p on the diagonal and p_ab off it: eigenvalues p + (N-1)p_ab
(once) and p - p_ab (N - 1 times). With depth every data set tends to this form (Xiao et al. 2020). The recursion carries p and
p - p_ab, so that an ordered network's p - p_ab, which falls exponentially, keeps its digits.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from kernelregime._checks import fail, integer, one_of, real
from kernelregime.activations import Nonlinearity, get
from kernelregime.theory.gaussian import SMALLEST_VARIANCE, usable_moments
from kernelregime.theory.mean_field import pair_rule, variances, variances_of
from kernelregime.theory.pairs import PairMoments

_RESCALE = 1e100
_UNDERFLOW = 1e-290  # 1 - c below counts as zero: what follows from it could not be told from it


@dataclass(frozen=True)
class KernelSpectrum:
    """Eigenvalues of the kernel p on the diagonal, p_ab off it, for N points.

    `p`, `p_ab`, and `difference` = p - p_ab (with full relative accuracy), each to be multiplied by exp(`log_scale`) (zero unless
    they leave the range of floats). `largest`, `smallest`: eigenvalues on the same scale. `condition_number` = largest/smallest (inf
    for equal inputs, and once 1 - c falls below 1e-290). `largest_learning_rate` = 2/(largest·exp(log_scale)): gradient descent on
    ½Σ(f - y)² is stable below it.
    """

    p: float
    p_ab: float
    difference: float
    log_scale: float
    largest: float
    smallest: float
    condition_number: float
    largest_learning_rate: float


def kernel_spectrum(
    phi: Nonlinearity | str,
    *,
    sigma_w2: float,
    sigma_b2: float | None = None,
    depth: int,
    points: int,
    correlation: float = 0.0,
    q1: float = 1.0,
    kind: Literal["ntk", "nngp"] = "ntk",
) -> KernelSpectrum:
    """The spectrum of the NTK (`ntk` parameterization) or NNGP kernel of `depth` weight layers on N = `points` inputs.

    With q^l, c^l the variance and correlation of layer l's pre-activations, q^1 = `q1`, c^1 = `correlation` in [-1/(N-1), 1]:
    Θ^1 = Σ^1, Θ^{l+1} = Θ^l σ_w² E φ'φ' + Σ^{l+1}, on and off the diagonal.
    Returns: a `KernelSpectrum`. Raises: `InputError` for bad input and unusable quadrature.
    Source: Xiao, Pennington and Schoenholz 2020, section 3 (their limits follow as depth grows).
    """
    weight, bias = variances_of(sigma_w2, sigma_b2)
    layers, count = integer("depth", depth), integer("points", points, least=2)
    c = real("correlation", correlation, least=-1 / (count - 1) - 1e-12, most=1)
    variance = real("q1", q1, above=0)
    one_of("kind", kind, ("ntk", "nngp"))
    phi = get(phi)
    q = variances(phi, variance, sigma_w2=weight, sigma_b2=bias, depth=layers)
    if not np.isfinite(q).all():
        layer = int(np.argmin(np.isfinite(q))) + 1
        raise fail("variances within the range of floats", f"an overflow at layer {layer}", "use fewer layers or a smaller sigma_w2")
    # φ is scale-free where it is homogeneous, and where it is linear
    at = np.ones(layers) if phi.homogeneous else np.maximum(q, SMALLEST_VARIANCE)
    moments = usable_moments(phi, at)
    gaps, pairs = _gaps(phi, q, 1 - c, bias, at, moments.second_moment)
    if kind == "nngp":
        return _spectrum(float(q[-1]), float(q[-1] * (1 - gaps[-1])), float(q[-1] * gaps[-1]), 0.0, count)
    return _spectrum(*_ntk(q, gaps, pairs, weight, moments.derivative), count)


def _gaps(
    phi: Nonlinearity, q: np.ndarray, gap: float, bias: float, at: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, list[PairMoments]]:
    """Gaps 1 - c of every layer, and the pair expectations of every layer but the last."""
    gaps, pairs = np.empty(q.size), list[PairMoments]()
    rule = pair_rule(phi, float(at.max()))
    for layer in range(q.size - 1):
        gaps[layer] = gap
        known = layer > 0 and at[layer] == at[layer - 1] and gap == gaps[layer - 1]
        pairs.append(pairs[-1] if known else rule.moments(float(at[layer]), gap))
        weights_share = 1 - bias / q[layer + 1] if q[layer + 1] > 0 else 1.0
        gap = min(float(weights_share * pairs[-1].difference / second[layer]), 2.0)
        gap = gap if gap > _UNDERFLOW else 0.0
    gaps[-1] = gap
    return gaps, pairs


def _ntk(
    q: np.ndarray, gaps: np.ndarray, pairs: list[PairMoments], weight: float, derivative: np.ndarray
) -> tuple[float, float, float, float]:
    """p, p_ab, p - p_ab and the logarithm of their scale for the NTK."""
    p, p_ab, difference, log_scale = float(q[0]), float(q[0] * (1 - gaps[0])), float(q[0] * gaps[0]), 0.0
    for layer, pair in enumerate(pairs):
        following, gap = math.exp(-log_scale) * float(q[layer + 1]), float(gaps[layer + 1])
        # (p χ - p_ab χ_ab) = (p - p_ab) χ_ab + p (χ - χ_ab)
        difference = difference * weight * pair.derivative + p * weight * pair.derivative_difference + following * gap
        p = p * weight * float(derivative[layer]) + following
        p_ab = p_ab * weight * pair.derivative + following * (1 - gap)
        if p > _RESCALE:
            p, p_ab, difference, log_scale = p / _RESCALE, p_ab / _RESCALE, difference / _RESCALE, log_scale + math.log(_RESCALE)
    return p, p_ab, difference if gaps[-1] > 0 else 0.0, log_scale


def _spectrum(p: float, p_ab: float, difference: float, log_scale: float, count: int) -> KernelSpectrum:
    p_ab = p - difference if difference < p / 2 else p_ab  # the more accurate of the two
    mean = p + (count - 1) * p_ab
    largest, smallest = max(mean, difference), min(mean, difference)
    rate = 2 * math.exp(-log_scale) / largest if largest > 0 else math.inf
    return KernelSpectrum(p, p_ab, difference, log_scale, largest, smallest, largest / smallest if smallest > 0 else math.inf, rate)
