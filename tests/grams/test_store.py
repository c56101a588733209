import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray
from problems import MEMORY, Dots, X, expected, problem

from kernelregime import empirical, grams, infinite, networks
from kernelregime._checks import InputError
from kernelregime.grams import lock, store

NET = networks.mlp(depth=2, width=8, sigma_w2=1.7, sigma_b2=0.1)
POINTS = np.random.default_rng(1).normal(size=(14, 5))


def stored(path, given=None, **options):
    return grams.assemble(given or problem(), memory=MEMORY, store=path, **options)


def test_a_store_holds_the_matrices_of_this_process_and_opens_lazily(tmp_path):
    here = infinite.gram(NET, POINTS)
    found = infinite.gram(NET, POINTS, memory=40_000, store=tmp_path / "k.zarr")
    opened = store.open(tmp_path / "k.zarr")
    assert isinstance(found.ntk, xarray.DataArray)
    assert not found.ntk.variable._in_memory
    assert opened.ntk.dims == ("x1", "x2")
    for kind in ("nngp", "ntk"):
        np.testing.assert_allclose(np.asarray(getattr(found, kind)), getattr(here, kind), rtol=1e-13)
        np.testing.assert_array_equal(opened[kind].values, np.asarray(getattr(found, kind)))
        np.testing.assert_array_equal(opened[kind].values, opened[kind].values.T)
    assert found.error == opened.attrs["error"] == here.error


def test_several_depths_and_two_sets_have_named_axes(tmp_path):
    net, depths = networks.mlp(depth=4, width=8), (1, 3)
    here = infinite.gram(net, POINTS, POINTS[:3], depths=depths, kind="ntk")
    found = infinite.gram(net, POINTS, POINTS[:3], depths=depths, kind="ntk", store=tmp_path / "k.zarr", memory=40_000)
    assert found.nngp is None
    assert found.ntk.dims == ("depth", "x1", "x2")
    assert found.ntk.depth.values.tolist() == [1, 3]
    np.testing.assert_allclose(found.ntk.values, here.ntk, rtol=1e-13)


def linear(params, x):
    return x @ params


def test_empirical_kernels_have_stores_too(tmp_path):
    params = np.random.default_rng(2).normal(size=(5, 2))
    here = empirical.ntk((linear, params), POINTS, output="full")
    found = empirical.ntk((linear, params), POINTS, output="full", memory=4_000, store=tmp_path / "k.zarr")
    assert found.dims == ("x1", "x2", "output1", "output2")
    np.testing.assert_allclose(found.values, here, rtol=1e-13)
    with pytest.raises(InputError, match=r"with values\[0\] = "):
        empirical.ntk((linear, 2 * params), POINTS, output="full", memory=4_000, store=tmp_path / "k.zarr")


def test_a_finished_store_is_read_and_nothing_is_computed(tmp_path):
    stored(tmp_path / "k.zarr")
    log = tmp_path / "log"
    seen = []
    again = stored(tmp_path / "k.zarr", problem(Dots(log=str(log))), progress=lambda *step: seen.append(step))
    assert not log.exists()
    assert seen == [(15, 15)]
    np.testing.assert_array_equal(again.matrices["ntk"].values, 2 * expected())
    assert again.error == 1e-9 * 20


def test_a_store_goes_on_with_its_own_tiles_whatever_the_budget(tmp_path):
    stored(tmp_path / "k.zarr")
    grams.assemble(problem(), memory=10**9, store=tmp_path / "k.zarr")
    assert store.open(tmp_path / "k.zarr").attrs["plan"]["side"] == 5
    with pytest.raises(InputError, match=r"memory budget of at least \d+ bytes \(tiles of 5 points, as in the store\); got 1000 bytes"):
        grams.assemble(problem(), memory=1000, store=tmp_path / "k.zarr")


def test_zeros_are_stored_like_any_other_values(tmp_path):
    zeros = problem(Dots(x=np.zeros_like(X)))
    stored(tmp_path / "k.zarr", zeros)
    log = tmp_path / "log"
    stored(tmp_path / "k.zarr", problem(Dots(x=np.zeros_like(X), log=str(log))))
    assert not log.exists()
    assert not store.open(tmp_path / "k.zarr").nngp.values.any()


