"""Infinite-width kernels against their reference values, with the tolerance each pair's geometry and spec allow."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from comparison import exact, translate
from comparison.record import Outcome
from kernelregime import infinite
from kernelregime.infinite.kernel import input_moments
from kernelregime.layers import Layer, Moments, Sequential
from kernelregime.layers.moments import covariance

RTOL = 1e-10
RTOL_KINKED = 1e-6  # kinked activations, identical, collinear or nearly so: the reference loses half its digits there
ANGLE = 1e-3  # rad, to parallel or antiparallel
ROUNDING = 16 * 2.0**-52  # of a correlation: a dot product and a few operations in float64
ARRAYS = {"nngp_11": ("nngp", 0), "ntk_11": ("ntk", 0), "nngp_12": ("nngp", 1), "ntk_12": ("ntk", 1)}


@dataclass(frozen=True)
class Computed:
    """Kernels of the points of both sets together, and the tolerance and nature of each pair."""

    points: np.ndarray
    kernels: dict[str, np.ndarray]
    tolerance: dict[str, np.ndarray]
    chaotic: dict[str, np.ndarray]


def compare(outcome: Outcome, entry: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Compare the kernels of one case; `UnsupportedError` if its spec cannot be expressed."""
    spec, nonfinite = entry["spec"], set(entry.get("nonfinite", ()))
    network = translate.network(spec, entry.get("kernel_kwargs"))
    n1 = arrays["x1"].shape[0]
    computed = compute(network, np.concatenate([arrays["x1"], arrays["x2"]]))
    rows = (slice(0, n1), slice(n1, None))
    for name in entry["arrays"]:
        if name in ("x1", "x2"):
            continue
        if name not in ARRAYS:
            outcome.fail(f"array {name} is not understood", np.inf, name)
            continue
        kind, columns = ARRAYS[name]
        block(outcome, name, spec, computed, kind, arrays[name], (rows[0], rows[columns]), distrusted=name in nonfinite)


def compute(network: Sequential, points: np.ndarray) -> Computed:
    """The library's kernels in float64, and what a rounding error of the inputs' correlations would change."""
    points = points.astype(np.float64)
    result = infinite.gram(network, points, dtype="float64")
    kernels = {"nngp": np.asarray(result.nngp), "ntk": np.asarray(result.ntk)}
    parallel = _near_parallel(points)
    close = parallel & translate.kinked(network)
    scale = {kind: _scale(matrix) for kind, matrix in kernels.items()}
    tolerance = {kind: np.where(close, RTOL_KINKED, RTOL) * scale[kind] for kind in kernels}
    moved = _perturbed(network, points)
    with np.errstate(invalid="ignore"):
        # the reference divides by the sine of the angle in rectified monomials: there it is no reference for parallel pairs
        lost = parallel & translate.singular(network)
        chaotic = {kind: ~(moved[kind] <= tolerance[kind]) | lost for kind in kernels}
    return Computed(points, kernels, {kind: np.where(chaotic[kind], RTOL * scale[kind], tolerance[kind]) for kind in kernels}, chaotic)


def block(
    outcome: Outcome,
    name: str,
    spec: list[Any],
    computed: Computed,
    kind: str,
    reference: np.ndarray,
    where: tuple[slice, slice],
    *,
    distrusted: bool,
) -> None:
    """Compare one array; values the reference cannot be trusted for are evaluated in many digits instead."""
    ours, tolerance = computed.kernels[kind][where], computed.tolerance[kind][where]
    replaced = np.ones(ours.shape, bool) if distrusted else computed.chaotic[kind][where]
    if reference.shape == ours.shape and replaced.any():
        if not exact.known(spec):
            outcome.fail(f"{name} needs an evaluation in many digits, which comparison/exact.py lacks for this spec", np.inf, name)
            return
        reference = reference.copy()
        first, second = computed.points[where[0]], computed.points[where[1]]
        for i, j in zip(*np.nonzero(replaced), strict=True):
            reference[i, j] = exact.pair(spec, first[i], second[j])[kind]
        outcome.exact += int(replaced.sum())
    outcome.compare(name, ours, reference, tolerance)


def _scale(matrix: np.ndarray) -> np.ndarray:
    """√(k₁₁k₂₂)."""
    root = np.sqrt(np.diagonal(matrix))
    return np.outer(root, root)


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


@jax.jit
def _step(layer: Layer, moments: Moments) -> Moments:
    return layer.propagate(moments)


def _perturbed(network: Sequential, points: np.ndarray) -> dict[str, np.ndarray]:
    """How far `ROUNDING` in the correlation of the inputs moves each kernel. Layer by layer, so that depth costs no compilation."""
    with jax.enable_x64(True):
        start = input_moments(jnp.asarray(points), jnp.asarray(points))
        step = jnp.asarray([0.0, ROUNDING, -ROUNDING])[:, None, None]
        w, v = jnp.clip(start.w + step, 0, 2), jnp.clip(start.v - step, 0, 2)
        moments: Moments = replace(start, c=covariance(start.k1, start.k2, w, v), w=w, v=v, ntk=jnp.zeros_like(w))
        for layer in network.layers:
            moments = _step(layer, moments)
        after = {"nngp": np.asarray(moments.nngp), "ntk": np.asarray(moments.ntk)}
    return {kind: np.max(np.abs(value[1:] - value[:1]), axis=0) for kind, value in after.items()}
