"""Independent routes to the theory's numbers, written as the formulas stand: no recursion, rule or series of the library."""

import itertools
import math
from fractions import Fraction

import mpmath
import numpy as np
from scipy.integrate import quad
from scipy.special import erf as erf_of

from kernelregime.activations import Nonlinearity
from kernelregime.activations.quadrature import quadrature_kind


def hard_tanh() -> Nonlinearity:
    """min(max(x, -1), 1): two kinks, and not homogeneous."""
    import jax.numpy as jnp

    return Nonlinearity(
        quadrature_kind("hard tanh", lambda x: jnp.clip(x, -1, 1), lambda x: jnp.where(jnp.abs(x) < 1, 1.0, 0.0), kinks=(-1.0, 1.0))
    )


def normal(z: float) -> float:
    return math.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def below(z: float) -> float:
    """The standard normal distribution function."""
    return 0.5 * math.erfc(-z / math.sqrt(2))


def hard_tanh_mean(mean: float, deviation: float) -> float:
    """E of a clipped Gaussian, in closed form."""
    low, high = (-1 - mean) / deviation, (1 - mean) / deviation
    inside = mean * (below(high) - below(low)) - deviation * (normal(high) - normal(low))
    return inside - below(low) + 1 - below(high)


def hard_tanh_pair(q: float, c: float) -> tuple[float, float]:
    """E φφ and E φ'φ' for hard tanh, integrating over one point the closed-form conditional mean of the other."""
    root, rest = math.sqrt(q), math.sqrt(q * (1 - c * c))
    points = [-1 / root, 1 / root]

    def product(z: float) -> float:
        return min(max(root * z, -1.0), 1.0) * hard_tanh_mean(c * root * z, rest) * normal(z)

    def slopes(z: float) -> float:
        return (below((1 - c * root * z) / rest) - below((-1 - c * root * z) / rest)) * normal(z)

    edges = [-12.0, *(p for p in points if abs(p) < 12), 12.0]
    total = sum(quad(product, a, b, epsabs=1e-14, epsrel=1e-13)[0] for a, b in itertools.pairwise(edges))
    reach = min(12.0, points[1])
    return total, quad(slopes, -reach, reach, epsabs=1e-14, epsrel=1e-13)[0]


def mean_over_gaussian(function, q: float) -> float:
    """E f(√q z) to 30 digits, by mpmath's tanh-sinh rule on pieces of the line."""
    with mpmath.workdps(30):
        root = mpmath.sqrt(mpmath.mpf(q))
        cuts = sorted(
            {mpmath.mpf(s) * x for s in (-1, 1) for x in (mpmath.mpf(0), 1 / root, 4 / root, mpmath.mpf(4), mpmath.mpf(13)) if x <= 13}
        )
        return float(mpmath.quad(lambda z: function(root * z) * mpmath.npdf(z), cuts))


def erf_pair(q: float, gap: float) -> tuple[float, float, float]:
    """½E(φ(x)-φ(y))², E φ'φ' and ½E(φ'(x)-φ'(y))² for erf, in closed form to 80 digits."""
    with mpmath.workdps(80):
        q, c = mpmath.mpf(q), 1 - mpmath.mpf(gap)
        product = lambda c: 2 / mpmath.pi * mpmath.asin(2 * c * q / (1 + 2 * q))  # noqa: E731
        slope = lambda c: 4 / mpmath.pi / mpmath.sqrt((1 + 2 * q) ** 2 - 4 * (c * q) ** 2)  # noqa: E731
        return float(product(1) - product(c)), float(slope(c)), float(slope(1) - slope(c))


def relu_pair(q: float, gap: float) -> tuple[float, float, float]:
    """The same for ReLU."""
    with mpmath.workdps(80):
        q, c = mpmath.mpf(q), 1 - mpmath.mpf(gap)
        theta = mpmath.acos(c)
        product = q / (2 * mpmath.pi) * (mpmath.sin(theta) + (mpmath.pi - theta) * c)
        return float(q / 2 - product), float((mpmath.pi - theta) / (2 * mpmath.pi)), float(theta / (2 * mpmath.pi))


def relu_maps(q: float, c: float) -> tuple[float, float]:
    """E φφ and E φ'φ' for ReLU at equal variances, in floats."""
    theta = math.acos(c)
    return q / (2 * math.pi) * (math.sin(theta) + (math.pi - theta) * c), (math.pi - theta) / (2 * math.pi)


def erf_maps(q: float, c: float) -> tuple[float, float]:
    """E φφ and E φ'φ' for erf at equal variances, in floats."""
    return 2 / math.pi * math.asin(2 * c * q / (1 + 2 * q)), 4 / math.pi / math.sqrt((1 + 2 * q) ** 2 - 4 * (c * q) ** 2)


def erf_function(x):
    return erf_of(x)


