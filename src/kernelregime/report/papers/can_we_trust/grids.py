"""Heat maps over (σ_w², L): each measured point is a field of its own, equally high, for the depths are not equally far apart."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelregime.report.quantities import number

WHITE = "#ffffff"


def mesh(
    axes: Any, weights: Sequence[float], depths: Sequence[int], values: Any, *, cmap: Any, limits: Any = None, norm: Any = None
) -> Any:
    """`values` (depths, weights) as fields, the depths as labels."""
    scale = {"norm": norm} if norm is not None else {"vmin": limits[0], "vmax": limits[1]}
    rows = np.arange(len(depths))
    drawn = axes.pcolormesh(weights, rows, values, cmap=cmap, shading="nearest", rasterized=True, **scale)
    step = max(1, len(depths) // 4)
    axes.set_yticks(rows[::step], [number(depth) for depth in depths[::step]])
    axes.grid(visible=False)
    return drawn


def border(axes: Any, weight: Any, *, colour: str = WHITE) -> None:
    """The σ_w² at which χ₁ = 1, where it lies on the map."""
    low, high = axes.get_xlim()
    if low < float(weight) < high:
        axes.axvline(float(weight), color=colour, linestyle="--", linewidth=1.2)
