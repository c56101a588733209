"""Nonlinearities φ with their derivatives and dual activations: closed forms where known, quadrature for any other φ."""

from kernelregime.activations.closed import ERF, IDENTITY, RELU
from kernelregime.activations.quadrature import TANH, from_function
from kernelregime.activations.record import Dual, Kind, Nonlinearity
from kernelregime.activations.registry import REGISTRY, get

__all__ = ["ERF", "IDENTITY", "REGISTRY", "RELU", "TANH", "Dual", "Kind", "Nonlinearity", "from_function", "get"]
