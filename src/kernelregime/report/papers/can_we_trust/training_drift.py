"""Figures 3, 4 and 8 to 11: the change of the NTK by training, and the loss, over (σ_w², L)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelregime.report.canvas import style
from kernelregime.report.palette import LIGHT
from kernelregime.report.papers.can_we_trust.grids import border, mesh
from kernelregime.report.papers.frames import Drawing, note, panels
from kernelregime.report.quantities import number
from kernelregime.results import Reproduction

TITLES = {"tanh": "tanh", "relu": "ReLU"}
NUMBERS = {"tanh": (3, 8, 10), "relu": (4, 9, 11)}  # of the figures: at the end with the loss, by steps, by width


def drift(result: Reproduction) -> list[Drawing]:
    """For each activation: change and least loss at the end, change by steps, change by width."""
    widths = sorted({cell.params["width"] for cell in result.cells})
    params, middle = result.cells[0].params, widths[len(widths) // 2]
    steps, made = params["steps"], []
    said = (
        f"Means of {params['networks']} networks, σ_b² = 1, {params['train']} images of MNIST, learning rate {number(params['rate'])} or "
        "what is stable; dashed: χ₁ = 1. Sizes are smaller than the paper's."
    )
    for activation, title in TITLES.items():
        if not result.select(activation=activation):
            continue
        end, by_step, by_width = NUMBERS[activation]
        last = len(steps) - 1
        changes = [
            (f"{number(step)} steps" if step > 1 else "1 step", _map(result, activation, middle, "drift", row))
            for row, step in enumerate(steps)
        ]
        ends = [(f"M = {width}", _map(result, activation, width, "drift", last)) for width in widths]
        least = ("least loss", _map(result, activation, middle, "least"))
        words = f"Relative change of Θ by training, {title}, M = {middle}"
        made += [
            Drawing(f"Figure {end}", f"{words}, at the end, and the least loss reached. {said}", _both(ends[len(widths) // 2], least)),
            Drawing(f"Figure {by_step}", f"{words}. {said}", _maps(changes)),
            Drawing(f"Figure {by_width}", f"Relative change of Θ at the end of training, {title}. {said}", _maps(ends)),
        ]
    return made


Map = tuple[list[float], list[int], np.ndarray, float]


def _map(result: Reproduction, activation: str, width: int, name: str, row: int | None = None) -> Map:
    """σ_w², depths, values (depths, σ_w²), and the border."""
    cells = sorted(result.select(activation=activation, width=width), key=lambda cell: cell.params["depth"])
    arrays = [result.arrays[cell.name] for cell in cells]
    values = np.array([(found[name] if row is None else found[name][row]).mean(axis=-1) for found in arrays])
    return cells[0].params["weights"], [cell.params["depth"] for cell in cells], values, float(arrays[0]["border"])


def _panel(axes: Any, title: str, field: Map, *, loss: bool = False) -> Any:
    from matplotlib.colors import LogNorm

    weights, depths, values, edge = field
    scale = LogNorm(1e-3, 1.0) if loss else LogNorm(1e-2, 10.0)
    drawn = mesh(axes, weights, depths, values, cmap="RdYlBu_r" if loss else "magma", norm=scale)
    border(axes, edge, colour=LIGHT["ink"] if loss else "#ffffff")
    note(axes, title)
    axes.set_ylabel("L")
    axes.set_xlabel("σ_w²")
    return drawn


def _both(change: tuple[str, Map], loss: tuple[str, Map]) -> Any:
    """The change beside the loss, each with its bar."""
    with style():
        figure, (left, right) = panels(2, columns=2, height=2.6)
        for axes, title, field, is_loss in ((left, "change", change[1], False), (right, loss[0], loss[1], True)):
            drawn = _panel(axes, title, field, loss=is_loss)
            _bar(figure, drawn, axes, "")
    return figure


def _maps(fields: Sequence[tuple[str, Map]]) -> Any:
    """Changes under one bar."""
    with style():
        figure, axes = panels(len(fields), columns=2, height=1.9)
        for place, (title, field) in zip(axes, fields, strict=True):
            drawn = _panel(place, title, field)
        _bar(figure, drawn, axes, "‖Θᵗ − Θ⁰‖/‖Θ⁰‖")
    return figure


def _bar(figure: Any, drawn: Any, axes: Any, label: str) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    bar = figure.colorbar(drawn, ax=axes, location="top", extend="both")
    low, high = drawn.norm.vmin, drawn.norm.vmax
    ticks = [10.0**power for power in range(round(np.log10(low)), round(np.log10(high)) + 1)]
    bar.ax.xaxis.set_major_locator(FixedLocator(ticks))
    bar.ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    bar.ax.xaxis.set_minor_locator(NullLocator())
    if label:
        bar.set_label(label)
