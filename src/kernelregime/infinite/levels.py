"""Pooling by offsets: pairs of positions (p, p + d) with the same d go through layers of stride 1 by themselves, and pools add them up.

Memory is of the order of the positions for one offset, and of the pairs of positions after a pool, which are fewer by the fourth power
of its window.
"""

import itertools
import math
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from kernelregime.activations.angles import above_zero, magnitude
from kernelregime.infinite.pixels import channels_in_front, equal, pairs_of
from kernelregime.layers import Dense, Fields, Folded, GlobalPool, Layer, Moments, Pool, Sequential, draws, offsets_kept
from kernelregime.layers.fields import Squares, gap_between, squares_of
from kernelregime.layers.moments import signed
from kernelregime.layers.sequential import once

LEVEL = 6  # numbers for a pair of positions of a `Level` while it is made
BLOCKS = ("cross", "first", "second")  # of the points with one another, and of each set of points with itself


@dataclass(frozen=True)
class Pixels:
    """Two sets of points (C, *P, N1) and (C, *P, N2), and the moments of their pairs of positions by offset; NTKs of 0 with `ntk`."""

    one: Array
    other: Array
    ntk: bool

    @property
    def lengths(self) -> tuple[int, ...]:
        """Positions along each axis."""
        return tuple(self.one.shape[1:-1])

    def moved(self, offset: Array) -> tuple[Array, ...]:
        """The points at p + offset, at p, which `at` reads: to roll them in a loop of their own is quicker."""
        axes = tuple(range(1, 1 + len(self.lengths)))
        return tuple(jnp.roll(x, -offset, axis=axes) for x in (self.one, self.other))

    def at(self, offset: Array, far: tuple[Array, ...], names: tuple[str, ...]) -> dict[str, Moments]:
        """The moments of the pairs (p, p + offset)."""
        units = {name: (near, far[name != "first"]) for name, (near, _) in sides(self.one, self.other).items()}
        return {name: pairs_of(*laid(name, *units[name]), self.ntk and name == "cross", None) for name in names}


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("variances", "gap", "ntk", "error", "features"),
    meta_fields=("gaussian", "nonnegative"),
)
@dataclass(frozen=True)
class Level:
    """Moments of units at all pairs of positions, by offset d = p' - p (around the ends): for each block (*D, *P, ...).

    `variances`: (*P, N1) and (*P, N2). `gap`, `ntk`: by block, the NTK of "cross" alone, or of none.
    """

    variances: tuple[Array, Array]
    gap: dict[str, Array]
    ntk: dict[str, Array]
    error: Array
    features: Array
    gaussian: bool
    nonnegative: bool

    @property
    def lengths(self) -> tuple[int, ...]:
        """Positions along each axis."""
        return tuple(self.variances[0].shape[:-1])

    def moved(self, offset: Array) -> tuple[Array, ...]:
        """The variances at p + offset, at p."""
        return tuple(jnp.roll(k, -offset, axis=tuple(range(len(self.lengths)))) for k in self.variances)

    def at(self, offset: Array, far: tuple[Array, ...], names: tuple[str, ...]) -> dict[str, Moments]:
        """The moments of the pairs (p, p + offset)."""
        where = tuple(offset[axis] for axis in range(len(self.lengths)))
        units = {name: (near, far[name != "first"]) for name, (near, _) in sides(*self.variances).items()}
        return {name: self._moments(name, *units[name], where) for name in names}

    def fields(self, same: Array) -> Fields:
        """The same at all pairs of positions, (*P, *P', ...); `same` (N1, N2): which points are equal."""
        axes = len(self.lengths)

        def along(axis: int, n: int) -> np.ndarray:
            return np.arange(n).reshape([-1 if a == axis else 1 for a in range(2 * axes)])

        first = [along(axis, n) for axis, n in enumerate(self.lengths)]
        offsets = [(along(axes + axis, n) - p) % n for (axis, n), p in zip(enumerate(self.lengths), first, strict=True)]
        ones = (1,) * axes
        wide, deep = ([k.reshape(*lead, -1) for k in self.variances] for lead in ((*self.lengths, *ones), (*ones, *self.lengths)))
        units = {"cross": (wide[0], deep[1]), "first": (wide[0], deep[0]), "second": (wide[1], deep[1])}
        blocks = {name: self._moments(name, *units[name], (*offsets, *first)) for name in BLOCKS}
        return Fields(blocks["cross"], blocks["first"], blocks["second"], same, axes, "all")

    def _moments(self, name: str, one: Array, other: Array, where: tuple[Any, ...]) -> Moments:
        k1, k2 = laid(name, one, other)
        theta = self.ntk[name][where] if name in self.ntk else None
        kept = {"gaussian": self.gaussian, "nonnegative": self.nonnegative}
        return Moments(k1, k2, self.gap[name][where], theta, None, self.error, self.features, **kept)


