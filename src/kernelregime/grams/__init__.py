"""The one place that turns a pair function into a Gram matrix: tiles within a memory budget, symmetric halves, threads."""

from kernelregime.grams.memory import free_memory, memory_budget
from kernelregime.grams.tiles import Assembled, Block, Output, assemble

__all__ = ["Assembled", "Block", "Output", "assemble", "free_memory", "memory_budget"]
