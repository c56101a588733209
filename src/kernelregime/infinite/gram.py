"""Gram matrices of infinite-width kernels on the host: BLAS for the input geometry, differences for close pairs, tiles for the rest."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kernelregime import _precision, grams
from kernelregime._checks import array, fail, one_of
from kernelregime.activations import Nonlinearity
from kernelregime.infinite.geometry import halves, sine2
from kernelregime.infinite.kernel import cut
from kernelregime.layers import Folded, Layer, Moments, Sequential
from kernelregime.layers.moments import covariance

KINDS = ("nngp", "ntk")
CLOSE = {"float32": 1e-2, "float64": 1e-3}  # 1 - |ρ| below which a matrix product leaves too few digits of the angle


@dataclass(frozen=True)
class Grams:
    """Gram matrices (N1, N2) of the kinds asked for (None otherwise), and `error`: the largest sum of the layers' quadrature errors,
    each relative to √(k11 k22). Of several depths: (depths, N1, N2).
    """

    nngp: np.ndarray | None
    ntk: np.ndarray | None
    error: float


@dataclass(frozen=True)
class _Points:
    """Rows of a batch, each scaled by a power of two, their norms (so scaled), and their mean squares as given."""

    scaled: np.ndarray
    norm: np.ndarray
    square: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray) -> "_Points":
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

    def geometry(self, other: "_Points", rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
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


def _layers(network: Layer, depths: Sequence[int] | None) -> Layer | Folded:
    if depths is not None:
        return cut(network, depths)
    return network.folded() if isinstance(network, Sequential) else network


@partial(jax.jit, static_argnames=("kinds", "several"))
def _propagate(
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


def gram(
    network: Layer,
    x1: Any,
    x2: Any = None,
    *,
    kind: str | Sequence[str] = KINDS,
    depths: Sequence[int] | None = None,
    dtype: Any = None,
    memory: int | None = None,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Grams:
    """NNGP and NTK Gram matrices of `network` at infinite width, as NumPy arrays.

    x1 (N1, d), x2 (N2, d) or None (symmetric: half is computed, and the diagonal is exact). `kind`: "nngp", "ntk" or both. `depths`:
    the kernels of the network cut after its d-th `Dense` layer, for each d of these rising numbers, in one pass. `dtype`: float32 or
    float64 (default: that of the inputs). `memory`: bytes for one tile's work in all threads (default: half of what is free);
    the result does not depend on it beyond rounding. Conventions and sources as in `kernel`.
    Raises: `InputError` for inputs that are not finite, not 2-d or of unequal length, for depths the network does not have, and for
    a budget below one pair.
    """
    kinds, several = _kinds(kind), depths is not None
    first = array("x1", x1, ndim=2)
    second = None if x2 is None else array("x2", x2, ndim=2)
    if second is not None and second.shape[1] != first.shape[1]:
        raise fail(f"x2 with {first.shape[1]} features, as x1 has", f"shape {second.shape}", "give both the same features")
    working = _precision.resolve(dtype, first, *(() if second is None else (second,)))
    with _precision.enter(working):
        layers = _layers(network, depths)
    p1 = _Points.of(first.astype(working))
    p2 = p1 if second is None else _Points.of(second.astype(working))
    errors = [0.0]

    def tile(rows: slice, columns: slice) -> dict[str, np.ndarray]:
        w, v = p1.geometry(p2, rows, columns)
        if second is None and rows == columns:
            np.fill_diagonal(w, 0)
            np.fill_diagonal(v, 2)
        with _precision.enter(working):
            k1, k2 = p1.square[rows, None], p2.square[None, columns]
            found, error = _propagate(layers, k1, k2, w, v, features=float(first.shape[1]), kinds=kinds, several=several)
            errors.append(float(error))
            return {name: _precision.to_host(value, working) for name, value in found.items()}

    kinds_of = [n.kind for n in jax.tree.leaves(network, is_leaf=lambda n: isinstance(n, Nonlinearity)) if isinstance(n, Nonlinearity)]
    tail = (len(depths),) if depths is not None else ()
    # while a tile is computed: w, v, θ, c, their successors and temporaries, about 18 numbers a pair; tables of the points apart
    matrices = grams.assemble(
        tile,
        first.shape[0],
        None if second is None else second.shape[0],
        outputs={name: grams.Output(tail, (1, 0, 2)[: 2 + several]) for name in kinds},
        dtype=working,
        bytes_per_pair=(18.0 + 4 * len(kinds) * len(depths or ())) * working.itemsize,
        bytes_per_point=max((kind.bytes_per_point(working) for kind in kinds_of), default=0.0) / 2,
        memory=memory,
        threads=threads,
        progress=progress,
    )
    return _grams(matrices, max(errors), several)


def _kinds(kind: str | Sequence[str]) -> tuple[str, ...]:
    kinds = (kind,) if isinstance(kind, str) else tuple(kind)
    for name in kinds:
        one_of("kind", name, KINDS)
    return kinds


def _grams(found: Mapping[str, np.ndarray], error: float, several: bool) -> Grams:
    first = {name: np.moveaxis(value, -1, 0) if several else value for name, value in found.items()}
    return Grams(first.get("nngp"), first.get("ntk"), error)


def diagonal(network: Layer, x: Any, *, kind: str | Sequence[str] = KINDS, depths: Sequence[int] | None = None, dtype: Any = None) -> Grams:
    """The diagonals Σ(x_i, x_i) and Θ(x_i, x_i) of the Gram matrices of `network`, as arrays (N,), in time and memory of order N.

    x (N, d); the rest as in `gram`, whose diagonal this is: exactly, or to rounding where duals are taken by quadrature.
    Raises: `InputError` as `gram` does.
    """
    kinds, several = _kinds(kind), depths is not None
    first = array("x", x, ndim=2)
    working = _precision.resolve(dtype, first)
    with _precision.enter(working):
        layers = _layers(network, depths)
    square = _Points.of(first.astype(working)).square[:, None]
    w, v = np.zeros_like(square), np.full_like(square, 2)
    with _precision.enter(working):
        found, error = _propagate(layers, square, square, w, v, features=float(first.shape[1]), kinds=kinds, several=several)
        return _grams({name: _precision.to_host(value, working)[:, 0] for name, value in found.items()}, float(error), several)
