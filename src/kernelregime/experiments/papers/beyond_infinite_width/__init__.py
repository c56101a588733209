"""Experiments on "Neural Tangent Kernel Beyond the Infinite-Width Limit" (Seleznova and Kutyniok 2022)."""

from kernelregime.experiments.papers.beyond_infinite_width import (
    architecture,
    diagonal,
    input_dimension,
    near_edge,
    off_diagonal,
    structure,
)

EXPERIMENTS = (
    diagonal.EXPERIMENT,
    near_edge.EXPERIMENT,
    off_diagonal.EXPERIMENT,
    structure.EXPERIMENT,
    input_dimension.EXPERIMENT,
    architecture.EXPERIMENT,
)
