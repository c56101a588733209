import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import oracle
import pytest
from comparison import exact, kernels, translate

from kernelregime import activations, layers

pytestmark = pytest.mark.usefixtures("quick_grams")
FOLDER = Path(__file__).parent / "oracle"

# How many cases of each file pass, by the activation in them (None: no activation). Of "fc", "conv" and "empirical", which
# `tests/oracle.py` compares in full, the case of most layers, with biases, and that of fewest, without.
PASSING = {
    ("fc", None): 1,
    ("misc", "ElementwiseNumerical"): 2,
    ("misc", "Relu"): 7,
    ("misc", "Erf"): 1,
    ("misc", "Hermite"): 1,
    ("conv", "Relu"): 2,
    ("conv", "Erf"): 2,
    ("conv", "Gelu"): 2,
    ("empirical", "Relu"): 2,
    ("empirical", "Erf"): 2,
    ("empirical", "Gelu"): 2,
    ("predict", "Relu"): 1,
    ("predict", "Erf"): 1,
    ("predict", None): 32,
} | {("fc", name): 2 for name in translate.ACTIVATIONS if name != "Hermite"}


def activation_of(outcome):
    """The first activation among the layers of a case."""
    return next((name for name in outcome.layers if name in translate.ACTIVATIONS or name == "ElementwiseNumerical"), None)


def depth_and_biases(spec):
    """How many layers, and how many of them have a bias."""
    return len(spec), sum(arguments.get("b_std") is not None for _, arguments in spec if isinstance(arguments, dict))


@pytest.mark.parametrize(("file", "activation"), PASSING)
def test_reference_values_are_reproduced(file, activation):
    cases = {
        case: entry.get("spec", [])
        for case, entry in oracle.Stored(FOLDER / f"{file}.npz").index.items()
        if activation_of(oracle.Outcome(file, case, layers=oracle.layers_of(entry.get("spec", [])))) == activation
    }
    if file in ("fc", "conv", "empirical"):
        ordered = sorted(cases, key=lambda case: depth_and_biases(cases[case]))
        cases = {ordered[0], ordered[-1]}
    outcomes = oracle.compare_file(file, FOLDER / f"{file}.npz", chosen=lambda outcome: outcome.case in cases)
    assert oracle.exit_code(outcomes) == 0, oracle.summary(outcomes, cases=True)
    passed = [outcome for outcome in outcomes if outcome.status == "passed"]
    assert len(passed) == PASSING[file, activation]
    assert all(outcome.values > 0 for outcome in passed)


def test_no_case_the_library_can_express_is_left_out():
    expressed, listed = set(), {}
    for file in oracle.FILES:
        for case, entry in oracle.Stored(FOLDER / f"{file}.npz").index.items():
            spec = entry.get("spec", [])
            try:
                if spec:
                    translate.network(spec, entry.get("kernel_kwargs"))
            except translate.UnsupportedError as error:
                listed |= {case: error.reason} if error.listed else {}
            else:
                expressed.add((file, activation_of(oracle.Outcome(file, case, layers=oracle.layers_of(spec)))))
    assert listed == {}
    assert expressed == set(PASSING)


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


def amplified(depth, activation):
    """A chaotic network, with a rounding error that depth has amplified in the reference for an identical pair."""
    dense = ["Dense", {"out_dim": 1, "W_std": 3.0}]
    x = np.random.default_rng(0).normal(size=(1, 5))
    spec = [dense, activation] * depth + [dense]
    k = kernels.compute(translate.network(spec), np.concatenate([x, x])).kernels
    arrays = {"x1": x, "x2": x.copy(), **{f"{kind}_12": matrix[:1, 1:] * (1 - 1e-7) for kind, matrix in k.items()}}
    return {"spec": spec}, arrays


@pytest.mark.parametrize("activation", [["Erf", {}], ["ElementwiseNumerical", {"fn": "tanh", "deg": 25}]])
def test_pairs_made_chaotic_by_depth_are_compared_in_many_digits(activation, tmp_path, capsys):
    code, case = run(write(tmp_path, *amplified(60, activation)), capsys)
    assert (code, case["exact"]) == (0, 2)
    code, case = run(write(tmp_path, *amplified(2, activation)), capsys)
    assert (code, case["exact"]) == (1, 0)


@pytest.mark.parametrize("case", ["numerical_tanh", "numerical_softplus"])
def test_evaluation_in_many_digits_follows_the_rule_of_the_reference(case):
    entry, arrays = stored(case, "misc")
    for i, j in ((0, 0), (1, 2)):
        exactly = exact.pair(entry["spec"], arrays["x1"][i], arrays["x2"][j])
        for kind, value in exactly.items():
            assert abs(value - arrays[f"{kind}_12"][i, j]) <= kernels.RTOL * abs(value)


def test_outcome_does_not_depend_on_names_numbers_or_order_of_points(tmp_path, capsys):
    entry, arrays = stored("relu_L5_nobias")
    rows, columns = [2, 0, 3], [1]
    fewer = {"x1": arrays["x1"][rows], "x2": arrays["x2"][columns]}
    for kind in kernels.KINDS:
        fewer |= {f"{kind}_11": arrays[f"{kind}_11"][np.ix_(rows, rows)], f"{kind}_12": arrays[f"{kind}_12"][np.ix_(rows, columns)]}
    code, case = run(write(tmp_path, entry, fewer, case="another name"), capsys)
    assert (code, case["status"], case["values"]) == (0, "passed", 2 * (9 + 3))
    turned = {"x1": fewer["x2"], "x2": fewer["x1"]} | {f"{kind}_12": fewer[f"{kind}_12"].T for kind in kernels.KINDS}
    turned |= {f"{kind}_22": fewer[f"{kind}_11"] for kind in kernels.KINDS}
    code, case = run(write(tmp_path, entry, turned), capsys)
    assert (code, case["status"], case["values"]) == (0, "passed", 2 * (9 + 3))


