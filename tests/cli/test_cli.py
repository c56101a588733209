import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from kernelregime.cli import main

COMMAND = [str(Path(sys.executable).with_name("kernelregime"))]
QUICK = [
    "--depth",
    "2",
    "--width",
    "32",
    "--data",
    "sphere",
    "--points-train",
    "16",
    "--points-test",
    "8",
    "--draws",
    "10",
    "--steps",
    "60",
    "--quiet",
]


def call(*arguments, **options):
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False, timeout=300, **options)


@pytest.fixture
def answer(monkeypatch, capsys):
    """The command line without a new process: exit code, output, errors."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["kernelregime", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0, *capsys.readouterr()

    return run


def test_help_shows_examples_without_importing_jax():
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
        (["--sigma-w2", "-1"], "sigma_w2"),
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
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, words, tmp_path, answer):
    code, _, errors = answer("diagnose", *QUICK, *arguments, "--out", str(tmp_path / "out"))
    assert code == 2, errors
    assert errors.count("\n") == 1
    assert words in errors
    assert "expected" in errors
    assert "got" in errors
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize("kind", ["nan", "labels", "shape", "text"])
def test_bad_data_files_are_refused_in_one_line(kind, tmp_path, answer):
    x, y = np.random.default_rng(0).standard_normal((20, 3)), np.arange(20) % 2
    x[3, 1] = np.nan if kind == "nan" else 0.0
    file = tmp_path / "data.npz"
    arrays = {"nan": {"x": x, "y": y}, "labels": {"x": x}, "shape": {"x": x, "y": y[:7]}, "text": {"x": x.astype(str), "y": y}}[kind]
    np.savez(file, **arrays)
    code, _, errors = answer("diagnose", *QUICK, "--data", str(file), "--out", str(tmp_path / "out"))
    assert code == 2, errors
    assert errors.count("\n") == 1


def test_a_folder_with_other_results_is_left_alone(tmp_path, answer):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    code, _, errors = answer("diagnose", *QUICK, "--out", str(out), "--overwrite")
    assert code == 2
    assert "thesis.tex" in errors
    assert [p.name for p in out.iterdir()] == ["thesis.tex"]


@pytest.mark.slow
def test_diagnose_writes_report_result_and_arrays_and_prints_json(tmp_path, answer):
    out = tmp_path / "out"
    done = call("diagnose", *QUICK, "--out", str(out), "--json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed == json.loads((out / "result.json").read_text())
    assert printed["schema"] == "kernelregime.diagnosis/1"
    assert sorted(p.name for p in out.iterdir()) == ["arrays.npz", "report.html", "result.json"]
    before = (out / "result.json").read_bytes()
    assert answer("diagnose", *QUICK, "--out", str(out))[0] == 2
    assert (out / "result.json").read_bytes() == before
    code, shown, errors = answer("diagnose", *QUICK, "--out", str(out), "--overwrite")
    assert code == 0, errors
    assert "regime" in shown
    assert "report.html" in shown


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_an_interrupt_keeps_what_is_done_and_the_same_command_goes_on(tmp_path):
    out = tmp_path / "out"
    long = ["diagnose", *QUICK, "--width", "128", "--steps", "6000", "--stop-fraction", "1e-9", "--out", str(out)]
    process = subprocess.Popen([*COMMAND, *long], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (out / "checkpoint.npz").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "same command" in errors
    assert [p.name for p in out.iterdir()] == ["checkpoint.npz"]
    other = call(*long, "--sigma-w2", "1.5")
    assert other.returncode == 2
    assert "--overwrite" in other.stderr
    assert (out / "checkpoint.npz").exists()
    again = call(*long)
    assert again.returncode == 0, again.stderr
    assert sorted(p.name for p in out.iterdir()) == ["arrays.npz", "report.html", "result.json"]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, answer):
    (tmp_path / "file").write_text("")
    code, _, errors = answer("diagnose", *QUICK, "--out", str(tmp_path / "file" / "sub"))
    assert code == 2, errors
    assert errors.count("\n") == 1


def test_phase_prints_the_edge_of_chaos_and_draws(tmp_path, answer):
    figure = tmp_path / "phase.svg"
    code, out, errors = answer("phase", "--activation", "tanh", "--sigma-w2", "1.760955", "--sigma-b2", "0.05", "--figure", str(figure))
    assert code == 0, errors
    assert "edge of chaos" in out
    assert "1.760955" in out
    assert figure.read_text().startswith("<?xml") or "<svg" in figure.read_text()
    assert answer("phase", "--figure", str(tmp_path / "phase.docx"))[0] == 2


def test_kernel_writes_gram_matrices_that_are_symmetric_and_positive(tmp_path, answer):
    out = tmp_path / "k"
    code, printed, errors = answer("kernel", "--depth", "3", "--points", "20", "--out", str(out), "--json", "--quiet")
    assert code == 0, errors
    kept = np.load(out / "kernels.npz")
    assert kept["ntk"].shape == (20, 20)
    assert json.loads(printed)["ntk"]["lambda_min"] > 0
    np.testing.assert_array_equal(kept["ntk"], kept["ntk"].T)
