"""Experiments on "Neural Tangent Kernel Beyond the Infinite-Width Limit" (Seleznova and Kutyniok 2022)."""

from kernelregime.experiments.papers.beyond_infinite_width import (
    diagonal,
    estimators,
    first_step,
    layer_ratios,
    lazy,
    off_diagonal_dispersion,
)

EXPERIMENTS = (
    diagonal.EXPERIMENT,
    first_step.EXPERIMENT,
    lazy.EXPERIMENT,
    off_diagonal_dispersion.EXPERIMENT,
    estimators.EXPERIMENT,
    layer_ratios.EXPERIMENT,
)
