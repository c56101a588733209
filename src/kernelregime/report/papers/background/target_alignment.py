"""Alignment (2.63) against the test error, and in training."""

import numpy as np

from kernelregime.report.canvas import style
from kernelregime.report.figures.scales import log_axis
from kernelregime.report.palette import LIGHT
from kernelregime.report.papers.frames import Drawing, note, panels
from kernelregime.results import Reproduction

PANELS = (
    ("labels", "network", "by fraction of random labels"),
    ("pairs", "ntk", "by pair of digits"),
    ("kernels", "nngp", "by kernel, one target"),
)


def against_errors(result: Reproduction) -> list[Drawing]:
    """Loss against alignment for all that was varied, and alignment in training."""
    return [_scatter(result), _training(result)]


def _scatter(result: Reproduction) -> Drawing:
    with style():
        figure, rows = panels(6, columns=2, height=2.2)
        for row, (varied, colour, label) in enumerate(PANELS):
            for column, name in enumerate(("alignment", "centred")):
                axes = rows[2 * row + column]
                for cell in result.select(varied=varied):
                    arrays = result.arrays[cell.name]
                    axes.plot(arrays[name], arrays["loss"], "o", markersize=2, color=LIGHT[colour])
                axes.set_xlabel("alignment" if column == 0 else "centred alignment")
            rows[2 * row].set_ylabel("test loss")
            note(rows[2 * row], label)
    data, points = (result.select(varied="labels")[0].params[name] for name in ("data", "points"))
    caption = (
        f"Loss min(|f - y|, 1) of kernel regression on test points of {data} against the alignment of the NTK with the labels of the train "
        f"points, plain (2.63) and centred: for one kernel and the labels of {points} points, several fractions of them random; for pairs "
        "of digits; for one target and kernels of several depths, σ_w² and σ_b². All parts of the data. The thesis has no figure of it."
    )
    return Drawing("Eq. 2.63", caption, figure)


def _training(result: Reproduction) -> Drawing:
    with style():
        figure, (axes,) = panels(1, height=2.5)
        cells = result.select(varied="training")
        for cell in cells:
            arrays = result.arrays[cell.name]
            axes.plot(np.maximum(arrays["steps"], 1), arrays["alignment"], "-", linewidth=1.0, color=LIGHT["network"])
        log_axis(axes, "x")
        axes.set_xlabel("step")
        axes.set_ylabel("alignment")
    width = cells[0].params["width"]
    caption = (
        f"Alignment of the empirical NTK with the labels while networks of width {width} learn to tell two digits apart, one line for each "
        "pair of digits (step 0 is drawn at 1). The thesis shows a kernel matrix at four epochs instead (figure 2.5)."
    )
    return Drawing("Section 2.4.4", caption, figure)
