"""The kernels of pairs of points, a block at a time: everything that a block needs, in a form that another process can be sent."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kernelregime import _precision
from kernelregime._checks import fail
from kernelregime.grams import Block
from kernelregime.infinite.geometry import halves, sine2
from kernelregime.infinite.zonal import Zonal, padded
from kernelregime.layers import Folded, Layer, Moments

CLOSE = {"float32": 1e-2, "float64": 1e-3}  # 1 - |ρ| below which a matrix product leaves too few digits of the angle

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
        norm2 = np.einsum("nd,nd->n", scaled, scaled)
        with np.errstate(over="ignore"):
            square = (power * power) * (norm2 / x.dtype.type(x.shape[1]))
        if not np.isfinite(square).all():
            raise fail(f"points whose |x|² fits in {x.dtype}", f"a largest entry of {top.max():.3g}", "scale the data")
        return cls(scaled, np.sqrt(norm2), square)

    def correlations(self, other: "Points", rows: slice, columns: slice) -> np.ndarray:
        """ρ on a tile, by a matrix product; 0 for zero rows."""
        rho = self.scaled[rows] @ other.scaled[columns].T
        for norm, axis in ((self.norm[rows], 1), (other.norm[columns], 0)):
            rho *= np.expand_dims(1 / np.where(norm > 0, norm, 1), axis)
        return rho

    def close(self, other: "Points", rows: slice, columns: slice, rho: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where a matrix product leaves too few digits of the angle: indices i, j in the tile, and `Moments.gap` there.

        Of a tile on the diagonal only i >= j, with the whole diagonal, where the gap is 0; that of `rho` is overwritten by zeros.
        """
        own, bound = self is other and rows == columns, 1 - CLOSE[rho.dtype.name]
        if own:
            np.fill_diagonal(rho, 0)
        some = np.flatnonzero(np.maximum(rho.max(axis=1), -rho.min(axis=1)) > bound)
        i, j = np.nonzero(np.abs(rho[some]) > bound)
        i = some[i]
        if own:
            i, j = i[i > j], j[i > j]
        x, y = self.scaled[rows], other.scaled[columns]
        gap = np.empty(i.size, rho.dtype)
        for part in np.array_split(np.arange(i.size), max(1, i.size * x.shape[1] // 2**22)):
            at, to = i[part], j[part]
            n1, n2 = self.norm[rows][at] ** 2, other.norm[columns][to] ** 2  # of no zero row: ρ = 0 there
            ratio = halves(np.einsum("pd,pd->p", x[at], y[to]) / n1)[0]
            small = sine2(x[at], y[to], ratio, n1, n2, halves(x[at])) / (1 + np.abs(rho[at, to]))
            gap[part] = np.where(rho[at, to] >= 0, small, -small)
        if own:
            whole = np.arange(len(rho))
            return np.append(i, whole), np.append(j, whole), np.append(gap, np.zeros(len(rho), rho.dtype))
        return i, j, gap


@partial(jax.jit, static_argnames=("kinds", "several"))
def propagate(
    layers: Layer | Folded, k1: Any, k2: Any, gap: Any, *, features: float, kinds: tuple[str, ...], several: bool
) -> tuple[dict[str, Any], Any]:
    """The kernels of each kind, with a last axis for several depths, and the quadrature error."""
    own, error, units = jnp.zeros_like(gap) if "ntk" in kinds else None, jnp.zeros((), gap.dtype), jnp.asarray(features, gap.dtype)
    start = Moments(k1, k2, gap, own, None, error, units, gaussian=False)
    if not several:
        after = layers.propagate(start)
        return {kind: getattr(after, kind) for kind in kinds}, after.error
    assert isinstance(layers, Folded)  # `cut` has made it
    after, kept = layers.stacked(start, kinds)
    return {kind: jnp.moveaxis(value, 0, -1) for kind, value in kept.items()}, after.error


@dataclass(frozen=True)
class Pairs:
    """The pair function of an infinite-width kernel: kernels of the rows of `first` with those of `second` (None: those of `first`).

    `layers`: the network with its repeating blocks folded; with `several`, the kernels after each of its layers. `kinds`: which kernels.
    `zonal`: the kernels as a polynomial, where they are one; pairs too close for it are propagated.
    """

    layers: Layer | Folded
    first: Points
    second: Points | None
    kinds: tuple[str, ...]
    several: bool
    dtype: np.dtype
    zonal: Zonal | None = None

    def __call__(self, rows: slice, columns: slice) -> Block:
        """The kernels of one block, with a last axis for several depths, and the quadrature error."""
        first, second = self.first, self.first if self.second is None else self.second
        rho = first.correlations(second, rows, columns)
        i, j, gap = first.close(second, rows, columns, rho)
        own = self.second is None and rows == columns
        k1, k2 = first.square[rows], second.square[columns]
        if self.zonal is not None and i.size <= FEW * rho.size:
            k = (k1[i], k2[j]) if self.zonal.square is None else 2 * (np.array([self.zonal.square], self.dtype),)
            few, error = self._propagate(*_padded(*k, gap))
            at = (np.append(i, j), np.append(j, i)) if own else (i, j)
            values = {name: np.tile(value[: i.size], 1 + own) for name, value in few.items()}
            with _precision.enter(self.dtype):
                found = self.zonal(rho, np.sqrt(k1), np.sqrt(k2), at, values)
                return Block({name: np.asarray(value) for name, value in found.items()}, error + self.zonal.error)
        wide = np.copysign(1, rho) - rho  # 1 - ρ, or -(1 + ρ)
        wide[i, j] = gap
        if own:
            wide[j, i] = gap
        return Block(*self._propagate(k1[:, None], k2[None, :], wide))

    def _propagate(self, k1: np.ndarray, k2: np.ndarray, gap: np.ndarray) -> tuple[dict[str, np.ndarray], float]:
        features = float(self.first.scaled.shape[1])
        with _precision.enter(self.dtype):
            found, error = propagate(self.layers, k1, k2, gap, features=features, kinds=self.kinds, several=self.several)
            return {name: _precision.to_host(value, self.dtype) for name, value in found.items()}, float(error)


def _padded(*columns: np.ndarray) -> list[np.ndarray]:
    """Columns of pairs, or of one number for all, with ones appended to a size that few programs serve."""
    size = padded(len(columns[-1]))
    return [c if c.shape == (1,) else np.append(c, np.ones(size - len(c), c.dtype)) for c in columns]


def portable(layers: Layer | Folded) -> Layer | Folded:
    """`layers` with NumPy arrays for arrays of JAX, which lose their 64 bits in a process that has not entered them."""
    return jax.tree.map(lambda leaf: np.asarray(leaf) if isinstance(leaf, jax.Array) else leaf, layers)
