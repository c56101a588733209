"""Figures 2 and 10: the dispersion at finite width near the edge of chaos."""

import numpy as np

from kernelregime.report.canvas import legend, style
from kernelregime.report.figures.scales import log_axis
from kernelregime.report.palette import LIGHT
from kernelregime.report.papers.frames import Drawing, note, panels, points, scale_of, shades
from kernelregime.report.quantities import number
from kernelregime.results import Reproduction


def dispersion(result: Reproduction) -> list[Drawing]:
    """Dispersion against L/M for each α₀, by σ_w²: precise with theorem 3.2, and as the paper estimates it."""
    precise, few = result.cells[0].params["precise"], result.cells[0].params["draws"]
    setting = f"ReLU networks of width M = {result.cells[0].params['width']} with zero biases, n₀ = α₀M inputs"
    finite = (
        f"Dispersion of Θ(x, x) at initialization against depth over width, {setting}: measured with {precise} weighted draws (points, "
        "one standard error), exact (solid), and theorem 3.2 as it is printed (dotted: for shallow networks below 1, where no dispersion "
        "can be). The paper draws measured values dashed and its theorem as a solid line."
    )
    sampled = (
        f"The same, measured as in the paper: {few} draws, its estimator with the prefactor 1/(N − 2), bootstrap errors; the solid lines "
        "are exact. Beyond a dispersion of about 2 so few draws say little."
    )
    return [
        Drawing("Figure 2", finite, _by_alpha(result, ("dispersion", "sem"), ("exact", "theorem"))),
        Drawing("Figure 10", sampled, _by_alpha(result, ("few", "few_sem"), ("exact",))),
    ]


def _by_alpha(result: Reproduction, measured: tuple[str, str], lines: tuple[str, ...]) -> object:
    """A panel for each α₀, with points and lines coloured by σ_w²."""
    weights = sorted({cell.params["sigma_w2"] for cell in result.cells})
    alphas = sorted({cell.params["alpha0"] for cell in result.cells}, reverse=True)
    colours = shades(weights)
    with style():
        figure, rows = panels(len(alphas), share_x=True)
        for axes, alpha in zip(rows, alphas, strict=True):
            for cell in result.select(alpha0=alpha):
                arrays, colour = result.arrays[cell.name], colours[cell.params["sigma_w2"]]
                ratio = np.array(cell.params["depths"]) / cell.params["width"]
                points(axes, ratio, arrays[measured[0]], arrays[measured[1]], colour)
                for name, line in zip(lines, ("-", ":"), strict=False):
                    axes.plot(ratio, arrays[name], line, color=colour, linewidth=1.2)
            log_axis(axes, "y")
            note(axes, f"α₀ = {number(alpha)}")
        words = {"exact": "exact", "theorem": "theorem 3.2, printed"}
        for name, line in zip(lines, ("-", ":"), strict=False):
            rows[0].plot([], [], line, color=LIGHT["ink"], linewidth=1.2, label=words[name])
        points(rows[0], [], [], [], LIGHT["ink"], label="measured")
        rows[-1].set_xlabel("L/M")
        rows[len(rows) // 2].set_ylabel("E Θ²/(E Θ)²")
        scale_of(figure, rows, weights, "σ_w²")
        legend(figure, rows[0])
    return figure
