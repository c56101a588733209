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
from kernelregime.layers import Folded, Layer, Moments
from kernelregime.layers.moments import covariance

CLOSE = {"float32": 1e-2, "float64": 1e-3}  # 1 - |ρ| below which a matrix product leaves too few digits of the angle


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

    def geometry(self, other: "Points", rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """W = 1 - ρ and v = 1 + ρ on a tile; both 1 for zero rows."""
        x, y = self.scaled[rows], other.scaled[columns]
        n1, n2 = (np.where(norm > 0, norm, 1) for norm in (self.norm[rows], other.norm[columns]))
        rho = (x / n1[:, None]) @ (y / n2[:, None]).T
        w, v = 1 - rho, 1 + rho
        i, j = np.nonzero(np.minimum(w, v) < CLOSE[rho.dtype.name])
        own = self is other and rows == columns
        if own:  # each pair once
            i, j = i[i >= j], j[i >= j]
        for part in np.array_split(np.arange(i.size), max(1, i.size * x.shape[1] // 2**22)):
            at, to = i[part], j[part]
            ratio = halves(np.einsum("pd,pd->p", x[at], y[to]) / n1[at] ** 2)[0]
            square = sine2(x[at], y[to], ratio, n1[at] ** 2, n2[to] ** 2, halves(x[at]))
            large = 1 + np.abs(rho[at, to])
            near, far = np.where(rho[at, to] >= 0, square / large, large), np.where(rho[at, to] >= 0, large, square / large)
            w[at, to], v[at, to] = near, far
            if own:
                w[to, at], v[to, at] = near, far
        return w, v


@partial(jax.jit, static_argnames=("kinds", "several"))
def propagate(
    layers: Layer | Folded, k1: Any, k2: Any, w: Any, v: Any, *, features: float, kinds: tuple[str, ...], several: bool
) -> tuple[dict[str, Any], Any]:
    """The kernels of each kind, with a last axis for several depths, and the quadrature error."""
    own, error, units = jnp.zeros_like(w) if "ntk" in kinds else None, jnp.zeros((), w.dtype), jnp.asarray(features, w.dtype)
    start = Moments(k1, k2, covariance(k1, k2, w, v), w, v, own, error, units, gaussian=False)
    if not several:
        after = layers.propagate(start)
        return {kind: getattr(after, kind) for kind in kinds}, after.error
    assert isinstance(layers, Folded)  # `cut` has made it
    states = layers.states(start)
    return {kind: jnp.stack([getattr(state, kind) for state in states], axis=-1) for kind in kinds}, states[-1].error


@dataclass(frozen=True)
class Pairs:
    """The pair function of an infinite-width kernel: kernels of the rows of `first` with those of `second` (None: those of `first`).

    `layers`: the network with its repeating blocks folded; with `several`, the kernels after each of its layers. `kinds`: which kernels.
    """

    layers: Layer | Folded
    first: Points
    second: Points | None
    kinds: tuple[str, ...]
    several: bool
    dtype: np.dtype

    def __call__(self, rows: slice, columns: slice) -> Block:
        """The kernels of one block, with a last axis for several depths, and the quadrature error."""
        first, second = self.first, self.first if self.second is None else self.second
        w, v = first.geometry(second, rows, columns)
        if self.second is None and rows == columns:
            np.fill_diagonal(w, 0)
            np.fill_diagonal(v, 2)
        with _precision.enter(self.dtype):
            k1, k2 = first.square[rows, None], second.square[None, columns]
            features = float(first.scaled.shape[1])
            found, error = propagate(self.layers, k1, k2, w, v, features=features, kinds=self.kinds, several=self.several)
            return Block({name: _precision.to_host(value, self.dtype) for name, value in found.items()}, float(error))


def portable(layers: Layer | Folded) -> Layer | Folded:
    """`layers` with NumPy arrays for arrays of JAX, which lose their 64 bits in a process that has not entered them."""
    return jax.tree.map(lambda leaf: np.asarray(leaf) if isinstance(leaf, jax.Array) else leaf, layers)
