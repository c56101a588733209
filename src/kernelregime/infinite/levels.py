"""Pooling by offsets: pairs of positions (p, p + d) with the same d go through layers of stride 1 by themselves, and pools add them up.

Memory of the order of the positions for one offset, and of the pairs of positions after a pool, which are fewer by the fourth power of
its window.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from kernelregime.activations.angles import above_zero
from kernelregime.layers import Fields, Folded, Moments, Pool
from kernelregime.layers.fields import Squares, gap_between, squares_of

BLOCKS = ("cross", "first", "second")  # of the points with one another, and of each set of points with itself


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("variances", "gap", "ntk", "error", "features"),
    meta_fields=("lengths", "gaussian", "nonnegative"),
)
@dataclass(frozen=True)
class Level:
    """Moments of units at all pairs of positions, by offset d = p' - p (around the ends): for each block (*D, *P, ...), d = 0 first.

    `variances`: (*P, N1) and (*P, N2). `gap`, `ntk` by block, the NTK of "cross" alone or of none.
    """

    variances: tuple[Array, Array]
    gap: dict[str, Array]
    ntk: dict[str, Array]
    error: Array
    features: Array
    lengths: tuple[int, ...]
    gaussian: bool
    nonnegative: bool

    def at(self, offset: Array) -> dict[str, Moments]:
        """The moments of the pairs (p, p + offset)."""
        found = {}
        for name, (one, other) in sides(*self.variances).items():
            far = jnp.roll(other, -offset, axis=tuple(range(len(self.lengths))))
            k1, k2 = laid(name, one, far)
            theta = self.ntk.get(name)
            found[name] = Moments(
                k1,
                k2,
                _taken(self.gap[name], offset),
                None if theta is None else _taken(theta, offset),
                None,
                self.error,
                self.features,
                gaussian=self.gaussian,
                nonnegative=self.nonnegative,
            )
        return found

    def fields(self, same: Array) -> Fields:
        """The same at all pairs of positions, (*P, *P', ...)."""
        axes = len(self.lengths)
        where = [np.arange(n).reshape([-1 if a == axis else 1 for a in range(2 * axes)]) for axis, n in enumerate(self.lengths)]
        others = [np.arange(n).reshape([-1 if a == axes + axis else 1 for a in range(2 * axes)]) for axis, n in enumerate(self.lengths)]
        index = (*((q - p) % n for p, q, n in zip(where, others, self.lengths, strict=True)), *where)
        ones = (1,) * axes
        blocks = {}
        for name, (one, other) in sides(*self.variances).items():
            wide = one.reshape(*self.lengths, *ones, -1)
            k1, k2 = laid(name, wide, other.reshape(*ones, *self.lengths, -1))
            theta = self.ntk.get(name)
            gap, ntk = self.gap[name][index], None if theta is None else theta[index]
            blocks[name] = Moments(k1, k2, gap, ntk, None, self.error, self.features, gaussian=self.gaussian, nonnegative=self.nonnegative)
        return Fields(blocks["cross"], blocks["first"], blocks["second"], same, axes, "all")


def sides(one: Any, other: Any) -> dict[str, tuple[Any, Any]]:
    """What belongs to the first and to the second unit of each block."""
    return {"cross": (one, other), "first": (one, one), "second": (other, other)}


def laid(name: str, one: Array, other: Array) -> tuple[Array, Array]:
    """Numbers of points beside the pairs of a block."""
    return (one[..., :, None], other[..., None, :]) if name == "cross" else (one, other)


def fits(pool: Any, lengths: tuple[int, ...]) -> bool:
    """Whether a layer is a pool of windows side by side, which cover all positions."""
    if not isinstance(pool, Pool) or len(pool.window) != len(lengths):
        return False
    return all(w.size == w.stride and n % w.size == 0 for w, n in zip(pool.windows, lengths, strict=True))


Given = Callable[[Array], dict[str, Moments]]  # the moments of the pairs (p, p + offset), by block


def pooled_level(layers: Folded | None, given: Given, lengths: tuple[int, ...], pool: Pool, same: Array) -> Level:
    """The level after layers of stride 1 and a pool that `fits`, one offset after another; `same` (N1, N2): which points are equal."""
    axes, sizes = len(lengths), pool.window
    after = tuple(n // size for n, size in zip(lengths, sizes, strict=True))

    def states(offset: Array) -> dict[str, Moments]:
        found = given(offset)
        if layers is None:
            return found
        return {name: layers.propagate(Fields(m, None, None, None, axes, "offset", offset)).cross for name, m in found.items()}  # type: ignore[union-attr]

    def added(total: Array, value: Array, offset: Array) -> Array:
        """Of each window, one position after another: its pairs belong to one offset of windows."""
        for start in itertools.product(*(range(size) for size in sizes)):
            part = value[tuple(slice(a, None, size) for a, size in zip(start, sizes, strict=True))]
            to = tuple((offset[i] + a) // size % n for i, (a, size, n) in enumerate(zip(start, sizes, after, strict=True)))
            total = total.at[to].add(part)
        return total

    def step(carry: Any, offset: Array) -> tuple[Any, None]:
        sums, own, error, _ = carry
        found = states(offset)
        values = {name: _summed(found[name]) for name in BLOCKS}
        sums = jax.tree.map(lambda total, value: added(total, value, offset), sums, values)
        own = jax.tree.map(lambda kept, k: jnp.where(jnp.all(offset == 0), k, kept), own, (found["first"].k1, found["second"].k1))
        error = reduce(jnp.maximum, [error, *(jnp.asarray(m.error) for m in found.values())])
        return (sums, own, error, found["cross"].features), None

    form = jax.eval_shape(lambda: {name: (_summed(m), m.k1) for name, m in states(jnp.zeros(axes, int)).items()})
    like = jax.eval_shape(lambda: states(jnp.zeros(axes, int)))["cross"]
    sums = {name: {key: jnp.zeros((*after, *after, *x.shape[axes:]), x.dtype) for key, x in form[name][0].items()} for name in BLOCKS}
    own = (jnp.zeros(form["first"][1].shape, form["first"][1].dtype), jnp.zeros(form["second"][1].shape, form["second"][1].dtype))
    offsets = jnp.stack(jnp.meshgrid(*(jnp.arange(n) for n in lengths), indexing="ij"), -1).reshape(-1, axes)
    start = (sums, own, jnp.zeros((), own[0].dtype), jnp.zeros((), own[0].dtype))
    (sums, own, error, features), _ = jax.lax.scan(step, start, offsets)
    scale = float(math.prod(sizes)) if pool.reduction == "sum" else 1.0
    return _centred(
        jax.tree.map(lambda x: x / math.prod(sizes) ** 2, sums), own, pool, same, scale, replace(like, error=error, features=features)
    )


def _summed(m: Moments) -> dict[str, Array]:
    """What of the moments of pairs a pool adds up."""
    squares = squares_of(m)
    found = {"apart": squares.apart} | ({} if m.nonnegative else {"across": squares.across})
    return found | ({} if m.ntk is None else {"ntk": m.ntk})


def _centred(means: dict[str, dict[str, Array]], own: tuple[Array, Array], pool: Pool, same: Array, scale: float, like: Moments) -> Level:
    """The level of means over windows: as in `layers.pooling.mixed`, less half of the spread within the windows."""
    axes = len(pool.window)
    kept = [_window_means(k, pool.window) for k in own]
    spreads = [means[name]["apart"][(0,) * axes] for name in ("first", "second")]
    variances = [above_zero(k - spread) for k, spread in zip(kept, spreads, strict=True)]
    lengths = variances[0].shape[:axes]
    offsets = jnp.stack(jnp.meshgrid(*(jnp.arange(n) for n in lengths), indexing="ij"), -1).reshape(-1, axes)

    def far(x: Array) -> Array:
        """At p + d, (*D, *P, N)."""
        return jax.vmap(lambda d: jnp.roll(x, -d, axis=tuple(range(axes))))(offsets).reshape(*lengths, *x.shape)

    squared = scale * scale
    gaps = {}
    for name, (one, other) in sides(*zip(variances, spreads, strict=True)).items():
        (k1, k2), (s1, s2) = (laid(name, one[i][(None,) * axes], far(other[i])) for i in (0, 1))
        middle = (s1 + s2) / 2
        apart = means[name]["apart"] - middle
        across = apart if like.nonnegative else means[name]["across"] - middle
        gaps[name] = gap_between(Squares(k1, k2, apart, across), nonnegative=like.nonnegative)
    gaps["cross"] = jnp.where(same, gaps["first"][..., :, None], gaps["cross"])
    ntk = {"cross": squared * means["cross"]["ntk"]} if "ntk" in means["cross"] else {}
    return Level(
        (squared * variances[0], squared * variances[1]),
        gaps,
        ntk,
        jnp.asarray(like.error),
        like.features,
        lengths,
        like.gaussian,
        like.nonnegative,
    )


def _window_means(k: Array, sizes: tuple[int, ...]) -> Array:
    for axis, size in enumerate(sizes):
        k = k.reshape(*k.shape[:axis], k.shape[axis] // size, size, *k.shape[axis + 1 :]).mean(axis + 1)
    return k


def _taken(x: Array, offset: Array) -> Array:
    return x[tuple(offset[i] for i in range(offset.shape[0]))]
