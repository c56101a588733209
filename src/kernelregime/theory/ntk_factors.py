"""The NTK of wide fully connected networks in the `standard` parameterization, layer by layer: variances of activations and gradients."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from kernelregime import _precision
from kernelregime._checks import array, fail, integer, one_of
from kernelregime.activations import Nonlinearity, get
from kernelregime.theory.mean_field import variances_of


@dataclass(frozen=True)
class NtkFactors:
    """Variances for one input, and covariances for pairs of it, in layers 1 … L of widths n_0 … n_L = `widths`; |x|² = n_0.

    `q`, `p`, `activated` (L,): of pre-activations, E h²; of gradients, E |δ^l|² with δ = ∂f/∂h; of the inputs x^{l-1} of layer l, E x².
    `q_pair`, `p_pair`, `activated_pair` (L, ...): the same for pairs of inputs.
    """

    widths: tuple[int, ...]
    q: Float[np.ndarray, " L"]
    q_pair: Float[np.ndarray, "L ..."]
    activated: Float[np.ndarray, " L"]
    activated_pair: Float[np.ndarray, "L ..."]
    p: Float[np.ndarray, " L"]
    p_pair: Float[np.ndarray, "L ..."]

    @property
    def kappa1(self) -> float:
        """κ₁ = Σ_l (α_{l-1}/α) q̂^{l-1} p^l, α_l = n_l/M, α = Σ_{l=1}^{L-1} α_l α_{l-1}, with M = n_1: Θ(x, x) = αM(κ₁ + O(1/M))."""
        return float(np.dot(self._shares, self.activated * self.p))

    @property
    def kappa2(self) -> Float[np.ndarray, "..."]:
        """κ₂, the same for pairs: Θ(x, x') = αM(κ₂ + O(1/M))."""
        return np.asarray(np.tensordot(self._shares, self.activated_pair * self.p_pair, axes=1))

    @property
    def ntk(self) -> tuple[float, Float[np.ndarray, "..."]]:
        """Θ(x, x) and Θ(x, x') with what the biases add, Σ_l (n_{l-1} q̂^{l-1} + 1) p^l."""
        n = np.array(self.widths[:-1], np.float64)
        pairs = (self.activated_pair.T * n).T + 1
        return float(np.sum((n * self.activated + 1) * self.p)), np.asarray(np.sum(pairs * self.p_pair, axis=0))

    @property
    def _shares(self) -> np.ndarray:
        """α_{l-1}/α for l = 1 … L."""
        alpha = np.array(self.widths[:-1]) / self.widths[1]
        return np.asarray(alpha / np.sum(alpha[1:] * alpha[:-1]))


def ntk_factors(
    phi: Nonlinearity | str, correlation: object, *, widths: Sequence[int], sigma_w2: float, sigma_b2: float | None = None
) -> NtkFactors:
    """The factors of the NTK of wide networks, for inputs |x|² = |x'|² = n_0 and `correlation` x·x'/n_0 (any shape, in [-1, 1]).

    q^1 = σ_w² + σ_b², q^{l+1} = σ_w² E φ(√q^l z)² + σ_b², p^L = 1, p^l = p^{l+1} σ_w² E φ'(√q^l z)², q̂^0 = 1, q̂^l = E φ(√q^l z)²; for
    pairs likewise, with expectations over (u, v) of covariance q_pair^l. `widths` = (n_0, ..., n_L), L >= 2, n_L = 1.
    Returns: `NtkFactors`. Raises: `InputError` for bad input.
    Source: Seleznova and Kutyniok 2021, eqs 5 to 9 and lemma 2; the factors M_{l+1}/M_{l+2} of eqs 8 and 9 are 1 with fan-in variances.

    >>> round(ntk_factors("relu", 0.5, widths=(9, 9, 9, 1), sigma_w2=2.0).kappa1, 6)
    1.5
    """
    sizes, (weight, bias), phi = _checked(widths), variances_of(sigma_w2, sigma_b2), get(phi)
    found = _cosines(correlation)
    inputs, slopes = [(1.0, found)], []
    q, gap = weight + bias, weight * (1 - found) / (weight + bias)
    outputs = [(q, q * (1 - gap))]
    for _ in sizes[2:]:
        moment, one_minus, slope, slope_pair = _layer(phi, q, gap)
        inputs.append((moment, moment * (1 - one_minus)))
        slopes.append((weight * slope, weight * slope_pair))
        q, gap = weight * moment + bias, weight * moment * one_minus / (weight * moment + bias)
        outputs.append((q, q * (1 - gap)))
    return _assembled(sizes, outputs, inputs, slopes)


def _layer(phi: Nonlinearity, q: float, gap: np.ndarray) -> tuple[float, np.ndarray, float, np.ndarray]:
    """E φ², 1 - the correlation of φ, E φ'², E φ'φ'."""
    with _precision.enter("float64"):
        moment, one_minus, slope, slope_pair = _step(phi, jnp.float64(q), jnp.asarray(gap))
        return float(moment), np.array(one_minus), float(slope), np.array(slope_pair)


@jax.jit
def _step(phi: Nonlinearity, q: jax.Array, gap: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    pairs, same = phi.dual(q, q, gap, 2 - gap), phi.dual(q, q, jnp.zeros_like(q), 2 + jnp.zeros_like(q))
    return phi.second_moment(q), pairs.one_minus, same.derivative, pairs.derivative


def printed_ntk_factors(
    activation: str, correlation: object, *, widths: Sequence[int], sigma_w2: float, sigma_b2: float | None = None
) -> NtkFactors:
    """The factors as the paper's closed forms for "relu" and "erf" give them when they are read as printed.

    q⁰ = 1 passes through φ. ReLU: p_pair^{l-1} = (σ_w²/2π) p^l (π/2 + arcsin c), with p^l where p_pair^l is right. erf: with s = q_pair,
    q_pair' = (2σ_w²/π) arctan(2√s/√((1 + 2√s)² - 4s)) + σ_b² and p_pair^{l-1} = (4σ_w²/π) p_pair^l/√((1 + 2√s)² - 4s), where
    2s/√((1 + 2q)² - 4s²) and 1/√((1 + 2q)² - 4s²) are right. nan where s < 0. Arguments, result and errors as in `ntk_factors`, for
    the activations "relu" and "erf". Source: Seleznova and Kutyniok 2021, appendices E.1 and E.2.
    """
    sizes, (weight, bias) = _checked(widths), variances_of(sigma_w2, sigma_b2)
    layer = _printed_relu if one_of("activation", activation, ("relu", "erf")) == "relu" else _printed_erf
    q, pair = 1.0, _cosines(correlation)
    outputs, inputs, slopes = [], [], []
    for _ in sizes[1:]:
        moment, moment_pair, slope, slope_pair = layer(q, pair)
        inputs.append((moment, moment_pair))
        slopes.append((weight * slope, weight * slope_pair))
        q, pair = weight * moment + bias, weight * moment_pair + bias
        outputs.append((q, pair))
    return _assembled(sizes, outputs, inputs, slopes[1:], mixed=activation == "relu")


def _printed_relu(q: float, pair: np.ndarray) -> tuple[float, np.ndarray, float, np.ndarray]:
    c = np.clip(pair / q, -1, 1)
    angle = math.pi / 2 + np.arcsin(c)
    return q / 2, q / (2 * math.pi) * (np.sqrt(1 - c**2) + c * angle), 0.5, angle / (2 * math.pi)


def _printed_erf(q: float, pair: np.ndarray) -> tuple[float, np.ndarray, float, np.ndarray]:
    with np.errstate(invalid="ignore"):
        deviation = np.sqrt(pair)
    root = np.sqrt((1 + 2 * deviation) ** 2 - 4 * pair)
    moment = 2 / math.pi * math.atan(q / math.sqrt(q + 0.25))
    return moment, 2 / math.pi * np.arctan(2 * deviation / root), 2 / math.pi / math.sqrt(q + 0.25), 4 / math.pi / root


def _assembled(
    sizes: tuple[int, ...],
    outputs: Sequence[tuple[float, np.ndarray]],
    inputs: Sequence[tuple[float, np.ndarray]],
    slopes: Sequence[tuple[float, np.ndarray]],
    *,
    mixed: bool = False,
) -> NtkFactors:
    """With p from the last layer down; `mixed`: the pair's p from p itself."""
    p, p_pair = [1.0], [np.ones_like(inputs[0][1])]
    for slope, slope_pair in reversed(slopes):
        p_pair.append((p[-1] if mixed else p_pair[-1]) * slope_pair)
        p.append(p[-1] * slope)
    (q, q_pair), (own, pair) = (zip(*rows, strict=True) for rows in (outputs, inputs))
    arrays = (np.array(q), np.array(q_pair), np.array(own), np.array(pair), np.array(p[::-1]), np.array(p_pair[::-1]))
    return NtkFactors(sizes, *arrays)


def _checked(widths: Sequence[int]) -> tuple[int, ...]:
    sizes = tuple(integer("each width", width) for width in widths)
    if len(sizes) < 3 or sizes[-1] != 1:
        raise fail("widths (n_0, n_1, ..., 1) of two layers at least", repr(tuple(widths)), "end with one output")
    return sizes


def _cosines(correlation: object) -> np.ndarray:
    found = array("correlation", correlation).astype(np.float64)
    if (np.abs(found) > 1).any():
        raise fail("correlations in [-1, 1]", f"{found.ravel()[int(np.argmax(np.abs(found)))]:g}", "divide x·x' by n_0")
    return found
