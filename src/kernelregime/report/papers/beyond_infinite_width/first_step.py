"""Theorem 4.1 as a picture: the change of Θ(x, x) in the first step."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kernelregime.report.canvas import legend, style
from kernelregime.report.figures.scales import log_axis
from kernelregime.report.palette import LIGHT
from kernelregime.report.papers.frames import Drawing, note, panels, points
from kernelregime.results import Reproduction

PHASES = (("chaotic", 3.0, "feature", "^"), ("edge of chaos", 2.0, "near", "s"), ("ordered", 1.0, "kernel", "o"))


def change(result: Reproduction) -> list[Drawing]:
    """The relative change against depth in three phases; that of a whole gentle step; and at one L/M with η = a^(1-L)."""
    width = sorted({cell.params["width"] for cell in result.cells})[-2]  # the widest are for one L/M
    with style():
        figure, (order, step, scaling) = panels(3, height=2.4)
        for name, weight, colour, marker in PHASES:
            cells = sorted(result.select(sigma_w2=weight, width=width), key=lambda cell: cell.params["depth"])
            depths = np.array([cell.params["depth"] for cell in cells])
            found: Mapping[str, Any] = {
                key: np.array([result.arrays[cell.name][key] for cell in cells])
                for key in ("relative", "relative_sem", "exact", "finite", "finite_sem", "eta", "printed_bound")
            }
            order.plot(depths, -found["exact"], color=LIGHT[colour], linewidth=1.2, label=name)
            points(order, depths, -found["relative"][:, 0], found["relative_sem"][:, 0], LIGHT[colour], marker=marker)
            if weight > 2:
                order.plot(depths, found["printed_bound"], ":", color=LIGHT[colour], label="printed bound")
            if weight < 2:
                rate = (weight / 2) ** (2 * depths) * depths**2
                order.plot(depths, -found["exact"][0] * rate / rate[0], ":", color=LIGHT[colour], label="printed order")
            step.plot(depths, -found["exact"] * found["eta"], color=LIGHT[colour], linewidth=1.2)
            points(step, depths, -found["finite"][:, 0], found["finite_sem"][:, 0], LIGHT[colour], marker=marker)
            step.plot(
                depths, -found["finite"][:, 1], f"{marker}--", color=LIGHT[colour], linewidth=0.8, markersize=4, markerfacecolor="none"
            )
        _scaling(scaling, result)
        log_axis(order, "y")
        step.set_ylim(3e-6, 2)
        log_axis(step, "y")
        note(order, "-E ΔΘ/(η E Θ) by the derivative")
        note(step, "-E ΔΘ/E Θ of a whole step, η = 0.05/E Θ")
        for axes in (order, step, scaling):
            axes.set_xlabel("depth L")
        legend(figure, order)
    caption = (
        f"Mean change of Θ(x, x) in the first step on one sample (M = n₀ = {width}): networks with sampled weights (points, one standard "
        "error; for L/M beyond 0.2 rare networks decide them) and the exact mean of the derivative (lines). Dotted: the proof's lower "
        "bound in the chaotic phase; in the ordered phase the order a^(2L) L² of its upper bound, through the first point. Middle: units "
        "that switch make a whole step larger than its derivative, y = 0 (full) and y = 1 (hollow). Below: with η = a^(1-L) the change "
        "still grows like L; dashed: the limit. The paper has no such figure."
    )
    return [Drawing("Theorem 4.1", caption, figure)]


def _scaling(axes: Any, result: Reproduction) -> None:
    """Networks of the smallest one's L/M in the chaotic phase."""
    cells = result.select(sigma_w2=3.0)
    small = min(cells, key=lambda cell: cell.params["width"])
    ratio = small.params["depth"] / small.params["width"]
    alike = sorted(
        (cell for cell in cells if abs(cell.params["depth"] / cell.params["width"] - ratio) < 1e-9), key=lambda cell: cell.params["depth"]
    )
    depths = np.array([cell.params["depth"] for cell in alike])
    units = 1.5 ** (depths - 1.0)
    mean, sem = (np.array([result.arrays[cell.name][name][0] for cell in alike]) / units for name in ("relative", "relative_sem"))
    points(axes, depths, -mean, sem, LIGHT["feature"], marker="^")
    axes.plot(depths, [-float(result.arrays[cell.name]["exact"]) for cell in alike] / units, color=LIGHT["feature"], linewidth=1.2)
    axes.plot(depths, [-float(result.arrays[cell.name]["limit"]) for cell in alike] * depths, "--", color=LIGHT["muted"])
    note(axes, f"-E ΔΘ/(η E Θ)·a^(1-L), chaotic, L/M = {ratio:.2g}")
