"""The bound (2.62) and measured errors, by random labels and by depth."""

from typing import Any

import numpy as np

from kernelregime.report.canvas import legend, style
from kernelregime.report.figures.scales import log_axis
from kernelregime.report.palette import LIGHT
from kernelregime.report.papers.frames import Drawing, note, panels, points
from kernelregime.results import Reproduction

RANDOM = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
CURVES = (
    ("error", "network", "o", "wrong signs"),
    ("loss", "ntk", "s", "loss"),
    ("printed", "linearized", "^", "bound 2.62"),
    ("scale_free", "nngp", "v", "scale-free"),
    ("deep", "near", "D", "L√(yᵀΘ⁻¹y/N)"),
)


def bounds(result: Reproduction) -> list[Drawing]:
    """Errors and bounds against the fraction of random labels, and against depth."""
    cells = [cell for cell in result.cells if "depths" in cell.params and "classes" not in cell.params]
    easy = [result.arrays[cell.name] for cell in result.cells if "depths" in cell.params and "classes" in cell.params]
    trained = [result.arrays[cell.name] for cell in result.cells if "depths" not in cell.params]
    arrays, depths = [result.arrays[cell.name] for cell in cells], cells[0].params["depths"]
    with style():
        figure, rows = panels(3, height=2.3)
        for name, colour, marker, label in CURVES:
            for axes, column in ((rows[1], 0), (rows[2], -1)):
                _measured(axes, depths, [found[name][:, column] for found in arrays], LIGHT[colour], marker, label)
            if name not in ("deep", "scale_free"):  # of this kernel the scale-free bound is the printed one
                _measured(rows[0], RANDOM, [found[f"{name}_first"] for found in arrays], LIGHT[colour], marker, "")
        for name, colour, marker, _ in CURVES[:3]:
            _hollow(rows[0], -0.02, [found[f"{name}_first"][0] for found in easy], LIGHT[colour], marker)
            _measured(rows[0], [-0.04], [np.atleast_1d(found[name]) for found in trained], LIGHT[colour], "*", "")
        for axes, label in zip(rows, ("first layer of two", "NTK, true labels", "NTK, random labels"), strict=True):
            axes.axhline(1, color=LIGHT["muted"], linewidth=0.8)
            log_axis(axes, "y")
            note(axes, label)
        rows[0].set_xlabel("fraction of random labels")
        for axes in rows[1:]:
            log_axis(axes, "x")
            axes.set_xticks(depths[::2], [str(depth) for depth in depths[::2]])
            axes.set_xlabel("depth L")
        legend(figure, rows[1])
    (few,) = {cell.params["points"] for cell in result.cells if "depths" in cell.params and "classes" in cell.params}
    n, fewer = cells[0].params["points"], result.cells[-1].params["points"]
    caption = (
        f"Kernel regression on {cells[0].params['data']}, odd against even digits, N = {n}: the loss min(|f - y|, 1) and the fraction of "
        "wrong signs on test points; the leading term of the bound (2.62) as printed, the same made independent of the scale of Θ, and the "
        f"bound for L layers without constants. Hollow: digits 0 and 1, N = {few}; stars: networks of two layers trained on them, "
        f"N = {fewer}. Above 1 a bound says nothing; below "
        "the loss it does not hold. The thesis has no figure of it."
    )
    return [Drawing("Eq. 2.62", caption, figure)]


def _measured(axes: Any, x: Any, values: list[np.ndarray], colour: str, marker: str, label: str) -> None:
    mean, sem = np.mean(values, axis=0), np.std(values, axis=0, ddof=1) / np.sqrt(len(values))
    points(axes, x, mean, sem, colour, label=label, marker=marker, line="-" if len(mean) > 1 else "")


def _hollow(axes: Any, x: float, values: list[np.ndarray], colour: str, marker: str) -> None:
    axes.plot([x], [np.mean(values)], marker, color=colour, markersize=5, markerfacecolor="none")
