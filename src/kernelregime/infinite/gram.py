"""Gram matrices of infinite-width kernels on the host: a matrix product for the angles, differences for close pairs, tiles for the rest."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import jax
import numpy as np

from kernelregime import _precision, grams
from kernelregime._checks import array, fail, one_of
from kernelregime.activations import Nonlinearity
from kernelregime.grams import identity
from kernelregime.grams.tiles import LARGEST_TILE
from kernelregime.infinite.kernel import Depths, chosen, cut
from kernelregime.infinite.levels import by_offsets
from kernelregime.infinite.pairs import Pairs, Points, portable, propagate
from kernelregime.infinite.positions import FieldPairs, most_positions, paired
from kernelregime.infinite.shares import shared
from kernelregime.infinite.zonal import Zonal, equal, homogeneous
from kernelregime.layers import Attention, Batch, Folded, Layer, Sequential, draws, reach_of
from kernelregime.layers.convolution import SPATIAL
from kernelregime.layers.fields import Positions

Part = TypeVar("Part", Nonlinearity, Attention)

KINDS = ("nngp", "ntk")
RELIABLE = 1e-6  # error relative to √(k11 k22) up to which kernels are what they seem
PER_POSITION = 14  # numbers for a pair of positions of a pair of points, beside those of its activations
COPIES = 8  # of a point, as it is, with its channels in front, and moved by offsets
CACHED = 2**22  # bytes of one number of all pairs of a tile, of which the loops over them hold some in the caches
MANY = 2**16  # pairs from which on a polynomial of the kernels is sought


@dataclass(frozen=True)
class Grams:
    """Gram matrices (N1, N2) of the kinds asked for (None otherwise), and `error`: the largest sum of the layers' errors, of quadrature
    and of sampling (one standard error), each relative to √(k11 k22). Of several depths: (depths, N1, N2). From a store they are arrays
    of xarray, read when used. With `by_layer` Θ is (layers, N1, N2), each layer's share, and `layers` are their names.
    """

    nngp: Any
    ntk: Any
    error: float
    layers: tuple[str, ...] | None = None

    @property
    def status(self) -> str:
        """Whether the digits are there: "reliable", or what is in doubt, in words."""
        return status(self.error)


def status(error: float) -> str:
    """What an `error` of kernels, relative to √(k11 k22), says: "reliable" up to `RELIABLE`, else what is in doubt, in words."""
    if error <= RELIABLE:
        return "reliable"
    if not math.isfinite(error):
        return "NOT RELIABLE: E φ² of an activation is not finite, or leaves the range of floats"
    return f"NOT RELIABLE: off by {error:.1e} relative to the kernel, by the quadrature of an activation or the samples of an Attention"


def _layers(network: Layer, depths: Sequence[int] | None) -> Layer | Folded:
    if depths is not None:
        return cut(network, depths)
    return network.folded() if isinstance(network, Sequential) else network


def problem(
    network: Layer,
    x1: Any,
    x2: Any = None,
    *,
    kind: str | Sequence[str] = KINDS,
    depths: Depths | None = None,
    dtype: Any = None,
    positions: Positions = "own",
    by_layer: bool = False,
) -> grams.Problem:
    """What `gram` with these arguments computes, for `grams.assemble` and `grams.cost`. Raises: `InputError` as `gram` does."""
    kinds, depths = _kinds(kind), chosen(depths)
    several = depths is not None
    first = _points("x1", x1, tuple(range(2, 3 + len(SPATIAL))))
    second = None if x2 is None else _points("x2", x2, first.ndim)
    if second is not None and second.shape[1:] != first.shape[1:]:
        wanted = f"{first.shape[1]} features" if first.ndim == 2 else f"shape (N2, {', '.join(map(str, first.shape[1:]))})"
        raise fail(f"x2 with {wanted}, as x1 has", f"shape {second.shape}", "give both the same features")
    one_of("positions", positions, ("own", "all"))
    network.output_shape(first.shape[1:])  # which refuses what does not fit
    shares = 0
    if by_layer:
        if several or "ntk" not in kinds:
            do = "leave one of the two out" if several else "ask for the NTK"
            raise fail("by_layer=True for the NTK of one network", "depths=" if several else f"kind={kind!r}", do)
        network, names = shared(network, first.shape[1:])
        shares = len(names)
    if first.ndim > 2:
        if several:
            raise fail("points (N, d) with depths=", f"shape {first.shape}", "leave depths out")
        one, other = (_known(x) for x in paired(network, first, first if second is None else second))
        return _fields(network, first.shape[1:], one, None if second is None else other, kinds, dtype, positions, shares)
    return _plain(network, first, second, kinds, depths, dtype, shares)


def _plain(
    network: Layer,
    first: np.ndarray,
    second: np.ndarray | None,
    kinds: tuple[str, ...],
    depths: tuple[int, ...] | None,
    dtype: Any,
    shares: int,
) -> grams.Problem:
    """The kernels of points (N, d)."""
    several = depths is not None
    working = _precision.resolve(dtype, first, *(() if second is None else (second,)))
    with _precision.enter(working):
        layers = portable(_layers(network, depths))
    first, second = first.astype(working, copy=False), None if second is None else second.astype(working, copy=False)
    points = Points.of(first), None if second is None else Points.of(second)
    zonal = None if several or shares or draws(network) else _zonal(network, *points, kinds, working)
    one_norm = zonal is not None and zonal.square is not None  # what a dual needs for a point it needs once
    pairs = Pairs(layers, *points, kinds, several, working, zonal, draws(network), shares)
    outputs = dict.fromkeys(kinds, grams.Output())
    if depths is not None:
        outputs = dict.fromkeys(kinds, grams.Output((len(depths),), (1, 0, 2), ("depth",), (("depth", tuple(depths)),)))
    if shares:
        outputs["ntk"] = _by_layer(grams.Output(), shares)
    kinds_of = [n.kind for n in _parts(network, Nonlinearity)]
    return grams.Problem(
        pairs,
        len(first),
        None if second is None else len(second),
        outputs,
        working,
        # while a tile is computed: ρ, its gap, the result and its copies, what the program holds, kernels of several depths; tables apart
        bytes_per_pair=(10.0 + max((k.numbers_per_pair for k in kinds_of), default=8) + 4 * (len(kinds) * len(depths or ()) + shares))
        * working.itemsize,
        bytes_per_point=0.0 if one_norm else max((kind.bytes_per_point(working) for kind in kinds_of), default=0.0) / 2,
        identity=lambda: {
            "network": identity.description(network),
            "depths": None if depths is None else [int(depth) for depth in depths],
            "x1": identity.fingerprint(first),
            "x2": None if second is None else identity.fingerprint(second),
        },
    )


def _points(name: str, x: Any, ndim: int | tuple[int, ...]) -> Any:
    """`x` as an array of NumPy, or as a `Batch` of such."""
    if not isinstance(x, Batch):
        return array(name, x, ndim=ndim)
    if np.ndim(x.values) < 3:
        raise fail("a Batch of points with positions", f"values of shape {np.shape(x.values)}", "give the array itself")
    there = None if x.present is None else np.asarray(x.present)
    # what is absent may hold anything
    values = array(name, x.values, ndim=ndim, finite=there is None)
    return Batch(values, there, None if x.graph is None else array("graph", x.graph, ndim=3))


def _known(x: Batch) -> Batch:
    """With zeros for what is absent; `InputError` for anything else that is not finite."""
    if x.present is None:
        return x
    return replace(x, values=array("x1 and x2, where present,", np.where(x.present[..., None], x.values, 0)))


def _fields(
    network: Layer,
    shape: tuple[int, ...],
    first: Batch,
    second: Batch | None,
    kinds: tuple[str, ...],
    dtype: Any,
    positions: Positions,
    shares: int,
) -> grams.Problem:
    """The kernels of points with positions, of this shape as they were given."""
    working = _precision.resolve(dtype, first.values, *(() if second is None else (second.values,)))

    def cast(x: Batch) -> Batch:
        return jax.tree.map(lambda leaf: leaf if leaf.dtype == bool else leaf.astype(working, copy=False), x)

    first, second = cast(first), None if second is None else cast(second)
    whole = first.present is None and first.graph is None
    left = network.output_shape(shape)[:-1]  # the axes of positions after the last layer
    read = reach_of(network, positions, masked=first.present is not None)
    apart = by_offsets(network, first.shape[1:-1]) if read == "all" and whole else None
    with _precision.enter(working):
        layers = portable(_layers(network, None) if apart is None else apart)
    read = read if apart is None else "offset"
    pairs = FieldPairs(layers, first, second, kinds, read, positions, draws(network), working, shares)
    once, twice = tuple(range(2, 2 + len(left))), tuple(range(2 + len(left), 2 + 2 * len(left)))
    tail, mirror = (left, (1, 0, *once)) if positions == "own" else ((*left, *left), (1, 0, *twice, *once))
    entries = most_positions(network, shape)[0] ** (2 if read == "all" else 1)  # positions, or pairs of them, held at one time
    held = _per_position(network, shares)
    numbers = float(held * entries if apart is None else apart.numbers(first.shape[1:-1], held))
    output = grams.Output(tail, mirror, tuple(f"position{axis}" for axis in range(len(tail))))
    outputs = dict.fromkeys(kinds, output)
    if shares:
        outputs["ntk"] = _by_layer(output, shares)
    return grams.Problem(
        pairs,
        len(first),
        None if second is None else len(second),
        outputs,
        working,
        bytes_per_pair=numbers * working.itemsize,
        bytes_per_point=((0.0 if read == "own" else numbers) + COPIES * math.prod(shape)) * working.itemsize,
        # what a point has with itself at all pairs of positions is computed again for each tile
        largest=LARGEST_TILE if read == "all" else max(math.isqrt(CACHED // (entries * working.itemsize)), 1),
        identity=lambda: {
            "network": identity.description(network),
            "positions": positions,
            **{
                name: None if x is None else identity.fingerprint(x.values) if whole else identity.description(x)
                for name, x in (("x1", first), ("x2", second))
            },
        },
    )


def _per_position(network: Layer, shares: int) -> float:
    """Numbers for a position, or a pair of them, of a pair of points."""
    duals = max((n.kind.numbers_per_pair for n in _parts(network, Nonlinearity)), default=8)
    sampled = max((attention.numbers_per_pair for attention in _parts(network, Attention)), default=0)
    return PER_POSITION + duals + 4 * shares + sampled * (1 + shares / 5)  # averages with each share of the NTK, on the same samples


def _by_layer(output: grams.Output, shares: int) -> grams.Output:
    """With a last axis for the layers."""
    return grams.Output((*output.tail, shares), (*output.mirror, len(output.mirror)), (*output.axes, "layer"))


def _parts(network: Layer, kind: type[Part]) -> list[Part]:
    """The records of one kind in a network."""
    return [part for part in jax.tree.leaves(network, is_leaf=lambda part: isinstance(part, kind)) if isinstance(part, kind)]


def _zonal(network: Layer, first: Points, second: Points | None, kinds: tuple[str, ...], dtype: np.dtype) -> Zonal | None:
    """The polynomial of a network and points that have one, where there are enough pairs to gain by it."""
    squares = first.square, first.square if second is None else second.square
    square = None if homogeneous(network) else float(squares[0].mean(dtype=np.float64))
    if squares[0].size * squares[1].size < MANY or not (square is None or equal(*squares)):
        return None
    double = np.dtype(np.float64)
    with _precision.enter(double):
        layers = _layers(network, None)
    one = np.full((1, 1), square or 1.0)

    def values(gap: np.ndarray) -> dict[str, np.ndarray]:
        with _precision.enter(double):
            features = float(first.scaled.shape[1])
            found, _ = propagate(layers, one, one, gap[None], features=features, kinds=kinds, several=False)
            return {name: _precision.to_host(value, double)[0] for name, value in found.items()}

    return Zonal.of(values, dtype, square)


def gram(
    network: Layer,
    x1: Any,
    x2: Any = None,
    *,
    kind: str | Sequence[str] = KINDS,
    depths: Depths | None = None,
    dtype: Any = None,
    positions: Positions = "own",
    by_layer: bool = False,
    memory: float | None = None,
    engine: str = "threads",
    workers: int | None = None,
    store: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Grams:
    """NNGP and NTK Gram matrices of `network` at infinite width, as NumPy arrays or in a store.

    x1 (N1, d), or (N1, *positions, channels) such as images (N1, H, W, C), or a `layers.Batch` of points of several lengths; x2 alike
    or None (symmetric: half is computed; the diagonal as `diagonal` gives it, to rounding). `kind`: "nngp", "ntk" or both. `depths`:
    the kernels of the network cut after its d-th `Dense` layer, for each d of these rising numbers, in one pass (points (N, d) only).
    `dtype`: float32 or float64 (default: that of the inputs). `by_layer`: Θ as (layers, N1, N2), the share of each layer with weights,
    which add up to it; their names are `Grams.layers`. `positions`: of a network whose units keep their positions to the end, the
    kernels at equal positions of both points, (N1, N2, *P), or ("all") at all pairs of them, (N1, N2, *P, *P'). `memory`: bytes for the
    tiles computed at one time (default: half of what is free); the result does not depend on it beyond rounding. `engine`: "threads",
    "processes", "dask" or "dask:tcp://HOST:PORT", with so many `workers`; `store`: a path for a Zarr store, in which a run that was
    stopped goes on; see `grams.assemble`. Conventions and sources as in `kernel`.

    Returns: `Grams` of NumPy arrays or, with a store, of arrays of xarray (`xarray.DataArray`) that read what is used when it is used.
    Raises: `InputError` for inputs that are not finite or of unequal shapes, for depths the network does not have, for
    a budget below one pair and for a store of something else; `RunError` when the disk is full or workers keep dying.
    """
    depths = chosen(depths)
    asked = problem(network, x1, x2, kind=kind, depths=depths, dtype=dtype, positions=positions, by_layer=by_layer)
    found = grams.assemble(asked, memory=memory, engine=engine, workers=workers, store=store, progress=progress)
    layers = None if not by_layer else shared(network, np.shape(getattr(x1, "values", x1))[1:])[1]
    return _grams(found.matrices, found.error, depths is not None, layers)


def _kinds(kind: str | Sequence[str]) -> tuple[str, ...]:
    kinds = (kind,) if isinstance(kind, str) else tuple(kind)
    for name in kinds:
        one_of("kind", name, KINDS)
    return kinds


def _grams(found: Mapping[str, Any], error: float, several: bool, layers: tuple[str, ...] | None = None) -> Grams:
    first = {name: _last_first(value) if several or (layers and name == "ntk") else value for name, value in found.items()}
    return Grams(first.get("nngp"), first.get("ntk"), error, layers)


def _last_first(value: Any) -> Any:
    return np.moveaxis(value, -1, 0) if isinstance(value, np.ndarray) else value.transpose(value.dims[-1], ...)


def diagonal(network: Layer, x: Any, *, kind: str | Sequence[str] = KINDS, depths: Depths | None = None, dtype: Any = None) -> Grams:
    """The diagonals Σ(x_i, x_i) and Θ(x_i, x_i) of the Gram matrices of `network`, as arrays (N,), in time and memory of order N.

    x (N, d); the rest as in `gram`, whose diagonal this is: exactly, or to rounding where duals are taken by quadrature.
    Raises: `InputError` as `gram` does.
    """
    kinds, depths = _kinds(kind), chosen(depths)
    several = depths is not None
    first = array("x", x)
    if first.ndim != 2:
        raise fail("points x (N, d)", f"shape {first.shape}", "of points with positions, take the diagonal of gram")
    working = _precision.resolve(dtype, first)
    with _precision.enter(working):
        layers = _layers(network, depths)
    square = Points.of(first.astype(working)).square[:, None]
    gap = np.zeros_like(square)
    with _precision.enter(working):
        drawn = np.ones((), bool) if draws(network) else None
        found, error = propagate(layers, square, square, gap, drawn, features=float(first.shape[1]), kinds=kinds, several=several)
        return _grams({name: _precision.to_host(value, working)[:, 0] for name, value in found.items()}, float(error), several)
