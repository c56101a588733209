"""Exact mean and second moment of the NTK on one input at finite width: ReLU, biases zero at initialization, one output.

On one input a ReLU network has the law of a linear one whose units are masked by independent fair coins, so that the NTK is a sum
over layers of polynomials in Gaussians: Θ_W = Σ_l |δ^l|²|x^{l-1}|² and Θ_b = Σ_l |δ^l|². With a = σ_w²/2 and
X(i, j) = Π_{k=i}^{j-1}(1 + 5/n_k):

    E|x^k|⁴ = (a^k |x|² n_k/n_0)² X(1, k+1),    E|δ^l|⁴ = a^{2(L-l)} X(l, L),

and two layers l1 < l2 are tied by the masked product M of what lies between them, through E‖M‖_F⁴ and E tr((MMᵀ)²). In units of
(a^{l2-1-l1} n_{l2-1}/2)² these start as (1 + 1/n, 2/n), n = n_{l1}, and every layer k multiplies them by the matrix
[[1 + 1/n_k, 4/n_k], [2/n_k, 1 + 3/n_k]], whose eigenvalues are 1 + 5/n_k and 1 - 1/n_k. Dividing by 1 + 5/n_k keeps all sums in
range; what grows is carried as logarithms.

Of n_L outputs, the δ of all are a matrix with n_L rows, and the same two numbers of it follow the same recursion from (n_L², n_L) at the
output down: E‖δ^l‖_F⁴ stands in the place of E|δ^l|⁴ for the trace of the NTK over outputs.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.signal import lfilter
from scipy.special import logsumexp

from kernelregime._checks import fail, integer, one_of, real

Parameterization = Literal["ntk", "standard"]
Outputs = Literal["one", "mean"]
_LOOKED_AT = 33  # widths beyond the first answer at which a dispersion that need not be monotone is looked at
WIDEST = 10**9  # widths that are looked for end here: beyond, a dispersion's distance from 1 is lost in rounding


@dataclass(frozen=True)
class NtkMoments:
    """Moments of Θ(x, x) over random initializations.

    `log_mean` = log E Θ, `log_second` = log E Θ², `log_dispersion` = log(E Θ²/(E Θ)²).
    """

    log_mean: float
    log_second: float
    log_dispersion: float

    @property
    def mean(self) -> float:
        """E Θ (inf beyond the range of floats)."""
        return _exp(self.log_mean)

    @property
    def second(self) -> float:
        """E Θ² (inf beyond the range of floats)."""
        return _exp(self.log_second)

    @property
    def dispersion(self) -> float:
        """E Θ²/(E Θ)²: 1 for a deterministic kernel (inf beyond the range of floats)."""
        return _exp(self.log_dispersion)

    @property
    def coefficient_of_variation(self) -> float:
        """Standard deviation over mean, √(dispersion - 1)."""
        return math.sqrt(math.expm1(self.log_dispersion)) if self.log_dispersion < 700 else math.inf


def _exp(x: float) -> float:
    return math.exp(x) if x < math.log(np.finfo(np.float64).max) else math.inf


@dataclass(frozen=True)
class Setting:
    """A checked network: widths n_0 … n_{L-1}, a = σ_w²/2, weights κ_l of the layers' terms, whether zero biases are trained, |x|², and
    over how many outputs the NTK is the mean.
    """

    widths: np.ndarray
    log_a: float
    kappa: np.ndarray
    biases: bool
    input_norm2: float
    outputs: int = 1

    @property
    def depth(self) -> int:
        """The number of weight layers L."""
        return int(self.widths.size)

    @property
    def scale(self) -> float:
        """The logarithm of a^{L-1} where Θ_W can dominate (a >= 1, or no biases), else 0: the rest, of order one, keeps its digits."""
        return (self.depth - 1) * self.log_a if self.log_a >= 0 or not self.biases else 0.0

    @property
    def log_weights(self) -> float:
        """The logarithm of a^{L-1}|x|²/n_0, with the scale taken out: what every term of Θ_W has in common."""
        common = 0.0 if self.log_a >= 0 or not self.biases else (self.depth - 1) * self.log_a
        return common + math.log(self.input_norm2 / float(self.widths[0]))

    @property
    def log_errors(self) -> np.ndarray:
        """The logarithms of a^{L-l} for l = 1 … L, with the scale taken out."""
        layers = np.arange(self.depth)
        return -layers * self.log_a if self.log_a >= 0 else (self.depth - 1 - layers) * self.log_a


def setting(
    widths: Sequence[int], *, sigma_w2: float, sigma_b2: float | None, parameterization: str, input_norm2: float, activation: str
) -> Setting:
    """What `ntk_moments` takes, checked."""
    if one_of("activation", activation, ("relu",)) and sigma_b2 is not None and real("sigma_b2", sigma_b2, least=0) > 0:
        raise fail("sigma_b2 to be None or 0", f"{sigma_b2:g}", "with random biases there is no exact law: estimate it from samples")
    one_of("parameterization", parameterization, ("ntk", "standard"))
    if isinstance(widths, (str, int)) or len(widths) < 2:
        raise fail("widths (n_0, n_1, ..., n_L)", repr(widths), "give at least the inputs and the outputs")
    n = np.array([integer("each width", width) for width in widths], dtype=np.float64)[:-1]
    weight = real("sigma_w2", sigma_w2, above=0)
    # in the ntk parameterization W = σ_w w/√n: its derivative brings σ_w²/n_{l-1}, and zero biases b = σ_b β have none
    standard = parameterization == "standard"
    kappa = n if standard else np.full(n.size, weight)
    return Setting(n, math.log(weight / 2), kappa, standard and sigma_b2 is not None, real("input_norm2", input_norm2, above=0))


def ntk_moments(
    widths: Sequence[int],
    *,
    sigma_w2: float,
    sigma_b2: float | None = None,
    parameterization: Parameterization = "ntk",
    input_norm2: float = 1.0,
    activation: str = "relu",
    outputs: Outputs = "one",
) -> NtkMoments:
    """Exact E Θ(x, x), E Θ(x, x)² and their ratio, the dispersion, of a finite ReLU network at initialization; O(L), any depth.

    `widths` = (n_0, ..., n_L): inputs, L - 1 hidden layers, outputs. `outputs`: of "one", or of their "mean", tr Θ(x, x)/n_L, which
    has the same mean and varies less. W_ij ~ N(0, σ_w²/n_{l-1}); `input_norm2` = |x|².
    `sigma_b2`: None (no biases) or 0 (biases start at zero; trained, they add Θ_b in the `standard` parameterization; in `ntk`,
    b = σ_b β, they add nothing).
    `standard`: W itself is trained, so that Θ grows with width; `ntk`: every layer's term is multiplied by σ_w²/n_{l-1}.
    φ'(0) = 0: a layer without an active unit (probability 2^-n) silences those after it.
    Returns: `NtkMoments`, logarithms first. Raises: `InputError` for bad input, other activations, and sigma_b2 > 0.
    Source: Seleznova and Kutyniok 2022, theorem 3.2, with the exact correlation of layers in place of its eqs 13 and 15.

    >>> round(ntk_moments((8, 16, 16, 16, 1), sigma_w2=2.0).dispersion, 4)
    1.7952
    """
    net = setting(
        widths, sigma_w2=sigma_w2, sigma_b2=sigma_b2, parameterization=parameterization, input_norm2=input_norm2, activation=activation
    )
    if one_of("outputs", outputs, ("one", "mean")) == "mean":
        net = replace(net, outputs=int(widths[-1]))
    log_mean = _log_mean(net)
    log_second = _log_second(net)
    return NtkMoments(log_mean + net.scale, log_second + 2 * net.scale, max(log_second - 2 * log_mean, 0.0))


def log_growth(n: np.ndarray) -> np.ndarray:
    """The logarithms of X(1, l) for l = 1 … L, from the widths n_0 … n_{L-1}."""
    return np.concatenate([[0.0], np.cumsum(np.log1p(5 / n[1:]))])


def _log_alive(n: np.ndarray) -> np.ndarray:
    """The logarithm of the probability that layers 1 … l-1 all have an active unit, for l = 1 … L."""
    return np.concatenate([[0.0], np.cumsum(np.log1p(-np.exp2(-n[1:])))])


def _log_mean(net: Setting) -> float:
    """The logarithm of E Θ, scale taken out: E Θ_W = a^{L-1}|x|² Σ_l κ_l/n_0, E Θ_b = Σ_l E|δ^l|² with δ^L = 1 whatever lies below."""
    weights = net.log_weights + math.log(float(net.kappa.sum()))
    if not net.biases:
        return weights
    alive = _log_alive(net.widths)
    alive[-1] = 0.0
    return float(np.logaddexp(weights, logsumexp(net.log_errors + alive)))


def _log_errors_squared(net: Setting) -> np.ndarray:
    """The logarithms of E‖δ^l‖_F⁴/n_L² for l = 1 … L, in units of a^{2(L-l)}: of X(l, L) for one output."""
    growth = log_growth(net.widths)
    logs = growth[-1] - growth
    if net.outputs == 1:
        return logs
    p, r = 1.0, 1 / net.outputs
    for layer, width in reversed(list(enumerate(net.widths[1:].tolist()))):
        p, r = (value / (1 + 5 / width) for value in through(p, r, width))
        logs[layer] += math.log(p)
    return logs


def _log_second(net: Setting) -> float:
    """The logarithm of E Θ², squared scale taken out: weights squared, twice weights by biases, biases squared."""
    growth, backward = log_growth(net.widths), _log_errors_squared(net)
    passes = np.exp(growth + backward - growth[-1])  # of the pair of passes that meet in a layer; 1 for one output
    squared = float(np.sum(passes * net.kappa * (net.kappa + 2 * tied(net.widths, net.kappa)[0])))
    weights = 2 * net.log_weights + float(growth[-1]) + math.log(squared)
    if not net.biases:
        return weights
    logs = net.log_errors + growth[-1] - growth  # of a^{L-l} X(l, L); the largest is taken out
    top = float(logs.max())
    u = np.exp(logs - top)
    crossed = float(np.sum(passes * u * np.cumsum(net.kappa)) + np.sum(passes * net.kappa * tied(net.widths, u)[0]))
    both = math.log(2) + net.log_weights + top + math.log(crossed)
    return float(logsumexp([weights, both, _log_bias_second(net, backward)]))


def _log_bias_second(net: Setting, backward: np.ndarray) -> float:
    """The logarithm of E Θ_b² = Σ_l E|δ^l|⁴ + 2 Σ_{l1<l2} a^{l2-l1} E|δ^{l2}|⁴, squared scale taken out."""
    alive = np.exp(_log_alive(net.widths))
    own = np.append(alive[:-1], 1.0)
    errors = net.log_errors
    # before_l = Σ_{l1<l} a^{l-l1} alive_{l1}; for a >= 1 in units of a^{l-1}, in which it is bounded by l
    if net.log_a >= 0:
        before = np.concatenate([[0.0], np.cumsum(np.exp(errors[:-1]) * alive[:-1])])
        terms = np.logaddexp(2 * errors + np.log(own), errors + _log(2 * before))
    else:
        a = math.exp(net.log_a)
        before = np.concatenate([[0.0], lfilter([a], [1, -a], alive[:-1])])
        terms = 2 * errors + np.log(own + 2 * before)
    return float(logsumexp(terms + backward))


def _log(x: np.ndarray) -> np.ndarray:
    return np.log(x, out=np.full_like(x, -np.inf), where=x > 0)


def through(p: float, r: float, width: float) -> tuple[float, float]:
    """(E‖M‖_F⁴, E tr((MMᵀ)²)) of a masked product after one more layer of this width, in the units above."""
    e = 1 / width
    return (1 + e) * p + 4 * e * r, 2 * e * p + (1 + 3 * e) * r


def tied(n: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Σ_{l1<l} w_{l1} p(l1, l) and the same of r, l = 1 … L: p = E‖M‖_F⁴ and r = E tr((MMᵀ)²), as above over X(l1, l)."""
    sums = np.zeros((2, n.size))
    p = r = 0.0
    for layer, (width, weight) in enumerate(zip(n[1:].tolist(), weights.tolist(), strict=False), 1):
        # the sums so far pass layer `width`; the pair that starts at it joins
        p, r = (value / (1 + 5 / width) for value in through(p + weight, r, width))
        sums[:, layer] = p, r
    return sums[0], sums[1]


