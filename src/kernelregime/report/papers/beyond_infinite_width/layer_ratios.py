"""Lemmas A.1, A.2 and A.4 as pictures: the ratios of norms of consecutive layers."""

from typing import Any

import numpy as np

from kernelregime.report.canvas import legend, style
from kernelregime.report.figures.scales import log_axis
from kernelregime.report.palette import LIGHT
from kernelregime.report.papers.frames import Drawing, note, panels, points, shades
from kernelregime.results import Reproduction

FIRST, LAST = -3.0, 4.0  # of the histograms' bins


def ratios(result: Reproduction) -> list[Drawing]:
    """Products over layers against their number, and the law of a single ratio against its normal limit."""
    return [_products(result), _limits(result)]


def _products(result: Reproduction) -> Drawing:
    deep = [cell for cell in result.cells if cell.name.startswith("deep")]
    with style():
        figure, rows = panels(len(deep), height=2.0)
        for axes, cell in zip(rows, deep, strict=True):
            arrays, n = result.arrays[cell.name], cell.params["inputs"]
            layers = np.arange(1, len(arrays["exact"]) + 1)
            axes.plot(layers, arrays["printed"], ":", color=LIGHT["feature"], label="N_δ N_x, printed")
            axes.plot(layers, arrays["exact"], color=LIGHT["network"], label="N_δ N_x, exact")
            axes.axhline(1, color=LIGHT["muted"], linewidth=1.0, label="independent")
            points(axes, layers, arrays["both"], arrays["both_sem"], LIGHT["network"], label="N_δ N_x, measured")
            points(axes, layers, arrays["errors"], arrays["errors_sem"], LIGHT["kernel"], label="N_δ, measured", marker="s")
            log_axis(axes, "y")
            note(axes, f"{n} units a layer")
        rows[-1].set_xlabel("layers")
        rows[len(rows) // 2].set_ylabel("E Π N / Π E N")
        legend(figure, rows[0])
    caption = (
        "Mean of products of layer ratios over the product of their means, against the number of layers: measured, with one standard "
        "error; Π(1 + 1/n) as printed (29); exact. Independent passes would give 1. The mean of long products comes from rare draws: their "
        "errors are then too small. The paper has no such figure."
    )
    return Drawing("Lemma A.4", caption, figure)


def _limits(result: Reproduction) -> Drawing:
    wide = [cell for cell in result.cells if cell.name.startswith("wide")]
    widths = [cell.params["hidden"][0] for cell in wide]
    colours = shades(widths)
    with style():
        figure, (left, right, below) = panels(3, height=2.0)
        for axes, index, name in ((left, 0, "N_x"), (right, 1, "N_δ")):
            _normal(axes)
            for cell, width in zip(wide, widths, strict=True):
                density = result.arrays[cell.name]["histogram"][index]
                middles = np.linspace(FIRST, LAST, 2 * density.size + 1)[1::2]
                axes.plot(middles, density, color=colours[width], linewidth=1.2, label=f"n = {width}")
            note(axes, name)
            axes.set_xlabel("(N - E N)/√Var N")
        for index, (name, colour, marker) in enumerate((("N_x", "network", "o"), ("N_δ", "kernel", "s"))):
            mean, sem = ([float(result.arrays[cell.name][kind][index]) for cell in wide] for kind in ("cubes", "cubes_sem"))
            points(below, widths, mean, sem, LIGHT[colour], label=name, marker=marker)
        below.plot(widths, [float(result.arrays[cell.name]["skewness"]) for cell in wide], color=LIGHT["muted"], label="3.94/√n")
        log_axis(below, "x")
        log_axis(below, "y")
        below.legend()
        note(below, "skewness")
        below.set_xlabel("units n of the layer")
        legend(figure, left)
    caption = (
        "Law of the standardized ratios of one layer against its width n, the normal limit (grey), and their skewness with one standard "
        "error beside 3.94/√n. The paper has no such figure."
    )
    return Drawing("Lemmas A.1 and A.2", caption, figure)


def _normal(axes: Any) -> None:
    x = np.linspace(FIRST, LAST, 200)
    axes.fill_between(x, np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi), color=LIGHT["grid"], label="normal")