def exact_moments(
    widths: tuple[int, ...], a: Fraction, *, standard: bool, biases: bool, input_norm2: Fraction = Fraction(1)
) -> tuple[Fraction, Fraction]:
    """E Θ and E Θ² by the double sum over pairs of layers, in exact fractions; a layer without active unit silences Θ_b above it."""
    n = [Fraction(width) for width in widths]
    depth = len(n) - 1
    layers = range(1, depth + 1)

    def growth(i: int, j: int) -> Fraction:
        return math.prod((1 + 5 / n[k] for k in range(i, j)), start=Fraction(1))

    def alive(layer: int) -> Fraction:
        return math.prod((1 - Fraction(1, 2 ** int(n[k])) for k in range(1, layer)), start=Fraction(1)) if layer < depth else Fraction(1)

    def x2(k: int) -> Fraction:
        return a**k * n[k] / n[0] * input_norm2

    def x4(k: int) -> Fraction:
        return x2(k) ** 2 * growth(1, k + 1)

    def d4(layer: int) -> Fraction:
        return a ** (2 * (depth - layer)) * growth(layer, depth)

    def tie(first: int, second: int) -> Fraction:
        p, r = n[first] ** 2 / 4 * (1 + 1 / n[first]), n[first] / 2
        for k in range(first + 1, second):
            scale = (a * n[k] / n[k - 1]) ** 2
            p, r = scale * ((1 + 1 / n[k]) * p + 4 / n[k] * r), scale * (2 / n[k] * p + (1 + 3 / n[k]) * r)
        return (2 * a) ** 2 / (n[first - 1] * n[second - 1]) * p

    def share(layer: int) -> Fraction:
        return Fraction(1) if standard else 2 * a / n[layer - 1]

    pairs = [(i, j) for i in layers for j in layers if i < j]
    mean = sum(share(i) * a ** (depth - i) * x2(i - 1) for i in layers)
    second = sum(share(i) ** 2 * d4(i) * x4(i - 1) for i in layers)
    second += 2 * sum(share(i) * share(j) * x4(i - 1) * d4(j) * tie(i, j) for i, j in pairs)
    if biases:
        mean += sum(a ** (depth - i) * alive(i) for i in layers)
        second += sum(d4(i) * alive(i) for i in layers) + 2 * sum(a ** (j - i) * d4(j) * alive(i) for i, j in pairs)
        mixed = sum(d4(i) * x2(i - 1) * share(i) for i in layers)
        mixed += sum(d4(j) * x2(i - 1) * (share(i) * a ** (j - i) + share(j) * tie(i, j)) for i, j in pairs)
        second += 2 * mixed
    return mean, second


def sampled_ntk(
    widths: tuple[int, ...],
    sigma_w2: float,
    draws: int,
    *,
    standard: bool,
    biases: bool,
    seed: int,
    inputs: np.ndarray | None = None,
    chunk: int = 4000,
) -> np.ndarray:
    """Θ(x, x'), shape (draws,), of dense ReLU networks with Gaussian weights and zero biases, by forward and backward
    passes; the mean over outputs.

    `inputs`: (2, n_0), or None for one input of unit norm, with x = x'.
    """
    rng = np.random.default_rng(seed)
    pair = inputs if inputs is not None else np.eye(1, widths[0])
    found = []
    for start in range(0, draws, chunk):
        size = min(chunk, draws - start)
        weights = [rng.standard_normal((size, m, n)) * math.sqrt(sigma_w2 / n) for n, m in itertools.pairwise(widths)]
        rows = [[*weights[:-1], weights[-1][:, [output]]] for output in range(widths[-1])]
        found.append(np.mean([_ntk(given, pair, sigma_w2, standard, biases) for given in rows], axis=0))
    return np.concatenate(found)


def _ntk(weights: list[np.ndarray], pair: np.ndarray, sigma_w2: float, standard: bool, biases: bool) -> np.ndarray:
    activity = [np.broadcast_to(pair.T, (weights[0].shape[0], pair.shape[1], pair.shape[0]))]
    masks = []
    for w in weights[:-1]:
        h = w @ activity[-1]
        masks.append(h > 0)
        activity.append(np.where(h > 0, h, 0))
    errors = np.ones((weights[0].shape[0], 1, pair.shape[0]))
    total = np.zeros(weights[0].shape[0])
    for layer in reversed(range(len(weights))):
        x = activity[layer]
        factor = 1.0 if standard else sigma_w2 / x.shape[1]
        errors_product = np.einsum("rk,rk->r", errors[..., 0], errors[..., -1])
        total += errors_product * (factor * np.einsum("rk,rk->r", x[..., 0], x[..., -1]) + float(biases))
        if layer:
            errors = masks[layer - 1] * (np.swapaxes(weights[layer], 1, 2) @ errors)
    return total
