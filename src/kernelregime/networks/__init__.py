"""Presets: networks described once, for finite weights and for infinite-width kernels alike."""

from kernelregime.networks.images import cnn, myrtle, resnet
from kernelregime.networks.mlp import FullyConnected, describe, mlp
from kernelregime.networks.sequences import transformer
from kernelregime.networks.widths import widened

__all__ = ["FullyConnected", "cnn", "describe", "mlp", "myrtle", "resnet", "transformer", "widened"]
