"""How a kernel of a module is computed within a memory budget: the method, and how much of it at one time."""

import math
from dataclasses import dataclass

from kernelregime import _checks
from kernelregime.empirical.adapters.torch.ways import Activations, Ways
from kernelregime.grams.tiles import LARGEST_TILE

# Points a side that Jacobians must fit for: with fewer, they are found again for so many tiles that products with vectors take less
# time. Measured on a CPU; with more parameters than activations (dense layers) a gradient takes as long to write as ten products.
FEW = 2
FEW_DENSE = 64
# Bytes for what is computed at one time, beyond which more points at a time took longer.
LARGE = 2**28
FINDING = 1 / 8  # of the memory, for the gradients that are being found, where not all points fit
# Gradients of signals that are alive at one time in a backward pass: what comes in, what goes out, and a layout of it for a product.
ALIVE = 3
# Copies that torch makes on the way. With it an MLP, a convolutional network and a transformer block took 0.2 to 1.0 of the memory given.
OVERLAP = 1.5


@dataclass(frozen=True)
class Costs:
    """Bytes of the trained parameters and of a result for one pair, the activations of a point, and how much there is to compute.

    `combinations`: of outputs, of which gradients are found; `apart`: whether each can be found on its own.
    """

    parameters: int
    pair: int
    activations: Activations
    combinations: int
    apart: bool
    points: int


@dataclass(frozen=True)
class Plan:
    """`products`: with vectors, else Jacobians, of `block` combinations of outputs and `chunk` points at one time; `bytes_per_pair`
    and `bytes_per_point` are those of a tile, for which `memory` bytes are left.
    """

    products: bool
    vmapped: bool
    block: int
    chunk: int
    bytes_per_pair: float
    bytes_per_point: float
    memory: int


def plan(costs: Costs, ways: Ways, method: str, memory: int) -> Plan:
    """The plan for `memory` bytes; `InputError` where they do not hold a pair of points, or where `method` does not work."""
    if method == "products":
        if not ways.directed:
            do = "use method='jacobian', which needs none, with a larger memory="
            raise _checks.fail("a module with forward derivatives (torch.func.jvp), for method='products'", ways.refusal, do)
        return _fits(_products(costs, memory), memory)
    jacobians = _jacobians(costs, ways, memory)
    few = FEW if costs.activations.kept >= costs.parameters else FEW_DENSE
    if method == "auto" and ways.directed and jacobians.memory < 2 * min(few, costs.points) * jacobians.bytes_per_point:
        return _fits(_products(costs, memory), memory)
    return _fits(jacobians, memory)


def _jacobians(costs: Costs, ways: Ways, memory: int) -> Plan:
    side, pair, block = min(costs.points, LARGEST_TILE), 3 * costs.pair, costs.combinations
    if costs.apart:  # a forward pass for every block is cheaper than gradients found again for more tiles
        block = _between(1, ((1 - FINDING) * memory - pair * side**2) / (2 * side * costs.parameters), block)
    point = block * costs.parameters
    alive = costs.activations.kept + ALIVE * block * costs.activations.largest
    finding = OVERLAP * (alive if ways.vmapped else costs.activations.kept) + point
    room = min(LARGE, max(FINDING * memory, memory - pair * side**2 - 2 * side * point))
    chunk = _between(1, room / finding, side) if ways.vmapped else 1
    return Plan(False, ways.vmapped, block, chunk, pair, point, math.floor(memory - chunk * finding))


def _products(costs: Costs, memory: int) -> Plan:
    along = 2 * OVERLAP * costs.activations.kept
    once = 3 * costs.parameters + along
    chunk = _between(1, (memory - once) / 2 / along, min(costs.points, LARGEST_TILE))
    return Plan(True, False, 1, chunk, 3 * costs.pair, 0.0, math.floor(memory - once - chunk * along))


def _between(least: int, value: float, most: int) -> int:
    return min(max(least, math.floor(value)), most)


def _fits(chosen: Plan, memory: int) -> Plan:
    short = chosen.bytes_per_pair + 2 * chosen.bytes_per_point - chosen.memory
    if short > 0:
        do = "give a larger memory=" + ("" if chosen.products else ", or method='products', which needs less")
        raise _checks.fail(f"a memory budget of at least {math.ceil(memory + short)} bytes (one pair of points)", f"{memory} bytes", do)
    return chosen
