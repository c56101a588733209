"""The figures of "Neural Tangent Kernel Beyond the Infinite-Width Limit"."""

from collections.abc import Callable, Mapping

from kernelregime.report.papers.beyond_infinite_width import diagonal
from kernelregime.report.papers.frames import Drawing
from kernelregime.results import Reproduction

FIGURES: Mapping[str, Callable[[Reproduction], list[Drawing]]] = {"B1": diagonal.dispersion}
