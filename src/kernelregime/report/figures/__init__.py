"""One function for each figure: arrays in, a `matplotlib.figure.Figure` out, for `report.svg` (text) and `report.save` (a file)."""

from kernelregime.report.figures.kernels import heat_map, kernel_samples
from kernelregime.report.figures.phases import phase_diagram, phase_figure
from kernelregime.report.figures.predictions import REACH, predictor_errors, z_scores
from kernelregime.report.figures.spectra import spectrum_figure
from kernelregime.report.figures.training import alignment_curves, drift_curves, error_curves, learning_curves
from kernelregime.report.figures.verdicts import Row, verdict_scale

__all__ = [
    "REACH",
    "Row",
    "alignment_curves",
    "drift_curves",
    "error_curves",
    "heat_map",
    "kernel_samples",
    "learning_curves",
    "phase_diagram",
    "phase_figure",
    "predictor_errors",
    "spectrum_figure",
    "verdict_scale",
    "z_scores",
]
