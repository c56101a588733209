"""Figure 6: the dispersion of growing, constant and shrinking networks."""

from typing import Any

import numpy as np

from kernelregime.report.canvas import legend, style
from kernelregime.report.figures.scales import log_axis
from kernelregime.report.palette import LIGHT
from kernelregime.report.papers.frames import Drawing, note, panels, points, scale_of, shades
from kernelregime.results import Reproduction

LETTERS = {"growing": "a", "constant": "b", "shrinking": "c"}


def dispersion(result: Reproduction) -> list[Drawing]:
    """Dispersion against depth over the average width for each shape, by σ_w², and the shapes."""
    weights = sorted({cell.params["sigma_w2"] for cell in result.cells})
    colours = shades(weights)
    with style():
        figure, rows = panels(len(LETTERS) + 1, height=2.2)
        for axes, (shape, letter) in zip(rows, LETTERS.items(), strict=False):
            for cell in result.select(shape=shape):
                arrays, colour = result.arrays[cell.name], colours[cell.params["sigma_w2"]]
                ratio = 2 * np.array(cell.params["depths"]) / (cell.params["narrow"] + cell.params["wide"])
                points(axes, ratio, arrays["dispersion"], arrays["sem"], colour)
                axes.plot(ratio, arrays["exact"], color=colour, linewidth=1.2)
                axes.plot(ratio, arrays["theorem"], ":", color=colour, linewidth=1.2)
            note(axes, f"{letter}) {shape}")
        for axes in rows[:-1]:
            axes.sharey(rows[0])
            axes.sharex(rows[0])
        log_axis(rows[0], "y")
        rows[0].plot([], [], color=LIGHT["ink"], linewidth=1.2, label="exact")
        rows[0].plot([], [], ":", color=LIGHT["ink"], linewidth=1.2, label="theorem 3.2, printed")
        points(rows[0], [], [], [], LIGHT["ink"], label="measured")
        rows[1].set_ylabel("E Θ²/(E Θ)²")
        rows[2].set_xlabel("λ = 2L/(M₁ + M₂)")
        _shapes(rows[-1], result)
        scale_of(figure, rows[:-1], weights, "σ_w²")
        legend(figure, rows[0])
    narrow, wide = (result.cells[0].params[name] for name in ("narrow", "wide"))
    caption = (
        f"Dispersion of Θ(x, x) of ReLU networks at initialization whose widths go from M₁ = {narrow} to M₂ = {wide} over all layers (a), "
        "stay at their mean (b), or go from M₂ to M₁ (c); below, the widths. Measured (points, one standard error), exact (solid), theorem "
        "3.2 as it is printed (dotted). The paper draws the theorem alone."
    )
    return [Drawing("Figure 6", caption, figure)]


def _shapes(axes: Any, result: Reproduction) -> None:
    """The widths of the deepest network of each shape."""
    colours = dict(zip(LETTERS, ("kernel", "near", "feature"), strict=True))
    for shape, letter in LETTERS.items():
        widths = result.each("widths", shape=shape)[0][:-1]
        axes.plot(np.arange(widths.size) / widths.size, widths, color=LIGHT[colours[shape]], label=f"{letter})")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("layer, l/L")
    axes.set_ylabel("n_l")
    axes.legend(loc="lower center", ncols=3)
