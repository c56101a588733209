"""The dispersion of the NTK where depth and width grow together, and the formulas as printed, to be shown beside it.

ReLU, one input, one output, biases zero at initialization, constant width M, n_0 = α₀M, L/M -> λ. The printed formulas (Seleznova
and Kutyniok 2022) tie layers by Π(1 + 1/n_k), which is the first order of the exact recursion of `ntk_moments`: in the chaotic
phase the limit is 12 % above the printed one at λ = 0.5 and 37 % at λ = 1.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy.special import logsumexp

from kernelregime._checks import one_of, real
from kernelregime.theory.dispersion import NtkMoments, Parameterization, log_growth, setting

_SERIES = 20  # terms: x^20/22! is below 1e-21 for |x| <= 1


def second_remainder(x: np.ndarray) -> np.ndarray:
    """(e^x - 1 - x)/x², by its series for |x| < 1."""
    small = np.where(np.abs(x) < 1, x, 0.0)
    series = np.zeros_like(small)
    for k in reversed(range(_SERIES)):
        series = series * small + 1 / math.factorial(k + 2)
    large = np.where(np.abs(x) < 1, 1.0, x)
    with np.errstate(over="ignore"):
        return np.where(np.abs(x) < 1, series, (np.expm1(large) - large) / large**2)


def _checked(ratio: object) -> np.ndarray:
    values = np.asarray(ratio, dtype=np.float64)
    for value in values.ravel():
        real("ratio", value, least=0)
    return values


def dispersion_limit(
    ratio: object, *, sigma_w2: float, sigma_b2: float | None = None, parameterization: Parameterization = "ntk", alpha0: float = 1.0
) -> np.ndarray:
    """E Θ²/(E Θ)² as L, M -> ∞ with L/M = `ratio` (λ, elementwise), n_0 = `alpha0`·M; inf beyond the range of floats.

    Without biases, or in the `ntk` parameterization, it is the same in every phase,
    W2 = e^{5λ}[1/3 + 2/(9λ)·(1 - (1 - e^{-6λ})/(6λ))]; so it is in the chaotic phase (σ_w² > 2). With trained biases that start at
    zero (`standard`, `sigma_b2` = 0) it is 1 in the ordered phase, and at σ_w² = 2 (W2 + 2α₀ WB + α₀² B2)/(1 + α₀)², with the
    limits B2 and WB of E Θ_b² and E Θ_W Θ_b.
    Returns: an array of the shape of `ratio`. Raises: `InputError` for bad input, and for sigma_b2 > 0.
    Source: Seleznova and Kutyniok 2022, theorem 3.1, corrected: it is the limit of `ntk_moments`.
    """
    lam, alpha = _checked(ratio), real("alpha0", alpha0, least=0)
    net = setting((1, 1), sigma_w2=sigma_w2, sigma_b2=sigma_b2, parameterization=parameterization, input_norm2=1.0, activation="relu")
    if net.biases and net.log_a < 0:
        return np.ones_like(lam)
    weights = _weights_limit(lam)
    if not net.biases or net.log_a > 0:
        return weights
    return (weights + 2 * alpha * _mixed_limit(lam) + alpha**2 * _biases_limit(lam)) / (1 + alpha) ** 2


def _weights_limit(lam: np.ndarray) -> np.ndarray:
    """W2: with (1 - (1 - e^{-x})/x)/x = (e^{-x} - 1 + x)/x², it is e^{5λ}(1/3 + 4/3·R(-6λ)), R(x) = (e^x - 1 - x)/x²."""
    with np.errstate(over="ignore"):
        return np.exp(5 * lam) * (1 / 3 + 4 / 3 * second_remainder(-6 * lam))


def _biases_limit(lam: np.ndarray) -> np.ndarray:
    """B2 = 2(e^{5λ} - 1)/(25λ²) - 2/(5λ) = 2R(5λ)."""
    return 2 * second_remainder(5 * lam)


def _mixed_limit(lam: np.ndarray) -> np.ndarray:
    """WB = (e^{5λ} - 1 - 5λ)/(25λ²) + [e^{5λ} - (e^{5λ} - 1)/(5λ)]/(15λ) + 2/(3λ)·[(e^{5λ} - 1)/(5λ) - e^{5λ}(1 - e^{-6λ})/(6λ)].

    In R this is R(5λ) + e^{5λ}R(-5λ)/3 + (2/3)e^{5λ}[6R(-6λ) - 5R(-5λ)].
    """
    with np.errstate(over="ignore"):
        return second_remainder(5 * lam) + np.exp(5 * lam) * (4 * second_remainder(-6 * lam) - 3 * second_remainder(-5 * lam))


def printed_dispersion_limit(ratio: object, *, sigma_w2: float, alpha0: float = 1.0) -> np.ndarray:
    """The limit as printed, for `standard` with trained zero biases: smaller than what networks show (see `dispersion_limit`).

    σ_w² > 2: e^{5λ}/(2λ)·(1 - (1 - e^{-4λ})/(4λ)); σ_w² = 2: the printed combination with α₀ = `alpha0`; σ_w² < 2: 1.
    λ = `ratio`, elementwise.
    Source: Seleznova and Kutyniok 2022, eqs 8, 9 and 10.
    """
    lam, alpha, weight = _checked(ratio), real("alpha0", alpha0, least=0), real("sigma_w2", sigma_w2, above=0)
    if weight < 2:
        return np.ones_like(lam)
    # with R as above: 1 - (1 - e^{-4λ})/(4λ) = 4λ R(-4λ), and (9e^{5λ}/25 - e^λ + 16/25 - 4λ/5)/λ² = 9R(5λ) - R(λ)
    with np.errstate(over="ignore"):
        weights = 2 * np.exp(5 * lam) * second_remainder(-4 * lam)
    if weight > 2:
        return weights
    mixed = (9 * second_remainder(5 * lam) - second_remainder(lam)) / 4
    return (weights + 2 * alpha * mixed + alpha**2 * _biases_limit(lam)) / (1 + alpha) ** 2


def printed_ntk_moments(
    widths: Sequence[int],
    *,
    sigma_w2: float,
    sigma_b2: float | None = None,
    input_norm2: float = 1.0,
    form: Literal["lemma", "theorem"] = "lemma",
) -> NtkMoments:
    """Moments of Θ(x, x) as printed (`standard` parameterization), O(1/M) and smaller terms left out; compare `ntk_moments`.

    Layers l1 < l2 are tied by C(l1, l2) = Π_{k=l1}^{l2-1}(1 + 1/n_k). `form="lemma"`: as in the proof, with 2C(l1, l2) X(1, l1) X(l2, L)
    in E Θ_W²; "theorem": literally, with C(l1, l2) X(1, L). Arguments otherwise as in `ntk_moments`.
    Source: Seleznova and Kutyniok 2022, lemmas A.5 to A.7 ("lemma"), eqs 11 to 15 ("theorem").
    """
    one_of("form", form, ("lemma", "theorem"))
    net = setting(widths, sigma_w2=sigma_w2, sigma_b2=sigma_b2, parameterization="standard", input_norm2=input_norm2, activation="relu")
    n, growth, errors = net.widths, log_growth(net.widths), net.log_errors
    ties = np.concatenate([[0.0], np.cumsum(np.log1p(1 / n[1:]))])  # log C(1, l)
    log_n, biases = np.log(n), net.biases
    own = 2 * net.log_weights + growth[-1] + logsumexp(2 * log_n)
    if form == "lemma":
        below = log_n + growth - ties  # n_{l1-1} X(1, l1)/C(1, l1)
        pairs = math.log(2) + growth[-1] + _log_pairs(below, log_n + ties - growth)
    else:
        pairs = growth[-1] + _log_pairs(log_n - ties, log_n + ties)
    second = [own, 2 * net.log_weights + pairs]
    mean = [net.log_weights + logsumexp(log_n)]
    if biases:
        mean.append(logsumexp(errors))
        x = growth[-1] - growth  # log X(l, L)
        second += [logsumexp(2 * errors + x), math.log(2) + _log_pairs(errors, errors + x)]
        crossed = [logsumexp(errors + x + log_n), _log_pairs(errors - ties, x + log_n + ties), _log_pairs(log_n, errors + x)]
        second.append(math.log(2) + net.log_weights + logsumexp(crossed))
    log_mean, log_second = float(logsumexp(mean)), float(logsumexp(second))
    return NtkMoments(log_mean + net.scale, log_second + 2 * net.scale, log_second - 2 * log_mean)


def _log_pairs(first: np.ndarray, second: np.ndarray) -> float:
    """The logarithm of Σ_{l1<l2} exp(first_{l1} + second_{l2}); -inf for a single layer."""
    before = np.logaddexp.accumulate(first)[:-1]
    return float(logsumexp(before + second[1:])) if first.size > 1 else -math.inf
