"""Figures of eigenvalues."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kernelregime.report.canvas import blank, legend, style
from kernelregime.report.figures.scales import log_axis, over_seeds, positive
from kernelregime.report.palette import LIGHT

_POINTS = 240  # ranks drawn for each curve
_LOOKS: dict[str, tuple[str, str, Any, float]] = {
    "initial": ("at initialization", "network", (0, (5, 2)), 1.8),
    "final": ("after training", "linearized", "-", 1.8),
    "infinite": ("infinite width", "ntk", (0, (1, 1.2)), 2.6),
    "ntk": ("NTK", "ntk", "-", 1.8),
    "nngp": ("NNGP", "nngp", (0, (5, 2)), 1.8),
}


def spectrum_figure(spectra: Mapping[str, Any], *, threshold: float | None = None) -> Any:
    """Eigenvalues against their rank, both on logarithmic axes.

    `spectra` maps a name ("initial", "final", "infinite", "ntk", "nngp", or any other) to eigenvalues in descending order, of shape
    (N,), or (S, N) for S seeds, drawn as median and range. Eigenvalues that are not positive are left out. `threshold`: the
    eigenvalue above which a mode can train in the given time.
    """
    with style():
        figure, axes = blank(3.0)
        seen = [positive([threshold if threshold is not None else np.nan])]
        for name, values in spectra.items():
            label, colour, dash, width = _LOOKS.get(name, (name, "muted", "-", 1.8))
            middle, low, high = over_seeds(positive(values))
            shown = np.unique(np.geomspace(1, middle.size, _POINTS).round().astype(int)) - 1
            marker = "o" if middle.size == 1 else None
            axes.fill_between(shown + 1, low[shown], high[shown], color=LIGHT[colour], alpha=0.22, linewidth=0)
            axes.plot(shown + 1, middle[shown], color=LIGHT[colour], linestyle=dash, linewidth=width, label=label, marker=marker)
            seen.append(middle)
        if np.isfinite(seen[0]).any():
            axes.axhline(seen[0][0], color=LIGHT["feature"], linewidth=1.4, label="can train above this")
        known = np.concatenate(seen)
        known = known[np.isfinite(known)]
        if known.size:
            axes.set_ylim(0.5 * known.min(), 2 * known.max())
            log_axis(axes, "y")
        axes.set_xlim(0.9, 1.1 * max([1, *(values.size for values in seen)]))
        log_axis(axes, "x")
        axes.set_xlabel("rank of the eigenvalue")
        axes.set_ylabel("eigenvalue")
        legend(figure, axes)
    return figure
