"""Values for some pairs of a tile, in arrays of a few lengths so that few programs serve them all, and whether all are numbers."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array


def padded(count: int) -> int:
    """A length that holds `count` numbers and that few programs serve."""
    size = 64
    while size < count:
        size *= 4
    return size


def flat(at: tuple[np.ndarray, np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Indices (rows, columns) of a matrix as one index each, then places beyond its end, where nothing is put."""
    place = at[0] * shape[1] + at[1]
    end = shape[0] * shape[1]
    return np.append(place, np.full(min(padded(place.size), end) - place.size, end)).astype(np.int32)


def filled(values: np.ndarray, size: int) -> np.ndarray:
    """`values` with ones appended to a length of `size`."""
    return np.append(values, np.ones(size - len(values), values.dtype))


def put(matrix: Array, place: Array, values: Array) -> Array:
    """`matrix` with `values` at the flat indices `place`."""
    return matrix.ravel().at[place].set(values, mode="drop").reshape(matrix.shape)


def beyond(*values: Array) -> Array:
    """0, or infinity where some of the values have left the range of floats."""
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(value)) for value in values]))
    return jnp.where(finite, jnp.zeros((), values[0].dtype), jnp.inf)
