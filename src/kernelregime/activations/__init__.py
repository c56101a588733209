"""Nonlinearities φ with their derivatives and dual activations: closed forms where known, quadrature for any other φ."""

from kernelregime.activations.function import from_function
from kernelregime.activations.record import Dual, Kind, Nonlinearity
from kernelregime.activations.registry import FAMILIES, REGISTRY, get

__all__ = ["FAMILIES", "REGISTRY", "Dual", "Kind", "Nonlinearity", "from_function", "get"]
