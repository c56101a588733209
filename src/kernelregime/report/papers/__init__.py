"""Figures in the papers' layouts, drawn from stored results alone: one module a paper."""

from importlib import import_module

from kernelregime.report.papers.frames import Drawing
from kernelregime.results import Reproduction


def drawings(result: Reproduction) -> list[Drawing]:
    """The figures of an experiment; none where no one drew any."""
    draw = import_module(f"kernelregime.report.papers.{result.paper.name}").FIGURES.get(result.key)
    return draw(result) if draw else []


__all__ = ["Drawing", "drawings"]