def test_tolerance_is_relative_to_the_variances_of_the_reference():
    points = np.array([[1.0, 0.0], [0.0, 2.0], [0.0, 2.0], [3.0, 0.0]])
    computed = kernels.Computed(points, {"nngp": np.eye(4)}, np.ones((4, 4)), {}, np.zeros((4, 4), bool))
    own = kernels.Block("nngp_11", "nngp", slice(0, 2), slice(0, 2), np.full((2, 2), 5.0))
    cross = kernels.Block("nngp_12", "nngp", slice(0, 2), slice(2, 4), np.full((2, 2), 7.0))
    # the third point equals the second; of the fourth the reference does not say
    assert kernels._diagonal(computed, "nngp", [(own, own.reference), (cross, cross.reference)]).tolist() == [5, 5, 5, 1]


def test_pairs_that_depth_draws_together_at_a_kink_are_compared_in_many_digits(tmp_path, capsys):
    # An ordered network: biases draw all points to one, where the reference's angles lose half their digits.
    spec = [["Dense", {"out_dim": 1, "W_std": 0.7, "b_std": 1.0}], ["Relu", {}]] * 30 + [["Dense", {"out_dim": 1}]]
    x = np.random.default_rng(0).normal(size=(2, 5))
    k = kernels.compute(translate.network(spec), x).kernels
    arrays = {"x1": x[:1], "x2": x[1:], **{f"{kind}_12": matrix[:1, 1:] * (1 - 1e-9) for kind, matrix in k.items()}}
    code, case = run(write(tmp_path, {"spec": spec}, arrays), capsys)
    assert (code, case["status"], case["exact"]) == (0, "passed", 2)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ([["Relu", {}], ["Dense", {"out_dim": 1}]], "random weights before an activation"),
        ([["Dense", {"out_dim": 1}], ["Relu", {}], ["Erf", {}]], "random weights before an activation"),
        ([["Identity", {}]], "no layer"),
    ],
)
def test_layers_without_an_infinite_width_in_their_order_are_unsupported(spec, reason, tmp_path, capsys):
    _, arrays = stored("linear_L3")
    code, case = run(write(tmp_path, {"spec": spec}, arrays), capsys)
    assert (code, case["status"]) == (0, "unsupported")
    assert reason in case["reason"]


def test_points_with_positions_are_unsupported_by_a_network_without(tmp_path, capsys):
    entry, arrays = stored("linear_L3")
    images = {name: value[:, :, None, None] if name in ("x1", "x2") else value for name, value in arrays.items()}
    code, case = run(write(tmp_path, entry, images), capsys)
    assert (code, case["status"], case["reason"]) == (0, "unsupported", f"points of shape {images['x1'].shape[1:]}")


def test_what_the_library_lacks_is_named_and_does_not_fail(tmp_path, capsys):
    entry, arrays = stored("linear_L3")
    spec = [["Dense", {"out_dim": 1, "q": 2}], ["Fourier", {}]]
    code, case = run(write(tmp_path, {**entry, "spec": spec}, arrays), capsys)
    assert (code, case["status"], case["reason"]) == (0, "unsupported", "Dense(out_dim, q), Fourier")


def test_a_layer_the_library_has_but_nobody_translates_fails(tmp_path, capsys, monkeypatch):
    monkeypatch.delitem(translate.LAYERS, "Relu")
    entry, arrays = stored("relu_L1_bias")
    for more in ([], [["Fourier", {}]]):
        code, case = run(write(tmp_path, {**entry, "spec": entry["spec"] + more}, arrays), capsys)
        assert (code, case["status"], case["missing"]) == (1, "unsupported", True)


def test_a_value_the_library_refuses_for_a_layer_it_has_fails(tmp_path, capsys):
    _, arrays = stored("linear_L3")
    spec = [["Dense", {"out_dim": 0}]]
    code, case = run(write(tmp_path, {"spec": spec}, arrays), capsys)
    assert (code, case["status"], case["missing"]) == (1, "unsupported", True)


def test_points_the_library_refuses_fail(tmp_path, capsys):
    entry, arrays = stored("linear_L3")
    arrays["x1"][0, 0] = np.nan
    code, case = run(write(tmp_path, entry, arrays), capsys)
    assert (code, case["status"]) == (1, "failed")
    assert "x1 to be finite" in case["reason"]


def test_the_table_counts_each_group_and_shows_every_failure(tmp_path, capsys):
    entry, arrays = stored("linear_L3")
    arrays["nngp_12"] = arrays["nngp_12"][:-1]
    assert oracle.main([str(write(tmp_path, entry, arrays))]) == 1
    out = capsys.readouterr().out
    assert "FAILED fc/case: nngp_12 has shape" in out
    assert out.endswith("0 passed, 1 failed, 0 unsupported\n")


def test_the_rule_of_the_reference_that_is_not_symmetric_is_known_by_its_kind_whatever_its_name():
    ordinary = [["Dense", {"out_dim": 4}], ["Erf", {}]]
    assert not translate.lopsided(translate.network(ordinary))
    rule = ["ElementwiseNumerical", {"fn": "tanh", "deg": 5}]
    assert translate.lopsided(translate.network([*ordinary, ["Dense", {"out_dim": 4}], rule]))
    named = layers.Activation(activations.Nonlinearity(replace(activations.REGISTRY["erf"], name="erf at 5 nodes", parameters=())))
    assert not translate.lopsided(layers.Sequential((named,)))
