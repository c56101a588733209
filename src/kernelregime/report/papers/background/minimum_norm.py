"""Theorem 2.4: the way of gradient descent to its limit."""

import numpy as np

from kernelregime.report.canvas import legend, style
from kernelregime.report.figures.scales import log_axis
from kernelregime.report.palette import LIGHT
from kernelregime.report.papers.frames import Drawing, note, panels
from kernelregime.results import Reproduction

FLOOR = 1e-16  # below it is rounding


def ways(result: Reproduction) -> list[Drawing]:
    """Distances against steps for each shape at η = 1/λ_max, from zero and from a normal start."""
    with style():
        figure, rows = panels(len(result.cells), height=2.0, share_x=True)
        for axes, cell in zip(rows, result.cells, strict=True):
            arrays = result.arrays[cell.name]
            steps = arrays["steps"][1:]
            curves = (
                ("to_least", 0, "linearized", "-", "zero, least norm"),
                ("to_least", 1, "network", "-", "normal, least norm"),
                ("to_nearest", 1, "nngp", "-", "normal, nearest"),
                ("predicted", 0, "ink", ":", "predicted"),
                ("predicted", 1, "ink", ":", ""),
            )
            for name, start, colour, line, label in curves:
                middle = np.median(arrays[name][0, 1:, start], axis=-1)
                axes.plot(steps, np.where(middle > FLOOR, middle, np.nan), line, color=LIGHT[colour], label=label or None)
            axes.set_xscale("log")
            log_axis(axes, "y")
            note(
                axes, f"N = {cell.params['points']}, P = {cell.params['parameters']}" + ", repeated columns" * (cell.params["repeated"] > 0)
            )
        log_axis(rows[-1], "x")
        rows[-1].set_xlabel("step")
        rows[len(rows) // 2].set_ylabel("distance/|w⁽⁰⁾ - limit|")
        legend(figure, rows[0])
    caption = (
        "Gradient descent on least squares at η = 1/λ_max(XᵀX), N normal points, P parameters: distance of the iterates from the solution "
        "of least norm and from the one nearest to the start, from zero and from a normal start (medians over draws; dotted: by the "
        "singular values of X). From a normal start the solution of least norm is missed unless there is one solution only. The thesis "
        "has no figure of it."
    )
    return [Drawing("Theorem 2.4", caption, figure)]
