"""Polynomials at arrays, and the nodes of Gauss and Legendre."""

from collections.abc import Sequence
from functools import lru_cache

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array


def horner(coefficients: Sequence[float | Array], x: Array) -> Array:
    """Σ_k c_k x^k."""
    total = jnp.asarray(coefficients[-1], x.dtype)
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total


@lru_cache(maxsize=16)
def legendre(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights on [0, 1]."""
    x, weight = np.polynomial.legendre.leggauss(count)
    return (x + 1) / 2, weight / 2
