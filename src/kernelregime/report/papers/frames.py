"""What the papers' figures share: panels, colours of a parameter, measured points with their errors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelregime.report.canvas import WIDTH
from kernelregime.report.palette import LIGHT
from kernelregime.report.quantities import number


@dataclass(frozen=True)
class Drawing:
    """A figure with its name in the paper ("Figure 1 a") and a caption that says what is drawn, and in what it differs from the paper's."""

    name: str
    caption: str
    figure: Any


def panels(count: int, *, columns: int = 1, height: float = 2.4, share_x: bool = False, share_y: bool = False) -> tuple[Any, list[Any]]:
    """A figure of the report's width with `count` pairs of axes, `columns` in a row of `height` inches. Call it inside `style()`."""
    from matplotlib.figure import Figure

    rows = -(-count // columns)
    figure = Figure(figsize=(WIDTH, 0.4 + height * rows), layout="constrained")
    grid = np.atleast_1d(figure.subplots(rows, columns, sharex=share_x, sharey=share_y)).ravel()
    for axes in grid[count:]:
        axes.set_visible(False)
    return figure, list(grid[:count])


def shades(values: Sequence[float]) -> dict[float, str]:
    """A colour for each value of a parameter, in order from dark to light."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    ordered = sorted(set(values))
    places = np.linspace(0.0, 0.85, len(ordered))
    return {value: to_hex(colormaps["viridis"](place)) for value, place in zip(ordered, places, strict=True)}


def scale_of(figure: Any, axes: Any, values: Sequence[float], label: str) -> None:
    """A bar that names the colours `shades` gives to the values of a parameter."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap

    colours = shades(values)
    names = list(colours)
    edges = np.arange(len(names) + 1) - 0.5
    drawn = ScalarMappable(BoundaryNorm(edges, len(names)), ListedColormap(list(colours.values())))
    every = max(1, len(names) // 8)
    bar = figure.colorbar(drawn, ax=axes, ticks=range(0, len(names), every))
    bar.ax.set_yticklabels([number(name) for name in names[::every]])
    bar.set_label(label)


def points(axes: Any, x: Any, mean: Any, sem: Any, colour: str, *, label: str = "", marker: str = "o", line: str = "") -> None:
    """Measured means with bars of one standard error."""
    axes.errorbar(
        x,
        mean,
        yerr=sem,
        fmt=marker,
        linestyle=line or "none",
        markersize=3,
        linewidth=1.0,
        elinewidth=0.8,
        color=colour,
        label=label or None,
    )


def note(axes: Any, text: str) -> None:
    """A word in the upper left corner of a panel."""
    axes.set_title(text, fontsize=10, loc="left", color=LIGHT["ink"])
