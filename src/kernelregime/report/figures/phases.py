"""Phase diagrams over the variances of weights and biases."""

import math
from typing import Any

import numpy as np

from kernelregime._checks import array, fail
from kernelregime.report.canvas import blank, legend, style
from kernelregime.report.palette import LIGHT
from kernelregime.report.quantities import number

DIVERGING = "PuOr"  # neutral at the edge of chaos; told apart with any colour vision
Curve = tuple[Any, Any]
Point = tuple[float, float | None]


def phase_diagram(edge: Curve, *, point: Point | None = None) -> Any:
    """The edge of chaos in the plane of σ_w² and σ_b², the two phases beside it, and one network.

    `edge = (sigma_w2, sigma_b2)`, each (K,); `point = (sigma_w2, sigma_b2)`, with None for a network without biases.
    The phases are shaded where the edge has one σ_w² for every σ_b².
    """
    sw2, sb2 = (np.asarray(side, dtype=np.float64).ravel() for side in edge)
    known = np.isfinite(sw2) & np.isfinite(sb2)
    sw2, sb2 = sw2[known], sb2[known]
    with style():
        figure, axes = blank(3.0)
        reach = max([1.0, *(1.1 * sw2), *(1.7 * sw2[:1])])
        height = float(max([0.05, *sb2]))
        if point is not None:
            reach, height = max(reach, 1.2 * point[0]), max(height, 1.15 * (point[1] or 0.0))
        if sb2.size > 1 and (np.diff(sb2) >= 0).all():
            axes.fill_betweenx(sb2, 0, sw2, color=LIGHT["ntk"], alpha=0.13, linewidth=0)
            axes.fill_betweenx(sb2, sw2, reach, color=LIGHT["feature"], alpha=0.13, linewidth=0)
            axes.text(0.03, 0.95, "ordered\nχ₁ < 1", transform=axes.transAxes, va="top", color=LIGHT["ntk"])
            axes.text(0.97, 0.38, "chaotic\nχ₁ > 1", transform=axes.transAxes, ha="right", color=LIGHT["feature"])
        axes.plot(sw2, sb2, color=LIGHT["ink"], label="edge of chaos")
        if point is not None:
            _mark(axes, point)
        axes.set_xlim(0, reach)
        axes.set_ylim(-0.03 * height, height)
        axes.set_xlabel("variance of weights, σ_w²")
        axes.set_ylabel("variance of biases, σ_b²")
        legend(figure, axes)
    return figure


def _mark(axes: Any, point: Point) -> None:
    label = "this network" + " (no bias)" * (point[1] is None)
    axes.plot(
        [point[0]], [point[1] or 0.0], "*", markersize=15, color=LIGHT["network"], markeredgecolor=LIGHT["surface"],
        label=label, clip_on=False, zorder=5,
    )  # fmt: skip


def phase_figure(sigma_w2: Any, sigma_b2: Any, chi1: Any, *, edge: Curve | None = None, point: Point | None = None) -> Any:
    """χ₁ over a grid of variances, as a heat map that is neutral at the edge of chaos χ₁ = 1.

    `sigma_w2` (A,) and `sigma_b2` (B,) ascending; `chi1` (A, B), nan where no fixed point exists (left blank), inf where φ jumps; `edge`
    and `point` as in `phase_diagram`. Raises: `InputError` for shapes that do not fit.
    """
    sw2, sb2 = array("sigma_w2", sigma_w2, ndim=1), array("sigma_b2", sigma_b2, ndim=1)
    values = array("chi1", chi1, ndim=2, finite=False).astype(np.float64)
    if values.shape != (sw2.size, sb2.size) or min(values.shape) < 2:
        raise fail(f"chi1 of shape {(sw2.size, sb2.size)}, at least 2 × 2", f"shape {values.shape}", "give one χ₁ a pair")
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(values > 0, np.log2(values), np.where(values == 0, -np.inf, np.nan))
    finite = np.abs(logs[np.isfinite(logs)])
    reach = min(max(float(finite.max()) if finite.size else 1.0, 0.1), 3.0)
    with style():
        from matplotlib.ticker import FuncFormatter

        figure, axes = blank(3.2)
        shown = logs.T.clip(-reach, reach)
        mesh = axes.pcolormesh(sw2, sb2, shown, cmap=DIVERGING, vmin=-reach, vmax=reach, shading="nearest", rasterized=True)
        if edge is not None and np.size(edge[0]):
            axes.plot(*edge, color=LIGHT["ink"], label="edge of chaos, χ₁ = 1")
        if point is not None:
            _mark(axes, point)
        axes.set_xlim(sw2[0], sw2[-1])
        axes.set_ylim(sb2[0], sb2[-1])
        axes.grid(visible=False)
        axes.set_xlabel("variance of weights, σ_w²")
        axes.set_ylabel("variance of biases, σ_b²")
        bar = figure.colorbar(mesh, ax=axes, extend="both" if (np.abs(logs) > reach).any() else "neither")
        bar.solids.set_rasterized(True)
        bar.locator = _round_ticks(reach)
        bar.formatter = FuncFormatter(lambda value, _: number(2.0**value))
        bar.update_ticks()
        bar.set_label("χ₁ (< 1 ordered, > 1 chaotic)")
        legend(figure, axes)
    return figure


def _round_ticks(reach: float) -> Any:
    """Ticks of log₂ χ₁ at round values of χ₁ within ±`reach`, always with χ₁ = 1."""
    from matplotlib.ticker import FixedLocator

    ladders = ((1.05,), (1.1,), (1.2,), (1.5,), (2.0,), (2.0, 4.0), (2.0, 4.0, 8.0))
    fitting = [steps for steps in ladders if math.log2(steps[-1]) <= reach + 1e-9]
    ups = [math.log2(step) for step in (fitting[-1] if fitting else ())]
    return FixedLocator([*(-up for up in reversed(ups)), 0.0, *ups])
