"""Figure 2: the dispersion against L and against L/M."""

import numpy as np

from kernelregime.report.canvas import legend, style
from kernelregime.report.figures.scales import log_axis
from kernelregime.report.palette import LIGHT
from kernelregime.report.papers.frames import Drawing, note, panels, points, shades
from kernelregime.report.quantities import number
from kernelregime.results import Reproduction


def dispersion(result: Reproduction) -> list[Drawing]:
    """A row for each (σ_w², σ_b²): left against L, right against L/M."""
    settings = sorted({(cell.params["sigma_w2"], cell.params["sigma_b2"]) for cell in result.cells})
    widths = sorted({cell.params["width"] for cell in result.cells})
    colours = shades(widths)
    with style():
        figure, axes = panels(2 * len(settings), columns=2, height=1.7)
        for row, (weight, bias) in enumerate(settings):
            left, right = axes[2 * row : 2 * row + 2]
            for width in widths:
                (cell,) = result.select(sigma_w2=weight, sigma_b2=bias, width=width)
                arrays, depths = result.arrays[cell.name], np.array(cell.params["depths"])
                for place, across in ((left, depths), (right, depths / width)):
                    points(place, across, arrays["dispersion"], arrays["sem"], colours[width], label=f"M = {width}", line="-")
            theory = arrays["exact" if bias == 0 else "limit"]
            if np.isfinite(theory).any():
                right.plot(depths / width, theory, color=LIGHT["feature"], linestyle="--")
                right.plot([], [], color=LIGHT["feature"], linestyle="--")
            left.set_ylim(right.get_ylim())
            for place in (left, right):
                log_axis(place, "y") if weight >= 2 else place.set_ylim(1.0, max(2.0, place.get_ylim()[1]))
            note(left, f"σ_w² = {number(weight)}, σ_b² = {number(bias)}")
        axes[-2].set_xlabel("L")
        axes[-1].set_xlabel("L/M")
        figure.supylabel("E Θ²/(E Θ)²", fontsize=10)
        legend(figure, axes[0])
    counts = [count for cell in result.cells for count in cell.params["draws"]]
    few, many = min(counts), max(counts)
    caption = (
        f"Dispersion of Θ(x, x) of ReLU networks at initialization, {few} to {many} draws a point (one standard error; "
        "too small where the tail is heavy: at large L/M of the lower rows the points lie too low). Dashed, not in the paper: σ_w² = 2: "
        f"exact for M = {widths[-1]}; σ_w² = 3: the limit of large M. The paper's widths differ."
    )
    return [Drawing("Figure 2", caption, figure)]
