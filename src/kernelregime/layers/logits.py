"""Attention at 1/√d, whose logits stay random at infinite width: averages over them, in closed form or by sampling.

The logits G(x) of one head, P x P, are Gaussian with E G_ab(x) G_cd(x') = R_ac R_bd, where R = R(x, x') is σ_q σ_k Σ̃ at pairs of
positions (Hron et al. 2020). With ζ = weights(G), ζ' = weights(G'), and Σ, Θ of the values, a layer needs

    value_ac = Σ_bd E[ζ_ab ζ'_cd] Σ_bd,
    total_ac = 2 value_ac + Σ_bd E[ζ_ab ζ'_cd] Θ_bd + R_ac D(Ṙ + 2R)_ac + Ṙ_ac D(R)_ac,
    D(W)_ac = Σ_bd Σ_ef E[∂ζ_ab/∂G_ae ∂ζ'_cd/∂G'_cf] Σ_bd W_ef,

where Ṙ is σ_q σ_k Θ̃: the output and value weights give 2 value, those of queries and keys the 2R.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from kernelregime.activations import Nonlinearity
from kernelregime.activations.angles import safe_sqrt
from kernelregime.layers.fields import Squares, gap_between, own_pairs
from kernelregime.layers.moments import Moments

GROUP = 8  # samples made of one draw, at one time; the standard error is that of the means of these groups
NUMBERS = 180  # for a pair of positions while it is sampled, by the compiler's account
FEW = 7  # positions up to which products of matrices take longer than sums
RANK = 10  # roundings, times the size of a matrix, up to which an eigenvalue is 0


Masks = tuple[Array, Array] | None  # which positions of both points of each pair are there, (n, p) and (n, p'), or None if all are


class Block(NamedTuple):
    """Pairs of positions of pairs of points, (p, p', ...): Σ and Θ of the values, R and Ṙ of the logits; no Θ and Ṙ without an NTK."""

    covariance: Array
    theta: Array | None
    logits: Array
    moved: Array | None


class Sampled(NamedTuple):
    """Means over the samples and their standard errors, (p, p', ...)."""

    value: Array
    total: Array | None
    value_sem: Array
    total_sem: Array | None


def elementwise(phi: Nonlinearity, block: Block, squares: Squares) -> tuple[Array, Array | None]:
    """`value` and `total` of weights φ(G) at each pair of positions by itself, for φ(cx) = cφ(x).

    `squares`: of the logits' R. E φφ' = m √(R_aa R_bb R'_cc R'_dd) κ(ρ_ac ρ_bd), with m = E φ(z)² and κ the dual activation of φ.
    """
    size, batch = block.covariance.shape[0], block.covariance.shape[2:]
    like = Moments(squares.k1, squares.k2, gap_between(squares), None, None, 0.0, jnp.ones((), block.covariance.dtype), gaussian=True)
    w, v, rho = (jnp.broadcast_to(x, block.covariance.shape) for x in (like.w, like.v, like.rho))
    root = safe_sqrt(squares.k1) * safe_sqrt(squares.k2)
    there = ((squares.k1 > 0) & (squares.k2 > 0)).astype(root.dtype)
    values = [root * block.covariance] + ([] if block.theta is None else [root * block.theta])
    slopes = [] if block.moved is None else [block.covariance * weight for weight in (block.moved + 2 * block.logits, block.logits)]
    most = phi.second_moment(jnp.ones((), root.dtype))

    @jax.checkpoint
    def of_pair(a: Array, c: Array) -> tuple[list[Array], list[Array]]:
        one = [x[a, c][None, None] for x in (w, v, rho, there)]
        known = there * one[3]
        dual = phi.dual(known, known, *_product((w, v, rho), (one[0], one[1], one[2])))
        kappa = (dual.one_plus - dual.one_minus) / 2
        return [jnp.sum(kappa * x, axis=(0, 1)) for x in values], [jnp.sum(dual.derivative * x, axis=(0, 1)) for x in slopes]

    places = np.indices((size, size)).reshape(2, -1)
    found, moved = jax.lax.map(lambda at: of_pair(*at), (jnp.asarray(places[0]), jnp.asarray(places[1])))
    means, moved = ([x.reshape(size, size, *batch) for x in part] for part in (found, moved))
    means = [most * root * x for x in means]
    if block.moved is None:
        return means[0], None
    return means[0], 2 * means[0] + means[1] + block.logits * moved[0] + block.moved * moved[1]


def _product(one: tuple[Array, Array, Array], other: tuple[Array, Array, Array]) -> tuple[Array, Array]:
    """1 ∓ ρ of a product of two correlations (w, v, ρ), where the terms of one sign are the small ones."""
    (w1, v1, rho1), (w2, v2, rho2) = one, other
    w = jnp.where(rho1 + rho2 >= 0, w1 + w2 - w1 * w2, v1 + v2 - v1 * v2)
    return w, jnp.where(rho1 <= rho2, v1 + w2 - v1 * w2, v2 + w1 - v2 * w1)


@dataclass(frozen=True)
class Sampling:
    """How weights are averaged over draws of logits: `weights(G, present)`, and their `slope(G)` where each is a function of its own
    logit; None for a softmax. `samples`, `seed`: the draws are those of the seed for all pairs of points alike.
    """

    weights: Callable[[Array, Array | None], Array]
    slope: Callable[[Array], Array] | None
    samples: int
    seed: int

    def blocks(self, blocks: list[Block], present: tuple[Array, ...] | None) -> list[Sampled]:
        """`value` and `total` of the points with one another and of each set with itself; `present`: (P, N1) and (P, N2), or None."""
        turned = [_in_front(block) for block in blocks]
        (cross, first, second), size = (block.logits for block in turned), blocks[0].logits.shape[0]
        own = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), *turned[1:])  # of both sets of points together
        pairs, alone = None, None
        if present is not None:
            one, other = (there.T for there in present)
            pairs = jnp.repeat(one, len(second), axis=0), jnp.tile(other, (len(first), 1))
            alone = (jnp.concatenate([one, other]),) * 2
        known = _masked(own.logits, alone)
        root = symmetric_root(_joint(known[: len(first)], known[len(first) :], _masked(cross, pairs)))
        between = self._block(turned[0], (root[:, :size], root[:, size:]), pairs)
        within = self._block(own, (symmetric_root(known),) * 2, alone)
        parts = between, _rows(within, slice(len(first))), _rows(within, slice(len(first), None))
        return [_behind(part, block.logits.shape) for part, block in zip(parts, blocks, strict=True)]

    def _block(self, block: Block, sides: tuple[Array, Array], present: Masks) -> Sampled:
        """Of pairs in front, (n, p, p'); `sides`: their parts of a root of the covariance of logits, (n, p, r)."""
        size, dtype = block.covariance.shape[-1], block.covariance.dtype
        own = sides[0].shape[-1] == size

        @jax.checkpoint
        def of_step(step: Array) -> list[Array]:
            z = _draws(self.seed, step, size, dtype, own=own)
            logits = []
            for side in sides:
                g = _dot("nmav,nbv->nmab", _dot("nau,muv->nmav", side, z), side)
                logits.append(jnp.concatenate([g, -g], axis=1))
            return self._means(block, logits, present)

        def add(carry: tuple[list[Array], list[Array]], step: Array) -> tuple[Any, None]:
            means, squares = carry
            found, share = of_step(step), 1 / (step + 1).astype(dtype)
            after = [mean + (x - mean) * share for mean, x in zip(means, found, strict=True)]
            fixed = jax.lax.stop_gradient((found, means, after))
            squares = [total + (x - old) * (x - new) for total, x, old, new in zip(squares, *fixed, strict=True)]
            return (after, squares), None

        steps = max(2, -(-self.samples // GROUP))
        zeros = [jnp.zeros_like(block.covariance)] * (1 if block.theta is None else 2)
        (means, squares), _ = jax.lax.scan(add, (zeros, zeros), jnp.arange(steps))
        sems = [jnp.sqrt(jnp.maximum(x, 0) / (steps * (steps - 1))) for x in squares]
        return Sampled(means[0], None, sems[0], None) if block.theta is None else Sampled(means[0], means[1], sems[0], sems[1])

    def _means(self, block: Block, logits: list[Array], present: Masks) -> list[Array]:
        """`value` and `total` over the samples of one step, logits (n, m, p, p)."""
        masks = (None, None) if present is None else (there[:, None, None, :] for there in present)
        one, other = (self.weights(g, there) for g, there in zip(logits, masks, strict=True))
        count = one.shape[1]
        left = _dot("nmab,nbd->nmad", one, block.covariance)
        each = _each(left, other)
        value = jnp.mean(each, axis=1)
        if block.theta is None or block.moved is None:
            return [value]

        def over(x: Array, y: Array) -> Array:
            return _dot("nmad,nmcd->nac", x, y) / count

        def moved(weight: Array) -> Array:
            """D(W)."""
            both = block.covariance * weight
            if self.slope is not None:
                return over(_dot("nmab,nbd->nmad", self.slope(logits[0]), both), self.slope(logits[1]))
            far = _dot("nmab,nbd->nmad", one, weight)
            near = over(_dot("nmab,nbd->nmad", one, both) - left * far, other)
            beside = _dot("nmcd,nbd->nmcb", other, block.covariance) * _dot("nmcd,nbd->nmcb", other, weight)
            return near - over(one, beside) + jnp.mean(each * _each(far, other), axis=1)

        turned = block.logits * moved(block.moved + 2 * block.logits) + block.moved * moved(block.logits)
        return [value, 2 * value + over(_dot("nmab,nbd->nmad", one, block.theta), other) + turned]


_dot = partial(jnp.einsum, precision="highest")


def _each(x: Array, y: Array) -> Array:
    """The products x yᵀ of each sample; small ones by sums, of which the compiler makes one loop."""
    size = x.shape[-1]
    if size > FEW:
        return _dot("nmad,nmcd->nmac", x, y)
    return reduce(jnp.add, [x[..., :, None, d] * y[..., None, :, d] for d in range(size)])


def _in_front(block: Block) -> Block:
    """With the pairs of points in one axis in front."""

    def turned(x: Array) -> Array:
        return jnp.moveaxis(x.reshape(*x.shape[:2], -1), -1, 0)

    return Block(*(None if x is None else turned(x) for x in block))  # type: ignore[arg-type]


def _behind(sampled: Sampled, shape: tuple[int, ...]) -> Sampled:
    """With the pairs of points at the end, in arrays of this shape."""
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, -1).reshape(shape), sampled)


