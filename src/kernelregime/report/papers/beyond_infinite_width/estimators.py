"""Appendix C.3 as a picture: the bias of the estimators of the dispersion against the number of draws."""

import numpy as np

from kernelregime.report.canvas import legend, style
from kernelregime.report.figures.scales import log_axis
from kernelregime.report.palette import LIGHT
from kernelregime.report.papers.frames import Drawing, note, panels, points
from kernelregime.report.quantities import number
from kernelregime.results import Reproduction

METHODS = (("as printed", "feature", "s"), ("with 1/N", "near", "D"), ("plug-in", "network", "o"), ("jackknife", "kernel", "^"))
LAWS = {"log-normal": "log-normal θ, deviation {} of log θ", "NTK": "Θ(x, x) at σ_w² = 2, M = 100, L = {}"}


def bias(result: Reproduction) -> list[Drawing]:
    """Relative bias of four estimators against N, a panel for each law of θ."""
    from matplotlib.ticker import NullLocator

    laws = list(dict.fromkeys((cell.params["law"], cell.params["parameter"]) for cell in result.cells))
    with style():
        figure, rows = panels(len(laws), height=1.7, share_x=True)
        for axes, (law, parameter) in zip(rows, laws, strict=True):
            found = [(cell.params["count"], result.arrays[cell.name]) for cell in result.select(law=law, parameter=parameter)]
            counts = np.array([count for count, _ in found])
            axes.axhline(0, color=LIGHT["muted"], linewidth=0.8)
            for index, (label, colour, marker) in enumerate(METHODS):
                mean = 100 * (np.array([arrays["mean"][index] for _, arrays in found]) - 1)
                sem = 100 * np.array([arrays["sem"][index] for _, arrays in found])
                shift = 1.06 ** (index - 1.5)
                points(axes, counts * shift, mean, sem, LIGHT[colour], label=label, marker=marker, line=":")
            expansion = 100 * np.array([arrays["plug_in"] for _, arrays in found])
            if law == "log-normal":
                axes.plot(counts, expansion, color=LIGHT["network"], linewidth=1.0, label="to order 1/N")
            axes.set_yscale("symlog", linthresh=5, linscale=1.5)
            axes.set_ylim(-25, 110)
            axes.set_yticks([-5, 0, 5, 50], ["-5 %", "0", "5 %", "50 %"])
            axes.yaxis.set_minor_locator(NullLocator())
            log_axis(axes, "x")
            note(axes, LAWS[law].format(number(parameter)))
        rows[-1].set_xlabel("draws N")
        rows[len(rows) // 2].set_ylabel("bias")
        legend(figure, rows[0])
    caption = (
        "Relative bias of four estimators of the dispersion E θ²/(E θ)² from N draws, with one standard error: that of appendix C.3 as "
        "printed (prefactor 1/(N - 2)), with prefactor 1/N, mean(θ²)/mean(θ)², and its jackknife. Linear up to 5 %, logarithmic beyond. "
        "The paper has no such figure."
    )
    return [Drawing("Appendix C.3", caption, figure)]
