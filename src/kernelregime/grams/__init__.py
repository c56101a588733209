"""The one place that turns a pair function into a Gram matrix: tiles within a memory budget, symmetric halves, engines, stores."""

from kernelregime.grams import store
from kernelregime.grams.assembly import Assembled, Cost, assemble, cost, tiling
from kernelregime.grams.conditioning import Conditioning, conditioning
from kernelregime.grams.engines import engine
from kernelregime.grams.memory import free_memory, memory_budget
from kernelregime.grams.tiles import LARGEST_TILE, Block, Output, Problem

__all__ = [
    "LARGEST_TILE",
    "Assembled",
    "Block",
    "Conditioning",
    "Cost",
    "Output",
    "Problem",
    "assemble",
    "conditioning",
    "cost",
    "engine",
    "free_memory",
    "memory_budget",
    "store",
    "tiling",
]
