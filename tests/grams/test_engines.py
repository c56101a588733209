import os
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
from problems import MEMORY, Cores, Deadly, Dots, expected, problem

from kernelregime import grams, infinite, networks
from kernelregime._checks import InputError, RunError
from kernelregime.grams.engines import Engine, engine
from kernelregime.grams.engines.processes import own_cores

NET = networks.mlp(depth=3, width=8, sigma_w2=1.7, sigma_b2=0.1)
POINTS = np.random.default_rng(1).normal(size=(14, 5))


def has_two_workers(address):
    try:
        return engine(f"dask:{address}").workers == 2
    except InputError:  # not there yet
        return False


@contextmanager
def started(modules=str(Path(__file__).parent)):
    """A Dask scheduler on 127.0.0.1 with two workers that find `modules`: its address, and the processes of all three, its own first."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    command = [str(Path(sys.executable).with_name("dask"))]
    dask = [*command, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--dashboard-address", "127.0.0.1:0"]
    worker = [*command, "worker", address, "--host", "127.0.0.1", "--nthreads", "1", "--dashboard-address", "127.0.0.1:0"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": {**os.environ, "PYTHONPATH": modules}}
    processes = [subprocess.Popen(command, **quiet) for command in (dask, worker, worker)]
    try:
        while not has_two_workers(address):
            assert all(process.poll() is None for process in processes)
            time.sleep(0.2)
        yield address, processes
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)


@pytest.fixture(scope="module")
def scheduler():
    with started() as (address, _):
        yield address


def test_a_lost_scheduler_is_told_and_the_store_keeps_what_is_done(tmp_path):
    seen, again, log = [], [], tmp_path / "log"
    with started() as (address, processes):

        def lose(done, total):
            seen.append((done, total))
            if done == 4:
                processes[0].kill()

        with pytest.raises(RunError, match=r"the same call resumes") as caught:
            grams.assemble(
                problem(Dots(wait=0.2)), memory=2 * MEMORY, engine=f"dask:{address}", store=tmp_path / "gram.zarr", progress=lose
            )
    assert "\n" not in str(caught.value)
    found = grams.assemble(
        problem(Dots(log=str(log))), memory=2 * MEMORY, store=tmp_path / "gram.zarr", progress=lambda *step: again.append(step)
    )
    np.testing.assert_array_equal(found.matrices["nngp"], expected())
    assert len(log.read_text().splitlines()) == seen[-1][1] - seen[-1][0]
    assert again[0] == (seen[-1][0], seen[-1][1])


def test_two_dask_workers_give_the_result_of_this_process(scheduler):
    found = infinite.gram(NET, POINTS, memory=2 * 30_000, engine=f"dask:{scheduler}")
    here = infinite.gram(NET, POINTS, memory=30_000)
    for kind in ("nngp", "ntk"):
        np.testing.assert_allclose(getattr(found, kind), getattr(here, kind), rtol=1e-13)


@pytest.mark.parametrize("cores", [[0], [0, 1], [0, 2, 4, 6, 8]])
@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_workers_share_out_the_cores(cores, workers):
    mine = [own_cores(cores, workers, number) for number in range(5, 5 + workers)]
    assert {core for some in mine for core in some} == set(cores)
    assert all(mine)
    assert workers > len(cores) or sum(map(len, mine)) == len(cores)


def test_each_spawned_process_keeps_to_cores_of_its_own():
    every = os.sched_getaffinity(0)
    found = grams.assemble(problem(Cores()), memory=MEMORY, engine="processes", workers=len(every)).matrices["nngp"]
    assert set(np.unique(found)) == every
    assert os.sched_getaffinity(0) == every


def test_spawned_processes_give_the_result_of_this_process_in_float64():
    found = infinite.gram(NET, POINTS, memory=2 * 30_000, engine="processes", workers=2)
    here = infinite.gram(NET, POINTS, memory=30_000)
    assert found.ntk.dtype == np.float64
    for kind in ("nngp", "ntk"):
        np.testing.assert_allclose(getattr(found, kind), getattr(here, kind), rtol=1e-13)


def test_a_cluster_of_its_own_gives_the_result_of_this_process_and_listens_on_127_0_0_1_alone():
    heard = []

    def listen(done, total):
        processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
        heard.extend(c.laddr.ip for p in processes for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN)

    found = grams.assemble(problem(), memory=2 * MEMORY, engine="dask", workers=2, progress=listen)
    np.testing.assert_array_equal(found.matrices["nngp"], expected())
    assert set(heard) == {"127.0.0.1"}


@pytest.mark.parametrize("name", ["processes", "dask"])
def test_a_worker_that_is_killed_is_replaced_and_nothing_is_lost(name, tmp_path):
    seen = []
    killed = tmp_path / "killed"
    tile = Dots(killed=str(killed))
    found = grams.assemble(problem(tile), memory=2 * MEMORY, engine=name, workers=2, progress=lambda *step: seen.append(step))
    assert killed.exists()
    np.testing.assert_array_equal(found.matrices["ntk"], 2 * expected())
    assert [done for done, _ in seen] == list(range(1, seen[-1][1] + 1))


def test_workers_that_keep_dying_end_the_run_with_one_line():
    with pytest.raises(RunError, match=r"expected workers of engine='processes' that stay alive; got 3 failures in a row") as caught:
        grams.assemble(problem(Deadly()), memory=2 * MEMORY, engine="processes", workers=2)
    assert "\n" not in str(caught.value)


def test_a_function_that_cannot_be_sent_is_refused_with_what_to_do(scheduler):
    with pytest.raises(InputError, match=r"that can be sent to another process; got .*<lambda>.*; use functions defined at the top"):
        grams.assemble(problem(lambda rows, columns: None), memory=2 * MEMORY, engine="processes", workers=1)
    with started(modules="") as (elsewhere, _), pytest.raises(InputError, match=r"that workers can import; got .*'problems'"):
        grams.assemble(problem(), memory=2 * MEMORY, engine=f"dask:{elsewhere}")
    lock = threading.Lock()
    with pytest.raises(InputError, match=r"that can be sent to another process; got .*function"):
        grams.assemble(problem(lambda rows, columns: lock), memory=2 * MEMORY, engine=scheduler)


def test_no_worker_outlives_the_run_or_an_interrupt():
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        grams.assemble(problem(Dots(wait=0.05)), memory=2 * MEMORY, engine="processes", workers=2, progress=interrupt)
    until = time.monotonic() + 20
    while any("spawn_main" in " ".join(child.cmdline()) for child in psutil.Process().children() if child.status() != "zombie"):
        assert time.monotonic() < until
        time.sleep(0.1)


def test_threads_hold_no_more_blocks_than_there_are_workers():
    held, most, lock = [0], [0], threading.Lock()

    def tile(rows, columns):
        with lock:
            held[0] += 1
            most[0] = max(most[0], held[0])
        return Dots()(rows, columns)

    def taken(done, total):
        time.sleep(0.01)
        with lock:
            held[0] -= 1

    grams.assemble(problem(tile), memory=2 * 1000, workers=2, progress=taken)
    assert most[0] <= 3  # two, and the one that the parent has just taken


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("thread", "did you mean 'threads'?"),
        ("processes:4", "engine to be threads, processes, dask or dask:tcp://HOST:PORT; got 'processes:4'"),
        ("dask:localhost", "engine to be threads, processes, dask or dask:tcp://HOST:PORT; got 'dask:localhost'"),
        ("tcp://127.0.0.1:1", "the address of a running Dask scheduler; got no answer from tcp://127.0.0.1:1"),
    ],
)
def test_an_engine_that_does_not_exist_is_refused(name, wanted, monkeypatch):
    monkeypatch.setattr("kernelregime.grams.engines.dask.PATIENCE", 0.5)
    with pytest.raises(InputError, match=re.escape(wanted)):
        engine(name)


def test_defaults_are_one_thread_and_a_process_for_each_core():
    assert engine() == Engine("threads", 1)
    assert engine("processes").workers == len(os.sched_getaffinity(0))
