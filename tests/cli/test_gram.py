import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from kernelregime import data, grams, infinite, networks

SMALL = ["gram", "--depth", "2", "--data", "sphere", "--points", "40", "--memory", "60000"]


@pytest.fixture
def small(answer, tmp_path):
    """The command on a few points of the sphere, into tmp_path / "k.zarr"."""
    return lambda *arguments: answer(*SMALL, "--store", str(tmp_path / "k.zarr"), *arguments)


def test_the_store_holds_the_kernel_of_the_network_on_the_data(small, tmp_path):
    code, out, errors = small("--kind", "both")
    assert code == 0, errors
    assert "NNGP and NTK, 40 × 40 float64: 6 tiles of 14 points; 25.6 kB" in errors
    assert " on the disk (" in errors
    assert "about " in errors
    assert "in tiles" in errors
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == ["NNGP", "NTK", "kept"]
    assert all("rounding N·ε·λ_max" in line and "positive definite" in line for line in lines[:2])
    assert f"kernelregime.grams.store.open({str(tmp_path / 'k.zarr')!r})" in lines[2]
    found = grams.store.open(tmp_path / "k.zarr")
    here = infinite.gram(networks.mlp(depth=2, width=512), data.points("sphere", count=40).x)
    np.testing.assert_allclose(found.ntk.values, here.ntk, rtol=1e-13)


def test_networks_on_images_take_them_as_images(answer, tmp_path, quick_grams):
    options = ["--network", "cnn", "--depth", "3", "--data", "digits", "--points", "10", "--dtype", "float32"]
    code, _, errors = answer("gram", *options, "--store", str(tmp_path / "k.zarr"))
    assert code == 0, errors
    assert "NTK, 10 × 10 float32 of images (8 × 8, 1 channel): 1 tiles" in errors
    x = data.points("digits", count=10).x.reshape(10, 8, 8, 1).astype("float32")
    expected = infinite.gram(networks.cnn(depth=3, channels=8), x).ntk
    np.testing.assert_allclose(grams.store.open(tmp_path / "k.zarr").ntk.values, expected, rtol=1e-5)
    assert answer("kernel", *options, "--out", str(tmp_path / "out"))[0] == 0
    assert np.load(tmp_path / "out" / "kernels.npz")["x"].shape == (10, 64)


def test_a_finished_store_is_reported_again_and_another_network_refused(small, refused, tmp_path):
    assert small("--quiet")[0] == 0
    code, out, errors = small("--quiet", "--json")
    assert (code, errors) == (0, "")
    assert json.loads(out)["computed"] == 0
    assert json.loads(out)["ntk"]["negative"] == 0
    assert "sigma_w2 = 2.0, not 1.0; name another store" in refused(
        *SMALL, "--store", str(tmp_path / "k.zarr"), "--quiet", "--sigma-w2", "1"
    )


def test_damage_is_told_and_repaired(small, tmp_path):
    assert small("--quiet")[0] == 0
    chunk = tmp_path / "k.zarr" / "ntk" / "c" / "1" / "0"
    before = chunk.read_bytes()
    os.truncate(chunk, 10)
    code, _, errors = small("--quiet")
    assert code == 0
    assert "warning: 1 tiles of" in errors
    chunk.write_bytes(before[:8] + b"\1" + before[9:])
    code, _, errors = small("--quiet", "--verify")
    assert code == 0
    assert errors == "damaged tiles: 1\n"
    assert chunk.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--kind", "ntkk"], "--kind to be one of both, nngp, ntk; got 'ntkk'; did you mean 'ntk'?"),
        (["--engine", "thread"], "--engine to be one of dask, processes, threads; got 'thread'; did you mean 'threads'?"),
        (["--workers", "0"], "--workers to be an integer of at least 1; got 0"),
        (["--memory", "10"], "a memory budget of at least"),
        (["--store", " "], "--store to name a store"),
    ],
)
def test_options_that_cannot_be_used_are_one_line(refused, arguments, wanted, tmp_path):
    given = [*SMALL, "--quiet"] + ([] if "--store" in arguments else ["--store", str(tmp_path / "k.zarr")])
    assert wanted in refused(*given, *arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("engine", ["threads", "processes"])
def test_an_interrupted_command_says_what_is_kept_and_goes_on(tmp_path, compiled, engine):
    command = [str(Path(sys.executable).with_name("kernelregime")), *SMALL, "--store", str(tmp_path / "k.zarr"), "--engine", engine]
    command += ["--workers", "1", "--memory", "1000"]
    process = subprocess.Popen(command, env=compiled, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    done = tmp_path / "k.zarr" / "done" / "c" / "3" / "0"
    until = time.monotonic() + 60
    while not done.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "k.zarr keeps the tiles that are done; the same command goes on" in " ".join(errors.splitlines())
    assert "Traceback" not in errors
    assert "leaked" not in errors
    assert not (tmp_path / "k.zarr.lock").exists()
    again = subprocess.run([*command, "--quiet", "--json"], env=compiled, capture_output=True, text=True, check=True, timeout=120)
    told = json.loads(again.stdout)
    assert 0 < told["computed"] < told["tiles"]
