"""The state that layers fold at infinite width: second moments of a pair of points, and their NTK."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernelregime.activations.closed import safe_sqrt


@partial(jax.tree_util.register_dataclass, data_fields=("k1", "k2", "w", "v", "ntk", "error"), meta_fields=("features", "gaussian"))
@dataclass(frozen=True)
class Moments:
    """Second moments of one unit at pairs of points (x1, x2), elementwise for arrays of pairs that broadcast.

    `k1`, `k2`: E z(x1)², E z(x2)². `w` = 1 - ρ and `v` = 1 + ρ, where ρ = E z(x1)z(x2)/√(k1 k2): near ±1 the correlation itself
    would lose half the digits. `ntk`: the NTK so far, or None where only the NNGP kernel is wanted. `error`: the largest
    quadrature error so far, relative to √(k1 k2). `features`: units in the layer (static); `gaussian`: whether they are jointly
    Gaussian, as an activation needs (static). For a pair with a zero vector ρ means nothing; any w, v will do.
    """

    k1: Float[Array, "..."]
    k2: Float[Array, "..."]
    w: Float[Array, "..."]
    v: Float[Array, "..."]
    ntk: Float[Array, "..."] | None
    error: Float[Array, ""] | float
    features: int
    gaussian: bool

    @property
    def nngp(self) -> Float[Array, "..."]:
        """E z(x1)z(x2)."""
        return safe_sqrt(self.k1 * self.k2) * ((self.v - self.w) / 2)


def affine(moments: Moments, scale: Array, shift: Array | None) -> tuple[Array, Array, Array, Array]:
    """(k1, k2, w, v) of scale·z + shift, in law: E zz' ↦ scale·E zz' + shift.

    With r² = k1 k2: k1' k2' - c'² = scale² r² (1-ρ²) + scale·shift·|z1 - z2|², all terms positive, and
    |z1 - z2|² = (√k1 - √k2)² + 2 r w.
    """
    k1, k2, w, v = moments.k1, moments.k2, moments.w, moments.v
    if shift is None:
        return scale * k1, scale * k2, w, v
    root1, root2 = safe_sqrt(k1), safe_sqrt(k2)
    root, new1, new2 = root1 * root2, scale * k1 + shift, scale * k2 + shift
    product = new1 * new2
    defined = product > 0
    safe = jnp.where(defined, product, 1)
    separation = (root1 - root2) ** 2 + 2 * root * w
    sine2 = (scale**2 * root**2 * w * v + scale * shift * separation) / safe  # 1 - ρ'²
    rho = (scale * root * (v - w) / 2 + shift) / jnp.sqrt(safe)
    large = 1 + jnp.minimum(jnp.abs(rho), 1)  # the one of 1 ± ρ' that does not cancel
    small = sine2 / large
    new_w, new_v = jnp.where(rho >= 0, small, large), jnp.where(rho >= 0, large, small)
    return new1, new2, jnp.where(defined, new_w, w), jnp.where(defined, new_v, v)
