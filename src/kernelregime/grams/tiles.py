"""Tiles: how a Gram matrix is cut into blocks, and what a pair function gives for one of them."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from kernelregime._checks import fail

LARGEST_TILE = 1024  # points a side: beyond this a tile no longer amortizes anything, and progress becomes coarse
LANES = 16  # float32 numbers in the widest vectors: rows of a few more than a multiple of it take up to a third longer a pair
TILES = 4  # a side, where one is not enough: tiles on the diagonal compute half of their pairs in vain


class Block(NamedTuple):
    """What a pair function finds for some rows and columns: every matrix there, and an estimate of their relative error."""

    matrices: Mapping[str, np.ndarray]
    error: float = 0.0


Tile = Callable[[slice, slice], Block]
Place = tuple[int, int]


@dataclass(frozen=True)
class Output:
    """One matrix to assemble, of shape (N1, N2) + `tail`; `mirror` is the axis order that turns block (i, j) into block (j, i).

    `axes`: the names of the axes of `tail`. `labels`: what their entries stand for, where that is not their number.
    """

    tail: tuple[int, ...] = ()
    mirror: tuple[int, ...] = (1, 0)
    axes: tuple[str, ...] = ()
    labels: tuple[tuple[str, tuple[int, ...]], ...] = ()


@dataclass(frozen=True)
class Problem:
    """A Gram matrix to compute: its pair function and all that does not depend on where and how it is computed.

    `tile(rows, columns)` returns a `Block` with every matrix of `outputs`, in `dtype`; it enters that precision itself, and can be
    pickled for engines in other processes. Shape (n1, n2) + tail; with `n2=None` the matrices are symmetric. `bytes_per_pair`,
    `bytes_per_point`: what a pair, and a point of each side, cost while a tile is computed. `identity()`: JSON that tells this
    problem from others; a store is resumed for the same one only. `largest`: points a side of a tile, whatever the memory.
    """

    tile: Tile
    n1: int
    n2: int | None
    outputs: Mapping[str, Output]
    dtype: np.dtype
    bytes_per_pair: float
    bytes_per_point: float = 0.0
    largest: int = LARGEST_TILE
    identity: Callable[[], Mapping[str, Any]] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(N1, N2)."""
        return self.n1, self.n1 if self.n2 is None else self.n2

    @property
    def bytes_per_result(self) -> int:
        """Bytes of all matrices for one pair."""
        return sum(math.prod(output.tail) for output in self.outputs.values()) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Plan:
    """The blocks of a matrix (n1, n2) cut every `side` points; of a symmetric one those on and below the diagonal."""

    n1: int
    n2: int
    side: int
    symmetric: bool

    @property
    def grid(self) -> tuple[int, int]:
        """How many tiles there are down and across."""
        return math.ceil(self.n1 / self.side), math.ceil(self.n2 / self.side)

    def places(self) -> Iterator[Place]:
        """The tiles (i, j) to compute, row by row."""
        down, across = self.grid
        return ((i, j) for i in range(down) for j in range(i + 1 if self.symmetric else across))

    def block(self, place: Place) -> tuple[slice, slice]:
        """Rows and columns of a tile."""
        (i, j), side = place, self.side
        return slice(i * side, min((i + 1) * side, self.n1)), slice(j * side, min((j + 1) * side, self.n2))

    def pieces(self, place: Place, output: Output, value: np.ndarray) -> Iterator[tuple[Place, np.ndarray]]:
        """The tiles that a computed one fills: itself and, of a symmetric matrix, its mirror image."""
        if not self.symmetric:
            yield place, value
            return
        mirrored = value.transpose(output.mirror)
        if place[0] == place[1]:  # the same numbers in other places of a vector may be rounded otherwise
            lower = np.tri(len(value), dtype=bool).reshape(*value.shape[:2], *(1 for _ in value.shape[2:]))
            yield place, np.where(lower, value, mirrored)
            return
        yield place, value
        yield (place[1], place[0]), mirrored


def tile_side(points: int, *, bytes_per_pair: float, bytes_per_point: float, memory: int, largest: int = LARGEST_TILE) -> int:
    """The largest tile side t <= `largest` with bytes_per_pair·t² + 2·bytes_per_point·t <= memory; `InputError` if not even t = 1 fits."""
    slope = 2 * bytes_per_point
    side = (
        int((-slope + math.sqrt(slope**2 + 4 * bytes_per_pair * memory)) / (2 * bytes_per_pair)) if bytes_per_pair else int(memory / slope)
    )
    if side < 1:
        need = math.ceil(bytes_per_pair + slope)
        raise fail(f"a memory budget of at least {need} bytes (one pair of points)", f"{memory} bytes", "give a larger memory=")
    side = min(side, largest, points if points <= LARGEST_TILE else min(math.ceil(points / TILES), LARGEST_TILE))
    even = math.ceil(points / math.ceil(points / side))  # as few tiles, but even: a narrow last one would be padded to full size
    over = even % LANES
    return even - over if even < points and over < even / LANES else even
