"""Layers: each holds its finite-width `init` and `apply` and its infinite-width `propagate` side by side."""

from kernelregime.layers.activation import Activation
from kernelregime.layers.attention import Attention
from kernelregime.layers.base import Layer, State, draws, offsets_kept, reach_of
from kernelregime.layers.branches import Branches, Identity
from kernelregime.layers.convolution import Conv
from kernelregime.layers.dense import Dense
from kernelregime.layers.fields import Fields
from kernelregime.layers.moments import Moments
from kernelregime.layers.normalization import Dropout, LayerNorm
from kernelregime.layers.pooling import Flatten, GlobalPool, Pool
from kernelregime.layers.resizing import Crop, Resize
from kernelregime.layers.sequential import Folded, Sequential

__all__ = [
    "Activation",
    "Attention",
    "Branches",
    "Conv",
    "Crop",
    "Dense",
    "Dropout",
    "Fields",
    "Flatten",
    "Folded",
    "GlobalPool",
    "Identity",
    "Layer",
    "LayerNorm",
    "Moments",
    "Pool",
    "Resize",
    "Sequential",
    "State",
    "draws",
    "offsets_kept",
    "reach_of",
]
