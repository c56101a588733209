"""Off-diagonal entries of the NTK of ReLU networks in the infinite-depth-and-width limit: their mean and dispersion."""

import math
from typing import NamedTuple

import numpy as np

from kernelregime._checks import integer, real
from kernelregime.theory.depth_limits import angle, correlation_gaps


class RatioBounds(NamedTuple):
    """Bounds of E Θ(x, x̃)/E Θ(x, x) in the limit."""

    lower: float
    upper: float


OFF_DIAGONAL_BOUNDS = RatioBounds(0.25, 1.0)


def off_diagonal_ratio(correlation: float, *, depth: int, sigma_w2: float) -> float:
    """The estimate of E Θ(x, x̃)/E Θ(x, x) for inputs of this correlation, in the ordered phase (σ_w² < 2).

    Σ_l a^{L-l} Π_{k=l}^{L-1} g(ρ_{k-1}) / Σ_l a^{L-l}, with a = σ_w²/2, g(t) = (π/2 + arcsin t)/π, ρ_0 = `correlation` in [-1, 1] and
    ρ_k the k-fold composition of r(t) = (√(1-t²) + tπ/2 + t arcsin t)/π, for the `standard` parameterization with trained biases that
    start at zero (Θ_b prevails). It is a lower bound for wide and deep networks; in every phase the ratio lies in
    `OFF_DIAGONAL_BOUNDS`, [1/4, 1]. Raises: `InputError` for bad input and for σ_w² >= 2.
    Source: Seleznova and Kutyniok 2022, eqs 16 and 18.
    """
    layers = integer("depth", depth)
    a = real("sigma_w2", sigma_w2, above=0, most=math.nextafter(2, 0)) / 2
    gap = 1 - real("correlation", correlation, least=-1, most=1)
    # ρ_0 … ρ_{L-2} as gaps; Π_{k=l}^{L-1} g(ρ_{k-1}) for l = L … 1
    factors = 1 - angle(correlation_gaps(gap, layers)[:-1]) / np.pi
    products = np.concatenate([[1.0], np.cumprod(factors[::-1])])
    weights = a ** np.arange(layers)
    return float(np.sum(weights * products) / np.sum(weights))


def off_diagonal_dispersion_bound(diagonal_dispersion: float, *, ratio: float = OFF_DIAGONAL_BOUNDS.lower) -> float:
    """The upper bound E Θ(x, x̃)²/(E Θ(x, x̃))² <= `diagonal_dispersion`/c², for inputs of equal norm.

    c = `ratio` is a lower bound of E Θ(x, x̃)/E Θ(x, x): 1/4 always, which gives the factor 16; `off_diagonal_ratio` in the ordered
    phase. It holds because E Θ(x, x̃)² <= E Θ(x, x)². Raises: `InputError` for bad input.
    Source: Seleznova and Kutyniok 2022, eq. 17 and the remark after eq. 18.
    """
    return real("diagonal_dispersion", diagonal_dispersion, least=1) / real("ratio", ratio, above=0, most=1) ** 2
