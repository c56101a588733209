"""Exact draws of the NTK on one input, without weights: bias-free or zero-bias ReLU, a few random numbers a layer.

Let k_l ~ Binomial(n_l, 1/2) count the active units of layer l. Forwards, W^l x^{l-1} is an isotropic Gaussian given x^{l-1}, so that
|x^l|² = σ_w²/n_{l-1} |x^{l-1}|² χ²_{k_l}, whatever the directions. Given all that the forward pass has seen, W^l is still free on the
complement of u = x^{l-1}/|x^{l-1}|; along u, (W^l)ᵀδ^l is fixed by δ^l·W^l x^{l-1} = f, the output (homogeneity), and u lies within the
active units of layer l-1. So

    |δ^{l-1}|² = f²/|x^{l-1}|² + σ_w²/n_{l-1} |δ^l|² χ²_{k_{l-1}-1},    f² = σ_w²/n_{L-1} |x^{L-1}|² χ²_1,

with all χ² independent given the counts. The terms T_l = |x^{l-1}|²|δ^l|² then form a chain, free of σ_w² in units of any one of them:

    T_l = n_{l-1} (χ²_1 T_j/n_{j-1} + χ²_{k_l-1} T_{l+1}/n_l) / χ²_{k_l},    f² = σ_w²/n_{j-1} T_j χ²_1.

A network whose units are masked by coins has the same law whether read forwards or backwards; backwards it gives the chain upwards from
layer j, T_{l+1} = n_l (χ²_1 T_j/n_{j-1} + χ²_{k_l-1} T_l/n_{l-1}) / χ²_{k_l}, with the last χ²_{k_l} that of |δ^l|².
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from kernelregime._checks import integer
from kernelregime.theory.dispersion import Parameterization, Setting, log_growth, ntk_moments, setting
from kernelregime.theory.dispersion_estimate import DispersionEstimate, effective_sample_size

BLOCK = 1 << 14  # draws at one time: vectors of 128 KiB, which stay in the cache
ENOUGH = 50.0  # effective draws of a bounded variable


@dataclass(frozen=True)
class NtkSample:
    """Independent draws of Θ(x, x) of one output: `log_theta` = log Θ, shape (draws,); -inf where a layer has no active unit."""

    log_theta: np.ndarray

    @property
    def theta(self) -> np.ndarray:
        """Θ (inf beyond the range of floats)."""
        with np.errstate(over="ignore"):
            return np.exp(self.log_theta)

    @property
    def draws(self) -> int:
        """How many."""
        return int(self.log_theta.size)


def sample_ntk(
    widths: Sequence[int],
    *,
    sigma_w2: float,
    sigma_b2: float | None = None,
    parameterization: Parameterization = "ntk",
    input_norm2: float = 1.0,
    activation: str = "relu",
    draws: int,
    seed: int,
) -> NtkSample:
    """Draws from the exact law of Θ(x, x) of a finite ReLU network at initialization; O(draws·L), whatever the widths, any depth.

    Arguments as in `ntk_moments`, whose moments are those of this law; `draws` >= 1; `seed` >= 0, which with `draws` fixes them.
    Returns: an `NtkSample`. Raises: `InputError` for bad input, other activations, and sigma_b2 > 0.
    Source: the chain at the top of this module.

    >>> sample_ntk((4, 8, 1), sigma_w2=2.0, draws=3, seed=0).draws
    3
    """
    net = setting(
        widths, sigma_w2=sigma_w2, sigma_b2=sigma_b2, parameterization=parameterization, input_norm2=input_norm2, activation=activation
    )

    def block(rng: np.random.Generator, size: int) -> np.ndarray:
        last = np.full(size, net.depth)
        plain = np.zeros(size, dtype=bool)
        return _outwards(rng, net, last, plain, plain).log_theta(net)

    return NtkSample(np.concatenate(list(_blocks(block, draws, seed))))


def simulated_dispersion(
    widths: Sequence[int],
    *,
    sigma_w2: float,
    sigma_b2: float | None = None,
    parameterization: Parameterization = "ntk",
    input_norm2: float = 1.0,
    activation: str = "relu",
    draws: int,
    seed: int,
) -> DispersionEstimate:
    """E Θ²/(E Θ)² by importance sampling from the exact law: bounded draws, so that mean and sem can be trusted at any depth.

    Θ = Σ_i t_i, i over the terms of the layers (κ_l T_l, and |δ^l|² with trained biases). A draw takes a term j with a probability in
    proportion to E t_j², and all else from the law weighted by t_j²; then E Θ² = Σ_i E t_i² · E[Θ²/Σ_i t_i²], whose variable lies
    between 1 and the number of terms. E t_i² and E Θ are products over layers, exact. Arguments as in `sample_ntk`, draws >= 2.
    Returns: a `DispersionEstimate`; `effective_sample_size` is that of the bounded variable.
    Raises: `InputError` as `sample_ntk` does.
    Source: Owen and Zhou 2000, section 4 (mixtures as importance samplers).
    """
    net = setting(
        widths, sigma_w2=sigma_w2, sigma_b2=sigma_b2, parameterization=parameterization, input_norm2=input_norm2, activation=activation
    )
    count = integer("draws", draws, least=2)
    log_squares = _log_squares(net)
    total = float(logsumexp(log_squares))
    shares = np.exp(log_squares - total)

    def block(rng: np.random.Generator, size: int) -> np.ndarray:
        term = rng.choice(shares.size, size, p=shares / shares.sum())
        term = term[np.argsort(term % net.depth, kind="stable")]  # by layers: what one layer passes on is then a slice
        walk = _outwards(rng, net, term % net.depth + 1, term < net.depth, term != 2 * net.depth - 1)
        return walk.squared_over_squares(net)

    ratio = np.concatenate(list(_blocks(block, count, seed)))
    mean = float(ratio.mean())
    moments = ntk_moments(
        widths, sigma_w2=sigma_w2, sigma_b2=sigma_b2, parameterization=parameterization, input_norm2=input_norm2, activation=activation
    )
    with np.errstate(over="ignore"):
        factor = float(np.exp(total + 2 * net.scale - 2 * moments.log_mean))
    effective = effective_sample_size(ratio)
    enough = effective >= min(ENOUGH, count / 2)
    status = "reliable" if enough else f"unreliable: {effective:.1f} of {count} draws carry the mean; draw more"
    return DispersionEstimate(factor * mean, factor * float(ratio.std(ddof=1)) / math.sqrt(count), count, effective, enough, status)


def _blocks(block: Callable[[np.random.Generator, int], np.ndarray], draws: int, seed: int) -> Iterator[np.ndarray]:
    """`block(rng, size)` for all draws, each block with a stream of its own."""
    count = integer("draws", draws)
    sizes = [min(BLOCK, count - start) for start in range(0, count, BLOCK)]
    streams = np.random.SeedSequence(integer("seed", seed, least=0)).spawn(len(sizes))
    return (block(np.random.default_rng(stream), size) for stream, size in zip(streams, sizes, strict=True))


def _log_squares(net: Setting) -> np.ndarray:
    """The logarithms of E t_i², squared scale taken out: (L,) for weights, then (L,) for biases where they are trained."""
    growth = log_growth(net.widths)
    weights = 2 * (net.log_weights + np.log(net.kappa)) + growth[-1]
    if not net.biases:
        return weights
    # δ^l needs an active unit in every layer below it, save the output's
    alive = np.concatenate([[0.0], np.cumsum(np.log1p(-np.exp2(-net.widths[1:])))])
    alive[-1] = 0.0
    return np.concatenate([weights, 2 * net.log_errors + growth[-1] - growth + alive])


class _LogSums:
    """The logarithms of a sum and of the sum of squares, per draw."""

    def __init__(self, logs: np.ndarray) -> None:
        self.first, self.second = logs.copy(), 2 * logs

    def add(self, part: slice, logs: np.ndarray) -> None:
        """One more term for the draws in `part`."""
        self.first[part] = np.logaddexp(self.first[part], logs)
        self.second[part] = np.logaddexp(self.second[part], 2 * logs)


@dataclass(frozen=True)
class _Walk:
    """Sums over all layers: `weights` of κ_l T_l/T_j, `biases` of |δ^l|²/|δ^j|²; `log_x` = log |x^{j-1}|²; `dead`: δ^{L-1} = 0."""

    weights: _LogSums
    biases: _LogSums
    log_x: np.ndarray
    dead: np.ndarray

    def log_theta(self, net: Setting) -> np.ndarray:
        """Log Θ/|δ^j|²; a dead network has the last layer's bias alone."""
        weights = self.log_x + self.weights.first
        return np.where(self.dead, 0.0 if net.biases else -np.inf, np.logaddexp(weights, self.biases.first) if net.biases else weights)

    def squared_over_squares(self, net: Setting) -> np.ndarray:
        """Θ²/Σ_i t_i²; 1 for a dead network, which has one term."""
        squares = 2 * self.log_x + self.weights.second
        log_squares = np.logaddexp(squares, self.biases.second) if net.biases else squares
        return np.exp(np.where(self.dead, 0.0, 2 * self.log_theta(net) - log_squares))


