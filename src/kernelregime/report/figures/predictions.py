"""Figures of what the trained network computes, against what theory says it computes."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from kernelregime.claims import Estimate
from kernelregime.report.canvas import blank, legend, style
from kernelregime.report.palette import LIGHT
from kernelregime.report.quantities import number, with_error

REACH = 5.0  # standard deviations shown; the rest is counted in the outermost bins


def z_scores(zscores: Any) -> Any:
    """Histogram of z = (f_T - mean) / std of the trained outputs under the infinite-width ensemble, against N(0, 1); `zscores` (K,)."""
    with style():
        figure, axes = blank(2.8)
        values = np.asarray(zscores, dtype=np.float64).ravel()
        values = np.clip(values[np.isfinite(values)], -REACH, REACH)
        edges = np.linspace(-REACH, REACH, 41)
        weights = np.full(values.size, 1 / (max(values.size, 1) * (edges[1] - edges[0])))
        counts, _ = np.histogram(values, edges, weights=weights)
        axes.stairs(counts, edges, fill=True, color=LIGHT["network"], alpha=0.35, label="trained networks")
        grid = np.linspace(-REACH, REACH, 201)
        normal = np.exp(-(grid**2) / 2) / math.sqrt(2 * math.pi)
        axes.plot(grid, normal, color=LIGHT["ntk"], linestyle=(0, (1, 1.2)), linewidth=2.4, label="theory, N(0, 1)")
        axes.set_xlim(-REACH, REACH)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("distance from the mean, in standard deviations")
        axes.set_ylabel("density")
        legend(figure, axes)
    return figure


def predictor_errors(errors: Mapping[str, Estimate], *, label: str = "test error") -> Any:
    """Test error of each predictor as a bar from zero with its standard error; `errors` maps a predictor's name to its estimate.

    The names "network", "linearized", "ntk" and "nngp" have their own colours.
    """
    names = {"network": "network", "linearized": "linearized", "ntk": "NTK", "nngp": "NNGP"}
    with style():
        figure, axes = blank(0.75 + 0.42 * len(errors))
        reach = 0.0
        for row, (name, error) in enumerate(errors.items()):
            if not math.isfinite(error.mean):
                axes.text(0, row, "  not known", va="center", color=LIGHT["muted"])
                continue
            sem = error.sem if math.isfinite(error.sem) else 0.0
            colour = LIGHT.get(name, LIGHT["muted"])
            axes.barh(row, error.mean, height=0.62, color=colour, alpha=0.45, linewidth=0)
            axes.errorbar(error.mean, row, xerr=sem, color=colour, capsize=4, linewidth=1.8, capthick=1.8)
            reach = max(reach, error.mean + sem)
            axes.annotate(with_error(error), (error.mean + sem, row), (6, 0), textcoords="offset points", va="center")
        axes.set_yticks(range(len(errors)), [names.get(name, name) for name in errors])
        axes.set_ylim(len(errors) - 0.5, -0.5)
        axes.set_xlim(0, 1.75 * reach or 1)  # room for the numbers at the bars' ends
        axes.locator_params(axis="x", nbins=5)
        axes.xaxis.set_major_formatter(lambda value, _: number(value))
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(label)
    return figure