@pytest.mark.parametrize(
    ("network", "x", "options", "differs"),
    [
        (networks.mlp(depth=2, width=8, sigma_w2=1.8, sigma_b2=0.1), POINTS, {}, "sigma_w2 = 1.7, not 1.8"),
        (networks.mlp(depth=2, width=8, activation="erf", sigma_w2=1.7, sigma_b2=0.1), POINTS, {}, "activation = relu, not erf"),
        (NET, POINTS + 1e-9, {}, "x1 = "),
        (NET, POINTS[:13], {}, "x1 = "),
        (NET, POINTS, {"x2": POINTS}, "x2 = None, not"),
        (NET, POINTS, {"kind": "ntk"}, "matrices = ['nngp', 'ntk'], not ['ntk']"),
        (NET, POINTS, {"dtype": "float32"}, "x1 = "),
    ],
)
def test_the_store_of_anything_else_is_refused_and_stays_as_it_is(tmp_path, network, x, options, differs):
    path = tmp_path / "k.zarr"
    before = infinite.gram(NET, POINTS, store=path).ntk.values
    with pytest.raises(InputError, match=re.escape(differs)) as caught:
        infinite.gram(network, x, options.pop("x2", None), store=path, **options)
    assert "name another store" in str(caught.value)
    np.testing.assert_array_equal(store.open(path).ntk.values, before)


def test_another_version_is_refused(tmp_path):
    stored(tmp_path / "k.zarr")
    metadata = tmp_path / "k.zarr" / "zarr.json"
    content = json.loads(metadata.read_text())
    content["attributes"]["identity"]["version"] = "0.0.1"
    metadata.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"version = 0\.0\.1, not "):
        stored(tmp_path / "k.zarr")


def test_a_users_own_folder_or_file_is_never_touched(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "zarr.json").write_text("mine")
    for name, wanted in (("file", "a folder for the store"), ("folder", "a store of Gram matrices with schema")):
        with pytest.raises(InputError, match=wanted):
            stored(tmp_path / name)
    assert (tmp_path / "file").read_text() == (tmp_path / "folder" / "zarr.json").read_text() == "mine"
    with pytest.raises(InputError, match="where there is none"):
        store.open(tmp_path / "nothing")


def test_an_unfinished_store_says_so_and_opens_in_part(tmp_path):
    def stop(done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stored(tmp_path / "k.zarr", progress=stop)
    with pytest.raises(InputError, match=r"a finished store; got .* with 4 of 15 tiles; run the same gram again"):
        store.open(tmp_path / "k.zarr")
    part = store.open(tmp_path / "k.zarr", partial=True)
    np.testing.assert_array_equal(part.nngp.values[:10, :10], expected()[:10, :10])
    assert np.isnan(part.nngp.values[15:, 15:]).all()


def test_a_store_that_another_process_writes_to_is_refused_until_it_is_gone(tmp_path):
    code = f"import time, pathlib\nfrom kernelregime.grams import lock\nwith lock.held(pathlib.Path({str(tmp_path / 'k.zarr')!r})):\n"
    code += "    print('held', flush=True)\n    time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=rf"a store that no one is writing to; got .*k\.zarr, written to by process {other.pid} on "):
            stored(tmp_path / "k.zarr")
        other.kill()
        other.wait()
    assert lock.file_for(tmp_path / "k.zarr").exists()
    stored(tmp_path / "k.zarr")
    assert not lock.file_for(tmp_path / "k.zarr").exists()


def test_a_lock_of_another_machine_is_left_alone(tmp_path):
    file = lock.file_for(tmp_path / "k.zarr")
    file.write_text(json.dumps({"pid": 1, "host": "elsewhere"}))
    with pytest.raises(InputError, match="held by process 1 on elsewhere; wait for it; if that process is gone, remove the lock file"):
        stored(tmp_path / "k.zarr")
    assert file.exists()


def test_cost_counts_tiles_bytes_and_time(tmp_path):
    found = grams.cost(problem(Dots(wait=0.01)), memory=MEMORY, store=tmp_path / "k.zarr")
    assert (found.tiles, found.done, found.side, found.bytes) == (15, 0, 5, 2 * 8 * 21 * 21)
    assert 0.1 < found.seconds < 5
    assert found.free > 0
    assert os.listdir(tmp_path) == []
    stored(tmp_path / "k.zarr")
    assert grams.cost(problem(), memory=MEMORY, store=tmp_path / "k.zarr").done == 15
    assert grams.cost(problem(), memory=MEMORY).free is None


def test_without_the_extra_the_message_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(InputError, match=r"the packages of the extra `store`; got no zarr; pip install 'kernelregime\[store\]'"):
        stored(tmp_path / "k.zarr")


def test_a_problem_without_an_identity_has_no_store(tmp_path):
    with pytest.raises(InputError, match="a problem with an identity= for a store"):
        stored(tmp_path / "k.zarr", grams.Problem(Dots(), 21, None, {"nngp": grams.Output()}, np.dtype("float64"), 100.0))


def test_memory_is_that_of_the_tiles_and_not_of_the_matrix(tmp_path):
    script, budget, points = Path(__file__).with_name("large_gram.py"), 16_000_000, 5000
    command = [sys.executable, str(script), str(tmp_path), str(budget), str(points)]
    rise = int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout)
    assert store.open(tmp_path / "large").ntk.nbytes == 8 * points**2 == 200_000_000
    assert rise < 4 * budget
