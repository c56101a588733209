"""Infinite-width kernels against their reference values, with the tolerance each pair's geometry and spec allow."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from compiling import quick

from comparison import exact, translate
from comparison.record import Outcome
from kernelregime import infinite
from kernelregime._checks import InputError
from kernelregime.infinite.kernel import input_moments
from kernelregime.layers import Batch, Layer, Moments, Sequential, draws, reach_of
from kernelregime.layers.moments import gap_of

RTOL = 1e-10
RTOL_KINKED = 1e-6  # kinked activations, identical, collinear or nearly so: the reference loses half its digits there
ANGLE = 1e-3  # rad, to parallel or antiparallel
ROUNDING = 16 * 2.0**-52  # of a correlation: a dot product and a few operations in float64
KINDS = ("nngp", "ntk")


@dataclass(frozen=True)
class Computed:
    """Kernels of all points together, the relative tolerance of each pair, and for which pairs the reference cannot be trusted.

    `narrow`: pairs that come within `ANGLE` of parallel only at an activation with a kink, on the way.
    """

    points: np.ndarray
    kernels: dict[str, np.ndarray]
    rtol: np.ndarray
    distrusted: dict[str, np.ndarray]
    narrow: np.ndarray


@dataclass(frozen=True)
class Block:
    """One array of a case: the kernel of some points with others. `finite`: whether the reference could compute it."""

    name: str
    kind: str
    rows: slice
    columns: slice
    reference: np.ndarray
    finite: bool = True


def compare(outcome: Outcome, entry: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Compare the kernels of one case; `UnsupportedError` if its spec cannot be expressed."""
    network = translate.network(entry["spec"], entry.get("kernel_kwargs"))
    if arrays["x1"].ndim > 2 or draws(network):
        _compare_apart(outcome, network, entry, arrays)
        return
    n1 = arrays["x1"].shape[0]
    sides = {"1": slice(0, n1), "2": slice(n1, None)}
    blocks = []
    for name in [name for name in entry["arrays"] if name not in ("x1", "x2")]:
        kind, _, sets = name.partition("_")
        if kind in KINDS and len(sets) == 2 and set(sets) <= set(sides):
            finite = name not in entry.get("nonfinite", ())
            blocks.append(Block(name, kind, sides[sets[0]], sides[sets[1]], arrays[name], finite))
        else:
            outcome.fail(f"array {name} is not understood", np.inf, name)
    compare_blocks(outcome, entry["spec"], compute(network, np.concatenate([arrays["x1"], arrays["x2"]])), blocks)


