"""Figures of what happens during training."""

from typing import Any

import numpy as np

from kernelregime.report.canvas import blank, legend, style
from kernelregime.report.figures.scales import log_axis, over_seeds, positive, spread, step_axis, threshold_bands
from kernelregime.report.palette import LIGHT

_FLOOR = 1e-9  # of the largest loss: what lies below is rounding


def learning_curves(
    steps: Any, *, train_loss: Any = None, linear_train_loss: Any = None, ntk_train_loss: Any = None, test_loss: Any = None
) -> Any:
    """Loss over training steps: every seed of the network thin and their median thick, its linearization, the infinite-width mean.

    Shapes: `steps` (T,), `train_loss`, `linear_train_loss`, `test_loss` (S, T), `ntk_train_loss` (T,); what is None is left out.
    """
    with style():
        figure, axes = blank(3.0)
        seeds = positive(np.atleast_2d(train_loss)) if train_loss is not None else np.empty((0, np.size(steps)))
        for curve in seeds:
            axes.plot(steps, curve, color=LIGHT["network"], linewidth=0.7, alpha=0.5)
        lines = (
            (train_loss, "network", "network", "-", 2.4),
            (linear_train_loss, "linearized", "linearized", (0, (5, 2)), 2.0),
            (ntk_train_loss, "ntk", "infinite width", (0, (1, 1.2)), 2.6),
            (test_loss, "muted", "network, test points", (0, (6, 2, 1, 2)), 1.6),
        )
        shown = []
        for values, colour, label, dash, width in lines:
            if values is None:
                continue
            shown.append(over_seeds(positive(values))[0])
            axes.plot(steps, shown[-1], color=LIGHT[colour], label=label, linestyle=dash, linewidth=width)
        known = np.concatenate([seeds.ravel(), *shown]) if shown else np.array([])
        known = known[np.isfinite(known)]
        if known.size:
            axes.set_ylim(0.7 * max(known.min(), _FLOOR * known.max()), 1.5 * known.max())
            log_axis(axes, "y")
        step_axis(axes, steps)
        axes.set_ylabel("loss")
        legend(figure, axes)
    return figure


def error_curves(steps: Any, linearization_error: Any, *, bands: tuple[float, float] | None = None) -> Any:
    """Linearization error |f_t - f_t^lin| / |f_t - f_0| over training steps, on the verdict's bands.

    Shapes: `steps` (T,), `linearization_error` (S, T), nan at step 0; `bands` are the verdict's two thresholds.
    """
    with style():
        figure, axes = blank(2.8)
        spread(axes, steps, linearization_error, "network", log=True)
        threshold_bands(axes, _after_start(steps, linearization_error), bands)
        step_axis(axes, steps)
        axes.set_ylabel("linearization error")
    return figure


def _after_start(steps: Any, values: Any) -> np.ndarray:
    """`values` (S, T) without step 0, where nothing has moved yet and only rounding is seen."""
    return np.atleast_2d(values)[:, np.asarray(steps) > 0]


def drift_curves(steps: Any, drift: Any, *, bands: tuple[float, float] | None = None) -> Any:
    """Relative change |Θ_t - Θ_0|_F / |Θ_0|_F of the NTK over training steps, on the verdict's bands; shapes as in `error_curves`."""
    with style():
        figure, axes = blank(2.8)
        spread(axes, steps, np.where(np.asarray(steps) > 0, drift, np.nan), "network", log=True)
        threshold_bands(axes, _after_start(steps, drift), bands)
        step_axis(axes, steps)
        axes.set_ylabel("drift of the NTK")
    return figure


def alignment_curves(steps: Any, *, alignment: Any = None, centred: Any = None) -> Any:
    """Alignment of the NTK with the targets over training steps, plain and centred; `steps` (T,), the others (S, T)."""
    with style():
        figure, axes = blank(2.8)
        if alignment is not None:
            spread(axes, steps, alignment, "network", label="plain")
        if centred is not None:
            spread(axes, steps, centred, "nngp", label="centred", line="--")
        step_axis(axes, steps)
        axes.set_ylabel("alignment")
        legend(figure, axes)
    return figure
