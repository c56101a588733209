"""Figures 3 and 11: the ratio of the means of off-diagonal and diagonal entries."""

import numpy as np

from kernelregime.report.canvas import legend, style
from kernelregime.report.palette import LIGHT
from kernelregime.report.papers.frames import Drawing, note, panels, points, scale_of, shades
from kernelregime.results import Reproduction

PALEST = 0.35  # the opacity of the smallest correlation


def ratio(result: Reproduction) -> list[Drawing]:
    """The ratio against L/M for each width, by σ_w² and x·x̃, with (18); and a part of it with its errors."""
    draws = ", ".join(f"{cell.params['draws']} at M = {cell.params['width']}" for cell in result.select(sigma_w2=1.0))
    every = (
        "E Θ(x, x̃)/E Θ(x, x) of ReLU networks at initialization against depth over width (n₀ = M, zero biases), for x·x̃ = 0.1, 0.3, 0.5, "
        f"0.7, 0.9 (darker): measured (dashed; draws: {draws}) and the estimate (18) in the ordered phase (solid); grey: the bounds 1/4 "
        "and 1."
    )
    some = "The same for x·x̃ = 0.1 and 0.9, with bars of one standard error. The paper's Figure 11 carries the caption of its Figure 10."
    return [
        Drawing("Figure 3", every, _panels(result, slice(None), bars=False)),
        Drawing("Figure 11", some, _panels(result, slice(None, None, 4), bars=True)),
    ]


def _panels(result: Reproduction, columns: slice, *, bars: bool) -> object:
    """A panel for each width; `columns`: which correlations."""
    weights = sorted({cell.params["sigma_w2"] for cell in result.cells})
    widths = sorted({cell.params["width"] for cell in result.cells})
    colours = shades(weights)
    with style():
        figure, rows = panels(len(widths), share_x=True)
        for axes, width in zip(rows, widths, strict=True):
            for bound in (0.25, 1.0):
                axes.axhline(bound, color=LIGHT["muted"], linewidth=0.8)
            for cell in result.select(width=width):
                arrays, colour = result.arrays[cell.name], colours[cell.params["sigma_w2"]]
                depth = np.array(cell.params["depths"]) / width
                mean, sem, estimate = (arrays[name][:, columns].T for name in ("ratio", "sem", "estimate"))
                opacity = np.linspace(PALEST, 1.0, len(mean))
                for row, strength in enumerate(opacity):
                    if bars:
                        points(axes, depth, mean[row], sem[row], colour)
                    axes.plot(depth, mean[row], "--", color=colour, linewidth=1.0, alpha=strength)
                    axes.plot(depth, estimate[row], color=colour, linewidth=1.2, alpha=strength)
            axes.set_ylim(0, 1.05)
            note(axes, f"M = {width}")
        rows[0].plot([], [], "--", color=LIGHT["ink"], linewidth=1.0, label="measured")
        rows[0].plot([], [], color=LIGHT["ink"], linewidth=1.2, label="estimate (18)")
        rows[-1].set_xlabel("L/M")
        rows[len(rows) // 2].set_ylabel("E Θ(x, x̃)/E Θ(x, x)")
        scale_of(figure, rows, weights, "σ_w²")
        legend(figure, rows[0])
    return figure
