"""The state that layers fold at infinite width: second moments of a pair of points, and their NTK."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernelregime._checks import fail
from kernelregime.activations.angles import above_zero, magnitude, safe_sqrt


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("k1", "k2", "gap", "ntk", "tilt", "error", "features", "own"),
    meta_fields=("gaussian", "nonnegative"),
)
@dataclass(frozen=True)
class Moments:
    """Second moments of one unit at pairs of points (x1, x2), elementwise for arrays of pairs that broadcast.

    `k1`, `k2`: E z(x1)², E z(x2)². `gap`: of w = 1 - ρ and v = 1 + ρ, where ρ is the correlation, the smaller: w where ρ >= 0, and -v
    where ρ < 0, -0.0 at ρ = -1: near ±1 the correlation itself would lose half the digits. `ntk`: the NTK so far, or None where only
    the NNGP kernel is wanted. `tilt`: zeros, with the derivative of E z(x1)z(x2) at pairs with a zero vector, or None where no
    derivatives are wanted: there the covariance moves, and √(k1 k2)·ρ cannot tell. `error`: the errors so far, of quadrature and of
    sampling (the largest standard error), each relative to √(k1 k2), added up. `features`: units in the layer; `gaussian`: whether they
    are jointly Gaussian, as an activation needs (static). `own`: which pairs are one point with itself, in one draw (`Dropout`), or None
    where that is not needed. `nonnegative` (static): whether no ρ is below 0. For a pair with a zero vector ρ means nothing; any gap
    will do.
    """

    k1: Float[Array, "..."]
    k2: Float[Array, "..."]
    gap: Float[Array, "..."]
    ntk: Float[Array, "..."] | None
    tilt: Float[Array, "..."] | None
    error: Float[Array, ""] | float
    features: Float[Array, ""]
    gaussian: bool
    own: Any = None
    nonnegative: bool = False

    def each(self, change: "Callable[[Moments], Moments]") -> "Moments":
        """The state after a layer that acts on every pair alike."""
        return change(self)

    @property
    def dtype(self) -> Any:
        """The working precision."""
        return self.gap.dtype

    @property
    def w(self) -> Float[Array, "..."]:
        """1 - ρ."""
        return self.gap if self.nonnegative else jnp.where(jnp.signbit(self.gap), 2 + self.gap, self.gap)

    @property
    def v(self) -> Float[Array, "..."]:
        """1 + ρ."""
        return 2 - self.gap if self.nonnegative else jnp.where(jnp.signbit(self.gap), -self.gap, 2 - self.gap)

    @property
    def small(self) -> Float[Array, "..."]:
        """The smaller of 1 ± ρ; the absolute value of the gap, with a derivative at 0."""
        return self.gap if self.nonnegative else jnp.where(jnp.signbit(self.gap), -self.gap, self.gap)

    @property
    def rho(self) -> Float[Array, "..."]:
        """ρ."""
        return 1 - self.gap if self.nonnegative else jnp.where(jnp.signbit(self.gap), -1 - self.gap, 1 - self.gap)

    @property
    def nngp(self) -> Float[Array, "..."]:
        """E z(x1)z(x2)."""
        c = covariance(self.k1, self.k2, self.rho)
        return c if self.tilt is None else c + self.tilt


def gap_of(w: Array, v: Array) -> Array:
    """`Moments.gap` from w = 1 - ρ and v = 1 + ρ."""
    small = jnp.where(w <= v, w, v)
    return signed(w <= v, small)


def signed(near: Array, small: Array) -> Array:
    """`Moments.gap` from whether ρ >= 0 and the smaller of 1 ± ρ, which rounding may have made negative or -0: its sign is that of ρ."""
    size = above_zero(small)
    return jnp.where(near, size, -size)


def covariance(k1: Array, k2: Array, rho: Array) -> Array:
    """√(k1 k2)·ρ; k1·ρ, exactly, where k1 = k2. The product of the variances, which may leave the range of floats, is not formed."""
    root = safe_sqrt(k1) * safe_sqrt(k2)
    rounded = jax.lax.stop_gradient(jnp.where(k1 == k2, k1 - root, 0))  # derivatives stay those of the root
    return (root + rounded) * rho


def affine(moments: Moments, scale: Array, shift: Array | None) -> tuple[Array, Array, Array, Array | None]:
    """(k1, k2, gap, tilt) of scale·z + shift, in law: E zz' ↦ scale·E zz' + shift.

    k1' k2' (1 - ρ'²) = scale² k1 k2 (1 - ρ²) + scale·shift·|z1 - z2|², in which all terms are positive, with
    |z1 - z2|² = (√k1 - √k2)² + 2√(k1 k2) w; everything in units of √k1' √k2', of which each point has its own.
    """
    k1, k2, gap, tilt = moments.k1, moments.k2, moments.gap, moments.tilt
    lean = None if tilt is None else scale * tilt
    if shift is None:
        return scale * k1, scale * k2, gap, lean
    new1, new2 = scale * k1 + shift, scale * k2 + shift
    unit1, unit2 = (1 / jnp.sqrt(jnp.where(new > 0, new, 1)) for new in (new1, new2))
    part1, part2 = safe_sqrt(scale * k1), safe_sqrt(scale * k2)
    share, risen, size = (part1 * unit1) * (part2 * unit2), (shift * unit1) * unit2, moments.small
    apart = ((part1 - part2) * unit1) * ((part1 - part2) * unit2) + 2 * share * moments.w
    rho, sine2 = share * moments.rho + risen, share * share * (size * (2 - size)) + risen * apart  # ρ' and 1 - ρ'²
    if lean is not None:
        turn = lean * (unit1 * unit2)
        rho, sine2 = rho + turn, sine2 - 2 * rho * turn
        lean = jnp.where((new1 > 0) & (new2 > 0), 0, lean)  # what had no variance has a correlation now
    return new1, new2, signed(rho >= 0, sine2 / (1 + magnitude(rho))), lean


def check_gaussian(state: Any, reader: str) -> None:
    """`InputError` before a layer that needs units of Gaussians, where they are not."""
    if not state.gaussian:
        wanted = f"a layer with random weights before {reader}, and no more than sums and means of its units between"
        got = "units of an activation, a concatenation, a product, Flatten, Dropout or the raw input"
        raise fail(wanted, got, "put a Dense or Conv layer between; an activation may go into each branch")
