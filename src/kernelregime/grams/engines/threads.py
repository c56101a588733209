"""Tiles in threads of this process."""

from collections.abc import Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice

from kernelregime.grams.tiles import Block, Place, Plan, Tile


def run(tile: Tile, plan: Plan, places: Iterable[Place], workers: int) -> Generator[tuple[Place, Block], None, None]:
    """Blocks as they complete, never more than `workers` computed or waiting."""
    if workers == 1:
        for place in places:
            yield place, tile(*plan.block(place))
        return
    left = iter(places)
    pool = ThreadPoolExecutor(workers)
    running: dict[Future[Block], Place] = {}
    try:
        while True:
            for place in islice(left, workers - len(running)):
                running[pool.submit(tile, *plan.block(place))] = place
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield running.pop(future), future.result()
    finally:
        pool.shutdown(cancel_futures=True)
