"""Figures 5 and 6: κ₂ and κ₁/κ₂ against depth, by the covariance of the inputs."""

from typing import Any

import numpy as np

from kernelregime.report.canvas import legend, style
from kernelregime.report.figures.scales import log_axis
from kernelregime.report.palette import LIGHT
from kernelregime.report.papers.frames import Drawing, note, panels, points, shades
from kernelregime.report.quantities import number
from kernelregime.results import Reproduction

COVARIANCES = (0.1, 0.3, 0.5, 0.7, 0.9)
COLUMNS = (("erf", "erf"), ("relu", "ReLU"))
ROWS = ("ordered", "edge of chaos", "chaotic")


def against_depth(result: Reproduction) -> list[Drawing]:
    """A figure for κ₂, one for κ₁/κ₂: rows for the phases, erf on the left, ReLU on the right."""
    params = result.cells[0].params
    few, many = min(params["draws"]), max(params["draws"])
    deep = max(depth for depth, count in zip(params["depths"], params["draws"], strict=True) if count == many)
    more = f" ({many} up to L = {deep})" if many > few else ""
    said = (
        f"Colours: x·x'. Points: means of {few} networks{more} of M = {params['width']}; solid: lemma 2 with the biases' term; "
        "dotted: the closed forms of appendix E as printed. The paper draws formulas only; its (σ_w², σ_b²) are not given: "
    )
    settings = "; ".join(f"{name} {', '.join(_settings(result, key))}" for key, name in COLUMNS)
    return [
        Drawing("Figure 5", f"κ₂ against depth. {said}{settings}.", _figure(result, "kappa2", "κ₂")),
        Drawing("Figure 6", f"κ₁/κ₂ against depth. {said}{settings}.", _figure(result, "ratio", "κ₁/κ₂")),
    ]


def _settings(result: Reproduction, activation: str) -> list[str]:
    cells = [result.select(activation=activation, phase=phase)[0].params for phase in ROWS]
    return [f"({number(cell['sigma_w2'])}, {number(cell['sigma_b2'])})" for cell in cells]


def _figure(result: Reproduction, name: str, label: str) -> Any:
    colours = shades(COVARIANCES)
    with style():
        figure, axes = panels(6, columns=2, height=1.8, share_x=True)
        for row, phase in enumerate(ROWS):
            for column, (activation, title) in enumerate(COLUMNS):
                place = axes[2 * row + column]
                (cell,) = result.select(activation=activation, phase=phase)
                arrays = result.arrays[cell.name]
                for index, covariance in enumerate(COVARIANCES):
                    colour, depths = colours[covariance], arrays["curve_depths"]
                    place.plot(depths, arrays[f"full_{name}"][:, index], color=colour, linewidth=1.2)
                    place.plot(depths, arrays[f"printed_{name}"][:, index], color=colour, linewidth=1.0, linestyle=":")
                    mean, sem = arrays[name][:, index], arrays[f"{name}_sem"][:, index]
                    points(place, cell.params["depths"], mean, sem, colour, label=number(covariance))
                shown = np.concatenate([arrays[f"full_{name}"].ravel(), arrays[f"printed_{name}"].ravel()])
                place.set_ylim(0.8 * np.nanmin(shown), 1.25 * np.nanmax(shown))
                log_axis(place, "y")
                note(place, f"{title}, {'edge' if phase == 'edge of chaos' else phase}")
                if name == "ratio":
                    place.axhline(1.0, color=LIGHT["muted"], linewidth=0.8)
        for place in axes[-2:]:
            place.set_xlabel("L")
        figure.supylabel(label, fontsize=10)
        legend(figure, axes[0], columns=5)
    return figure
