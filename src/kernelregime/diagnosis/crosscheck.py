"""Infinite-width kernels against finite networks: the mean over initializations at several widths, and where it goes as they grow."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from kernelregime import _precision, empirical, infinite, networks
from kernelregime._checks import array, fail, integer
from kernelregime.layers import Batch, Layer
from kernelregime.layers.rates import check_one_rate

SEMS = 4.0  # standard errors up to which two numbers are one
RESOLVED = 0.1  # standard error of the limit, relative to √(k11 k22), from which on a check says nothing
OUTPUTS = 64  # times the outputs of the network, for the NNGP kernel: one output of one draw says little of it
ROUNDING = 64.0  # units of the last place of the working precision, which a standard error of finite kernels has at the least
GROUPS = 10  # of draws, each left out once for the error of the slope of the spread


@dataclass(frozen=True)
class Comparison:
    """One kernel of N points at W widths, each entry relative to √(k_ii k_jj) of the infinite one.

    `infinite` (W, N, N): the infinite-width kernel itself (it depends on the width in the standard parameterization only). `mean`, `sem`
    (W, N, N): of the finite kernels over draws, minus the infinite one. Through these goes mean = limit + slope/width, by weighted least
    squares: `limit`, `limit_sem` (with the error of the infinite kernel), `slope`, `slope_sem` (N, N), with 1/width in units of the
    network as it was given, and `misfit`: the largest χ² of an entry divided by W - 2 (nan for two widths).
    """

    infinite: np.ndarray
    mean: np.ndarray
    sem: np.ndarray
    limit: np.ndarray
    limit_sem: np.ndarray
    slope: np.ndarray
    slope_sem: np.ndarray
    misfit: float

    @property
    def worst(self) -> float:
        """The largest |limit| in standard errors: how far off the infinite kernel seems to be."""
        return float(np.max(np.abs(self.limit) / self.limit_sem))

    @property
    def status(self) -> Literal["agrees", "differs", "undecided"]:
        """Whether the limit is 0 within `SEMS` standard errors; "undecided" where these are too large to tell, or no line fits."""
        if self.misfit > SEMS**2:  # nan for two widths, of which any line fits
            return "undecided"
        if self.worst > SEMS:
            return "differs"
        return "agrees" if np.max(self.limit_sem) <= RESOLVED else "undecided"


@dataclass(frozen=True)
class CrossCheck:
    """`multiples` of the widths of a network, `draws` at each, and what they say of its infinite-width kernels.

    `spread` (W,): the standard deviation of the finite NTK over draws, relative as in `Comparison`, root mean square over its entries.
    `spread_slope`, `spread_slope_sem`: of log spread against log width; -1/2 where the NTK becomes deterministic.
    """

    multiples: tuple[int, ...]
    draws: int
    nngp: Comparison
    ntk: Comparison
    spread: np.ndarray
    spread_slope: float
    spread_slope_sem: float

    def __str__(self) -> str:
        """A table for people."""
        lines = [
            f"finite networks of {', '.join(f'{m}x' for m in self.multiples)} the widths, {self.draws} draws each, against infinite width"
        ]
        for name, kernel in (("NNGP", self.nngp), ("NTK", self.ntk)):
            at = np.unravel_index(np.argmax(np.abs(kernel.limit) / kernel.limit_sem), kernel.limit.shape)
            lines.append(
                f"{name:5} {kernel.status}: limit of the worst entry {kernel.limit[at]:+.4f} ± {kernel.limit_sem[at]:.4f}, "
                f"slope {kernel.slope[at]:+.3f} ± {kernel.slope_sem[at]:.3f} per 1/width"
            )
        lines.append(f"spread of the NTK falls as width^{self.spread_slope:.2f} ± {self.spread_slope_sem:.2f}")
        return "\n".join(lines)


def crosscheck(
    network: Layer,
    x: Any,
    *,
    multiples: Sequence[int] = (1, 2, 4),
    draws: int = 200,
    seed: int = 0,
    dtype: Any = None,
    memory: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CrossCheck:
    """Whether the infinite-width kernels of `network` are the limits of those of finite networks, by Monte Carlo.

    x (N, ...), or a `layers.Batch`: a few points (costs grow as N times the parameters). At each of `multiples` of the widths given in
    `network` (`networks.widened`), both kernels of `draws` initializations: f(x)f(x') and the NTK, means over outputs. `dtype` as in
    `infinite.gram`; `memory`: bytes for the draws computed at one time; `progress(done, all)` counts draws.

    Returns: a `CrossCheck` of means, standard errors and slopes against 1/width. A layer whose infinite width is wrong shows as a limit
    that differs; corrections of order 1/width² show as a misfit, with three widths or more, and need larger multiples. Raises:
    `InputError` as `infinite.gram` and `empirical.sample_at_init` do, and for fewer than two multiples, which must rise.

    >>> from kernelregime import diagnosis, networks
    >>> diagnosis.crosscheck(networks.mlp(depth=2, width=8), [[1.0, 0.0], [0.6, 0.8]], draws=50).ntk.status
    'agrees'
    """
    check_one_rate(network)
    widths = tuple(integer("a multiple", m) for m in multiples)
    if len(widths) < 2 or list(widths) != sorted(set(widths)):
        raise fail("at least two rising multiples of the widths", repr(tuple(multiples)), "give (1, 2, 4)")
    count = integer("draws", draws, least=GROUPS)
    points = x if isinstance(x, Batch) else array("x", x)
    working = _precision.resolve(dtype, x.values if isinstance(x, Batch) else points)
    asked = Asked(points, working, count, memory)
    found = []
    for done, multiple in enumerate(widths):

        def so_far(number: int, _: int, done: int = done * count) -> None:
            if progress:
                progress(done + number, len(widths) * count)

        found.append(_at_width(networks.widened(network, multiple), asked, (seed, multiple), so_far))
    rounding = ROUNDING * float(np.finfo(working).eps)
    nngp, ntk = (
        _compared(np.array(kernels), samples, widths, rounding, max(error for *_, error in found))
        for kernels, samples in (zip(*side, strict=True) for side in zip(*(kinds for *kinds, _ in found), strict=True))
    )
    return CrossCheck(widths, count, nngp, ntk, *_spread([samples for _, (_, samples), _ in found], widths, rounding))


Sample = tuple[np.ndarray, np.ndarray]  # an infinite-width kernel (N, N), and finite ones less it, relative to √(k_ii k_jj), (draws, N, N)


class Asked(NamedTuple):
    """What is the same at all widths."""

    x: np.ndarray | Batch
    dtype: np.dtype
    draws: int
    memory: float | None


def _at_width(network: Layer, asked: Asked, seeds: tuple[int, int], progress: Callable[[int, int], None]) -> tuple[Sample, Sample, float]:
    """NNGP and NTK at the widths of `network`, and the error of the infinite ones."""
    at = infinite.gram(network, asked.x, dtype=asked.dtype, memory=asked.memory)
    if at.ntk.ndim != 2:
        do = "end it with GlobalPool or Flatten"
        raise fail("a network whose outputs have no positions", f"kernels of shape {at.ntk.shape}", do)
    if not ((np.diagonal(at.nngp) > 0).all() and (np.diagonal(at.ntk) > 0).all()):
        raise fail("points whose kernels with themselves are not 0", "some that are", "leave out points of zeros, or give biases")
    drawn = _drawn(network, asked, seeds, progress)
    levels = [np.sqrt(np.outer(np.diagonal(k), np.diagonal(k))) for k in (at.nngp, at.ntk)]
    nngp, ntk = ((k, (s - k) / level) for k, s, level in zip((at.nngp, at.ntk), drawn, levels, strict=True))
    return nngp, ntk, at.error


def _drawn(network: Layer, asked: Asked, seeds: tuple[int, int], progress: Callable[[int, int], None]) -> tuple[np.ndarray, np.ndarray]:
    """f(x)f(x')ᵀ, of many outputs, and the NTK of each draw, means over the outputs, (draws, N, N)."""
    x, dtype, draws, memory = asked
    rows, points = _rows(x, dtype)
    with _precision.enter(dtype):
        key = jax.random.fold_in(jax.random.key(seeds[0]), seeds[1])  # draws of two widths are independent

    def init(key: Any) -> Any:
        return network.init(key, x.shape[1:], dtype)

    def outputs(params: Any, rows: Any) -> Any:
        return network.apply(params, points(rows))

    ntks = empirical.sample_at_init(init, outputs, rows, draws=draws, key=key, memory=memory, dtype=dtype, progress=progress)
    wide = networks.widened(network, 1, outputs=OUTPUTS)
    with _precision.enter(dtype):
        given = points(jax.numpy.asarray(rows))
        one = jax.jit(lambda keys: jax.lax.map(lambda k: wide.apply(wide.init(k, x.shape[1:], dtype), given).reshape(len(x), -1), keys))
        found = _precision.to_host(one(jax.random.split(jax.random.fold_in(key, 1), draws)), dtype).astype(np.float64)
    return np.einsum("sio,sjo->sij", found, found) / found.shape[-1], ntks.astype(np.float64)


def _rows(x: np.ndarray | Batch, dtype: np.dtype) -> tuple[np.ndarray, Callable[[Any], Any]]:
    """All that belongs to each point as one row of numbers, and the function that makes points of such rows."""
    leaves, form = jax.tree.flatten(jax.tree.map(np.asarray, x))  # of JAX arrays without float64 `astype` would be none
    ends = np.cumsum([math.prod(leaf.shape[1:]) for leaf in leaves])[:-1]

    def points(rows: Any) -> Any:
        parts = jax.numpy.split(rows, ends, axis=1)
        shaped = [part.reshape(-1, *leaf.shape[1:]) for part, leaf in zip(parts, leaves, strict=True)]
        return jax.tree.unflatten(form, [part > 0.5 if leaf.dtype == bool else part for part, leaf in zip(shaped, leaves, strict=True)])

    rows = np.concatenate([np.reshape(leaf, (len(x), -1)).astype(dtype) for leaf in leaves], axis=1)
    return np.where(np.isfinite(rows), rows, 0), points  # what is absent may hold anything


def _compared(kernel: np.ndarray, samples: Sequence[np.ndarray], multiples: tuple[int, ...], rounding: float, error: float) -> Comparison:
    """A line in 1/width through the mean deviations of each entry; `error`: of the infinite kernel, the same at all widths."""
    mean = np.array([s.mean(axis=0) for s in samples])
    # of a kernel that does not depend on the draw, rounding is what is left
    sem = np.array([np.maximum(s.std(axis=0, ddof=1) / math.sqrt(len(s)), rounding) for s in samples])
    weight = 1 / sem**2
    over = 1 / np.array(multiples, float)[:, None, None]
    s0, s1, s2 = ((weight * over**power).sum(axis=0) for power in (0, 1, 2))
    t0, t1 = ((weight * mean * over**power).sum(axis=0) for power in (0, 1))
    whole = s0 * s2 - s1 * s1
    limit, slope = (s2 * t0 - s1 * t1) / whole, (s0 * t1 - s1 * t0) / whole
    free = len(multiples) - 2
    chi2 = (weight * (mean - limit - slope * over) ** 2).sum(axis=0)
    misfit = float(np.max(chi2) / free) if free else math.nan
    return Comparison(kernel, mean, sem, limit, np.sqrt(s2 / whole + error**2), slope, np.sqrt(s0 / whole), misfit)


def _spread(theta: list[np.ndarray], multiples: tuple[int, ...], rounding: float) -> tuple[np.ndarray, float, float]:
    """The spread at each width, and its slope with the error of a jackknife over groups of draws."""

    def spreads(left: int | None) -> np.ndarray:
        kept = [t if left is None else np.delete(t, np.arange(left, len(t), GROUPS), axis=0) for t in theta]
        return np.array([max(math.sqrt(np.mean(t.var(axis=0, ddof=1))), rounding) for t in kept])

    def slope(values: np.ndarray) -> float:
        return float(np.polyfit(np.log(multiples), np.log(values), 1)[0])

    each = np.array([slope(spreads(group)) for group in range(GROUPS)])
    error = math.sqrt((GROUPS - 1) / GROUPS * np.sum((each - each.mean()) ** 2))
    return spreads(None), slope(spreads(None)), error
