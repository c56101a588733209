"""Stored results → figures, a one-file HTML report, a summary for the terminal. Nothing is computed here: every number is in the result."""

from kernelregime.report import figures, gallery
from kernelregime.report.canvas import save, svg
from kernelregime.report.figures import heat_map, phase_figure, spectrum_figure
from kernelregime.report.page import html, write
from kernelregime.report.terminal import summary, verdicts

__all__ = [
    "figures",
    "gallery",
    "heat_map",
    "html",
    "phase_figure",
    "save",
    "spectrum_figure",
    "summary",
    "svg",
    "verdicts",
    "write",
    "write_gallery",
]
