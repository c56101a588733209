"""Presets: networks described once, for finite weights and for infinite-width kernels alike."""

from kernelregime.networks.mlp import FullyConnected, describe, mlp

__all__ = ["FullyConnected", "describe", "mlp"]
