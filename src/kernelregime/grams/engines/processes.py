"""Tiles in spawned processes. Workers that die are replaced; the process that started them is the only one that writes."""

import multiprocessing
import os
import re
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from kernelregime.grams.engines import sending
from kernelregime.grams.tiles import Block, Place, Plan, Tile

TRIES = 3  # pools that may break one after another with no tile done
_tile: Tile | None = None  # of a worker, once it has computed a block


def run(tile: Tile, plan: Plan, places: Iterable[Place], workers: int) -> Generator[tuple[Place, Block], None, None]:
    """Blocks as they complete, never more than `workers` computed or waiting. Raises: `RunError` when workers keep dying."""
    waiting, finished, failures = deque(places), 0, 0
    with tempfile.TemporaryDirectory(prefix="kernelregime-") as folder:
        file = Path(folder) / "tile"
        sending.save(tile, file)
        while waiting:
            before = finished
            try:
                for found in _pool(file, plan, waiting, min(workers, len(waiting))):
                    finished += 1
                    yield found
            except BrokenProcessPool as error:
                failures = 1 if finished > before else failures + 1
                if failures == TRIES:
                    raise sending.lost("processes", failures, f"{finished} tiles done", str(error).split(",")[0]) from error


def _pool(file: Path, plan: Plan, waiting: deque[Place], workers: int) -> Generator[tuple[Place, Block], None, None]:
    """Blocks of the places taken from `waiting`, to which those without a result go back."""
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start, initargs=(workers,))
    running: dict[Future[Block], Place] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                place = waiting.popleft()
                try:
                    running[pool.submit(_compute, file, *plan.block(place))] = place
                except BrokenProcessPool:
                    waiting.appendleft(place)
                    raise
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                block = future.result()
                yield running.pop(future), block
    finally:
        waiting.extendleft(running.values())
        workers_left = list((getattr(pool, "_processes", None) or {}).values())  # there is no public way before Python 3.14
        for process in workers_left:
            process.terminate()
        pool.shutdown(cancel_futures=True)
        del pool  # an interrupt holds on to this frame, and the process may leave without cleaning up its semaphores


def _start(workers: int) -> None:
    """In a worker: interrupts are for the parent to handle, and a worker does not outlive it; it computes on cores of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "sched_setaffinity"):
        number = re.search(r"\d+$", multiprocessing.current_process().name)
        os.sched_setaffinity(0, own_cores(sorted(os.sched_getaffinity(0)), workers, int(number[0]) if number else 0))
    parent = multiprocessing.parent_process()

    def leave() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=leave, daemon=True).start()


def own_cores(cores: list[int], workers: int, number: int) -> list[int]:
    """Those of `cores` for worker `number`: with as many threads as all cores in every worker, they wait for one another."""
    return cores[number % workers :: workers] or [cores[number % len(cores)]]


def _compute(file: Path, rows: slice, columns: slice) -> Block:
    """In a worker: a block of the pair function, which is read once."""
    global _tile
    if _tile is None:  # not in `_start`: an error there would break the pool without a word
        _tile = sending.load(file)
    return _tile(rows, columns)
