"""Layers: each holds its finite-width `init` and `apply` and its infinite-width `propagate` side by side."""

from kernelregime.layers.activation import Activation
from kernelregime.layers.attention import Attention
from kernelregime.layers.base import Layer, State, draws, offsets_kept, reach_of
from kernelregime.layers.batch import Batch
from kernelregime.layers.branches import Branches, Identity
from kernelregime.layers.convolution import Conv
from kernelregime.layers.dense import Dense
from kernelregime.layers.fields import Fields
from kernelregime.layers.mapping import Aggregate, PositionMap
from kernelregime.layers.moments import Moments
from kernelregime.layers.normalization import Dropout, LayerNorm
from kernelregime.layers.pooling import Flatten, GlobalPool, Pool
from kernelregime.layers.rates import Trained
from kernelregime.layers.recurrent import Last, Recurrent
from kernelregime.layers.resizing import ChannelsLast, Crop, Resize
from kernelregime.layers.sequential import Folded, Sequential

__all__ = [
    "Activation",
    "Aggregate",
    "Attention",
    "Batch",
    "Branches",
    "ChannelsLast",
    "Conv",
    "Crop",
    "Dense",
    "Dropout",
    "Fields",
    "Flatten",
    "Folded",
    "GlobalPool",
    "Identity",
    "Last",
    "Layer",
    "LayerNorm",
    "Moments",
    "Pool",
    "PositionMap",
    "Recurrent",
    "Resize",
    "Sequential",
    "State",
    "Trained",
    "draws",
    "offsets_kept",
    "reach_of",
]

_REFUSED = {
    "MaxPool": "a maximum over positions is not a function of the covariances of a pair of points; use Pool or GlobalPool",
    "BatchNorm": "a batch couples all points, so that a pair of them has no kernel of its own; use LayerNorm",
}


def __getattr__(name: str) -> object:
    if name in _REFUSED:
        raise AttributeError(f"kernelregime.layers has no {name}: {_REFUSED[name]}; empirical.ntk takes finite networks with it")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
