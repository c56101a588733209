"""Assembly of Gram matrices from tiles."""

import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from kernelregime._checks import fail, integer
from kernelregime.grams.memory import memory_budget

LARGEST_TILE = 1024  # points a side: beyond this a tile no longer amortizes anything, and progress becomes coarse


class Block(NamedTuple):
    """What a pair function finds for some rows and columns: every matrix there, and an estimate of their relative error."""

    matrices: Mapping[str, np.ndarray]
    error: float = 0.0


Tile = Callable[[slice, slice], Block]


class Assembled(NamedTuple):
    """Gram matrices by name, and the largest error of their blocks."""

    matrices: dict[str, np.ndarray]
    error: float


@dataclass(frozen=True)
class Output:
    """One matrix to assemble, of shape (N1, N2) + `tail`; `mirror` is the axis order that turns block (i, j) into block (j, i)."""

    tail: tuple[int, ...] = ()
    mirror: tuple[int, ...] = (1, 0)


def tile_side(points: int, *, bytes_per_pair: float, bytes_per_point: float, memory: int) -> int:
    """The largest tile side t with bytes_per_pair·t² + 2·bytes_per_point·t <= memory; `InputError` if not even t = 1 fits."""
    slope = 2 * bytes_per_point
    side = (
        int((-slope + math.sqrt(slope**2 + 4 * bytes_per_pair * memory)) / (2 * bytes_per_pair)) if bytes_per_pair else int(memory / slope)
    )
    if side < 1:
        need = math.ceil(bytes_per_pair + slope)
        raise fail(f"a memory budget of at least {need} bytes (one pair of points)", f"{memory} bytes", "give a larger memory=")
    side = min(side, points, LARGEST_TILE)
    return math.ceil(points / math.ceil(points / side))  # as few tiles, but even: a narrow last one would be padded to full size


def _tiles(n1: int, n2: int, side: int, symmetric: bool) -> Iterator[tuple[slice, slice]]:
    for i in range(0, n1, side):
        for j in range(0, i + 1 if symmetric else n2, side):
            yield slice(i, min(i + side, n1)), slice(j, min(j + side, n2))


def assemble(
    tile: Tile,
    n1: int,
    n2: int | None = None,
    *,
    outputs: Mapping[str, Output],
    dtype: Any,
    bytes_per_pair: float,
    bytes_per_point: float = 0.0,
    memory: int | None = None,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Assembled:
    """Gram matrices of a pair function, tile by tile.

    `tile(rows, columns)` returns a `Block` with every matrix of `outputs`. With `n2=None` the matrices are symmetric: only the
    lower tiles are computed and mirrored. The tile side follows from `memory` (bytes; default: half of the free memory) and from
    what a pair and a point cost while a tile is computed; no size has to divide any other.

    Returns: arrays of shape (n1, n2) + tail, of `dtype`, and the largest error of a block.
    Raises: `InputError` when the budget is too small for one pair.
    """
    symmetric, columns = n2 is None, n1 if n2 is None else n2
    workers = integer("threads", threads)
    budget = memory_budget(memory) // workers
    side = tile_side(max(n1, columns), bytes_per_pair=bytes_per_pair, bytes_per_point=bytes_per_point, memory=budget)
    blocks = list(_tiles(n1, columns, side, symmetric))
    result = {name: np.empty((n1, columns, *output.tail), dtype) for name, output in outputs.items()}

    def compute(block: tuple[slice, slice]) -> float:
        rows, cols = block
        found, error = tile(rows, cols)
        for name, value in found.items():
            if value.dtype != result[name].dtype:
                raise RuntimeError(f"internal: a {value.dtype} tile under a {result[name].dtype} request")
            if symmetric:
                mirrored = value.transpose(outputs[name].mirror)
                if rows == cols:  # the same numbers in other places of a vector may be rounded otherwise
                    lower = np.tri(len(value), dtype=bool).reshape(*value.shape[:2], *(1 for _ in value.shape[2:]))
                    value = np.where(lower, value, mirrored)
                else:
                    result[name][cols, rows] = mirrored
            result[name][rows, cols] = value
        return error

    error = 0.0
    with ThreadPoolExecutor(workers) if workers > 1 else nullcontext() as pool:
        for done, found in enumerate((pool.map if pool else map)(compute, blocks), 1):
            error = max(error, found)
            if progress:
                progress(done, len(blocks))
    return Assembled(result, error)
