"""Axes and marks that several figures share: steps, powers of ten, the spread over seeds, the bands of a verdict."""

import math
from typing import Any

import numpy as np

from kernelregime.report.palette import LIGHT
from kernelregime.report.quantities import number, power_of_ten

BANDS = ("kernel", "near", "feature")
LARGEST = 1e100  # beyond it, and below its inverse, nothing is drawn: the ticks of an axis would overflow


def positive(values: Any) -> np.ndarray:
    """`values` as floats, with nan where a logarithmic axis cannot show them."""
    out = np.asarray(values, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return np.where((out > 1 / LARGEST) & (out < LARGEST), out, np.nan)


def over_seeds(values: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Median, least and largest value over the leading axis; nan where no seed has a finite value."""
    table = np.atleast_2d(np.asarray(values, dtype=np.float64))
    table = np.where(np.isfinite(table), table, np.nan)
    known = np.isfinite(table).any(axis=0)
    rows = np.full((3, table.shape[1]), np.nan)
    rows[:, known] = np.nanmedian(table[:, known], axis=0), np.nanmin(table[:, known], axis=0), np.nanmax(table[:, known], axis=0)
    return rows[0], rows[1], rows[2]


def log_axis(axes: Any, which: str) -> None:
    """A logarithmic x or y axis whose ticks are read without mathematics type; below two decades also at 2 and 5."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    getattr(axes, f"set_{which}scale")("log")
    low, high = sorted(getattr(axes, f"get_{which}lim")())
    axis = getattr(axes, f"{which}axis")
    if math.log10(high / low) >= 2:
        axis.set_major_locator(LogLocator(numticks=7))
        axis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(round(math.log10(value))) if value > 0 else ""))
    else:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: number(value) if value > 0 else ""))
    axis.set_minor_locator(NullLocator())


def step_axis(axes: Any, steps: Any) -> None:
    """The axis of training steps: linear, or logarithmic from the first step on (with 0 shown) where the steps are spaced so."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    steps = np.asarray(steps, dtype=np.float64)
    axes.set_xlabel("training step")
    later = steps[steps > 0]
    if later.size < 4 or np.median(later) > 0.3 * later.max():
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
        return
    first, last = later.min(), later.max()
    axes.set_xscale("symlog", linthresh=first, linscale=0.5)
    powers = [10.0**k for k in range(math.ceil(math.log10(first)), math.floor(math.log10(last)) + 1)]
    ticks = powers if len(powers) >= 2 else [first, last]
    axes.set_xlim(0.0, 1.1 * last)
    axes.set_xticks([0.0, *ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    names = {power: power_of_ten(round(math.log10(power))) for power in powers}
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: names.get(value) or number(value)))


def spread(axes: Any, x: Any, values: Any, colour: str, *, label: str = "", line: str = "-", log: bool = False) -> None:
    """Median over seeds as a line and the range over seeds as a band."""
    middle, low, high = over_seeds(positive(values) if log else values)
    x = np.asarray(x, dtype=np.float64)
    axes.fill_between(x, low, high, color=LIGHT[colour], alpha=0.22, linewidth=0)
    marker = "o" if np.isfinite(middle).sum() == 1 else None
    axes.plot(x, middle, line, color=LIGHT[colour], label=label or None, marker=marker)


def _name_bands(axes: Any, edges: np.ndarray) -> None:
    """The bands' names beside their middles (edges as fractions of the axis), kept a line apart where bands are narrow."""
    line = 0.09  # of the axis' height, for 10-point type
    kernel, near, feature = (edges[:-1] + edges[1:]) / 2
    tall = edges[3] - edges[2] > 2 * line
    places = (min(kernel, near - line), near, max(feature, near + line))
    for band, name, place in zip(BANDS, ("kernel", "near", "feature\nlearning" if tall else "feature"), places, strict=True):
        axes.text(1.02, place, name, transform=axes.transAxes, va="center", ha="left", color=LIGHT[band])


def threshold_bands(axes: Any, values: Any, bands: tuple[float, float] | None) -> None:
    """Horizontal bands of a verdict on a logarithmic y axis, named at the right edge; `values` must stay in sight. None: the axis alone."""
    known = positive(values)
    known = known[np.isfinite(known)]
    if bands is None:
        if known.size:
            axes.set_ylim(0.7 * known.min(), 1.4 * known.max())
            log_axis(axes, "y")
        return
    kernel, near = bands
    low = min(0.2 * kernel, 0.7 * float(known.min()) if known.size else kernel)
    high = max(4 * near, 1.4 * float(known.max()) if known.size else near)
    edges = (low, kernel, near, high)
    axes.set_ylim(low, high)
    for band, bottom, top in zip(BANDS, edges[:-1], edges[1:], strict=True):
        axes.axhspan(bottom, top, color=LIGHT[band], alpha=0.13, linewidth=0, zorder=0)
    _name_bands(axes, np.log(np.array(edges) / low) / math.log(high / low))
    if not known.size:
        axes.text(0.5, 0.06, "0 throughout", transform=axes.transAxes, ha="center", color=LIGHT["muted"])
    for edge in (kernel, near):
        axes.axhline(edge, color=LIGHT["muted"], linewidth=0.8, linestyle=(0, (2, 2)))
    log_axis(axes, "y")
