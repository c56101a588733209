"""The state that layers fold at infinite width: second moments of a pair of points, and their NTK."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernelregime.activations.angles import safe_sqrt


@partial(jax.tree_util.register_dataclass, data_fields=("k1", "k2", "c", "w", "v", "ntk", "error", "features"), meta_fields=("gaussian",))
@dataclass(frozen=True)
class Moments:
    """Second moments of one unit at pairs of points (x1, x2), elementwise for arrays of pairs that broadcast.

    `k1`, `k2`, `c`: E z(x1)², E z(x2)², E z(x1)z(x2). `w` = 1 - ρ and `v` = 1 + ρ, where ρ = c/√(k1 k2): near ±1 the correlation
    itself would lose half the digits. `ntk`: the NTK so far, or None where only the NNGP kernel is wanted. `error`: the
    quadrature errors so far, each relative to √(k1 k2), added up. `features`: units in the layer; `gaussian`: whether
    they are jointly Gaussian, as an activation needs (static). For a pair with a zero vector ρ means nothing; any w, v will do.
    """

    k1: Float[Array, "..."]
    k2: Float[Array, "..."]
    c: Float[Array, "..."]
    w: Float[Array, "..."]
    v: Float[Array, "..."]
    ntk: Float[Array, "..."] | None
    error: Float[Array, ""] | float
    features: Float[Array, ""]
    gaussian: bool

    @property
    def nngp(self) -> Float[Array, "..."]:
        """E z(x1)z(x2)."""
        return self.c

    @property
    def tilt(self) -> Float[Array, "..."]:
        """Zero, with the derivative of `c` at pairs with a zero vector: there c moves, and √(k1 k2)·ρ cannot tell."""
        return jnp.where((self.k1 == 0) | (self.k2 == 0), self.c - jax.lax.stop_gradient(self.c), 0)


def covariance(k1: Array, k2: Array, w: Array, v: Array) -> Array:
    """√(k1 k2)·ρ; k1·ρ, exactly, where k1 = k2. The product of the variances, which may leave the range of floats, is not formed."""
    root = safe_sqrt(k1) * safe_sqrt(k2)
    rounded = jax.lax.stop_gradient(jnp.where(k1 == k2, k1 - root, 0))  # derivatives stay those of the root
    return (root + rounded) * ((v - w) / 2)


def affine(moments: Moments, scale: Array, shift: Array | None) -> tuple[Array, Array, Array, Array, Array]:
    """(k1, k2, c, w, v) of scale·z + shift, in law: E zz' ↦ scale·E zz' + shift.

    k1' k2' (1 - ρ'²) = scale² k1 k2 (1 - ρ²) + scale·shift·|z1 - z2|², in which all terms are positive, with
    |z1 - z2|² = (√k1 - √k2)² + 2√(k1 k2) w; everything in units of √k1' √k2'.
    """
    k1, k2, w, v = moments.k1, moments.k2, moments.w, moments.v
    if shift is None:
        return scale * k1, scale * k2, scale * moments.c, w, v
    new1, new2, c = scale * k1 + shift, scale * k2 + shift, scale * moments.c + shift
    defined = (new1 > 0) & (new2 > 0)
    root1, root2 = (jnp.sqrt(jnp.where(new > 0, new, 1)) for new in (new1, new2))
    part1, part2 = safe_sqrt(scale * k1), safe_sqrt(scale * k2)
    share = (part1 / root1) * (part2 / root2)
    root = root1 * root2
    apart = ((part1 - part2) / root1) * ((part1 - part2) / root2) + 2 * share * w - 2 * scale * moments.tilt / root
    sine2 = share * share * w * v + shift / root * apart  # 1 - ρ'²
    rho = c / root
    large = 1 + jnp.where(rho >= 0, rho, -rho)  # the one of 1 ± ρ' that does not cancel
    small = sine2 / large
    new_w, new_v = jnp.where(rho >= 0, small, large), jnp.where(rho >= 0, large, small)
    return new1, new2, c, jnp.where(defined, new_w, w), jnp.where(defined, new_v, v)
