"""Figure 2.4: double descent, and the risk of other interpolators."""

from typing import Any

import numpy as np

from kernelregime.report.canvas import legend, style
from kernelregime.report.figures.scales import log_axis
from kernelregime.report.palette import LIGHT
from kernelregime.report.papers.frames import Drawing, note, panels, points
from kernelregime.report.quantities import number
from kernelregime.results import Reproduction

TOP = 40.0  # of the axis of risks


def risks(result: Reproduction) -> list[Drawing]:
    """Risk and training error against γ for both signals, and the risk of interpolators against α."""
    return [_descent(result), _interpolators(result)]


def _descent(result: Reproduction) -> Drawing:
    cells = [cell for cell in result.cells if not cell.params.get("interpolators")]
    ratios = np.array([cell.params["ratio"] for cell in cells])
    arrays = [result.arrays[cell.name] for cell in cells]
    signals = arrays[0]["signals"]
    with style():
        figure, rows = panels(len(signals), height=2.7, share_x=True)
        for index, (axes, signal) in enumerate(zip(rows, signals, strict=True)):
            weight = np.array([signal, np.sqrt(signal), 1.0])
            for name, colour, label in (("test", "network", "new data"), ("train", "muted", "train data")):
                draws = [found[name].astype(float) @ weight for found in arrays]
                mean = [np.mean(values) for values in draws]
                sem = [np.std(values, ddof=1) / np.sqrt(values.size) for values in draws]
                points(axes, ratios, mean, sem, LIGHT[colour], label=label)
            for below in (True, False):
                side = (ratios < 1) == below
                for name, more, line, label in (
                    ("exact", 1, "-", "exact"),
                    ("limit", 1, "--", "limit, corrected"),
                    ("printed", 0, ":", "limit, printed"),
                ):
                    curve = np.array([found[name][index] for found in arrays])[side] + more
                    colour = LIGHT["linearized"] if name == "printed" else LIGHT["ink"]
                    axes.plot(ratios[side], curve, line, color=colour, linewidth=1.2, label=label if below else None)
            axes.axvline(1, color=LIGHT["muted"], linewidth=0.8)
            axes.set_ylim(-4, min(TOP, 1.1 * axes.get_ylim()[1]))
            _symmetric(axes)
            note(axes, f"r² = {number(signal)}, σ² = 1")
        log_axis(rows[-1], "x")
        rows[-1].set_xlabel("γ = P/N")
        for axes in rows:
            axes.set_ylabel("risk")
        legend(figure, rows[0])
    caption = (
        f"Risk of ridgeless least squares on N = {cells[0].params['points']} normal points against parameters over points, r² = ‖w*‖²: "
        "measured on train and on new data (points, one standard error), exactly for this N, and the limit N → ∞ as printed and corrected. "
        "The printed limit lacks the noise of new data and has the wrong sign above γ = 1. For r² > σ² the risk has a minimum above γ = 1 "
        "and rises again. The thesis draws a sketch without numbers."
    )
    return Drawing("Figure 2.4", caption, figure)


def _symmetric(axes: Any) -> None:
    """An axis that is logarithmic above 1, and shows negative risks too."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_yscale("symlog", linthresh=1.0)
    axes.yaxis.set_major_locator(FixedLocator([-2, 0, 1, 2, 5, 10, 20, 50]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axes.yaxis.set_minor_locator(NullLocator())


def _interpolators(result: Reproduction) -> Drawing:
    (cell,) = (cell for cell in result.cells if cell.params.get("interpolators"))
    arrays = result.arrays[cell.name]
    alphas = arrays["alphas"]
    shown = np.where(alphas > 0, alphas, 0.1)  # α = 0 at the left end of a logarithmic axis
    with style():
        figure, (axes,) = panels(1, height=2.7)
        for name, colour, label in (
            ("test_fit", "network", "ŵ + αΔw, new data"),
            ("test", "nngp", "w* + αΔw, new data"),
            ("train", "linearized", "w* + αΔw, train data"),
        ):
            sem = np.std(arrays[name], axis=0, ddof=1) / np.sqrt(len(arrays[name]))
            points(axes, shown, np.mean(arrays[name], axis=0), sem, LIGHT[colour], label=label)
        axes.plot(shown, alphas**2 * np.mean(arrays["direction"]) + 1, "--", color=LIGHT["ink"], linewidth=1.2, label="eq. 2.47")
        log_axis(axes, "x")
        log_axis(axes, "y")
        axes.set_xticks(shown, [number(alpha) for alpha in alphas])
        axes.set_xlabel("α")
        axes.set_ylabel("mean squared error")
        legend(figure, axes, columns=1)
    caption = (
        f"Solutions moved by α along a random unit vector Δw with XΔw = 0, on N = {cell.params['points']} points, P = 2N, noise of "
        "variance 1. ŵ + αΔw fits the train set exactly (error below 10⁻¹⁵, not shown) for every α; the thesis' w* + αΔw does not, as "
        "the targets are noisy. The thesis has no figure of it."
    )
    return Drawing("Eq. 2.47", caption, figure)
