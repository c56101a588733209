"""The figures of the paper."""

from collections.abc import Callable, Mapping

from kernelregime.report.papers.background import double_descent, error_bound, minimum_norm, target_alignment
from kernelregime.report.papers.frames import Drawing
from kernelregime.results import Reproduction

FIGURES: Mapping[str, Callable[[Reproduction], list[Drawing]]] = {
    "G1": minimum_norm.ways,
    "G2": double_descent.risks,
    "G3": error_bound.bounds,
    "G4": target_alignment.against_errors,
}
