"""Experiments on "Neural Tangent Kernel Beyond the Infinite-Width Limit" (Seleznova and Kutyniok 2022)."""

from kernelregime.experiments.papers.beyond_infinite_width import (
    architecture,
    diagonal,
    estimators,
    first_step,
    input_dimension,
    layer_ratios,
    lazy,
    near_edge,
    off_diagonal,
    off_diagonal_dispersion,
    structure,
)

EXPERIMENTS = (
    diagonal.EXPERIMENT,
    near_edge.EXPERIMENT,
    off_diagonal.EXPERIMENT,
    structure.EXPERIMENT,
    first_step.EXPERIMENT,
    input_dimension.EXPERIMENT,
    architecture.EXPERIMENT,
    lazy.EXPERIMENT,
    off_diagonal_dispersion.EXPERIMENT,
    estimators.EXPERIMENT,
    layer_ratios.EXPERIMENT,
)
