"""Figure 4, and the thesis' figure 2.5: losses, block means and heat maps of the NTK in training."""

from typing import Any

import numpy as np

from kernelregime.report.canvas import legend, style
from kernelregime.report.figures.scales import log_axis, spread, step_axis
from kernelregime.report.palette import LIGHT
from kernelregime.report.papers.frames import Drawing, note, panels
from kernelregime.report.quantities import number
from kernelregime.results import Reproduction

MAP = "viridis"
COLOURS = ("kernel", "near", "feature")  # ordered phase, edge of chaos, chaotic phase


def training(result: Reproduction) -> list[Drawing]:
    """Losses and block means by epoch; heat maps at four epochs."""
    params = result.cells[0].params
    points, rate = params["points"] or "all", number(params["rate"])
    setting = (
        f"ReLU networks, L = {params['depth']}, M = {params['width']}, {points} points of {params['data']}, Adam at a rate of {rate}, "
        "full batches"
    )
    curves = (
        f"Training of {setting}: test (a) and train loss (b), and the means of the NTK on 10 points of every class, relative to the "
        f"diagonal: pairs of one class (solid) and of two (dashed) (c to e). Median and range of {params['networks']} networks. The paper "
        "has one network each, L = 20, M = 300, the whole of MNIST and 3,000 epochs."
    )
    maps = (
        f"The NTK of one network of each σ_w² in training ({setting}) at four epochs t; points are in the order of their classes, ten of "
        "each. As in the paper, colours span the values of each map by itself, brighter is larger."
    )
    return [
        Drawing("Figure 4 a to e", curves, _curves(result)),
        Drawing("Figure 4, heat maps, and thesis, Figure 2.5", maps, _maps(result)),
    ]


def _by_weight(result: Reproduction) -> list[tuple[float, Any]]:
    """The arrays of each σ_w²."""
    cells = [(cell.params["weights"], result.arrays[cell.name]) for cell in result.cells]
    return [
        (weight, {name: array[index] for name, array in arrays.items()})
        for weights, arrays in cells
        for index, weight in enumerate(weights)
    ]


def _curves(result: Reproduction) -> Any:
    times = result.cells[0].params["times"]
    with style():
        figure, rows = panels(5, share_x=True, height=1.7)
        for (weight, arrays), colour, letter, axes in zip(_by_weight(result), COLOURS, "cde", rows[2:], strict=True):
            for name, panel in (("test", rows[0]), ("train", rows[1])):
                spread(panel, times, arrays[name].T, colour, label=f"σ_w² = {number(weight)}", log=True)
            spread(axes, times, (arrays["theta_c"] / arrays["theta_d"]).T, colour)
            spread(axes, times, (arrays["theta_n"] / arrays["theta_d"]).T, colour, line="--")
            axes.set_ylim(0, 1.02)
            note(axes, f"{letter}) σ_w² = {number(weight)}: Θ̄_c/Θ̄_d; dashed: Θ̄_n/Θ̄_d")
        for axes, name in zip(rows, ("a) test loss", "b) train loss"), strict=False):
            log_axis(axes, "y")
            note(axes, name)
        step_axis(rows[-1], times)
        rows[-1].set_xlabel("epoch")
        legend(figure, rows[0], columns=3)
    return figure


def _maps(result: Reproduction) -> Any:
    shown = result.cells[0].params["shown"]
    found = [(weight, time, image) for weight, arrays in _by_weight(result) for time, image in zip(shown, arrays["maps"], strict=True)]
    with style():
        figure, places = panels(len(found), columns=len(shown), height=1.02)
        for index, (axes, (weight, time, image)) in enumerate(zip(places, found, strict=True)):
            axes.imshow(np.asarray(image, np.float32), cmap=MAP, interpolation="none")
            axes.grid(visible=False)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_color(LIGHT["muted"])
            if index < len(shown):
                axes.set_title(f"t = {time}", fontsize=10)
            if index % len(shown) == 0:
                axes.set_ylabel(f"σ_w² = {number(weight)}")
    return figure
