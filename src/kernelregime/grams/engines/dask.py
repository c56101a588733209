"""Tiles on a Dask cluster: a local one of spawned processes on 127.0.0.1, or that of a scheduler elsewhere."""

import signal
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from kernelregime._checks import InputError, RunError, fail
from kernelregime.grams.engines import sending
from kernelregime.grams.tiles import Block, Place, Plan, Tile

TRIES = 3  # losses of workers or of the data they hold, one after another with no tile done
PATIENCE = 10.0  # seconds for a scheduler to answer, and between looks at whether it still does


def run(tile: Tile, plan: Plan, places: Iterable[Place], workers: int, address: str) -> Generator[tuple[Place, Block], None, None]:
    """Blocks as they complete, never more than `workers` computed or waiting. Raises: `RunError` when workers keep dying."""
    waiting, finished, failures = deque(places), 0, 0
    with _client(address, workers) as client:
        while waiting:
            before = finished
            try:
                for found in _blocks(client, tile, plan, waiting, workers):
                    finished += 1
                    yield found
            except _losses() as error:
                failures = 1 if finished > before else failures + 1
                if failures == TRIES or client.status != "running":
                    cause = " ".join(str(error).split())[:120] or type(error).__name__
                    raise sending.lost("dask", failures, f"{finished} tiles done", cause) from error


def count(address: str) -> int:
    """The threads of all workers of the scheduler at `address`; `InputError` if it does not answer or has none."""
    with _client(address, 0) as client:
        found = sum(client.nthreads().values())
    if not found:
        raise fail("a Dask scheduler with workers", f"{address} without any", f"start one: dask worker {address}")
    return found


def _blocks(client: Any, tile: Tile, plan: Plan, waiting: deque[Place], workers: int) -> Generator[tuple[Place, Block], None, None]:
    from distributed import wait

    try:
        sent = client.scatter(tile, broadcast=True, hash=False)
    except InputError:
        raise
    except (AttributeError, TypeError) as error:
        raise fail("a pair function that can be sent to another process", sending.line(error), sending.HOW) from error
    except Exception as error:
        if not any(name in str(error) for name in ("ImportError", "ModuleNotFoundError", "AttributeError")):  # all Dask passes on is text
            raise
        raise fail("a pair function that workers can import", sending.line(error), "install its module where the workers run") from error
    running: dict[Any, Place] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                place = waiting.popleft()
                running[client.submit(sending.compute, sent, *plan.block(place), pure=False)] = place
            try:
                with client.as_current():
                    done = wait(list(running), timeout=PATIENCE, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                _alive(client)
                continue
            for future in done:
                block = future.result()
                place = running.pop(future)
                future.release()
                yield place, block
    finally:
        waiting.extendleft(running.values())
        if running and client.status == "running":
            client.cancel(list(running), force=True)


def _alive(client: Any) -> None:
    """An error unless the scheduler answers and has workers, or is starting some."""
    if client.status != "running":
        raise RunError(
            "expected a Dask scheduler that stays; got no answer from it any more; start it again: a store keeps what is done, "
            "and the same call resumes"
        )


def _losses() -> tuple[type[BaseException], ...]:
    """How Dask says that workers, or what they held, were lost."""
    import asyncio
    from concurrent.futures import CancelledError

    from distributed.comm.core import CommClosedError
    from distributed.scheduler import KilledWorker

    return (KilledWorker, CancelledError, asyncio.CancelledError, CommClosedError)


@contextmanager
def _client(address: str, workers: int) -> Iterator[Any]:
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise fail("the packages of the extra `dask`", f"no {error.name}", "pip install 'kernelregime[dask]'") from error
    if not address:
        quiet = {"distributed.worker.multiprocessing-method": "spawn", "distributed.comm.timeouts.connect": f"{PATIENCE}s"}
        with (
            dask.config.set(quiet),
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                memory_limit=0,
            ) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            client.run(_ignore_interrupts)
            yield client
        return
    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        got = f"no answer from {address} ({' '.join(str(error).split())[:120]})"
        raise fail("the address of a running Dask scheduler", got, "start one: dask scheduler --host 127.0.0.1") from error
    with client:
        yield client


def _ignore_interrupts() -> None:
    """In a worker: interrupts are for the process that started it to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
