"""The one place that turns a pair function into a Gram matrix: tiles within a memory budget, symmetric halves, engines, stores."""

from kernelregime.grams import store
from kernelregime.grams.assembly import Assembled, Cost, assemble, cost
from kernelregime.grams.engines import engine
from kernelregime.grams.memory import free_memory, memory_budget
from kernelregime.grams.tiles import Block, Output, Problem

__all__ = ["Assembled", "Block", "Cost", "Output", "Problem", "assemble", "cost", "engine", "free_memory", "memory_budget", "store"]
