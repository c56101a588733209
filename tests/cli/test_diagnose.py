import json
import os
import subprocess
import sys

import numpy as np
import pytest

from kernelregime import diagnosis
from kernelregime._checks import fail


def test_help_shows_examples_without_importing_jax(call):
    code = "import sys, kernelregime.cli; bad = {'jax', 'numpy', 'matplotlib', 'sklearn'} & set(sys.modules); sys.exit(', '.join(bad) or 0)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    seconds = []
    for _ in range(3):
        before = os.times()
        done = call("--help")
        after = os.times()
        seconds.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert "Examples" in done.stdout
    # processor time, the least of three, so that other load on the machine is not what is tested
    assert min(seconds) < 0.3
    assert "Examples" in call("diagnose", "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--width", "0"], "width"),
        (["--depth", "-1"], "depth"),
        (["--sigma-w2", "-1"], "sigma-w2"),
        (["--sigma-w2", "nan"], "sigma-w2"),
        (["--activation", "rellu"], "did you mean 'relu'"),
        (["--network", "cnnn"], "mlp"),
        (["--data", "digitz"], "did you mean 'digits'"),
        (["--data", "missing.npz"], "missing.npz"),
        (["--parameterization", "nkt"], "did you mean 'ntk'"),
        (["--memory", "10"], "memory"),
        (["--threshold", "kernel_drift"], "threshold"),
        (["--threshold", "kernel_drif=1"], "did you mean 'kernel_drift'"),
        (["--points-train", "100000", "--data", "digits"], "points"),
        (["--seeds", "0"], "seeds"),
        (["--out", ""], "--out to name a folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, words, tmp_path, refused, quick):
    assert words in refused("diagnose", *quick, "--out", str(tmp_path / "out"), *arguments)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["nan", "labels", "shape", "text"])
def test_bad_data_files_are_refused_in_one_line(kind, tmp_path, refused, quick):
    x, y = np.random.default_rng(0).standard_normal((20, 3)), np.arange(20) % 2
    x[3, 1] = np.nan if kind == "nan" else 0.0
    file = tmp_path / "data.npz"
    arrays = {"nan": {"x": x, "y": y}, "labels": {"x": x}, "shape": {"x": x, "y": y[:7]}, "text": {"x": x.astype(str), "y": y}}[kind]
    np.savez(file, **arrays)
    refused("diagnose", *quick, "--data", str(file), "--out", str(tmp_path / "out"))


@pytest.mark.parametrize("name", ["thesis.tex", "report.html", "result.json", "checkpoint.npz"])
@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_a_folder_with_a_users_own_files_is_left_alone(tmp_path, refused, quick, name, overwrite):
    (tmp_path / name).write_text("years of work")
    line = refused("diagnose", *quick, "--out", str(tmp_path), *overwrite)
    assert name in line
    assert "name another folder; nothing was written" in line
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {name: "years of work"}


def test_a_late_refusal_leaves_no_folder_and_no_checkpoint(tmp_path, refused, quick, monkeypatch):
    def late(spec, dataset, *, checkpoint, **options):
        checkpoint.write_bytes(b"training")
        raise fail("a φ whose integrals converge", "none", "declare its kinks, or use smaller variances")

    monkeypatch.setattr(diagnosis, "diagnose", late)
    assert refused("diagnose", *quick, "--out", str(tmp_path / "a" / "b")).endswith("; use smaller variances")
    assert not (tmp_path / "a").exists()


def test_diagnose_writes_report_result_and_arrays_and_prints_json(tmp_path, refused, call, quick):
    out = tmp_path / "out"
    done = call("diagnose", *quick, "--out", str(out), "--json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed == json.loads((out / "result.json").read_text())
    assert printed["schema"] == "kernelregime.diagnosis/2"
    assert sorted(p.name for p in out.iterdir()) == ["arrays.npz", "report.html", "result.json"]
    before = (out / "result.json").read_bytes()
    assert "--overwrite; nothing was written" in refused("diagnose", *quick, "--out", str(out))
    assert (out / "result.json").read_bytes() == before
    again = call("diagnose", *quick, "--out", str(out), "--overwrite")
    assert again.returncode == 0, again.stderr
    assert "regime" in again.stdout
    assert "report.html" in again.stdout


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, refused, quick):
    (tmp_path / "file").write_text("")
    refused("diagnose", *quick, "--out", str(tmp_path / "file" / "sub"))
