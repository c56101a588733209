"""Infinite-width kernels of a network: pure differentiable functions, and a host driver for Gram matrices."""

from kernelregime.infinite.gram import Grams, diagonal, gram, problem, status
from kernelregime.infinite.kernel import Kernels, kernel

__all__ = ["Grams", "Kernels", "diagonal", "gram", "kernel", "problem", "status"]
