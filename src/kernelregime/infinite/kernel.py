"""The NNGP and NTK of a network as a pure function of two batches of points."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from kernelregime._checks import fail
from kernelregime.activations.closed import safe_sqrt
from kernelregime.layers import Layer, Moments


class Kernels(NamedTuple):
    """NNGP Σ and NTK Θ, each (N1, N2), and the largest quadrature error of a layer relative to √(k11 k22)."""

    nngp: Float[Array, "N1 N2"]
    ntk: Float[Array, "N1 N2"]
    error: Float[Array, ""] | float


def input_moments(x1: Float[Array, "N1 d"], x2: Float[Array, "N2 d"], *, ntk: bool = True) -> Moments:
    """The state before the first layer: Σ⁰ = x1·x2/d, its correlations taken from differences of the normalized points."""
    norm1, norm2 = jnp.sum(x1 * x1, axis=1), jnp.sum(x2 * x2, axis=1)
    unit1 = (x1 / jnp.where(norm1 > 0, safe_sqrt(norm1), 1)[:, None])[:, None, :]
    unit2 = (x2 / jnp.where(norm2 > 0, safe_sqrt(norm2), 1)[:, None])[None, :, :]
    w, v = 0.5 * jnp.sum((unit1 - unit2) ** 2, axis=2), 0.5 * jnp.sum((unit1 + unit2) ** 2, axis=2)
    d = x1.shape[1]
    zero = jnp.zeros_like(w) if ntk else None
    return Moments(norm1[:, None] / d, norm2[None, :] / d, w, v, zero, jnp.zeros((), w.dtype), d, gaussian=False)


def kernel(network: Layer) -> Callable[..., Kernels]:
    """The function k(x1, x2=None) that computes the infinite-width kernels of `network`.

    x1 (N1, d), x2 (N2, d) (default x1). The dtype of the inputs is the dtype of the result. The function is pure: it can be jitted,
    vmapped and differentiated, with respect to the inputs (gradients are finite at x1 = x2, where the NTK of a kinked
    activation has no derivative and zero is taken for that term) and to the variances in `network`.

    Per output, for the parameterization of each layer (see `layers.Dense`). Raises: `InputError` for inputs that are not 2-d.
    Source: Jacot, Gabriel and Hongler 2018, proposition 1 and theorem 1; Lee et al. 2018, eq. 5.

    >>> import jax.numpy as jnp
    >>> from kernelregime import networks
    >>> kernel(networks.mlp(depth=2, width=64))(jnp.ones((1, 3))).ntk
    Array([[4.]], dtype=float32)
    """

    def compute(x1: Float[Array, "N1 d"], x2: Float[Array, "N2 d"] | None = None) -> Kernels:
        other = x1 if x2 is None else x2
        if jnp.ndim(x1) != 2 or jnp.ndim(other) != 2 or x1.shape[1] != other.shape[1]:
            raise fail("x1 (N1, d) and x2 (N2, d)", f"shapes {jnp.shape(x1)} and {jnp.shape(other)}", "reshape them to one point a row")
        if not jnp.issubdtype(jnp.result_type(x1), jnp.floating):
            raise fail("floating-point inputs", f"dtype {jnp.result_type(x1)}", "convert them to float32 or float64")
        after = network.propagate(input_moments(x1, other))
        assert after.ntk is not None  # input_moments has asked for it
        return Kernels(after.nngp, after.ntk, after.error)

    return compute
