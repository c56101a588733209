"""The figures of "Neural Tangent Kernel Beyond the Infinite-Width Limit"."""

from collections.abc import Callable, Mapping

from kernelregime.report.papers.beyond_infinite_width import (
    architecture,
    diagonal,
    estimators,
    first_step,
    input_dimension,
    layer_ratios,
    lazy,
    near_edge,
    off_diagonal,
    off_diagonal_dispersion,
    structure,
)
from kernelregime.report.papers.frames import Drawing
from kernelregime.results import Reproduction

FIGURES: Mapping[str, Callable[[Reproduction], list[Drawing]]] = {
    "B1": diagonal.dispersion,
    "B2": near_edge.dispersion,
    "B3": off_diagonal.ratio,
    "B4": structure.training,
    "B5": first_step.change,
    "B6": input_dimension.dispersion,
    "B7": architecture.dispersion,
    "B8": lazy.rescaling,
    "B9": off_diagonal_dispersion.dispersion,
    "B10": estimators.bias,
    "B11": layer_ratios.ratios,
}
