"""Experiments on "Can We Trust Neural Tangent Kernel Theory?" (Seleznova and Kutyniok 2021)."""

from kernelregime.experiments.experiment import Experiment

EXPERIMENTS: tuple[Experiment, ...] = ()
