"""Figures 7 and 8: the dispersion off the diagonal."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelregime.report.canvas import style
from kernelregime.report.figures.scales import log_axis
from kernelregime.report.palette import LIGHT
from kernelregime.report.papers.frames import Drawing, note, panels, points, shades
from kernelregime.report.quantities import number
from kernelregime.results import Reproduction

PRODUCTS = ((0.1, "o"), (0.5, "s"), (0.9, "^"))
FIGURES = (("Figure 7", (1.0, 1.5, 2.0, 2.5), "limit"), ("Figure 8", (1.8, 1.9, 2.0, 2.1), "exact"))
CURVES = {
    "limit": "the limit of the diagonal's dispersion (corrected; at σ_w² = 1.5 the same as at 1)",
    "exact": "the exact dispersion on the diagonal at this width",
}


def dispersion(result: Reproduction) -> list[Drawing]:
    """Far from and near the edge of chaos: dispersion against L/M for three angles, a panel for each n_0/M."""
    known = {cell.params["sigma_w2"] for cell in result.cells}
    return [_figure(result, name, [w for w in weights if w in known], curve) for name, weights, curve in FIGURES]


def _figure(result: Reproduction, name: str, weights: Sequence[float], curve: str) -> Drawing:
    alphas = sorted({cell.params["alpha0"] for cell in result.cells}, reverse=True)
    colours = shades(weights)
    with style():
        figure, rows = panels(len(alphas), height=2.2, share_x=True)
        for axes, alpha in zip(rows, alphas, strict=True):
            for weight in weights:
                (cell,) = result.select(sigma_w2=weight, alpha0=alpha)
                arrays, ratio = result.arrays[cell.name], np.array(cell.params["depths"]) / cell.params["width"]
                axes.plot(ratio, arrays[curve], color=colours[weight], linewidth=1.2)
                _measured(axes, ratio, arrays, colours[weight])
            log_axis(axes, "y")
            note(axes, f"n₀/M = {number(alpha)}")
        rows[-1].set_xlabel("L/M")
        rows[len(rows) // 2].set_ylabel("E Θ²/(E Θ)²")
        _legend(figure, colours)
    width = result.cells[0].params["width"]
    caption = (
        f"Dispersion of Θ(x, x̃) at initialization against depth over width (M = {width}, zero biases), for three angles between the "
        "inputs (markers, moved apart a little), by jackknife with one bootstrap error; hollow where a few draws decide it. Lines: "
        f"{CURVES[curve]}. In the paper M = 200."
    )
    return Drawing(name, caption, figure)


def _measured(axes: Any, ratio: np.ndarray, arrays: Any, colour: str) -> None:
    for index, (_, marker) in enumerate(PRODUCTS, start=1):
        x, known = ratio + 0.006 * (index - 2), arrays["reliable"][:, index].astype(bool)
        mean, sem = arrays["dispersion"][:, index], arrays["sem"][:, index]
        points(axes, x[known], mean[known], sem[known], colour, marker=marker)
        axes.plot(x[~known], mean[~known], marker, color=colour, markersize=3, markerfacecolor="none", markeredgewidth=0.7)


def _legend(figure: Any, colours: dict[float, str]) -> None:
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color=colour, label=f"σ_w² = {number(weight)}") for weight, colour in colours.items()]
    marks = [
        Line2D([], [], color=LIGHT["muted"], marker=marker, linestyle="none", markersize=4, label=f"x·x̃ = {number(product)}")
        for product, marker in PRODUCTS
    ]
    figure.legend(handles=[*lines, *marks], loc="outside upper left", ncols=2)
