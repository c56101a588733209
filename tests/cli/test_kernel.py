import json
from dataclasses import replace

import numpy as np
import pytest

from kernelregime import infinite, report, results

FILES = ["kernels.npz", "nngp.svg", "ntk.svg", "spectrum.svg"]


@pytest.fixture
def small(answer, refused, tmp_path):
    """The command on a few points of the sphere, written to tmp_path / "k"."""

    def run(*arguments, fails=False):
        given = ["kernel", "--depth", "2", "--data", "sphere", "--points", "8", "--out", str(tmp_path / "k"), "--quiet", *arguments]
        return refused(*given) if fails else answer(*given)

    return run


def test_gram_matrices_are_symmetric_positive_and_kept(tmp_path, answer):
    out = tmp_path / "k"
    code, printed, errors = answer("kernel", "--depth", "3", "--points", "20", "--out", str(out), "--json", "--quiet")
    assert (code, errors) == (0, "")
    kept = np.load(out / "kernels.npz")
    assert kept["ntk"].shape == (20, 20)
    assert (np.diff(kept["labels"]) >= 0).all()
    assert json.loads(printed)["ntk"]["lambda_min"] > 0
    np.testing.assert_array_equal(kept["ntk"], kept["ntk"].T)
    assert sorted(p.name for p in out.iterdir()) == FILES


def test_earlier_kernels_are_replaced_only_when_asked(small, tmp_path):
    assert small()[0] == 0
    before = (tmp_path / "k" / "kernels.npz").read_bytes()
    assert "--overwrite; nothing was written" in small("--sigma-w2", "1", fails=True)
    assert (tmp_path / "k" / "kernels.npz").read_bytes() == before
    assert small("--sigma-w2", "1", "--overwrite")[0] == 0
    assert (tmp_path / "k" / "kernels.npz").read_bytes() != before


@pytest.mark.parametrize("name", FILES)
def test_a_users_own_file_is_never_replaced(small, tmp_path, name):
    (tmp_path / "k").mkdir()
    (tmp_path / "k" / name).write_text("mine")
    for overwrite in ([], ["--overwrite"]):
        assert f"with {name!r} in it" in small(*overwrite, fails=True)
    assert {p.name: p.read_text() for p in (tmp_path / "k").iterdir()} == {name: "mine"}


def test_the_file_that_says_that_all_is_done_comes_last_and_whole(small, tmp_path, monkeypatch):
    def failing(*arguments, **options):
        assert sorted(p.name for p in (tmp_path / "k").iterdir()) == FILES[1:]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(results, "save_arrays", failing)
    assert "No space left" in small(fails=True)
    assert sorted(p.name for p in (tmp_path / "k").iterdir()) == FILES[1:]


def test_figures_that_fail_leave_no_folder(small, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "heat_map", lambda *arguments, **options: (_ for _ in ()).throw(MemoryError))
    assert "memory" in small(fails=True)
    assert not (tmp_path / "k").exists()


@pytest.mark.parametrize("labels", ["one class", "real numbers"])
def test_points_need_no_two_classes(answer, tmp_path, labels):
    x = np.random.default_rng(0).standard_normal((12, 3))
    np.savez(tmp_path / "data.npz", x=x, y=np.zeros(12, int) if labels == "one class" else x[:, 0])
    code, out, errors = answer("kernel", "--data", str(tmp_path / "data.npz"), "--points", "7", "--out", str(tmp_path / "k"), "--quiet")
    assert code == 0, errors
    assert "7 × 7" in out
    assert "labels" not in np.load(tmp_path / "k" / "kernels.npz")


def test_files_of_points_alone_have_kernels(answer, refused, tmp_path):
    x = np.random.default_rng(0).standard_normal((12, 3))
    np.savez(tmp_path / "data.npz", x=x)
    np.savetxt(tmp_path / "data.csv", x, delimiter=",", header="a,b,c", comments="")
    for file, options in (("data.npz", ["--scaling", "none"]), ("data.csv", ["--unlabelled", "--scaling", "none"])):
        out = tmp_path / file.replace(".", "_")
        code, _, errors = answer("kernel", "--data", str(tmp_path / file), *options, "--out", str(out), "--quiet")
        assert code == 0, errors
        np.testing.assert_allclose(np.sort(np.load(out / "kernels.npz")["x"], axis=0), np.sort(x, axis=0), rtol=1e-12)
    assert "targets beside the points" in refused("diagnose", "--data", str(tmp_path / "data.npz"), "--out", str(tmp_path / "d"))


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_a_bad_quadrature_is_said_where_the_kernel_is(small, monkeypatch, as_json):
    gram = infinite.gram
    monkeypatch.setattr(infinite, "gram", lambda *arguments, **options: replace(gram(*arguments, **options), error=3e-3))
    code, out, errors = small(*as_json)
    assert code == 0
    assert errors.startswith("warning: NOT RELIABLE: off by 3.0e-03 relative to the kernel, by the quadrature of an activation")
    assert errors.count("\n") == 1
    rows = [json.loads(out)[name]["status"] for name in ("ntk", "nngp")] if as_json else out.splitlines()[:2]
    assert all("NOT RELIABLE" in row for row in rows)


def test_a_good_quadrature_gives_no_warning(small):
    code, out, errors = small("--activation", "tanh")
    assert (code, errors) == (0, "")
    assert "NOT RELIABLE" not in out


def test_an_activation_that_is_only_a_kernel_has_one(small):
    code, _, errors = small("--activation", "exp_normalized")
    assert code == 0, errors
