"""Layers: each holds its finite-width `init` and `apply` and its infinite-width `propagate` side by side."""

from kernelregime.layers.activation import Activation
from kernelregime.layers.base import Layer
from kernelregime.layers.dense import Dense
from kernelregime.layers.moments import Moments
from kernelregime.layers.sequential import Folded, Sequential

__all__ = ["Activation", "Dense", "Folded", "Layer", "Moments", "Sequential"]