def width_for_dispersion(
    target: float,
    *,
    depth: int,
    inputs: int,
    sigma_w2: float,
    sigma_b2: float | None = None,
    parameterization: Parameterization = "ntk",
    input_norm2: float = 1.0,
    activation: str = "relu",
) -> int:
    """The smallest constant hidden width from which on the dispersion E Θ²/(E Θ)² stays at or below `target` > 1.

    `depth` >= 2 weight layers, `inputs` = n_0; the rest as in `ntk_moments`. Where the dispersion is not monotone in the width
    (trained zero biases below the edge of chaos), widths below the largest at which it crosses the target are passed over, as far as
    33 widths up to twice the answer show it.
    Raises: `InputError` when no width up to 10⁹ is enough, and for bad input.
    """
    limit = math.log(real("target", target, above=1))
    layers, first = integer("depth", depth, least=2), integer("inputs", inputs)

    def excess(width: int) -> float:
        moments = ntk_moments(
            (first, *[width] * (layers - 1), 1),
            sigma_w2=sigma_w2,
            sigma_b2=sigma_b2,
            parameterization=parameterization,
            input_norm2=input_norm2,
            activation=activation,
        )
        return moments.log_dispersion - limit

    if excess(WIDEST) > 0:
        raise fail(f"a target that a width up to {WIDEST:,} reaches", f"{target:g} at depth {layers}", "raise it or use fewer layers")
    enough, too_small = WIDEST, WIDEST // 2
    while too_small and excess(too_small) <= 0:
        enough, too_small = too_small, too_small // 2
    enough = _bisected(excess, too_small, enough)
    if parameterization == "standard" and sigma_b2 is not None:
        wider = np.unique(np.linspace(enough, 2 * enough, _LOOKED_AT).astype(int)).tolist()
        failing = [i for i, width in enumerate(wider) if excess(width) > 0]
        if failing:
            enough = _bisected(excess, wider[failing[-1]], wider[failing[-1] + 1] if failing[-1] + 1 < len(wider) else 4 * enough)
    return enough


def _bisected(excess: Callable[[int], float], too_small: int, enough: int) -> int:
    """The smallest width that is enough, between one that is too small and one that is enough."""
    while enough - too_small > 1:
        middle = (enough + too_small) // 2
        enough, too_small = (middle, too_small) if excess(middle) <= 0 else (enough, middle)
    return enough
