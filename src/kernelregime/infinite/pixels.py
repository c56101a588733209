"""Moments of the inputs at pairs of positions of pairs of points."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from kernelregime.layers import Moments
from kernelregime.layers.fields import Squares, gap_between, tilted
from kernelregime.layers.moments import signed

FEW = 4  # channels that are summed in one loop over the pairs


def channels_in_front(x: Array) -> Array:
    """(C, *P, N) of points (N, *P, C)."""
    return jnp.moveaxis(x, (-1, 0), (0, -1))


def pairs_of(x: Array, y: Array, ntk: bool, own: Array | None, *, tilt: bool = False) -> Moments:
    """Moments of channels along the first axis; what differs and what adds up between the two is summed without cancellation.

    `tilt`: with what derivatives need.
    """
    channels = len(x)
    k1, k2 = (x * x).mean(0), (y * y).mean(0)
    squares = Squares(k1, k2, *(total / (2 * channels) for total in _differences(x, y)))
    # numbers are parallel or opposite, whatever their lengths
    gap = gap_between(squares) if channels > 1 else signed(squares.apart <= squares.across, jnp.zeros_like(squares.apart))
    lean = tilted(squares) if tilt else None
    features = jnp.asarray(channels, gap.dtype)
    theta = jnp.zeros_like(gap) if ntk else None
    return Moments(k1, k2, gap, theta, lean, jnp.zeros((), gap.dtype), features, gaussian=False, own=own)


def _differences(x: Array, y: Array) -> tuple[Array, Array]:
    """|x ∓ y|² over the first axis, a few channels after another, so that no array holds them all for all pairs."""

    def add(totals: tuple[Array, Array], channel: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        one, other = channel
        return (totals[0] + (one - other) ** 2, totals[1] + (one + other) ** 2), None

    zeros = jnp.zeros(jnp.broadcast_shapes(x.shape, y.shape)[1:], x.dtype)
    return jax.lax.scan(add, (zeros, zeros), (x, y), unroll=FEW)[0]


def equal(x: Array, y: Array) -> Array:
    """Which of the points x (N1, ...) and y (N2, ...) are equal."""
    flat1, flat2 = x.reshape(len(x), -1), y.reshape(len(y), -1)
    return jnp.all(flat1[:, None] == flat2[None], axis=-1)
