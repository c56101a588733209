"""The figures of the paper."""

from collections.abc import Callable, Mapping

from kernelregime.report.papers.frames import Drawing
from kernelregime.results import Reproduction

FIGURES: Mapping[str, Callable[[Reproduction], list[Drawing]]] = {}