def sides(one: Any, other: Any) -> dict[str, tuple[Any, Any]]:
    """What belongs to the first and to the second unit of each block."""
    return {"cross": (one, other), "first": (one, one), "second": (other, other)}


def laid(name: str, one: Array, other: Array) -> tuple[Array, Array]:
    """Numbers of points beside the pairs of a block."""
    return (one[..., :, None], other[..., None, :]) if name == "cross" else (one, other)


def fits(layer: Layer, lengths: tuple[int, ...]) -> bool:
    """Whether a layer is a pool of windows side by side, which cover all positions."""
    if not isinstance(layer, Pool) or len(layer.window) != len(lengths):
        return False
    return all(w.size == w.stride and n % w.size == 0 for w, n in zip(layer.windows, lengths, strict=True))


@partial(jax.tree_util.register_dataclass, data_fields=("stages", "end", "rest"), meta_fields=())
@dataclass(frozen=True)
class ByOffsets:
    """A network as stages, layers of stride 1 (or none) and a pool that `fits`; such layers and a global pool, or None; and the others."""

    stages: tuple[tuple[Folded | None, Pool], ...]
    end: tuple[Folded | None, GlobalPool] | None
    rest: tuple[Layer, ...]

    def propagate(self, x1: Array, x2: Array, *, ntk: bool) -> Any:
        """The state after the network for points (N1, *P, C) and (N2, *P, C)."""
        same = equal(x1, x2)
        level: Pixels | Level = Pixels(channels_in_front(x1), channels_in_front(x2), ntk)
        for layers, pool in self.stages:
            level = _pooled(layers, level, pool, same)
        if self.end is None:
            assert isinstance(level, Level)  # there is no plan without any pool
            start: Any = level.fields(same)
        else:
            start = _pooled_to_one(*self.end, level, same, variances=not all(isinstance(layer, Dense) for layer in self.rest))
        return reduce(lambda state, layer: layer.propagate(state), self.rest, start)

    def numbers(self, lengths: tuple[int, ...], held: float) -> float:
        """Numbers for a pair of points at one time, where a layer holds so many for a pair of positions."""
        most = math.prod(lengths) * held
        for _, pool in self.stages:
            lengths = tuple(n // size for n, size in zip(lengths, pool.window, strict=True))
            most += LEVEL * math.prod(lengths) ** 2  # sums, gaps and NTKs
        return most if self.end is not None else max(most, held * math.prod(lengths) ** 2)


def by_offsets(network: Layer, lengths: tuple[int, ...]) -> ByOffsets | None:
    """The plan for a network of points with so many positions; None where no pool can take offsets one by one."""
    if not isinstance(network, Sequential) or draws(network):
        return None
    stages: list[tuple[Folded | None, Pool]] = []
    kept: list[Layer] = []
    for index, layer in enumerate(network.layers):
        if isinstance(layer, GlobalPool):
            return ByOffsets(tuple(stages), (_folded(kept), layer), network.layers[index + 1 :]) if stages or kept else None
        if isinstance(layer, Pool) and fits(layer, lengths):
            stages.append((_folded(kept), layer))
            lengths, kept = tuple(n // size for n, size in zip(lengths, layer.window, strict=True)), []
        elif offsets_kept(layer):
            kept.append(layer)
        else:
            return ByOffsets(tuple(stages), None, (*kept, *network.layers[index:])) if stages else None
    return ByOffsets(tuple(stages), None, tuple(kept)) if stages else None


def _offsets(lengths: tuple[int, ...]) -> Array:
    """All offsets of positions, (number, axes), none first."""
    return jnp.stack(jnp.meshgrid(*(jnp.arange(n) for n in lengths), indexing="ij"), -1).reshape(-1, len(lengths))


def _folded(layers: list[Layer]) -> Folded | None:
    return Sequential(tuple(layers)).folded() if layers else None


def _over_offsets(layers: Folded | None, level: Pixels | Level, names: tuple[str, ...], add: Any, start: Any) -> tuple[Any, Array, Moments]:
    """`add(sums, moments by block, offset)` over all offsets, from `start(moments)`; the largest error; and "cross" without its arrays."""
    axes = len(level.lengths)

    def states(offset: Array, far: tuple[Array, ...]) -> dict[str, Moments]:
        apart = offset[0] >= 0
        found = once(lambda far: level.at(offset, far, names), far, apart)
        if layers is None:
            return found
        given = {name: Fields(m, None, None, None, axes, "offset", offset) for name, m in found.items()}
        return {name: layers.propagate(state, apart=apart).cross for name, state in given.items()}  # type: ignore[union-attr]

    def step(carry: Any, offsets: tuple[Array, Array]) -> tuple[Any, None]:
        (offset, following), (sums, error, _, far) = offsets, carry
        found = states(offset, far)
        error = reduce(jnp.maximum, [error, *(jnp.asarray(m.error) for m in found.values())])
        return (add(sums, found, offset), error, found["cross"].features, level.moved(following)), None

    offsets = _offsets(level.lengths)
    none = level.moved(offsets[0])
    form = jax.eval_shape(states, offsets[0], none)
    zero = jnp.zeros((), form["cross"].gap.dtype)
    carry = (start(form), zero, zero, none)
    (sums, error, features, _), _ = jax.lax.scan(step, carry, (offsets, jnp.roll(offsets, -1, axis=0)))
    return sums, error, replace(form["cross"], features=features)


def _pooled(layers: Folded | None, level: Pixels | Level, pool: Pool, same: Array) -> Level:
    """The level after layers of stride 1 and a pool that `fits`."""
    axes, sizes = len(level.lengths), pool.window
    after = tuple(n // size for n, size in zip(level.lengths, sizes, strict=True))

    def added(total: Array, value: Array, offset: Array) -> Array:
        """Of each window, one position after another: its pairs belong to one offset of windows."""
        for start in itertools.product(*(range(size) for size in sizes)):
            part = value[tuple(slice(a, None, size) for a, size in zip(start, sizes, strict=True))]
            to = tuple((offset[i] + a) // size % n for i, (a, size, n) in enumerate(zip(start, sizes, after, strict=True)))
            total = total.at[to].add(part)
        return total

    def add(carry: Any, found: dict[str, Moments], offset: Array) -> Any:
        sums, own = carry
        sums = jax.tree.map(lambda total, value: added(total, value, offset), sums, {name: _summed(m) for name, m in found.items()})
        kept = [jnp.where(jnp.all(offset == 0), found[name].k1, k) for name, k in zip(BLOCKS[1:], own, strict=True)]
        return sums, kept

    def zeros(form: dict[str, Moments]) -> Any:
        summed = jax.eval_shape(lambda found: {name: _summed(m) for name, m in found.items()}, form)
        sums = jax.tree.map(lambda x: jnp.zeros((*after, *after, *x.shape[axes:]), x.dtype), summed)
        return sums, [jnp.zeros(form[name].k1.shape, form[name].k1.dtype) for name in BLOCKS[1:]]

    (sums, own), error, like = _over_offsets(layers, level, BLOCKS, add, zeros)
    means = jax.tree.map(lambda x: x / math.prod(sizes) ** 2, sums)
    scale = float(math.prod(sizes)) if pool.reduction == "sum" else 1.0
    return _centred(means, own, pool, same, scale**2, replace(like, error=error))


def _summed(m: Moments) -> dict[str, Array]:
    """What of the moments of pairs a pool adds up."""
    squares = squares_of(m)
    found = {"apart": squares.apart} | ({} if m.nonnegative else {"across": squares.across})
    return found | ({} if m.ntk is None else {"ntk": m.ntk})


def _centred(means: dict[str, dict[str, Array]], own: list[Array], pool: Pool, same: Array, scale: float, like: Moments) -> Level:
    """The level of means over windows: as in `layers.pooling.mixed`, less half of the spread within the windows."""
    axes = len(pool.window)
    spreads = [means[name]["apart"][(0,) * axes] for name in BLOCKS[1:]]
    variances = [above_zero(_window_means(k, pool.window) - spread) for k, spread in zip(own, spreads, strict=True)]
    lengths = variances[0].shape[:axes]
    offsets = _offsets(lengths)

    def far(x: Array) -> Array:
        """At p + d, (*D, *P, N)."""
        return jax.vmap(lambda d: jnp.roll(x, -d, axis=tuple(range(axes))))(offsets).reshape(*lengths, *x.shape)

    gap = {}
    for name, (one, other) in sides(*zip(variances, spreads, strict=True)).items():
        (k1, k2), (s1, s2) = (laid(name, one[i][(None,) * axes], far(other[i])) for i in (0, 1))
        apart = means[name]["apart"] - (s1 + s2) / 2
        across = apart if like.nonnegative else means[name]["across"] - (s1 + s2) / 2
        gap[name] = gap_between(Squares(k1, k2, apart, across), nonnegative=like.nonnegative)
    for name in BLOCKS[1:]:  # a unit with itself, whatever rounding left
        gap[name] = gap[name].at[(0,) * axes].set(0)
    gap["cross"] = jnp.where(same, gap["first"][..., :, None], gap["cross"])
    ntk = {"cross": scale * means["cross"]["ntk"]} if "ntk" in means["cross"] else {}
    squares = (scale * variances[0], scale * variances[1])
    return Level(squares, gap, ntk, jnp.asarray(like.error), like.features, like.gaussian, like.nonnegative)


def _window_means(k: Array, sizes: tuple[int, ...]) -> Array:
    for axis, size in enumerate(sizes):
        k = k.reshape(*k.shape[:axis], k.shape[axis] // size, size, *k.shape[axis + 1 :]).mean(axis + 1)
    return k


def _pooled_to_one(layers: Folded | None, pool: GlobalPool, level: Pixels | Level, same: Array, *, variances: bool) -> Moments:
    """The moments after layers of stride 1 and a pooling over all positions.

    Without `variances` those of the points stay unknown, and each pair of points is given the least it can have, |E zz'| for both: all
    that a linear readout reads.
    """
    axes = len(level.lengths)
    weight = 1.0 if pool.reduction == "mean" else float(math.prod(level.lengths)) ** 2

    def values(found: dict[str, Moments]) -> dict[str, Array]:
        theta = found["cross"].ntk
        return {name: m.nngp for name, m in found.items()} | ({} if theta is None else {"ntk": theta})

    def add(sums: dict[str, Array], found: dict[str, Moments], _: Array) -> dict[str, Array]:
        return jax.tree.map(jnp.add, sums, values(found))  # at each position: to add them up takes longer

    def zeros(form: dict[str, Moments]) -> dict[str, Array]:
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(values, form))

    sums, error, like = _over_offsets(layers, level, BLOCKS if variances else BLOCKS[:1], add, zeros)
    means = {name: x.mean(axis=tuple(range(axes))) * (weight / math.prod(level.lengths)) for name, x in sums.items()}
    covariance = means["cross"]
    if variances:
        k1, k2 = means["first"][:, None], means["second"][None, :]
        middle = (k1 + k2) / 2
        gap = jnp.where(same, 0, gap_between(Squares(k1, k2, middle - covariance, middle + covariance)))
    else:
        k1 = k2 = magnitude(covariance)
        gap = signed(covariance >= 0, jnp.zeros_like(covariance))
    return Moments(k1, k2, gap, means.get("ntk"), None, error, like.features, gaussian=like.gaussian)
