"""The figures of "Neural Tangent Kernel Beyond the Infinite-Width Limit"."""

from collections.abc import Callable, Mapping

from kernelregime.report.papers.beyond_infinite_width import architecture, diagonal, input_dimension, near_edge, off_diagonal, structure
from kernelregime.report.papers.frames import Drawing
from kernelregime.results import Reproduction

FIGURES: Mapping[str, Callable[[Reproduction], list[Drawing]]] = {
    "B1": diagonal.dispersion,
    "B2": near_edge.dispersion,
    "B3": off_diagonal.ratio,
    "B4": structure.training,
    "B6": input_dimension.dispersion,
    "B7": architecture.dispersion,
}
