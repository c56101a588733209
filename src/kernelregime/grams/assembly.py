"""Assembly of Gram matrices: a plan within the memory budget, an engine that computes its tiles, arrays or a store that take them."""

import os
import time
import warnings
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kernelregime._checks import fail
from kernelregime.grams import store as stores
from kernelregime.grams.engines import Engine
from kernelregime.grams.engines import engine as chosen
from kernelregime.grams.memory import memory_budget
from kernelregime.grams.tiles import Block, Place, Plan, Problem, tile_side

WRITING = 3  # blocks in memory while one is written: itself, its mirror image in order, and the bytes with their checksum
SENDING = 2  # the same for one that comes from another process: its bytes, and itself
SAMPLE = 256  # points a side of the block by which the time is estimated

Progress = Callable[[int, int], None]


class Assembled(NamedTuple):
    """Gram matrices by name (NumPy arrays; with a store, xarray.DataArray, read when used), and the largest error of a block."""

    matrices: dict[str, Any]
    error: float


@dataclass(frozen=True)
class Cost:
    """What a Gram matrix costs: `tiles` of `side` points, of which `done` stand in the store already; `bytes` of the whole result, and
    `free` ones where it will be stored (None in memory); `seconds` for the tiles left, from timing a small block.
    """

    tiles: int
    done: int
    side: int
    bytes: int
    free: int | None
    seconds: float


def assemble(
    problem: Problem,
    *,
    memory: float | None = None,
    engine: str = "threads",
    workers: int | None = None,
    store: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Assembled:
    """The Gram matrices of `problem`, tile by tile.

    `memory`: bytes for the tiles that are computed at one time and for their results on the way (default: half of the free memory);
    the tile side follows from it, no size has to divide any other. `engine`: "threads", "processes" (spawned), "dask" (a cluster of its
    own on 127.0.0.1) or "dask:tcp://HOST:PORT"; `workers`: tiles computed at one time (default: one thread; a process for each core;
    all of a scheduler's). `store`: a path for a Zarr store, made or resumed; see `grams.store`. `progress(done, total)` counts tiles.

    Returns: matrices of shape (n1, n2) + tail, of the problem's dtype; the same for every engine, and to rounding for every memory.
    Raises: `InputError` for a budget that is too small, an unknown engine, a pair function that cannot be sent to its workers, and a
    store of another problem; `RunError` when the disk is full or workers keep dying: what is in the store stays.
    """
    run = chosen(engine, workers)
    budget = memory_budget(memory)
    if store is None:
        return _in_memory(problem, run, _plan(problem, run, budget), progress)
    with stores.writing(Path(store), problem, lambda: _plan(problem, run, budget, stored=True)) as writer:
        _check_fits(problem, run, writer.plan, budget)
        if writer.repaired:
            text = f"{writer.repaired} tiles of {store} were missing or damaged, and are computed again"
            warnings.warn(text, stacklevel=2)
        total = len(list(writer.plan.places()))
        left = list(writer.missing())
        if progress:
            progress(total - len(left), total)
        with closing(run.run(problem.tile, writer.plan, left)) as blocks:
            for done, (place, block) in enumerate(blocks, total - len(left) + 1):
                writer.put(place, _checked(problem, block))
                if progress:
                    progress(done, total)
    found = stores.open(store)
    return Assembled({name: found[name] for name in problem.outputs}, found.attrs["error"])


def cost(
    problem: Problem,
    *,
    memory: float | None = None,
    engine: str = "threads",
    workers: int | None = None,
    store: str | os.PathLike[str] | None = None,
) -> Cost:
    """What `assemble` with the same arguments will cost; takes as long as a small block.

    Raises: `InputError` as `assemble` does.
    """
    run = chosen(engine, workers)
    found = None if store is None else stores.progress(Path(store), problem)
    plan, done = found or (_plan(problem, run, memory_budget(memory), stored=store is not None), 0)
    tiles = len(list(plan.places()))
    rows, columns = (slice(0, min(n, plan.side, SAMPLE)) for n in (plan.n1, plan.n2))
    seconds = []
    for _ in range(2):  # the first one compiles
        start = time.perf_counter()
        problem.tile(rows, columns)
        seconds.append(time.perf_counter() - start)
    pairs = plan.side**2 * (tiles - done)
    free = None if store is None else stores.free(Path(store))
    # threads and processes share the cores that one tile can use alone: no gain is promised
    each = seconds[1] / (rows.stop * columns.stop)
    return Cost(tiles, done, plan.side, problem.shape[0] * problem.shape[1] * problem.bytes_per_result, free, each * pairs)


def tiling(problem: Problem, *, memory: float | None = None) -> tuple[int, int]:
    """How many tiles `assemble` cuts a problem into in threads, and how many points a side they have."""
    plan = _plan(problem, chosen("threads", None), memory_budget(memory))
    return len(list(plan.places())), plan.side


def _in_memory(problem: Problem, run: Engine, plan: Plan, progress: Progress | None) -> Assembled:
    result = {name: np.empty((*problem.shape, *output.tail), problem.dtype) for name, output in problem.outputs.items()}
    places, error = list(plan.places()), 0.0
    with closing(run.run(problem.tile, plan, places)) as blocks:
        for done, (place, block) in enumerate(blocks, 1):
            for name, value in _checked(problem, block).matrices.items():
                for at, piece in plan.pieces(place, problem.outputs[name], value):
                    result[name][plan.block(at)] = piece
            error = max(error, block.error)
            if progress:
                progress(done, len(places))
    return Assembled(result, error)


def _checked(problem: Problem, block: Block) -> Block:
    for value in block.matrices.values():
        if value.dtype != problem.dtype:
            raise RuntimeError(f"internal: a {value.dtype} tile under a {np.dtype(problem.dtype)} request")
    return block


def _costs(problem: Problem, run: Engine, *, stored: bool) -> tuple[float, float]:
    """Bytes for a pair and a point in all tiles that are computed or on their way at one time."""
    on_the_way = (WRITING if stored else 0) + (SENDING * run.workers if run.name != "threads" else 0)
    return run.workers * problem.bytes_per_pair + on_the_way * problem.bytes_per_result, run.workers * problem.bytes_per_point


def _plan(problem: Problem, run: Engine, budget: int, *, stored: bool = False) -> Plan:
    pair, point = _costs(problem, run, stored=stored)
    side = tile_side(max(problem.shape), bytes_per_pair=pair, bytes_per_point=point, memory=budget, largest=problem.largest)
    return Plan(*problem.shape, side, problem.n2 is None)


def _check_fits(problem: Problem, run: Engine, plan: Plan, budget: int) -> None:
    """`InputError` if tiles of a store, whose side is given, do not fit into the budget."""
    pair, point = _costs(problem, run, stored=True)
    need = int(pair * plan.side**2 + 2 * point * plan.side)
    if need > budget:
        got = f"{budget} bytes for {run.workers} worker(s)"
        raise fail(f"a memory budget of at least {need} bytes (tiles of {plan.side} points, as in the store)", got, "give a larger memory=")


__all__ = ["Assembled", "Cost", "Place", "assemble", "cost", "tiling"]
