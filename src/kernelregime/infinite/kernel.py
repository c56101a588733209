"""The NNGP and NTK of a network as a pure function of two batches of points."""

import reprlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from numbers import Integral
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from kernelregime._checks import fail, integer, one_of
from kernelregime.activations.angles import magnitude
from kernelregime.infinite.geometry import halves, sine2
from kernelregime.infinite.positions import error_of, input_fields, kernels_of, paired
from kernelregime.infinite.shares import by_rate, shared
from kernelregime.layers import Batch, Dense, Folded, Layer, Moments, Sequential, Trained, draws, reach_of
from kernelregime.layers.fields import Positions
from kernelregime.layers.moments import signed


class Kernels(NamedTuple):
    """NNGP Σ and NTK Θ, each (N1, N2), and the errors of the layers, each relative to √(k11 k22), added up: those of quadrature and,
    where an `Attention` samples, its largest standard error.

    Of several depths: Σ and Θ (depths, N1, N2), and the largest error. By layer: Θ (layers, N1, N2).
    """

    nngp: Float[Array, "*depths N1 N2"]
    ntk: Float[Array, "*depths N1 N2"]
    error: Float[Array, ""] | float


Depths = Iterable[int] | np.ndarray | Array  # iterators are used up by the first call of `chosen`


def chosen(depths: Depths | None) -> tuple[int, ...] | None:
    """The depths asked for as Python's integers; None where one kernel is wanted, that of the whole network."""
    if depths is None:
        return None
    given: Any = depths.tolist() if isinstance(depths, np.ndarray | np.generic | Array) else depths
    if not isinstance(given, Iterable) or isinstance(given, str | bytes):
        do = f"give depths=({given},)" if isinstance(given, Integral) else "give a tuple of integers"
        raise fail("depths as a sequence of integers", repr(given), do)
    return tuple(integer("a depth", depth) for depth in given)


def cut(network: Layer, depths: Depths) -> Folded:
    """The layers up to the end of the d-th `Dense` layer, for each d of `depths`, which rise."""
    wanted = list(chosen(depths) or ())
    inner = network.layers if isinstance(network, Sequential) else ()
    bare = [layer.layers[0] if isinstance(layer, Trained) else layer for layer in inner]
    weighted = [i for i, layer in enumerate(bare) if isinstance(layer, Dense)]
    if isinstance(network, Sequential) and any(isinstance(layer, Sequential) for layer in network.layers):
        raise fail("a network of layers for depths=", "a Sequential inside another", "give the layers of the inner one in its place")
    if not isinstance(network, Sequential) or not wanted or wanted != sorted(set(wanted)) or wanted[-1] > len(weighted):
        what = f"rising depths from 1 to {len(weighted)}, the Dense layers of the network" if weighted else "a Sequential with Dense layers"
        raise fail(what, f"depths {tuple(wanted)} of a {type(network).__name__}", "give the deepest network, and depths up to its own")
    return network.folded([weighted[depth - 1] + 1 for depth in wanted])


def input_moments(x1: Float[Array, "N1 d"], x2: Float[Array, "N2 d"], *, ntk: bool = True) -> Moments:
    """The state before the first layer: Σ⁰ = x1·x2/d, its correlations taken from differences of the points."""
    norm1, norm2 = jnp.sum(x1 * x1, axis=1)[:, None], jnp.sum(x2 * x2, axis=1)[None, :]
    safe1, safe2 = jnp.where(norm1 > 0, norm1, 1), jnp.where(norm2 > 0, norm2, 1)
    inner = jnp.matmul(x1, x2.T, precision="highest")
    # ρ to rounding; 1 ± ρ, whichever is small, from the sine
    rho = inner / (jnp.sqrt(safe1) * jnp.sqrt(safe2))
    ratio = halves(jax.lax.stop_gradient(inner / safe1))[0]
    high, low = halves(x1)
    square = sine2(x1[:, None, :], x2[None, :, :], ratio, safe1, safe2, (high[:, None, :], low[:, None, :]))
    defined = (norm1 > 0) & (norm2 > 0)
    small = jnp.where(defined, square, 1) / (1 + magnitude(rho))
    gap, d = signed(rho >= 0, small), x1.shape[1]
    tilt = jnp.where(defined, 0, inner - jax.lax.stop_gradient(inner)) / d
    own = jnp.zeros_like(gap) if ntk else None
    return Moments(norm1 / d, norm2 / d, gap, own, tilt, jnp.zeros((), gap.dtype), jnp.asarray(d, gap.dtype), gaussian=False)