def _outwards(rng: np.random.Generator, net: Setting, layer: np.ndarray, tilted: np.ndarray, alive: np.ndarray) -> _Walk:
    """The chain from T_j, j = `layer` (ascending), down to layer 1 and up to layer L.

    The law is weighted by |δ^j|⁴, by |x^{j-1}|⁴ too where `tilted`, else given that layers below j have an active unit where `alive`.
    """
    n, log_n, log_a2 = net.widths, np.log(net.widths), net.log_a + math.log(2)
    log_kappa = np.log(net.kappa) - log_n
    weights, biases = _LogSums(log_kappa[layer - 1]), _LogSums(np.zeros(layer.size))
    output = _log_chi2(rng, np.ones(layer.size)) - log_n[layer - 1]
    t, log_x, dead = np.zeros(layer.size), np.zeros(layer.size), np.zeros(layer.size, dtype=bool)
    for k in range(net.depth - 1, 0, -1):
        part = slice(int(np.searchsorted(layer, k, side="right")), None)
        active = _active(rng, int(n[k]), tilted[part], alive[part])
        dead[part] |= active == 0
        forward = _log_chi2(rng, np.where(active == 0, 1, active + 4 * tilted[part]))
        t[part] = log_n[k - 1] + np.logaddexp(output[part], _log_chi2(rng, active - 1) + t[part] - log_n[k]) - forward
        log_x[part] -= log_a2 + forward - log_n[k - 1]
        weights.add(part, log_kappa[k - 1] + t[part])
        if net.biases:
            biases.add(part, t[part] - log_x[part])
    t, log_d = np.zeros(layer.size), np.zeros(layer.size)
    for k in range(int(layer[0]), net.depth):
        part = slice(0, int(np.searchsorted(layer, k, side="right")))
        every = np.ones(part.stop, dtype=bool)
        active = _active(rng, int(n[k]), every, every)
        backward = _log_chi2(rng, active + 4)
        t[part] = log_n[k] + np.logaddexp(output[part], _log_chi2(rng, active - 1) + t[part] - log_n[k - 1]) - backward
        log_d[part] -= log_a2 + backward - log_n[k]
        weights.add(part, log_kappa[k] + t[part])
        if net.biases:
            biases.add(part, log_d[part])
    return _Walk(weights, biases, math.log(net.input_norm2) - log_x, dead)


def _active(rng: np.random.Generator, width: int, tilted: np.ndarray, alive: np.ndarray) -> np.ndarray:
    """Counts k of active units among `width`; weighted by k(k + 2) = k(k - 1) + 3k where `tilted`, k > 0 where `alive`."""
    if tilted.any():
        # weighting by k(k - 1) or k makes two units or one active for certain; E k(k - 1) = n(n - 1)/4, E 3k = 3n/2
        certain = np.where(tilted, 1 + (rng.random(tilted.size) < (width - 1) / (width + 5)), 0)
        count = certain + rng.binomial(width - certain, 0.5)
    else:
        count = rng.binomial(width, 0.5, tilted.size)
    while (again := alive & (count == 0)).any():
        count[again] = rng.binomial(width, 0.5, int(again.sum()))
    return count


def _log_chi2(rng: np.random.Generator, degrees: np.ndarray) -> np.ndarray:
    """The logarithms of χ² variables; -inf for no degrees of freedom."""
    values = 2 * rng.standard_gamma(np.maximum(degrees, 0) / 2)
    return np.log(values, out=np.full(values.shape, -np.inf), where=values > 0)
