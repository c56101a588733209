"""The figures of "Neural Tangent Kernel Beyond the Infinite-Width Limit"."""

from collections.abc import Callable, Mapping

from kernelregime.report.papers.beyond_infinite_width import diagonal, estimators, first_step, layer_ratios, lazy, off_diagonal_dispersion
from kernelregime.report.papers.frames import Drawing
from kernelregime.results import Reproduction

FIGURES: Mapping[str, Callable[[Reproduction], list[Drawing]]] = {
    "B1": diagonal.dispersion,
    "B5": first_step.change,
    "B8": lazy.rescaling,
    "B9": off_diagonal_dispersion.dispersion,
    "B10": estimators.bias,
    "B11": layer_ratios.ratios,
}
