"""Figures of kernels: heat maps and their randomness at initialization."""

import math
from itertools import pairwise
from typing import Any

import numpy as np

from kernelregime._checks import array, fail
from kernelregime.claims import Estimate
from kernelregime.report.canvas import WIDTH, blank, legend, style
from kernelregime.report.palette import LIGHT
from kernelregime.report.quantities import number

MAP = "viridis"  # perceptually uniform and ordered by lightness
_CELLS = 600  # cells a side; larger matrices are averaged in blocks


def heat_map(gram: Any, labels: Any = None, *, title: str = "", limits: tuple[float, float] | None = None) -> Any:
    """A Gram matrix as a heat map with its colour bar.

    `gram` (N1, N2). `labels` (N,) are the classes of its points, sorted: lines are drawn where the class changes and the classes
    named at the edges (square matrices only). `limits` fixes the ends of the colour scale; by default it spans the finite entries.
    Beyond 600 points a side, equal blocks are averaged (and the axis says so).
    Raises: `InputError` for another shape, for a matrix without a finite entry, or for labels that do not fit.
    """
    matrix = array("gram", gram, ndim=2, finite=False).astype(np.float64)
    if not np.isfinite(matrix).any():
        raise fail("gram to hold a finite entry", "none", "look at how it was computed")
    names = None if labels is None else array("labels", labels, ndim=1, rows=matrix.shape[0])
    block = math.ceil(max(matrix.shape) / _CELLS)
    cells = _averaged(matrix, block)
    known = cells[np.isfinite(cells)]
    low, high = limits if limits is not None else (float(known.min()), float(known.max()))
    if low == high:
        low, high = low - 0.5, high + 0.5
    with style():
        figure, axes = blank(WIDTH * 0.86)
        axes.imshow(cells, cmap=MAP, vmin=low, vmax=high, interpolation="none", extent=(0, matrix.shape[1], matrix.shape[0], 0))
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.set_title(title, fontsize=10)
        if names is not None and matrix.shape[0] == matrix.shape[1]:
            _classes(axes, names)
        else:
            axes.locator_params(nbins=5, integer=True)
            axes.set_xlabel("point" + f" (means of {block} × {block})" * (block > 1))
            axes.set_ylabel("point")
        _colour_bar(figure, axes, low, high)
    return figure


def _averaged(matrix: np.ndarray, block: int) -> np.ndarray:
    """Means over blocks of `block` by `block` entries; the last blocks may be smaller."""
    if block == 1:
        return matrix
    for axis in (0, 1):
        starts = np.arange(0, matrix.shape[axis], block)
        sizes = np.diff([*starts, matrix.shape[axis]])
        matrix = np.add.reduceat(matrix, starts, axis=axis) / (sizes[:, None] if axis == 0 else sizes)
    return matrix


def _classes(axes: Any, labels: np.ndarray) -> None:
    """Lines between classes and a name at the middle of every class that has room for it."""
    cuts = np.flatnonzero(labels[1:] != labels[:-1]) + 1
    edges = np.array([0, *cuts, labels.size])
    for cut in cuts:
        axes.axhline(cut, color="white", linewidth=0.8, alpha=0.75)
        axes.axvline(cut, color="white", linewidth=0.8, alpha=0.75)
    middles, names, last = [], [], -math.inf
    for start, stop in pairwise(edges):
        if (start + stop) / 2 - last >= labels.size / 14:  # what 10-point type needs
            last = (start + stop) / 2
            middles.append(last)
            names.append(str(labels[start]))
    axes.set_xticks(middles, names)
    axes.set_yticks(middles, names)
    axes.tick_params(length=0)
    axes.set_xlabel("class")
    axes.set_ylabel("class")


def _colour_bar(figure: Any, axes: Any, low: float, high: float) -> None:
    """A colour bar as one small image (not as hundreds of shapes)."""
    bar = axes.inset_axes((1.04, 0.0, 0.05, 1.0))
    bar.imshow(np.linspace(0, 1, 128)[:, None], cmap=MAP, aspect="auto", origin="lower", extent=(0, 1, low, high), interpolation="none")
    bar.grid(visible=False)
    bar.set_xticks([])
    bar.yaxis.tick_right()
    bar.locator_params(axis="y", nbins=5)
    bar.yaxis.set_major_formatter(lambda value, _: number(value))
    bar.spines[:].set_visible(False)


def kernel_samples(samples: Any, *, dispersion: Estimate | None = None, exact: float | None = None) -> Any:
    """Histogram of draws of Θ(x,x) at initialization over their mean, `samples` (D,) in any unit, and the spread dispersions stand for.

    A dispersion d = E Θ² / (E Θ)² stands for a relative standard deviation √(d - 1): drawn above the histogram as measured and as the
    theory has it. At infinite width every draw is 1.
    """
    values = np.asarray(samples, dtype=np.float64).ravel()
    values = values[np.isfinite(values)]
    values = values / values.mean() if values.size and values.mean() > 0 else values
    with style():
        figure, axes = blank(2.9)
        low, high = np.quantile(values, (0.001, 0.995)) if values.size else (0.0, 2.0)
        room = max(0.05 * (high - low), 1e-3)
        edges = np.linspace(low - room, high + room, 1 + min(40, max(10, int(2 * math.sqrt(values.size)))))
        counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
        top = max(int(counts.max()), 1)
        axes.stairs(counts, edges, fill=True, color=LIGHT["network"], alpha=0.35)
        axes.axvline(1.0, color=LIGHT["ntk"], linestyle=(0, (1, 1.2)), linewidth=2.4, label="infinite width")
        found = None if dispersion is None else dispersion.mean
        spreads = (("measured ± std", found, "network", 1.10), ("exact ± std", exact, "feature", 1.24))
        for label, value, colour, height in spreads:
            if value is not None and math.isfinite(value) and value >= 1:
                width = math.sqrt(value - 1)
                axes.errorbar(1.0, height * top, xerr=width, fmt="o", color=LIGHT[colour], capsize=5, markersize=5, label=label)
        axes.set_ylim(0, 1.36 * top)
        axes.locator_params(axis="x", nbins=6)
        axes.locator_params(axis="y", nbins=5, integer=True)
        axes.xaxis.set_major_formatter(lambda value, _: number(value))
        axes.set_xlabel("Θ(x, x) of a random network / its mean")
        axes.set_ylabel("networks")
        legend(figure, axes)
    return figure
