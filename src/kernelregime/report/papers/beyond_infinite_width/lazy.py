"""Appendix B.3 as a picture: the first step's change against the scale of the model."""

from typing import Any

import numpy as np

from kernelregime.report.canvas import legend, style
from kernelregime.report.figures.scales import log_axis
from kernelregime.report.palette import LIGHT
from kernelregime.report.papers.frames import Drawing, note, panels, points
from kernelregime.results import Reproduction

PHASES = (("chaotic", 3.0, "feature", "^"), ("edge of chaos", 2.0, "near", "s"), ("ordered", 1.0, "kernel", "o"))
READINGS = (("loss of f", "network", "o"), ("loss of αf", "feature", "s"), ("αf, f = 0 first", "kernel", "^"))


def rescaling(result: Reproduction) -> list[Drawing]:
    """The relative change against α for three readings of the loss, a panel for each phase; against depth with α = (σ_w/√2)^L."""
    with style():
        figure, rows = panels(4, height=2.0)
        for axes, (name, weight, _, _) in zip(rows, PHASES, strict=False):
            (cell,) = (found for found in result.select(sigma_w2=weight) if found.params["alphas"])
            alphas, arrays = np.array(cell.params["alphas"], dtype=float), result.arrays[cell.name]
            for index, (label, colour, marker) in enumerate(READINGS):
                points(axes, alphas, arrays["size"][:, index], arrays["size_sem"][:, index], LIGHT[colour], label=label, marker=marker)
            axes.plot(alphas, arrays["size"][0, 0] / alphas**2, ":", color=LIGHT["muted"], label="1/α²")
            axes.plot(alphas, arrays["size"][0, 2] / alphas, "--", color=LIGHT["muted"], label="1/α", linewidth=1.0)
            log_axis(axes, "x")
            log_axis(axes, "y")
            axes.set_xticks(alphas, [f"{alpha:g}" for alpha in alphas])
            note(axes, name)
        rows[2].set_xlabel("α")
        rows[1].set_ylabel("E |ΔΘ̃|/E Θ̃")
        _depth(rows[3], result)
        legend(figure, rows[0])
    (first,) = (cell for cell in result.select(sigma_w2=2.0) if cell.params["alphas"])
    caption = (
        f"Mean size of the relative change of Θ̃ = α²Θ in a first step at y = 1 (M = {first.params['width']}, "
        f"L = {first.params['depth']}), by what is divided by α²: the loss of f, the loss of αf, and that with f's first values taken "
        "off. Last panel: the mean change by the derivative at y = 0 over η and α², α = (σ_w/√2)^L, at one L/M: networks with sampled "
        "weights (points, one standard error) and the exact mean (lines). The paper has no such figure."
    )
    return [Drawing("Appendix B.3", caption, figure)]


def _depth(axes: Any, result: Reproduction) -> None:
    for name, weight, colour, marker in PHASES:
        cells = [cell for cell in result.select(sigma_w2=weight) if not cell.params["alphas"]]
        depths = np.array([cell.params["depth"] for cell in cells])
        alpha2 = (weight / 2) ** depths.astype(float)
        mean, sem = (np.array([result.arrays[cell.name]["relative"][index] for cell in cells]) / alpha2 for index in (0, 1))
        points(axes, depths, -mean, sem, LIGHT[colour], marker=marker)
        exact = np.array([float(result.arrays[cell.name]["exact"]) for cell in cells])
        axes.plot(depths, -exact / alpha2, color=LIGHT[colour], linewidth=1.2, label=name)
    log_axis(axes, "y")
    axes.legend(loc="upper left")
    note(axes, "-E ΔΘ/(η α² E Θ), α = (σ_w/√2)^L")
    axes.set_xlabel("depth L")
