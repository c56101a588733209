"""Runs into stores that are killed, damaged and starved: what is done stays, and the result is the same."""

import contextlib
import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest
from killed_gram import run
from problems import MEMORY, Dots, expected, problem

from kernelregime import grams
from kernelregime._checks import InputError, RunError
from kernelregime.grams import layout, store

SCRIPT = Path(__file__).with_name("killed_gram.py")


def started(engine, path, log):
    return subprocess.Popen([sys.executable, str(SCRIPT), engine, str(path), str(log)], stderr=subprocess.PIPE)


def tiles(log):
    return log.read_text().splitlines() if log.exists() else []


def check(path):
    found = store.open(path)
    np.testing.assert_array_equal(found.nngp.values, expected())
    np.testing.assert_array_equal(found.ntk.values, 2 * expected())


def test_ten_kills_at_random_moments_lose_nothing_and_compute_only_tiles_in_flight_again(tmp_path):
    path, log, chance = tmp_path / "k.zarr", tmp_path / "log", random.Random(5)
    killed = []
    for _ in range(10):
        before = len(tiles(log))
        process = started("threads", path, log)
        while len(tiles(log)) == before:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.12))
        process.kill()
        assert process.wait() == -signal.SIGKILL, process.stderr.read()
        process.stderr.close()
        killed.append(len(tiles(log)) - before)
    run("threads", str(path), str(log), wait=0.0)
    check(path)
    counts = Counter(tiles(log))
    total = len(counts)
    assert total == 66
    assert sum(killed) < total  # every kill came in the middle
    assert sum(counts.values()) - total <= 10  # one tile is in flight at a time


def test_a_killed_run_leaves_no_workers_and_another_engine_goes_on(tmp_path):
    path, log = tmp_path / "k.zarr", tmp_path / "log"
    process = started("processes", path, log)
    while len(tiles(log)) < 5:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    process.stderr.close()
    assert len(workers) >= 1
    assert psutil.wait_procs(workers, timeout=20)[1] == []
    run("threads", str(path), str(log), wait=0.0)
    check(path)
    assert sum(Counter(tiles(log)).values()) <= 66 + 1


@pytest.mark.parametrize("damage", ["truncated", "emptied", "removed"])
def test_a_damaged_chunk_is_told_and_computed_again_alone(tmp_path, damage):
    path, log = tmp_path / "k.zarr", tmp_path / "log"
    grams.assemble(problem(), memory=MEMORY, store=path)
    chunk = path / "ntk" / "c" / "2" / "3"  # the mirror image of tile (3, 2)
    if damage == "removed":
        chunk.unlink()
    else:
        os.truncate(chunk, 0 if damage == "emptied" else chunk.stat().st_size // 2)
    with pytest.raises(
        InputError, match=r"all its chunks; got .* 1 damaged or missing tiles, the first at \(3, 2\); run the same gram again"
    ):
        store.open(path)
    with pytest.warns(UserWarning, match="1 tiles of .* were missing or damaged, and are computed again"):
        grams.assemble(problem(Dots(log=str(log))), memory=MEMORY, store=path)
    assert tiles(log) == ["15 10"]
    check(path)


def test_a_chunk_with_wrong_contents_is_told_by_its_checksum_and_found_by_verify(tmp_path):
    path, log = tmp_path / "k.zarr", tmp_path / "log"
    grams.assemble(problem(), memory=MEMORY, store=path)
    chunk = path / "nngp" / "c" / "1" / "1"
    content = bytearray(chunk.read_bytes())
    content[17] ^= 1
    chunk.write_bytes(content)
    with pytest.raises(ValueError, match="checksum"):
        store.open(path).nngp.load()
    assert store.verify(path) == 1
    grams.assemble(problem(Dots(log=str(log))), memory=MEMORY, store=path)
    assert tiles(log) == ["5 5"]
    check(path)
    assert store.verify(path) == 0


@pytest.mark.parametrize("array", ["done", "error"])
def test_damaged_markers_cost_their_row_of_tiles_and_nothing_else(tmp_path, array):
    path, log = tmp_path / "k.zarr", tmp_path / "log"
    grams.assemble(problem(), memory=MEMORY, store=path)
    os.truncate(path / array / "c" / "2" / "0", 1)
    grams.assemble(problem(Dots(log=str(log))), memory=MEMORY, store=path)
    assert tiles(log) == ["10 0", "10 5", "10 10"]
    check(path)


def test_damaged_metadata_are_told(tmp_path):
    path = tmp_path / "k.zarr"
    grams.assemble(problem(), memory=MEMORY, store=path)
    for file in (path / "ntk" / "zarr.json", path / "zarr.json"):
        os.truncate(file, 20)
        with pytest.raises(InputError, match="its metadata are damaged: move it away and compute it again"):
            store.open(path)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False)
    if mount.returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room(small_disk, tmp_path):
    path, filler, log = small_disk / "k.zarr", small_disk / "filler", tmp_path / "log"

    def fill(done, total):
        if done == 5:
            with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(4096))

    with pytest.raises(RunError, match=r"got No space left on device at .* \(\d+ of 15 tiles are stored\); make room, then run the same"):
        grams.assemble(problem(Dots(log=str(log))), memory=MEMORY, store=path, progress=fill)
    filler.unlink()
    grams.assemble(problem(Dots(log=str(log))), memory=MEMORY, store=path)
    check(path)
    assert len(tiles(log)) <= 16


def test_a_full_disk_is_told_wherever_it_is_met(tmp_path, monkeypatch):
    path, flush, calls = tmp_path / "k.zarr", layout.flush, []

    def full(file):
        calls.append(file)
        if len(calls) == 9:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(file)

    monkeypatch.setattr(layout, "flush", full)
    with pytest.raises(RunError, match="No space left on device"):
        grams.assemble(problem(), memory=MEMORY, store=path)
    grams.assemble(problem(), memory=MEMORY, store=path)
    check(path)


def test_a_store_that_cannot_fit_is_refused_before_anything_is_computed(tmp_path, monkeypatch):
    log = tmp_path / "log"
    monkeypatch.setattr(store, "free", lambda path: 1000)
    with pytest.raises(InputError, match=r"expected [\d,]+ bytes free for the store; got 1,000 at .*; make room"):
        grams.assemble(problem(Dots(log=str(log))), memory=MEMORY, store=tmp_path / "k.zarr")
    assert not log.exists()
    assert not (tmp_path / "k.zarr").exists()


def test_what_a_killed_process_left_half_written_is_cleaned_up(tmp_path):
    path = tmp_path / "k.zarr"
    grams.assemble(problem(), memory=MEMORY, store=path)
    half = path / "ntk" / "c" / "0" / "0.0123456789abcdef.partial"
    half.write_bytes(b"half")
    (tmp_path / ".k.zarr.part-xyz").mkdir()
    grams.assemble(problem(), memory=MEMORY, store=path)
    assert not half.exists()
    assert sorted(os.listdir(tmp_path)) == ["k.zarr"]
