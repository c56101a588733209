"""Products over layers of the ratios of squared norms, N_x = |x^k|²/|x^{k-1}|² and N_δ = |δ^k|²/|δ^{k+1}|², of a ReLU network.

Forward and backward passes share the weights and the masks of the layers, so that N_x and N_δ depend on one another. With M the
masked product of the layers, Π N_x N_δ is a quadratic form in M from either side, and its mean is E‖M‖_F⁴ up to scales: from (1, 0)
every layer k multiplies (E‖M‖_F⁴, E tr((MMᵀ)²)), in units of (Π_k E N_x E N_δ), by [[1 + 1/n_k, 4/n_k], [2/n_k, 1 + 3/n_k]].
"""

import math
from collections.abc import Sequence

import numpy as np

from kernelregime._checks import fail, integer
from kernelregime.theory.dispersion import through


def layer_ratio_product(widths: Sequence[int]) -> np.ndarray:
    """E Π_k N_δ^k N_x^k / Π_k E N_δ^k E N_x^k over the first 1, 2, … of these hidden layers: 1 if the passes were independent.

    `widths`: n_k of consecutive hidden layers of a bias-free (or zero-bias) ReLU network at initialization. For a constant width n and m
    layers it is (1/3)(1 + 5/n)^m + (2/3)(1 - 1/n)^m. Exact, on one input.
    Returns: array of the length of `widths`. Raises: `InputError` for bad input.
    Source: Seleznova and Kutyniok 2022, lemma A.4, eq. 29, with the exact recursion in place of Π(1 + 1/n_k).

    >>> layer_ratio_product((10, 10)).round(3)
    array([1.1 , 1.29])
    """
    p, r, found = 1.0, 0.0, []
    for n in _checked(widths):
        p, r = through(p, r, n)
        found.append(p)
    return np.array(found)


def printed_layer_ratio_product(widths: Sequence[int]) -> np.ndarray:
    """Π_k (1 + 1/n_k), which is printed for `layer_ratio_product` and is its first order alone.

    Source: Seleznova and Kutyniok 2022, eq. 29.
    """
    return np.cumprod([1 + 1 / n for n in _checked(widths)])


def layer_ratio_skewness(width: int) -> float:
    """The skewness of N_x^k and of N_δ^k where layer k has n = `width` units: 3.94/√n, which the central limit takes to 0.

    Both are sums of n independent b z² up to scale, with fair coins b and standard normal z: variance 5/4, third cumulant 11/2.
    Raises: `InputError` for bad input. Source: Seleznova and Kutyniok 2022, eqs 25 and 27; the cumulants of b z².
    """
    third, variance = 11 / 2, 5 / 4
    return third / math.sqrt(variance**3 * integer("width", width))


def _checked(widths: Sequence[int]) -> list[int]:
    if isinstance(widths, (str, int)) or len(widths) < 1:
        raise fail("widths of hidden layers (n_1, n_2, ...)", repr(widths), "give at least one")
    return [integer("each width", width) for width in widths]
