"""Expectations over pairs of Gaussians by quadrature in polar coordinates: the second route to every dual activation."""

from collections.abc import Callable
from functools import cache
from itertools import pairwise

import numpy as np

REACH = 14.0  # radius; the density beyond is 1e-43


@cache
def _legendre(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(nodes)


def _panel(low: float, high: float, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    x, weight = _legendre(nodes)
    return low + (high - low) * (x + 1) / 2, weight * (high - low) / 2


def expectation(f: Callable[..., np.ndarray], a: float, b: float, w: float, v: float, *, radial: int = 400, angular: int = 160) -> float:
    """E f(x) f(y) for variances a, b and correlation given as w = 1 - ρ, v = 1 + ρ.

    x = √a r cos t, y = √b r cos(t - θ); f may have a kink or a jump at 0, where the panels in t meet.
    """
    theta = 2 * np.arctan2(np.sqrt(w), np.sqrt(v))
    edges = np.unique(np.mod([np.pi / 2, -np.pi / 2, theta + np.pi / 2, theta - np.pi / 2], 2 * np.pi))
    edges = np.concatenate([edges, [edges[0] + 2 * np.pi]])
    r, weight_r = _panel(0, REACH, radial)
    total = 0.0
    for low, high in pairwise(edges):
        t, weight_t = _panel(low, high, angular)
        values = f(np.sqrt(a) * np.outer(np.cos(t), r)) * f(np.sqrt(b) * np.outer(np.cos(t - theta), r))
        total += weight_t @ values @ (weight_r * r * np.exp(-r * r / 2)) / (2 * np.pi)
    return float(total)


def one_minus(phi: Callable[..., np.ndarray], slope: Callable[..., np.ndarray], q: float, w: float) -> float:
    """1 - ρ' at equal variances q to relative accuracy, by Price's theorem: dE φ(x)φ(y)/dρ = q E φ'(x)φ'(y), integrated from ρ = 1."""
    t, weight = _panel(0, 1, 12)  # w t² instead of w: a kinked φ has E φ'φ' in powers of √w
    rates = [expectation(slope, q, q, w * s * s, 2 - w * s * s) for s in t]
    return float(q * w * np.sum(weight * 2 * t * rates) / expectation(phi, q, q, 0.0, 2.0))
