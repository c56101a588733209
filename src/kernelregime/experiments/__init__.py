"""Every claim of the papers as a run with a verdict: experiments, at several scales, and what runs them."""

from kernelregime.experiments.catalogue import PAPERS, experiments, find
from kernelregime.experiments.experiment import SCALES, Experiment, Measured, Scale
from kernelregime.experiments.runner import Place, judged, place, reproduce

__all__ = ["PAPERS", "SCALES", "Experiment", "Measured", "Place", "Scale", "experiments", "find", "judged", "place", "reproduce"]
