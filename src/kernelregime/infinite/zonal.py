"""Kernels that depend on the angle of a pair alone, but for a factor: one polynomial for all depths and activations.

Where no layer has a bias and every activation is homogeneous, both kernels are √(k1 k2) f(θ); where all points have one norm, they are
f(θ). f is analytic in θ on [0, π] for every activation whose dual is, and so is

    u = (√w - α√v)/(√w + α√v),    w = 1 - cos θ,  v = 1 + cos θ,

which runs from -1 to 1 and, for small α, spreads the small angles at which deep kernels bend.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from kernelregime._compiler import compiled
from kernelregime.infinite.places import beyond, put
from kernelregime.layers import Activation, Dense, Layer, Sequential

SPREADS = (1.0, 0.4, 0.15, 0.05, 0.02)  # α
DEGREES = (12, 16, 20, 24, 28, 32, 36, 40, 48, 64)
ENOUGH = {"float32": 2e-8, "float64": 2e-14}  # error of the polynomial relative to f(0), at twice as many angles as it has terms
EQUAL = 8  # units of the last place within which norms are one


def homogeneous(network: Layer) -> bool:
    """Whether scaling a point by c > 0 scales its kernels by c: no biases, and φ(cx) = cφ(x)."""
    if isinstance(network, Sequential):
        return all(homogeneous(layer) for layer in network.layers)
    if isinstance(network, Dense):
        return network.sigma_b2 is None
    return isinstance(network, Activation) and network.nonlinearity.homogeneous


def equal(*squares: np.ndarray) -> bool:
    """Whether all points have one norm, to rounding."""
    low, high = min(q.min() for q in squares), max(q.max() for q in squares)
    return bool(low > 0 and high - low <= EQUAL * np.finfo(squares[0].dtype).eps * high)


def _angles(degree: int, alpha: float) -> np.ndarray:
    """`Moments.gap` at Chebyshev points of a polynomial of this degree in u, then at points between them."""
    n = degree + 1
    u = np.cos(np.pi * (np.concatenate([np.arange(n), (np.arange(2 * n) + 0.25) / 2]) + 0.5) / n)
    ratio = alpha * (1 + u) / (1 - u)  # tan(θ/2)
    square = ratio * ratio
    return np.where(square <= 1, 2 * square, -2) / (1 + square)


@dataclass(frozen=True)
class Zonal:
    """Chebyshev `coefficients` (kinds, degree + 1) of f in u of spread `alpha`, for `kinds`; `error`: relative to f(0).

    `square`: the k1 = k2 of all points, or None where f is for k1 = k2 = 1 and the kernels are √(k1 k2) f.
    """

    kinds: tuple[str, ...]
    alpha: float
    coefficients: np.ndarray
    error: float
    square: float | None

    @classmethod
    def of(cls, values: Callable[[np.ndarray], dict[str, np.ndarray]], dtype: np.dtype, square: float | None) -> "Zonal | None":
        """The polynomial of least degree that is enough for `values(gap)`, in float64; None if none is."""
        cases = [(degree, alpha) for degree in DEGREES for alpha in SPREADS]
        found = values(np.concatenate([[0.0], *(_angles(*case) for case in cases)]))
        kinds, table = tuple(found), np.stack(list(found.values()))
        top, start = np.abs(table[:, :1]), 1
        if not (np.isfinite(table).all() and (top > 0).all() and (top < np.finfo(dtype).max / 2).all()):
            return None
        for degree, alpha in cases:
            n = degree + 1
            own, between = table[:, start : start + n] / top, table[:, start + n : start + 3 * n] / top
            start += 3 * n
            basis = np.cos(np.outer(np.arange(n), np.pi * (np.arange(n) + 0.5) / n))
            coefficients = 2 / n * own @ basis.T
            coefficients[:, 0] /= 2
            check = np.cos(np.outer(np.arange(n), np.pi * ((np.arange(2 * n) + 0.25) / 2 + 0.5) / n))
            error = float(np.max(np.abs(coefficients @ check - between)))
            if error <= ENOUGH[dtype.name]:
                return cls(kinds, alpha, (coefficients * top).astype(dtype), error, square)
        return None

    def __call__(
        self, rho: Any, root1: np.ndarray, root2: np.ndarray, place: np.ndarray, values: dict[str, np.ndarray]
    ) -> tuple[dict[str, Any], float]:
        """The kernels at correlations `rho` (N1, N2) of points with √k (N1,) and (N2,), and their error.

        At the flat indices `place` they are the `values` given.
        """
        one = np.ones_like
        factors = (root1, root2) if self.square is None else (one(root1), one(root2))
        given = tuple(values[kind] for kind in self.kinds)
        found, more = _evaluate(self.coefficients, np.asarray(self.alpha, rho.dtype), rho, *factors, place, given)
        return dict(zip(self.kinds, found, strict=True)), self.error + float(more)


@compiled()
def _evaluate(
    coefficients: Array, alpha: Array, rho: Array, root1: Array, root2: Array, place: Array, given: tuple[Array, ...]
) -> tuple[tuple[Array, ...], Array]:
    """By Clenshaw's recursion, with `given` put at the flat indices `place`."""
    low, high = jnp.sqrt(jnp.maximum(1 - rho, 0)), alpha * jnp.sqrt(jnp.maximum(1 + rho, 0))
    u = (low - high) / (low + high)
    scale = root1[:, None] * root2[None, :]

    def one(c: Array, few: Array) -> Array:
        first, second = jnp.zeros_like(u), jnp.zeros_like(u)
        for k in range(c.shape[0] - 1, 0, -1):
            first, second = 2 * u * first - second + c[k], first
        return put(scale * (u * first - second + c[0]), place, few)

    found = tuple(one(c, few) for c, few in zip(coefficients, given, strict=True))
    return found, beyond(*found)
