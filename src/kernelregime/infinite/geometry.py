"""Angles between points to relative accuracy, from differences of the points themselves; for NumPy and for JAX arrays."""

from typing import Any

import numpy as np


def halves(x: Any) -> tuple[Any, Any]:
    """`x` as a sum of two numbers of half its digits each (Veltkamp 1968): products of first halves are exact."""
    factor = 2**12 + 1 if x.dtype == np.float32 else 2**27 + 1
    scaled = x.dtype.type(factor) * x
    high = scaled - (scaled - x)
    return high, x - high


def sine2(x: Any, y: Any, ratio: Any, xx: Any, yy: Any, split: tuple[Any, Any]) -> Any:
    """1 - ρ² = |p|²/|y|² for points x, y (..., d), where p is the part of y across x.

    `ratio`: x·y/|x|² in half the digits; `xx`, `yy`: |x|², |y|²; `split`: the halves of x. y - ratio·x is formed without rounding where
    it is small, and what it still has along x is then taken out: relative accuracy at any angle that the points can tell.
    """
    p = (y - ratio[..., None] * split[0]) - ratio[..., None] * split[1]
    p = p - ((p * x).sum(-1) / xx)[..., None] * x
    return (p * p).sum(-1) / yy
