import json
from pathlib import Path

import numpy as np
import oracle
import pytest
from comparison import kernels, translate

FOLDER = Path(__file__).parent / "oracle"

# Every fully-connected case, by its activation; of the other files, how many cases pass by the activation in them.
ACTIVATIONS = sorted(translate.ACTIVATIONS)
OTHERS = {
    ("misc", "ElementwiseNumerical"): 2,
    ("empirical", "Relu"): 4,
    ("empirical", "Erf"): 4,
    ("predict", "Relu"): 1,
    ("predict", "Erf"): 1,
    ("predict", None): 32,
}


@pytest.mark.slow
@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name != "Hermite"])
def test_every_fully_connected_reference_value_is_reproduced(activation):
    outcomes = oracle.compare_file("fc", FOLDER / "fc.npz", chosen=lambda outcome: activation in outcome.layers)
    assert outcomes
    assert all(outcome.status == "passed" and outcome.values > 0 for outcome in outcomes), oracle.summary(outcomes, cases=True)


@pytest.mark.slow
@pytest.mark.parametrize(("file", "activation"), OTHERS)
def test_every_other_supported_reference_value_is_reproduced(file, activation):
    def chosen(outcome):
        return activation in outcome.layers if activation else {"Relu", "Erf"}.isdisjoint(outcome.layers)

    outcomes = oracle.compare_file(file, FOLDER / f"{file}.npz", chosen=chosen)
    assert oracle.exit_code(outcomes) == 0, oracle.summary(outcomes, cases=True)
    passed = [outcome for outcome in outcomes if outcome.status == "passed"]
    assert len(passed) == OTHERS[file, activation]
    assert all(outcome.values > 0 for outcome in passed)


def stored(case, file="fc"):
    held = oracle.Stored(FOLDER / f"{file}.npz")
    return held.index[case], held.arrays(case)


def write(folder, entry, arrays, *, file="fc", case="case"):
    entry = {**entry, "arrays": {name: list(value.shape) for name, value in arrays.items()}}
    keys = {f"{case}/{name}": value for name, value in arrays.items()}
    np.savez(folder / f"{file}.npz", __index__=np.array(json.dumps({case: entry})), **keys)
    return folder


def run(folder, capsys):
    code = oracle.main([str(folder), "--json"])
    [case] = json.loads(capsys.readouterr().out)["cases"]
    return code, case


def test_one_corrupted_value_fails_with_exit_code_1(tmp_path, capsys):
    entry, arrays = stored("linear_L3")
    assert run(write(tmp_path, entry, arrays), capsys)[0] == 0
    arrays["ntk_12"][0, 1] *= 1 + 1e-8
    code, case = run(write(tmp_path, entry, arrays), capsys)
    assert (code, case["status"], case["where"]) == (1, "failed", "ntk_12")
    assert "ntk_12[0, 1]" in case["reason"]


def test_a_folder_without_files_is_one_line_and_exit_code_2(tmp_path, capsys):
    assert oracle.main([str(tmp_path)]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert (
        error
        == f"expected a folder with fc.npz or conv.npz or misc.npz or empirical.npz or predict.npz; got {tmp_path}; name another folder\n"
    )


def test_arrays_the_reference_could_not_compute_are_compared_in_many_digits(tmp_path, capsys):
    entry, arrays = stored("relu_L2_bias")
    arrays["ntk_11"] = np.full_like(arrays["ntk_11"], np.nan)
    code, case = run(write(tmp_path, {**entry, "nonfinite": ["ntk_11"]}, arrays), capsys)
    assert (code, case["status"], case["exact"]) == (0, "passed", arrays["ntk_11"].size)
    assert run(write(tmp_path, entry, arrays), capsys)[0] == 1


def amplified(depth):
    """A chaotic erf network, with a rounding error that depth has amplified in the reference for an identical pair."""
    dense, activation = ["Dense", {"out_dim": 1, "W_std": 6.0}], ["Erf", {}]
    x = np.random.default_rng(0).normal(size=(1, 5))
    spec = [dense, activation] * depth + [dense]
    k = kernels.compute(translate.network(spec), np.concatenate([x, x])).kernels
    arrays = {"x1": x, "x2": x.copy(), **{f"{kind}_12": matrix[:1, 1:] * (1 - 1e-7) for kind, matrix in k.items()}}
    return {"spec": spec}, arrays


def test_pairs_made_chaotic_by_depth_are_compared_in_many_digits(tmp_path, capsys):
    code, case = run(write(tmp_path, *amplified(depth=60)), capsys)
    assert (code, case["exact"]) == (0, 2)
    code, case = run(write(tmp_path, *amplified(depth=2)), capsys)
    assert (code, case["exact"]) == (1, 0)


def test_what_the_library_lacks_is_named_and_does_not_fail(tmp_path, capsys):
    entry, arrays = stored("linear_L3")
    spec = [["Dense", {"out_dim": 1, "q": 2}], ["Fourier", {}]]
    code, case = run(write(tmp_path, {**entry, "spec": spec}, arrays), capsys)
    assert (code, case["status"], case["reason"]) == (0, "unsupported", "Dense(out_dim, q), Fourier")


def test_a_layer_the_library_has_but_nobody_translates_fails(tmp_path, capsys, monkeypatch):
    monkeypatch.delitem(translate.LAYERS, "Relu")
    code, case = run(write(tmp_path, *stored("relu_L1_bias")), capsys)
    assert (code, case["status"], case["missing"]) == (1, "unsupported", True)


def test_the_table_counts_each_group_and_shows_every_failure(tmp_path, capsys):
    entry, arrays = stored("linear_L3")
    arrays["nngp_12"] = arrays["nngp_12"][:-1]
    assert oracle.main([str(write(tmp_path, entry, arrays))]) == 1
    out = capsys.readouterr().out
    assert "FAILED fc/case: nngp_12 has shape" in out
    assert out.endswith("0 passed, 1 failed, 0 unsupported\n")
