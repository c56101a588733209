"""Figure 1: the dispersion on the diagonal."""

import numpy as np

from kernelregime.report.canvas import legend, style
from kernelregime.report.figures.scales import log_axis
from kernelregime.report.palette import LIGHT
from kernelregime.report.papers.frames import Drawing, note, panels, points, scale_of, shades
from kernelregime.results import Reproduction

LIMITS = (("chaotic", 3.0, "feature"), ("edge", 2.0, "near"), ("ordered", 1.0, "kernel"))


def dispersion(result: Reproduction) -> list[Drawing]:
    """Dispersion against L/M for each width, by σ_w², with the limits of the phases."""
    weights = sorted({cell.params["sigma_w2"] for cell in result.cells})
    widths = sorted({cell.params["width"] for cell in result.cells})
    colours = shades(weights)
    with style():
        figure, rows = panels(len(widths), share_x=True)
        for axes, width in zip(rows, widths, strict=True):
            for cell in result.select(width=width):
                arrays, ratio = result.arrays[cell.name], np.array(cell.params["depths"]) / width
                points(axes, ratio, arrays["dispersion"], arrays["sem"], colours[cell.params["sigma_w2"]])
            for name, weight, colour in LIMITS:
                (cell,) = result.select(width=width, sigma_w2=weight)
                ratio = np.array(cell.params["depths"]) / width
                arrays = result.arrays[cell.name]
                axes.plot(ratio, arrays["corrected"], color=LIGHT[colour], label=f"{name}, corrected")
                axes.plot(ratio, arrays["printed"], color=LIGHT[colour], linestyle=":", label=f"{name}, printed")
            log_axis(axes, "y")
            note(axes, f"M = {width}")
        rows[-1].set_xlabel("L/M")
        rows[len(rows) // 2].set_ylabel("E Θ²/(E Θ)²")
        scale_of(figure, rows, weights, "σ_w²")
        legend(figure, rows[0])
    caption = (
        "Dispersion of Θ(x, x) of ReLU networks at initialization against depth over width (n₀ = M, zero biases): measured (points, one "
        "standard error), the limit of each phase as printed (dotted) and corrected (solid). The paper draws measured values dashed."
    )
    return [Drawing("Figure 1", caption, figure)]
