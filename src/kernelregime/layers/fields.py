"""The state of networks whose units have positions (pixels, tokens, nodes): second moments at pairs of positions of pairs of points."""

import math
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


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("cross", "first", "second", "same", "offset", "present", "graph"),
    meta_fields=("axes", "positions"),
)
@dataclass(frozen=True)
class Fields:
    """Second moments of one channel, for `axes` axes of positions.

    `positions` "own": only at equal positions p of the two points, arrays (*P, N1, N2); "all": at all pairs p, p', arrays
    (*P, *P', N1, N2), and then `first`, `second` are the moments of each point with itself, (*P, *P', N). Pairs of points come last,
    so that the long axis is the fastest one. "offset": at p and p + `offset` (axes,), around the ends, arrays (*P, N1, N2): layers of
    stride 1 do not mix offsets. `same` (N1, N2): whether two points are equal, or None where that is not needed. `present`: which
    positions of the two sets of points are there, (*P, N1) and (*P, N2), or None if all are: at the others units are 0. `graph`: the
    weights (P, P, N1) and (P, P, N2) of `Aggregate`, to and from each node, or None.
    """

    cross: Moments
    first: Moments | None
    second: Moments | None
    same: Any
    axes: int
    positions: Positions
    offset: Any = None
    present: tuple[Array, ...] | None = None
    graph: tuple[Array, ...] | None = None

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
        after: dict[str, Any] = {name: change(block) for name, block in blocks_of(self).items()}
        return hidden(replace(self, **after))


def blocks_of(state: Fields) -> dict[str, Moments]:
    """The moments in a state by name: of the two sets of points with one another and, of "all" positions, of each with itself."""
    found = {"cross": state.cross, "first": state.first, "second": state.second}
    return {name: block for name, block in found.items() if block is not None}


def beside(state: Fields, one: Array, other: Array) -> dict[str, tuple[Array, Array]]:
    """What is known of the positions of each point, (*P, N1) and (*P, N2), for the first and the second unit of each block."""
    if state.positions != "all":
        return {"cross": (one[..., :, None], other[..., None, :])}
    lead, ones = one.shape[:-1], (1,) * state.axes
    first, second = (x.reshape(*lead, *ones, -1) for x in (one, other)), (x.reshape(*ones, *lead, -1) for x in (one, other))
    (wide1, wide2), (deep1, deep2) = first, second
    return {"cross": (wide1[..., :, None], deep2[..., None, :]), "first": (wide1, deep1), "second": (wide2, deep2)}


def scaled(state: Fields, one: Array, other: Array) -> Fields:
    """Units times numbers >= 0, (*P, N1) and (*P, N2), of each position of each point; correlations stay."""

    def times(m: Moments, a: Array, b: Array) -> Moments:
        ntk, tilt = (None if x is None else x * a * b for x in (m.ntk, m.tilt))
        return replace(m, k1=m.k1 * a * a, k2=m.k2 * b * b, ntk=ntk, tilt=tilt)

    factors = beside(state, one, other)
    after: dict[str, Any] = {name: times(block, *factors[name]) for name, block in blocks_of(state).items()}
    return replace(state, **after)


def hidden(state: Fields) -> Fields:
    """With units of 0 at the positions that are not there, and without a graph of other positions."""
    if state.graph is not None and state.graph[0].shape[0] != state.cross.gap.shape[0]:
        return hidden(replace(state, graph=None))
    if state.present is None:
        return state
    return scaled(state, *(there.astype(state.dtype) for there in state.present))


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
    both = (root1 > 0) & (root2 > 0)
    one, other = (jnp.where(root > 0, root, 1) for root in (root1, root2))
    fall = (root1 - root2) ** 2 / 2
    # the division comes last: what ends with one is not computed again for each of its uses
    if nonnegative:
        return jnp.where(both, above_zero(squares.apart - fall), 0) / (one * other)
    near = squares.apart <= squares.across
    least = jnp.where(near, squares.apart, squares.across) - fall
    return signed(near, jnp.where(both, least, 0)) / (one * other)


def tilted(squares: Squares) -> Array:
    """`Moments.tilt`: zeros, whose derivative is that of the covariance where one of the two has no variance."""
    covariance = (squares.across - squares.apart) / 2
    return jnp.where((squares.k1 > 0) & (squares.k2 > 0), 0, covariance - jax.lax.stop_gradient(covariance))


def moments_of(squares: Squares, like: Moments, ntk: Array | None, **changes: Any) -> Moments:
    """The state of a pair from its squares."""
    tilt = None if like.tilt is None else tilted(squares)
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


def flat(x: Array, size: int) -> Array:
    """(*P, *P', ...) as (p, p', ...)."""
    batch = x.shape[-2:] if x.ndim % 2 == 0 else x.shape[-1:]
    return x.reshape(size, size, *batch)


def unflat(x: Array, lead: tuple[int, ...]) -> Array:
    """(p, p', ...) as (*P, *P', ...), with ones for an axis of one."""
    ones = (1,) * len(lead)
    first, second = (lead if x.shape[axis] == math.prod(lead) and x.shape[axis] > 1 else ones for axis in (0, 1))
    return x.reshape(*first, *second, *x.shape[2:])
