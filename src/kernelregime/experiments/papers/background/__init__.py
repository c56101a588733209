"""Experiments on what chapter 2 of the thesis "Analyzing Training Dynamics of Deep Neural Networks" (Seleznova) recalls."""

from kernelregime.experiments.papers.background import double_descent, error_bound, minimum_norm, target_alignment

EXPERIMENTS = (minimum_norm.EXPERIMENT, double_descent.EXPERIMENT, error_bound.EXPERIMENT, target_alignment.EXPERIMENT)
