"""Figures 1 and 7: the dispersion over (σ_w², L)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelregime.report.canvas import style
from kernelregime.report.palette import LIGHT
from kernelregime.report.papers.can_we_trust.grids import border, mesh
from kernelregime.report.papers.frames import Drawing, note, panels
from kernelregime.report.quantities import number
from kernelregime.results import Cell, Reproduction

TITLES = {"tanh": "tanh", "relu": "ReLU"}
ZONES = ((0.0, "#000000"), (0.5, "#d62728"), (1.0, "#1f4fd6"))  # at dispersions of 1, 2 and 3


def dispersion(result: Reproduction) -> list[Drawing]:
    """Figure 1 by width at σ_b² = 1, figure 7 by σ_b² at one width; tanh on the left, ReLU on the right."""
    widths = sorted({cell.params["width"] for cell in result.cells})
    biases = sorted({cell.params["sigma_b2"] for cell in result.cells})
    (base,) = {cell.params["width"] for cell in result.select(sigma_b2=biases[0])}
    draws = min(result.cells[0].params["draws"])
    said = (
        f"At least {draws} networks a point, n₀ = M, |x|² = n₀. Black: about 1; red: the deviation is about the mean; blue: it is larger. "
        "Depths are not equally far apart. Dashed: "
    )
    first = _maps(result, [("M", "width", width, result.select(sigma_b2=1.0, width=width)) for width in widths])
    second = _maps(result, [("σ_b²", "sigma_b2", bias, result.select(sigma_b2=bias, width=base)) for bias in biases])
    return [
        Drawing("Figure 1", f"E Θ²/(E Θ)² of Θ(x, x) at initialization, tanh and ReLU, σ_b² = 1; {said}χ₁ = 1.", first),
        Drawing("Figure 7", f"The same for other σ_b² at M = {base}; {said}χ₁ = 1 at this σ_b².", second),
    ]


def _maps(result: Reproduction, rows: Sequence[tuple[str, str, float, list[Cell]]]) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    zones = LinearSegmentedColormap.from_list("zones", ZONES)
    with style():
        figure, axes = panels(2 * len(rows), columns=2, height=1.7, share_y=False)
        drawn = None
        for row, (letter, _, value, cells) in enumerate(rows):
            for column, (activation, title) in enumerate(TITLES.items()):
                place = axes[2 * row + column]
                here = sorted((cell for cell in cells if cell.params["activation"] == activation), key=lambda cell: cell.params["sigma_w2"])
                weights = [cell.params["sigma_w2"] for cell in here]
                values = np.array([result.arrays[cell.name]["dispersion"] for cell in here]).T
                drawn = mesh(place, weights, here[0].params["depths"], values, cmap=zones, limits=(1.0, 3.0))
                border(place, result.arrays[here[0].name]["border"])
                note(place, f"{title}, {letter} = {number(value)}")
                if column == 0:
                    place.set_ylabel("L")
                if row == len(rows) - 1:
                    place.set_xlabel("σ_w²")
        bar = figure.colorbar(drawn, ax=axes, location="top", extend="max", ticks=[1.0, 1.5, 2.0, 2.5, 3.0], aspect=40)
        bar.set_label("E Θ²/(E Θ)²", color=LIGHT["ink"])
    return figure
