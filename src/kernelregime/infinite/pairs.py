"""The kernels of pairs of points, a block at a time: everything that a block needs, in a form that another process can be sent."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from kernelregime import _precision
from kernelregime._checks import fail
from kernelregime._compiler import compiled
from kernelregime.grams import Block
from kernelregime.infinite.geometry import halves, sine2
from kernelregime.infinite.places import beyond, filled, flat, padded, put
from kernelregime.infinite.shares import by_rate
from kernelregime.infinite.zonal import Zonal
from kernelregime.layers import Folded, Layer, Moments

CLOSE = {"float32": 1e-2, "float64": 1e-3}  # 1 - |ρ| below which a matrix product leaves too few digits of the angle

AT_ONCE = 2**18  # numbers of close pairs whose differences are taken at one time
PART = 64  # features whose squares are summed one after another

FEW = 0.05  # share of close pairs up to which the others are worth a polynomial


@dataclass(frozen=True)
class Points:
    """Rows of a batch, each scaled by a power of two, their norms (so scaled), and their mean squares as given."""

    scaled: np.ndarray
    norm: np.ndarray
    square: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray) -> "Points":
        """The points of x (N, d); `InputError` if |x|² overflows."""
        # largest entries near 1: squares neither overflow nor vanish, and powers of two leave every digit in place
        top = np.max(np.abs(x), axis=1)
        power = np.ldexp(np.ones_like(top), np.frexp(top)[1])
        scaled = x / power[:, None]
        # in parts, so that points of one norm are seen to be: rounding of a long sum is several units of the last place
        norm2 = sum(np.einsum("nd,nd->n", part, part) for part in np.array_split(scaled, math.ceil(x.shape[1] / PART), axis=1))
        with np.errstate(over="ignore"):
            square = (power * power) * (norm2 / x.dtype.type(x.shape[1]))
        if not np.isfinite(square).all():
            raise fail(f"points whose |x|² fits in {x.dtype}", f"a largest entry of {top.max():.3g}", "scale the data")
        return cls(scaled, np.sqrt(norm2), square)

    def correlations(self, other: "Points", rows: slice, columns: slice) -> tuple[Any, np.ndarray]:
        """ρ on a tile, by a matrix product on the device, and the largest |ρ| of each row; 0 of zero rows, and of a point with itself."""
        own = self is other and rows == columns
        rho, top = _correlations(self.scaled[rows], other.scaled[columns], self.norm[rows], other.norm[columns], own=own)
        return rho, _precision.to_host(top, self.norm.dtype)

    def close(self, other: "Points", rows: slice, columns: slice, rho: Any, top: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where a matrix product leaves too few digits of the angle: indices i, j in the tile, and `Moments.gap` there.

        `rho`, `top`: from `correlations`. Of a tile on the diagonal only i >= j, with the whole diagonal, where the gap is 0.
        """
        own, bound = self is other and rows == columns, 1 - CLOSE[top.dtype.name]
        some = np.flatnonzero(top > bound)
        rho = np.asarray(rho) if some.size else np.empty((0, rho.shape[1]), top.dtype)
        i, j = np.nonzero(np.abs(rho[some]) > bound)
        i = some[i]
        if own:
            i, j = i[i > j], j[i > j]
        x, y = self.scaled[rows], other.scaled[columns]
        gap = np.empty(i.size, rho.dtype)
        for part in np.array_split(np.arange(i.size), max(1, i.size * x.shape[1] // AT_ONCE)):
            at, to = i[part], j[part]
            n1, n2 = self.norm[rows][at] ** 2, other.norm[columns][to] ** 2  # of no zero row: ρ = 0 there
            ratio = halves(np.einsum("pd,pd->p", x[at], y[to]) / n1)[0]
            small = sine2(x[at], y[to], ratio, n1, n2, halves(x[at])) / (1 + np.abs(rho[at, to]))
            gap[part] = np.where(rho[at, to] >= 0, small, -small)
        if own:
            whole = np.arange(len(top))
            return np.append(whole, i), np.append(whole, j), np.append(np.zeros(len(top), top.dtype), gap)
        return i, j, gap


@compiled(static=("own",))
def _correlations(x: Array, y: Array, norm1: Array, norm2: Array, *, own: bool) -> tuple[Array, Array]:
    over1, over2 = (1 / jnp.where(norm > 0, norm, 1) for norm in (norm1, norm2))
    rho = jnp.matmul(x, y.T, precision="highest") * over1[:, None] * over2[None, :]
    if own:
        rho = jnp.where(jnp.eye(len(x), dtype=bool), 0, rho)
    return rho, jnp.max(jnp.abs(rho), axis=1)


@compiled()
def _gaps(rho: Array, place: Array, few: Array) -> Array:
    """`Moments.gap` of correlations, and the `few` that are known better."""
    return put(jnp.copysign(1, rho) - rho, place, few)


@compiled(static=("kinds", "several", "shares"))
def propagate(
    layers: Layer | Folded,
    k1: Any,
    k2: Any,
    gap: Any,
    one: Any = None,
    *,
    features: float,
    kinds: tuple[str, ...],
    several: bool,
    shares: int = 0,
) -> tuple[dict[str, Any], Any]:
    """The kernels of each kind, with a last axis for several depths, and the quadrature error; infinite where a kernel is not finite.

    `one`: which pairs are one point, in one draw, of a network that draws anew for each (None: of another). `shares`: of how many layers
    the NTK is given apart, along a last axis.
    """
    own, exact, units = jnp.zeros_like(gap) if "ntk" in kinds else None, jnp.zeros((), gap.dtype), jnp.asarray(features, gap.dtype)
    start = Moments(k1, k2, gap, own, None, exact, units, gaussian=False, own=one)

    def run(layers: Any) -> tuple[dict[str, Any], Any]:
        if not several:
            after: Any = layers.propagate(start)
            return {kind: getattr(after, kind) for kind in kinds}, after.error
        after, kept = layers.stacked(start, kinds)
        return {kind: jnp.moveaxis(value, 0, -1) for kind, value in kept.items()}, after.error

    found, error = by_rate(run, layers, shares)
    return found, error + beyond(*found.values())


@dataclass(frozen=True)
class Pairs:
    """The pair function of an infinite-width kernel: kernels of the rows of `first` with those of `second` (None: those of `first`).

    `layers`: the network with its repeating blocks folded; with `several`, the kernels after each of its layers. `kinds`: which kernels.
    `zonal`: the kernels as a polynomial, where they are one; pairs too close for it are propagated. `draws`: whether a point with itself
    is one draw of the network (`Dropout`). `shares`: as in `propagate`.
    """

    layers: Layer | Folded
    first: Points
    second: Points | None
    kinds: tuple[str, ...]
    several: bool
    dtype: np.dtype
    zonal: Zonal | None = None
    draws: bool = False
    shares: int = 0

    def __call__(self, rows: slice, columns: slice) -> Block:
        """The kernels of one block, with a last axis for several depths, and the quadrature error."""
        with _precision.enter(self.dtype):
            return self._block(rows, columns)

    def _block(self, rows: slice, columns: slice) -> Block:
        first, second = self.first, self.first if self.second is None else self.second
        rho, top = first.correlations(second, rows, columns)
        i, j, gap = first.close(second, rows, columns, rho, top)
        # of a tile on the diagonal, the pairs below it stand for those above
        mirrored = np.arange(len(top) if self.second is None and rows == columns else i.size, i.size)
        place = flat((np.append(i, j[mirrored]), np.append(j, i[mirrored])), rho.shape)
        k1, k2 = first.square[rows], second.square[columns]
        one = None if self.zonal is None or self.zonal.square is None else np.array([self.zonal.square], self.dtype)
        if self.zonal is None or i.size > FEW * rho.size:
            whole = _gaps(rho, place, filled(np.append(gap, gap[mirrored]), place.size))
            if one is not None:
                return Block(*self._propagate(one, one, whole))
            drawn = None
            if self.draws:
                own = self.second is None and rows == columns
                drawn = np.eye(*rho.shape).astype(bool) if own else np.zeros((), bool)
            return Block(*self._propagate(k1[:, None], k2[None, :], whole, drawn))
        few, error = self._few(k1[i], k2[j], gap) if one is None else self._few(one, one, gap)
        values = {name: filled(np.append(value, value[mirrored]), place.size) for name, value in few.items()}
        found, more = self.zonal(rho, np.sqrt(k1), np.sqrt(k2), place, values)
        return Block({name: _precision.to_host(value, self.dtype) for name, value in found.items()}, error + more)

    def _few(self, k1: np.ndarray, k2: np.ndarray, gap: np.ndarray) -> tuple[dict[str, np.ndarray], float]:
        """The kernels of a list of pairs; where all points have one norm, each angle is taken once."""
        if not gap.size:
            return dict.fromkeys(self.kinds, gap), 0.0
        size = padded(gap.size)
        if k1.shape != (1,):
            few, error = self._propagate(filled(k1, size), filled(k2, size), filled(gap, size))
            return {name: value[: gap.size] for name, value in few.items()}, error
        bits, which = np.unique(gap.view(f"i{gap.itemsize}"), return_inverse=True)  # a gap of 0 is another than one of -0
        few, error = self._propagate(k1, k2, filled(bits.view(gap.dtype), padded(bits.size)))
        return {name: value[which] for name, value in few.items()}, error

    def _propagate(self, k1: np.ndarray, k2: np.ndarray, gap: Any, drawn: np.ndarray | None = None) -> tuple[dict[str, np.ndarray], float]:
        features = float(self.first.scaled.shape[1])
        options = {"kinds": self.kinds, "several": self.several, "shares": self.shares}
        found, error = propagate(self.layers, k1, k2, gap, drawn, features=features, **options)
        return {name: _precision.to_host(value, self.dtype) for name, value in found.items()}, float(error)


def portable(layers: Any) -> Any:
    """`layers` with NumPy arrays for arrays of JAX, which lose their 64 bits in a process that has not entered them."""
    return jax.tree.map(lambda leaf: np.asarray(leaf) if isinstance(leaf, jax.Array) else leaf, layers)