def kernel(network: Layer, *, depths: Depths | None = None, positions: Positions = "own", by_layer: bool = False) -> Callable[..., Kernels]:
    """The function k(x1, x2=None) that computes the infinite-width kernels of `network`.

    x1 (N1, d), x2 (N2, d) (default x1), or points with positions (N, *positions, channels), such as images (N, H, W, C), or a
    `layers.Batch` of them. The dtype of the inputs is the dtype of the result; numbers in plain lists are taken in JAX's default float.
    The function is pure: it can be jitted, vmapped and differentiated, with respect to the inputs (gradients are finite at x1 = x2,
    where the NTK of a kinked activation has no derivative and zero is taken for that term; nor have kernels of rectifiers one where a
    unit has no variance, as without biases under a window of zeros: it is left out) and to the variances in `network`.

    `depths`: the kernels of the network cut after its d-th `Dense` layer, for each d of these rising numbers, in one pass. `positions`:
    and `by_layer`: as in `gram`.

    Per output, for the parameterization of each layer (see `layers.Dense`). Raises: `InputError` for inputs of no, or of different,
    shapes or without floats, for float64 where JAX has none, for what the layers refuse, and for depths the network does not have.
    Source: Jacot, Gabriel and Hongler 2018, proposition 1 and theorem 1; Lee et al. 2018, eq. 5.

    >>> import jax.numpy as jnp
    >>> from kernelregime import networks
    >>> kernel(networks.mlp(depth=2, width=64))(jnp.ones((1, 3))).ntk
    Array([[4.]], dtype=float32)
    """
    one_of("positions", positions, ("own", "all"))
    if by_layer and depths is not None:
        raise fail("by_layer=True for the NTK of one network", "depths=", "leave one of the two out")
    layers = None if depths is None else cut(network, depths)

    def compute(x1: Float[Array, "N1 d"], x2: Float[Array, "N2 d"] | None = None) -> Kernels:
        first = _points("x1", x1)
        other = first if x2 is None else _points("x2", x2)
        if first.ndim < 2 or first.shape[1:] != other.shape[1:]:
            raise fail("x1 (N1, d) and x2 (N2, d)", f"shapes {first.shape} and {other.shape}", "reshape them to one point a row")
        network.output_shape(first.shape[1:])  # which refuses what does not fit
        own = jnp.eye(len(first), len(other), dtype=bool) & (x2 is None) if draws(network) else None
        if first.ndim > 2:
            if layers is not None:
                raise fail("points (N, d) with depths=", f"shape {first.shape}", "leave depths out")
            pair = paired(network, first, other)
            reach = reach_of(network, positions, masked=pair[0].present is not None)
            start: Any = input_fields(*pair, reach, ntk=True, own=own, tilt=True)
        else:
            start = replace(input_moments(first, other), own=own)
        if layers is not None:
            after, kept = layers.stacked(start, ("nngp", "ntk"))
            return Kernels(kept["nngp"], kept["ntk"], after.error)

        def run(network: Layer) -> tuple[dict[str, Array], Array]:
            after = network.propagate(start)
            return {kind: kernels_of(after, kind, positions) for kind in ("nngp", "ntk")}, error_of(after)

        if not by_layer:
            found, error = run(network)
            return Kernels(**found, error=error)
        whole, names = shared(network, first.shape[1:])
        found, error = by_rate(run, whole, len(names))
        return Kernels(found["nngp"], jnp.moveaxis(found["ntk"], -1, 0), error)

    return compute


def _points(name: str, x: Any) -> Any:
    """`x` as an array of floats, or a `Batch` of such; Python's numbers have no precision of their own, and take JAX's default float."""
    if isinstance(x, Batch):
        if jnp.ndim(x.values) < 3:
            raise fail("a Batch of points with positions", f"values of shape {jnp.shape(x.values)}", "give the array itself")
        there = None if x.present is None else jnp.asarray(x.present)
        return Batch(_points(name, x.values), there, None if x.graph is None else _points("graph", x.graph))
    held = {str(leaf.dtype) for leaf in jax.tree.leaves(x) if hasattr(leaf, "dtype")}
    for given in sorted(held - {"float32", "float64"}):
        raise fail("inputs of float32 or float64", f"{name} of dtype {given}", "convert them, for example by x.astype('float32')")
    if "float64" in held and jnp.result_type(float) != np.float64:
        raise fail("float32 inputs while JAX has no float64", "dtype float64", "enter jax.enable_x64(True), or convert them")
    wanted = fail(f"{name} to hold real numbers, in rows of one length", reprlib.repr(x), "give an array (N, d), or a list of such rows")
    try:
        values: Any = jnp.asarray(x) if held else np.asarray(x)
    except (TypeError, ValueError):
        raise wanted from None
    if not held and values.dtype.kind not in "fi":
        raise wanted
    return values if held else jnp.asarray(values, jnp.result_type(float))
