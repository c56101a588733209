"""Exact draws of the NTK matrix of a few inputs, for any activation, without weight matrices: O(L·n·k²) a draw for k inputs.

Forwards, z = W X (X: n × k, the layer's inputs) has independent rows of covariance σ_w²/n XᵀX. Given that, W is still free on the
complement of the span of X: with N a draw of Wᵀ Δ for a W of which nothing is known, of independent rows of covariance σ_w²/n ΔᵀΔ,

    WᵀΔ = N + X (XᵀX)⁺ (zᵀΔ - XᵀN).

Both passes draw n·k numbers a layer in the place of the n² of W; the law is that of the network, whatever its widths.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kernelregime._checks import array, fail, integer, one_of, real
from kernelregime.activations import Nonlinearity, get
from kernelregime.theory.dispersion import Parameterization
from kernelregime.theory.values import evaluate

NUMBERS = 1 << 21  # of a layer of all draws that are made at one time: 16 MiB an array
SPAN = 1e-14  # eigenvalues of cosines that are rounding: of inputs that depend on the others


@dataclass(frozen=True)
class NtkMatrixSample:
    """Independent draws for k inputs: `theta` (draws, k, k), the NTK of one output, and `outputs` (draws, k), f itself."""

    theta: np.ndarray
    outputs: np.ndarray


@dataclass(frozen=True)
class _Network:
    widths: tuple[int, ...]
    phi: Nonlinearity
    sigma_w2: float
    sigma_b2: float | None
    standard: bool

    def term(self, n: int, deltas: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """What a layer of n inputs adds to Θ, of the Gram matrices of its δ and of its inputs."""
        biases = 0.0 if self.sigma_b2 is None else 1.0 if self.standard else self.sigma_b2
        return deltas * ((1.0 if self.standard else self.sigma_w2 / n) * inputs + biases)


def sample_ntk_matrix(
    widths: Sequence[int],
    activation: Nonlinearity | str,
    x: object,
    *,
    sigma_w2: float,
    sigma_b2: float | None = None,
    parameterization: Parameterization = "ntk",
    draws: int,
    seed: int,
) -> NtkMatrixSample:
    """Draws from the exact law of Θ(x_i, x_j) of a finite fully connected network at initialization, in float64.

    `widths` = (n_0, ..., n_L), n_L = 1. `x`: inputs (k, n_0). W_ij ~ N(0, σ_w²/n_{l-1}), biases N(0, σ_b²) (None: none; 0: they start at
    zero and are trained); `parameterization` as in `ntk_moments`. `draws` >= 1; `seed` >= 0, which with `draws` fixes them.
    φ' at a kink is the mean of both sides: it counts where a whole layer is silent (ReLU: probability 2^-n).
    Returns: an `NtkMatrixSample`. Raises: `InputError` for bad input.
    Source: the law of a Gaussian matrix given its products with some vectors, at the top of this module.

    >>> sample_ntk_matrix((4, 8, 1), "tanh", [[1.0, 0.0, 0.0, 0.0]], sigma_w2=2.0, draws=3, seed=0).theta.shape
    (3, 1, 1)
    """
    sizes = tuple(integer("each width", width) for width in widths)
    if len(sizes) < 2 or sizes[-1] != 1:
        raise fail("widths (n_0, n_1, ..., 1)", repr(tuple(widths)), "end with one output")
    points = array("x", x, ndim=2).astype(np.float64)
    if points.shape[1] != sizes[0]:
        raise fail(f"x of shape (k, {sizes[0]})", f"shape {points.shape}", "give inputs of n_0 features")
    one_of("parameterization", parameterization, ("ntk", "standard"))
    bias = None if sigma_b2 is None else real("sigma_b2", sigma_b2, least=0)
    net = _Network(sizes, get(activation), real("sigma_w2", sigma_w2, above=0), bias, parameterization == "standard")
    found = list(_blocks(net, points.T, integer("draws", draws), integer("seed", seed, least=0)))
    return NtkMatrixSample(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _blocks(net: _Network, x: np.ndarray, draws: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    size = max(1, NUMBERS // (max(net.widths) * x.shape[1]))
    streams = np.random.SeedSequence(seed).spawn(-(-draws // size))
    for index, stream in enumerate(streams):
        yield _draw(net, x, min(size, draws - index * size), np.random.default_rng(stream))


def _draw(net: _Network, x: np.ndarray, draws: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Θ (draws, k, k) and f (draws, k); arrays of units are (draws, n, k)."""
    layers = []
    units = np.broadcast_to(x, (draws, *x.shape))
    for width in net.widths[1:-1]:
        gram = _gram(units)
        z = np.sqrt(net.sigma_w2 / units.shape[1]) * _rows(rng, width, gram)
        biases = np.sqrt(net.sigma_b2) * rng.standard_normal((draws, width, 1)) if net.sigma_b2 else 0.0
        after, slope = evaluate(net.phi, z + biases)
        layers.append((units, gram, z, slope))
        units = after
    n, gram = units.shape[1], _gram(units)
    readout = np.sqrt(net.sigma_w2 / n) * rng.standard_normal((draws, n, 1))
    outputs = np.swapaxes(units, 1, 2) @ readout
    if net.sigma_b2:
        outputs = outputs + np.sqrt(net.sigma_b2) * rng.standard_normal((draws, 1, 1))
    theta = net.term(n, np.ones_like(gram), gram)
    back = np.broadcast_to(readout, (draws, n, x.shape[1]))
    for units, gram, z, slope in reversed(layers):
        delta = slope * back
        squares, n = _gram(delta), units.shape[1]
        theta = theta + net.term(n, squares, gram)
        if units is not layers[0][0]:
            free = np.sqrt(net.sigma_w2 / n) * _rows(rng, n, squares)
            back = free + units @ (_inverse(gram) @ (np.swapaxes(z, 1, 2) @ delta - np.swapaxes(units, 1, 2) @ free))
    return theta, outputs[..., 0]


def _gram(units: np.ndarray) -> np.ndarray:
    return np.swapaxes(units, 1, 2) @ units


def _rows(rng: np.random.Generator, count: int, gram: np.ndarray) -> np.ndarray:
    """`count` independent rows of covariance `gram`, (draws, count, k)."""
    lengths, values, vectors, _ = _spectrum(gram)
    root = (vectors * np.sqrt(values)[:, None, :]) @ np.swapaxes(vectors, 1, 2) * lengths[:, None, :]
    return rng.standard_normal((len(gram), count, gram.shape[1])) @ root


def _inverse(gram: np.ndarray) -> np.ndarray:
    """The pseudo-inverse of Gram matrices, zero for units that are all zero."""
    lengths, values, vectors, kept = _spectrum(gram)
    inverse = np.where(kept, 1 / np.where(kept, values, 1), 0)
    found = (vectors * inverse[:, None, :]) @ np.swapaxes(vectors, 1, 2)
    return found / (lengths[:, :, None] * lengths[:, None, :])


def _spectrum(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The lengths of vectors (1 where 0) with this Gram matrix; of their cosines the eigenvalues, those of rounding set to zero, the
    eigenvectors, and which were kept.
    """
    squares = np.diagonal(gram, axis1=1, axis2=2)
    lengths = np.sqrt(np.where(squares > 0, squares, 1))
    values, vectors = np.linalg.eigh(gram / lengths[:, :, None] / lengths[:, None, :])
    kept = values > SPAN
    return lengths, np.where(kept, values, 0), vectors, kept