def _compare_apart(outcome: Outcome, network: Sequential, entry: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """The same for points with positions, and for networks that tell a point from an equal one, without evaluation in many digits.

    Relative to √(k₁₁k₂₂) of ours, or with positions left to the largest entry.
    """
    points = np.concatenate([arrays["x1"], arrays["x2"]]).astype(np.float64)
    n1 = len(arrays["x1"])
    sides = {"1": slice(0, n1), "2": slice(n1, None)}
    names = [name for name in entry["arrays"] if name not in ("x1", "x2")]
    left = network.output_shape(points.shape[1:])[:-1]
    many = any(arrays[name].ndim == 2 + 2 * len(left) for name in names) and bool(left)
    if left and all(arrays[name].ndim == 2 for name in names):
        raise translate.UnsupportedError(f"points of shape {points.shape[1:]}")
    with jax.enable_x64(True):
        given, absent = jnp.asarray(points), entry.get("kernel_kwargs", {}).get("mask_constant")
        if absent is not None:
            given = Batch(given, jnp.all(given != absent, axis=-1))
        found = quick(infinite.kernel(network, positions="all" if many else "own"))(given)
    jax.clear_caches()  # the code of so many programs is more than a process may map
    if many:  # the reference has an axis of the two points side by side
        axes = range(len(left))[:: -1 if translate.turned(network.layers) else 1]
        order = (0, 1, *(2 + axis + len(left) * side for axis in axes for side in (0, 1)))
        found = found._replace(nngp=found.nngp.transpose(order), ntk=found.ntk.transpose(order))
    parallel = _near_parallel(points.reshape(len(points), -1))
    # with pooling, pixels meet themselves on the way of any two points
    loose = translate.kinked(network) & (parallel if reach_of(network, "own") == "own" and not many else np.ones_like(parallel))
    for name in names:
        kind, _, sets = name.partition("_")
        if kind not in KINDS or len(sets) != 2 or not set(sets) <= set(sides):
            outcome.fail(f"array {name} is not understood", np.inf, name)
            continue
        where, whole = (sides[sets[0]], sides[sets[1]]), np.asarray(getattr(found, kind))
        ours = whole[where]
        level = np.full(ours.shape, np.abs(ours).max())
        if not left:
            root = np.sqrt(np.diagonal(whole))
            level = np.outer(root[where[0]], root[where[1]])
        rtol = np.where(loose[where], RTOL_KINKED, RTOL)
        outcome.compare(name, ours, arrays[name], rtol.reshape(*rtol.shape, *(1,) * (ours.ndim - 2)) * level)


def compute(network: Sequential, points: np.ndarray) -> Computed:
    """The library's kernels in float64, and what a rounding error of the inputs' correlations would change."""
    if points.ndim != 2:
        raise translate.UnsupportedError(f"points of shape {points.shape[1:]}")
    points = points.astype(np.float64)
    try:
        moved, narrow = _perturbed(network, points)
    except InputError as error:  # layers that have no infinite width in this order; what `gram` refuses about the points is a failure
        raise translate.UnsupportedError(str(error)) from None
    # the library mirrors half of a symmetric matrix: not where the reference's rule tells its two points apart
    result = infinite.gram(network, points, points if translate.lopsided(network) else None, dtype="float64")
    kernels = {"nngp": np.asarray(result.nngp), "ntk": np.asarray(result.ntk)}
    parallel = _near_parallel(points)
    rtol = np.where(parallel & translate.kinked(network), RTOL_KINKED, RTOL)
    # the reference divides by the sine of the angle in rectified monomials: there it is no reference for parallel pairs
    lost = parallel & translate.singular(network)
    with np.errstate(invalid="ignore"):
        distrusted = {kind: ~(moved[kind] <= rtol * np.outer(*[np.sqrt(np.diagonal(kernels[kind]))] * 2)) | lost for kind in KINDS}
    return Computed(points, kernels, rtol, distrusted, narrow & ~parallel)


def compare_blocks(outcome: Outcome, spec: list[Any], computed: Computed, blocks: list[Block]) -> None:
    """Compare arrays of one set of points; the tolerance is relative to √(k₁₁k₂₂) of the reference where it has them."""
    settled = {block.name: _settle(outcome, spec, computed, block) for block in blocks}
    for kind in KINDS:
        of_kind = [(block, *settled[block.name]) for block in blocks if block.kind == kind]
        root = np.sqrt(_diagonal(computed, kind, [(block, reference) for block, reference, _ in of_kind]))
        for block, reference, rtol in of_kind:
            ours = computed.kernels[kind][block.rows, block.columns]
            outcome.compare(block.name, ours, reference, rtol * np.outer(root[block.rows], root[block.columns]))


def _settle(outcome: Outcome, spec: list[Any], computed: Computed, block: Block) -> tuple[np.ndarray, np.ndarray]:
    """The reference and its relative tolerance, after values it cannot be trusted for have been evaluated in many digits."""
    where = block.rows, block.columns
    narrow, rtol = computed.narrow[where], computed.rtol[where]
    replaced = computed.distrusted[block.kind][where] | (not block.finite)
    if block.reference.shape != rtol.shape:
        return block.reference, rtol
    if exact.known(spec):
        replaced = replaced | narrow
    elif replaced.any():
        reason = f"{block.name} needs an evaluation in many digits, which comparison/exact.py lacks for this spec"
        outcome.fail(reason, np.inf, block.name)
        return np.where(replaced, computed.kernels[block.kind][where], block.reference), rtol
    reference = block.reference.copy()
    first, second = computed.points[block.rows], computed.points[block.columns]
    for i, j in zip(*np.nonzero(replaced), strict=True):
        reference[i, j] = exact.pair(spec, first[i], second[j])[block.kind]
    outcome.exact += int(replaced.sum())
    return reference, np.where(replaced, RTOL, np.where(narrow, RTOL_KINKED, rtol))


def _diagonal(computed: Computed, kind: str, settled: list[tuple[Block, np.ndarray]]) -> np.ndarray:
    """k(x, x) of every point: from the reference if it has it for this or an equal point, else ours."""
    diagonal = np.diagonal(computed.kernels[kind]).copy()
    given = np.zeros(len(diagonal), bool)
    for block, reference in settled:
        if block.rows == block.columns and reference.shape == (len(diagonal[block.rows]),) * 2:
            diagonal[block.rows], given[block.rows] = np.diagonal(reference), True
    for j in np.flatnonzero(~given):
        equal = [i for i in np.flatnonzero(given) if np.array_equal(computed.points[i], computed.points[j])]
        diagonal[j] = diagonal[equal[0]] if equal else diagonal[j]
    return diagonal


def _near_parallel(points: np.ndarray) -> np.ndarray:
    """Pairs identical, or within `ANGLE` of parallel or antiparallel."""
    norm = np.linalg.norm(points, axis=1)
    unit = points / np.where(norm > 0, norm, 1)[:, None]
    apart = np.linalg.norm(unit[:, None] - unit[None], axis=2)
    opposed = np.linalg.norm(unit[:, None] + unit[None], axis=2)
    zero = (norm[:, None] == 0) | (norm[None] == 0)
    same = (norm[:, None] == 0) & (norm[None] == 0)
    chord = 2 * np.sin(ANGLE / 2)
    return same | (~zero & (np.minimum(apart, opposed) < chord))


@quick
def _step(layer: Layer, moments: Moments) -> Moments:
    return layer.propagate(moments)


def _perturbed(network: Sequential, points: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """How far `ROUNDING` in the correlation of the inputs moves each kernel, and which pairs are within `ANGLE` of parallel at a kink.

    Layer by layer, so that depth costs no compilation.
    """
    with jax.enable_x64(True):
        start = input_moments(jnp.asarray(points), jnp.asarray(points))
        step = jnp.asarray([0.0, ROUNDING, -ROUNDING])[:, None, None]
        w, v = jnp.clip(start.w + step, 0, 2), jnp.clip(start.v - step, 0, 2)
        moments: Moments = replace(start, gap=gap_of(w, v), tilt=None, ntk=jnp.zeros_like(w))
        narrow = np.zeros(start.w.shape, bool)
        for layer in network.layers:
            if translate.kinked(Sequential((layer,))):
                narrow |= np.asarray(jnp.abs(moments.gap)[0] < 1 - np.cos(ANGLE)) & np.asarray(moments.k1 * moments.k2 > 0)
            moments = _step(layer, moments)
        after = {"nngp": np.asarray(moments.nngp), "ntk": np.asarray(moments.ntk)}
    return {kind: np.max(np.abs(value[1:] - value[:1]), axis=0) for kind, value in after.items()}, narrow
