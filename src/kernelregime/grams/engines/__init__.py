"""Where tiles are computed: threads of this process, spawned processes, or Dask. Each engine yields blocks as they complete."""

import os
from collections.abc import Generator, Iterable
from typing import NamedTuple

from kernelregime._checks import fail, integer, one_of
from kernelregime.grams.engines import dask, processes, threads
from kernelregime.grams.tiles import Block, Place, Plan, Tile

ENGINES = ("threads", "processes", "dask")


class Engine(NamedTuple):
    """One of `ENGINES`, how many workers it has, and the address of a scheduler (Dask only; "" for a cluster of its own)."""

    name: str
    workers: int
    address: str = ""

    def run(self, tile: Tile, plan: Plan, places: Iterable[Place]) -> Generator[tuple[Place, Block], None, None]:
        """The blocks at `places`, in the order in which they complete; at most `workers` are computed or waiting at one time."""
        if self.name == "threads":
            return threads.run(tile, plan, places, self.workers)
        if self.name == "processes":
            return processes.run(tile, plan, places, self.workers)
        return dask.run(tile, plan, places, self.workers, self.address)


def engine(name: str = "threads", workers: int | None = None) -> Engine:
    """The engine written as "threads", "processes", "dask" (a cluster of its own) or "dask:tcp://HOST:PORT" ("tcp://…" will do).

    `workers`: how many tiles are computed at one time (default: 1 thread; a process for each core; all workers of a Dask scheduler).
    Raises: `InputError` for other names.
    """
    given = f"dask:{name}" if name.startswith(("tcp://", "tls://")) else name
    kind, _, address = given.partition(":")
    one_of("engine", kind if kind in ENGINES else given, ENGINES)
    if address and (kind != "dask" or not address.startswith(("tcp://", "tls://"))):
        raise fail("engine to be threads, processes, dask or dask:tcp://HOST:PORT", repr(name), "write it so")
    if address:
        count = dask.count(address)
        return Engine(kind, count if workers is None else min(count, integer("workers", workers)), address)
    return Engine(kind, integer("workers", default(kind) if workers is None else workers), address)


def default(kind: str) -> int:
    """Workers where none are asked for."""
    if kind == "threads":
        return 1  # XLA itself uses all cores for one tile
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
