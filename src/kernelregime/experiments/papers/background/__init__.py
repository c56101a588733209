"""Experiments on what chapter 2 of the thesis "Analyzing Training Dynamics of Deep Neural Networks" (Seleznova) recalls."""

from kernelregime.experiments.experiment import Experiment

EXPERIMENTS: tuple[Experiment, ...] = ()
