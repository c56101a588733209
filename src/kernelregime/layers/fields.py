"""The state of networks whose units have positions (pixels, tokens, nodes): second moments at pairs of positions of pairs of points."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array

from kernelregime.activations.angles import above_zero, safe_sqrt
from kernelregime.layers.moments import Moments, signed

Positions = Literal["own", "all", "offset"]


@partial(jax.tree_util.register_dataclass, data_fields=("cross", "first", "second", "same", "offset"), meta_fields=("axes", "positions"))
@dataclass(frozen=True)
class Fields:
    """Second moments of one channel, for `axes` axes of positions.

    `positions` "own": only at equal positions p of the two points, arrays (*P, N1, N2); "all": at all pairs p, p', arrays
    (*P, *P', N1, N2), and then `first`, `second` are the moments of each point with itself, (*P, *P', N). Pairs of points come last,
    so that the long axis is the fastest one. "offset": at p and p + `offset` (axes,), around the ends, arrays (*P, N1, N2): layers of
    stride 1 do not mix offsets. `same` (N1, N2): whether two points are equal, or None where that is not needed.
    """

    cross: Moments
    first: Moments | None
    second: Moments | None
    same: Any
    axes: int
    positions: Positions
    offset: Any = None

    @property
    def gaussian(self) -> bool:
        """Whether units are jointly Gaussian."""
        return self.cross.gaussian

    @property
    def dtype(self) -> Any:
        """The working precision."""
        return self.cross.gap.dtype

    def each(self, change: Callable[[Moments], Moments]) -> "Fields":
        """The state after a layer that acts at each position alone, or changes moments of pairs of positions alike."""
        if self.first is None or self.second is None:
            return replace(self, cross=change(self.cross))
        return replace(self, cross=change(self.cross), first=change(self.first), second=change(self.second))


@dataclass(frozen=True)
class Squares:
    """½E(z1 ∓ z2)² of a pair, `apart` and `across`, and E z1², E z2²: sums of these over positions lose no digit."""

    k1: Array
    k2: Array
    apart: Array
    across: Array

    def map(self, one: Callable[[Array], Array], other: Callable[[Array], Array], both: Callable[[Array], Array]) -> "Squares":
        """After linear maps of the positions of the first point, of the second, and of pairs of them."""
        return Squares(one(self.k1), other(self.k2), both(self.apart), both(self.across))


def squares_of(moments: Moments) -> Squares:
    """The squared differences and sums of the two units of a pair."""
    root1, root2 = safe_sqrt(moments.k1), safe_sqrt(moments.k2)
    fall, root = (root1 - root2) ** 2 / 2, root1 * root2
    tilt = 0 if moments.tilt is None else moments.tilt
    return Squares(moments.k1, moments.k2, fall + root * moments.w - tilt, fall + root * moments.v + tilt)


def gap_between(squares: Squares, *, nonnegative: bool = False) -> Array:
    """`Moments.gap`: 1 ∓ ρ = (½E(z1 ∓ z2)² - ½(√k1 - √k2)²)/√(k1 k2), whichever is smaller."""
    root1, root2 = safe_sqrt(squares.k1), safe_sqrt(squares.k2)
    one, other = (jnp.where(root > 0, root, jnp.inf) for root in (root1, root2))
    fall = (root1 - root2) ** 2 / 2
    # the division comes last: what ends with one is not computed again for each of its uses
    if nonnegative:
        return above_zero(squares.apart - fall) / (one * other)
    near = squares.apart <= squares.across
    return signed(near, jnp.where(near, squares.apart, squares.across) - fall) / (one * other)


def moments_of(squares: Squares, like: Moments, ntk: Array | None, **changes: Any) -> Moments:
    """The state of a pair from its squares."""
    tilt = None
    if like.tilt is not None:
        covariance = (squares.across - squares.apart) / 2
        tilt = jnp.where((squares.k1 > 0) & (squares.k2 > 0), 0, covariance - jax.lax.stop_gradient(covariance))
    return replace(
        like, k1=squares.k1, k2=squares.k2, gap=gap_between(squares, nonnegative=like.nonnegative), ntk=ntk, tilt=tilt, **changes
    )


def same_as_alone(state: Fields) -> Fields:
    """Pairs of equal points have exactly the moments of the point with itself."""
    if state.same is None or state.first is None:
        return state
    gap = jnp.where(state.same, state.first.gap[..., :, None], state.cross.gap)
    return replace(state, cross=replace(state.cross, gap=gap))


def own_pairs(x: Array, axes: int) -> Array:
    """The entries p = p' of (*P, *P', ...), as (*P, ...)."""
    for axis in range(axes):
        # the diagonal goes to the end, and from there to its place
        x = jnp.moveaxis(jnp.diagonal(x, axis1=axis, axis2=axes), -1, axis)
    return x


def positions_of(state: Fields) -> tuple[int, ...]:
    """The lengths of the axes of positions."""
    return tuple(state.cross.gap.shape[: state.axes])
