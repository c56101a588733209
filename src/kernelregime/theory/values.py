"""Values of a nonlinearity and of its derivative on the host, in float64."""

import jax
import numpy as np

from kernelregime import _precision
from kernelregime.activations import Nonlinearity

_BLOCKS = (1024, 4096, 16384, 65536)  # the only sizes φ is called with, so that it is compiled at most four times


@jax.jit
def _both(phi: Nonlinearity, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return phi(x), phi.derivative(x)


def _block(left: int) -> int:
    """The smallest block that holds what is left, unless more than half of it would be padding."""
    above = next((block for block in _BLOCKS if block >= left), _BLOCKS[-1])
    if above == _BLOCKS[0] or 2 * left >= above:
        return above
    return max(block for block in _BLOCKS if block <= left)


def evaluate(phi: Nonlinearity, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """φ(x) and φ'(x) in float64, for an array of any shape."""
    flat = np.ascontiguousarray(x, dtype=np.float64).ravel()
    value, slope = np.empty_like(flat), np.empty_like(flat)
    start = 0
    with _precision.enter("float64"):
        while start < flat.size:
            block = _block(flat.size - start)
            part = flat[start : start + block]
            f, g = _both(phi, np.pad(part, (0, block - part.size)))
            value[start : start + block] = _precision.to_host(f, np.float64)[: part.size]
            slope[start : start + block] = _precision.to_host(g, np.float64)[: part.size]
            start += block
    return value.reshape(x.shape), slope.reshape(x.shape)
