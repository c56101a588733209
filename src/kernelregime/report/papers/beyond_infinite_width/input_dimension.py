"""Figure 5: the dispersion at the edge of chaos by the input's dimension."""

import numpy as np

from kernelregime.report.canvas import legend, style
from kernelregime.report.figures.scales import log_axis
from kernelregime.report.palette import LIGHT
from kernelregime.report.papers.frames import Drawing, panels, points, scale_of, shades
from kernelregime.results import Reproduction

EDGE = 2.0


def dispersion(result: Reproduction) -> list[Drawing]:
    """Limits of the dispersion against L/M, by α₀, and networks."""
    width = result.cells[0].params["width"]
    edge = [cell for cell in result.select(sigma_w2=EDGE) if cell.params["inputs"] > 1]
    alphas = sorted(cell.params["inputs"] / width for cell in edge)
    colours = shades(alphas)
    (chaotic,) = (cell for cell in result.cells if cell.params["sigma_w2"] != EDGE)
    with style():
        figure, (axes,) = panels(1, height=3.4)
        for cell in (*edge, chaotic):
            arrays = result.arrays[cell.name]
            colour = colours[cell.params["inputs"] / width] if cell is not chaotic else LIGHT["ink"]
            axes.plot(arrays["curve"], arrays["curve_corrected"], color=colour, linewidth=1.2)
            axes.plot(arrays["curve"], arrays["curve_printed"], ":", color=colour, linewidth=1.2)
            points(axes, np.array(cell.params["depths"]) / width, arrays["dispersion"], arrays["sem"], colour)
        axes.plot([], [], color=LIGHT["muted"], linewidth=1.2, label="corrected")
        axes.plot([], [], ":", color=LIGHT["muted"], linewidth=1.2, label="printed")
        points(axes, [], [], [], LIGHT["muted"], label="measured")
        axes.plot([], [], color=LIGHT["ink"], linewidth=1.2, label="black: chaotic phase")
        log_axis(axes, "y")
        axes.set_xlabel("λ = L/M")
        axes.set_ylabel("E Θ²/(E Θ)²")
        scale_of(figure, axes, alphas, "α₀")
        legend(figure, axes)
    caption = (
        "Limit of the dispersion of Θ(x, x) against depth over width at the edge of chaos, by α₀ = n₀/M (colours), and in the chaotic "
        f"phase (black): corrected (solid), as printed (dotted), and networks of width {width} (points, one standard error). The "
        "paper draws its printed limits alone."
    )
    return [Drawing("Figure 5", caption, figure)]