def _rows(sampled: Sampled, rows: slice) -> Sampled:
    return jax.tree.map(lambda x: x[rows], sampled)


def _masked(x: Array, present: Masks) -> Array:
    """With 0 for the logits of positions that are not there."""
    return x if present is None else x * (present[0][:, :, None] & present[1][:, None, :]).astype(x.dtype)


def _joint(first: Array, second: Array, cross: Array) -> Array:
    """The covariance [[R11, R12], [R21, R22]] of the positions of both points of each pair, (N1 · N2, 2P, 2P)."""
    one, other = jnp.repeat(first, len(second), axis=0), jnp.tile(second, (len(first), 1, 1))
    return jnp.block([[one, cross], [jnp.swapaxes(cross, 1, 2), other]])


def _draws(seed: int, step: Array, size: int, dtype: Any, *, own: bool) -> Array:
    """Half of the group of one draw, the other half being its negative.

    Of two points (4, 2P, 2P): Z, with its blocks off the diagonal turned over, and both with the points exchanged. Of a point with
    itself (2, P, P): what the first two are to it, (Z11 + Z22 ± (Z12 + Z21))/2. The number for a pair of positions depends neither on
    the precision, beyond its rounding, nor on how many positions there are.
    """
    i, j = np.indices((size, size))
    place = np.where(i <= j, j * j + i, i * i + i + 1 + j)  # the pairs in shells of one larger index
    key = jax.random.fold_in(jax.random.key(seed), step)
    keys = jax.vmap(lambda at: jax.random.fold_in(key, at))(jnp.asarray(place.ravel(), jnp.uint32))
    z = _normal(jax.vmap(lambda k: jax.random.bits(k, (2, 2), jnp.uint32))(keys), dtype).reshape(size, size, 2, 2)
    if own:
        inner, outer = z[..., 0, 0] + z[..., 1, 1], z[..., 0, 1] + z[..., 1, 0]
        return jnp.stack([inner + outer, inner - outer]) / 2
    z = jnp.stack([z, z * jnp.asarray([[1, -1], [-1, 1]], dtype).reshape(1, 1, 2, 2)])
    z = jnp.concatenate([z, z[..., ::-1, ::-1]])
    return z.transpose(0, 3, 1, 4, 2).reshape(GROUP // 2, 2 * size, 2 * size)


def _normal(bits: Array, dtype: Any) -> Array:
    """Standard normal numbers from 23 of 32 random bits: in each precision the same, to its own rounding."""
    odd = 2 * (bits >> 9).astype(dtype) + (1 - 2**23)
    return math.sqrt(2) * jax.lax.erf_inv(odd / 2**23)


def largest_error(sampled: list[Sampled], kernels: list[tuple[Array, Array | None]]) -> Array:
    """The largest standard error of both averages, relative to √(k11 k22) of the kernels they are averages for.

    Where the NTK of points with themselves is not known, relative to that of the NNGP kernel, which is smaller.
    """
    worst = jnp.zeros((), kernels[0][0].dtype)
    for kind in (0, 1):
        sems = [(each.value_sem, each.total_sem)[kind] for each in sampled]
        own = [nngp if kind == 0 or ntk is None else ntk for nngp, ntk in kernels[1:]]
        one, other = (safe_sqrt(own_pairs(x, 1)) for x in own)
        levels = one[:, None, :, None] * other[None, :, None, :], one[:, None] * one[None], other[:, None] * other[None]
        for sem, level in zip(sems, levels, strict=True):
            if sem is not None:
                worst = jnp.maximum(worst, jnp.max(jnp.where(level > 0, sem / jnp.where(level > 0, level, 1), 0)))
    return jax.lax.stop_gradient(worst)


@jax.custom_jvp
def symmetric_root(x: Float[Array, "pairs n n"]) -> Float[Array, "pairs n n"]:
    """The symmetric S with S² = x for symmetric x >= 0; eigenvalues that rounding cannot tell from 0, or below it, count as 0.

    Its derivative is finite where x is singular: there, along the null space, where x stays >= 0 to first order alone, it is 0.
    """
    root, _, vectors = _spectrum(x)
    return jnp.einsum("...ij,...j,...kj->...ik", vectors, root, vectors, precision="highest")


@symmetric_root.defjvp
def _symmetric_root_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """In the basis of the eigenvectors dS_ij = dx_ij (s_i - s_j)/(λ_i - λ_j)."""
    root, below, vectors = _spectrum(primals[0])
    value = jnp.einsum("...ij,...j,...kj->...ik", vectors, root, vectors, precision="highest")
    total = root[..., :, None] + root[..., None, :]
    square = total * total + below[..., :, None] + below[..., None, :]
    slope = jnp.where(total > 0, total / jnp.where(total > 0, square, 1), 0)
    turned = jnp.einsum("...ji,...jk,...kl->...il", vectors, tangents[0], vectors, precision="highest")
    return value, jnp.einsum("...ij,...jk,...lk->...il", vectors, slope * turned, vectors, precision="highest")


def _spectrum(x: Array) -> tuple[Array, Array, Array]:
    """√λ, -λ where λ < 0, and the eigenvectors."""
    # one matrix after another: of a batch jaxlib waits, in the pool of threads, for others of the pool, and may wait forever
    values, vectors = jax.vmap(jax.custom_batching.sequential_vmap(lambda one: tuple(jnp.linalg.eigh(one))))(x)
    least = RANK * x.shape[-1] * jnp.finfo(x.dtype).eps * jnp.max(jnp.abs(values), axis=-1, keepdims=True)
    kept = values > least
    return jnp.where(kept, jnp.sqrt(jnp.where(kept, values, 1)), 0), jnp.where(values < -least, -values, 0), vectors
