"""The figure of the verdict: measured numbers on its scale."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from kernelregime.claims import Estimate
from kernelregime.report.canvas import blank, style
from kernelregime.report.figures.scales import BANDS, log_axis
from kernelregime.report.palette import LIGHT

Row = tuple[str, Estimate, float, float | None]


def verdict_scale(rows: Sequence[Row]) -> Any:
    """Each row (name, estimate, kernel threshold, near threshold) as a dot with its standard error on the bands of the verdict.

    A number below the first threshold is called kernel regime, one above the second feature learning; both are in the estimate's own
    unit, and the second is None where the verdict goes no further than "near".
    """
    means = [row[1].mean for row in rows if math.isfinite(row[1].mean) and row[1].mean > 0]
    low = min([0.05 * min(row[2] for row in rows), *(0.5 * mean for mean in means)])
    high = max([8 * (row[3] or row[2]) for row in rows] + [2 * mean for mean in means])
    with style():
        figure, axes = blank(0.95 + 0.45 * len(rows))
        for height, (_, estimate, kernel, near) in enumerate(rows):
            edges = (low, kernel, high) if near is None else (low, kernel, near, high)
            for band, (left, right) in zip(BANDS, pairwise(edges), strict=False):
                axes.barh(height, right - left, left=left, height=0.72, color=LIGHT[band], alpha=0.25, linewidth=0)
            if math.isfinite(estimate.mean) and estimate.mean > 0:
                sem = estimate.sem if math.isfinite(estimate.sem) else 0.0
                reach = [[min(sem, 0.999 * estimate.mean)], [sem]]
                axes.errorbar(estimate.mean, height, xerr=reach, fmt="o", markersize=8, color=LIGHT["ink"], capsize=5)
        axes.set_yticks(range(len(rows)), [row[0] for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.95)
        axes.set_xlim(low, high)
        edges = (low, rows[0][2], rows[0][3] or high, high)
        for band, name, (left, right) in zip(BANDS, ("kernel", "near", "feature learning"), pairwise(edges), strict=True):
            if right > left:
                axes.text(math.sqrt(left * right), -0.45, name, ha="center", va="bottom", color=LIGHT[band])
        log_axis(axes, "x")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("relative change (kernel regime: small)")
    return figure
