"""Reference values in tests/oracle/predict.npz; its README tells how they were made."""

import json
from pathlib import Path

import numpy as np
import pytest

from kernelregime.prediction import Blocks, ensemble, max_learning_rate, posterior, train

FILE = Path(__file__).parents[1] / "oracle" / "predict.npz"
with np.load(FILE, allow_pickle=False) as stored:
    ARRAYS = {name: stored[name] for name in stored.files}
INDEX = json.loads(str(ARRAYS["__index__"]))
RTOL = 1e-10


def cases(prefix):
    return sorted(name for name in INDEX if name.startswith(prefix))


def data(case):
    """Targets, initial outputs and the two kernels of a case."""
    get = {name: ARRAYS[f"{INDEX[case]['data']}/{name}"] for name in INDEX[INDEX[case]["data"]]["arrays"]}
    kernels = {kind: Blocks(get[f"k_dd_{kind}"], get[f"k_td_{kind}"], get[f"k_tt_{kind}"]) for kind in ("nngp", "ntk")}
    return get, kernels


def ridge(case):
    return {"ridge": INDEX[case]["diag_reg"], "ridge_relative": not INDEX[case]["diag_reg_absolute_scale"]}


def agree(case, name, ours):
    reference = ARRAYS[f"{case}/{name}"]
    assert ours.shape == reference.shape
    assert np.abs(ours - reference).max() <= RTOL * np.abs(reference).max() + 1e-14, name


@pytest.mark.parametrize("case", cases("mse_"))
def test_gradient_flow_agrees(case):
    get, kernels = data(case)
    times = [*ARRAYS[f"{case}/t"], np.inf]
    out = train(
        kernels["ntk"].train, get["y_train"], times=times, learning_rate=INDEX[case]["learning_rate"], reduction="mean", **ridge(case),
        cross=kernels["ntk"].cross, initial=get["f0_train"], initial_test=get["f0_test"],
    )  # fmt: skip
    for name, ours in (("train", out.penalized), ("test", out.test)):
        agree(case, f"{name}_t", ours[:-1])
        agree(case, f"{name}_inf", ours[-1])


@pytest.mark.parametrize("where", ["test", "train"])
@pytest.mark.parametrize("kind", ["nngp", "ntk"])
@pytest.mark.parametrize("case", cases("ens_"))
def test_ensembles_agree(case, kind, where):
    get, kernels = data(case)
    prior = kernels["nngp"]
    times = [*ARRAYS[f"{case}/t"], np.inf]
    if kind == "nngp":
        # There the regularizer is noise as well: it belongs to the prior of the train points.
        noise = INDEX[case]["diag_reg"] * (1 if INDEX[case]["diag_reg_absolute_scale"] else np.trace(prior.train) / len(prior.train))
        prior = Blocks(prior.train + noise * np.eye(len(prior.train)), prior.cross, prior.test)
    out = ensemble(
        kernels[kind], prior, get["y_train"], times=times, points="test" if where == "test" else "penalized",
        learning_rate=INDEX[case]["learning_rate"], reduction="mean", **ridge(case),
    )  # fmt: skip
    for name, ours in (("mean", out.mean), ("cov", out.covariance)):
        agree(case, f"{kind}_{where}_t_{name}", ours[:-1])
        agree(case, f"{kind}_{where}_inf_{name}", ours[-1])


@pytest.mark.parametrize("case", cases("gp_"))
def test_posteriors_agree(case):
    get, kernels = data(case)
    noise = {"noise": ridge(case)["ridge"], "noise_relative": ridge(case)["ridge_relative"]}
    for name, kind in (("nngp", "nngp"), ("ntkgp", "ntk")):
        out = posterior(kernels[kind], get["y_train"], **noise)
        agree(case, f"{name}_mean", out.mean)
        agree(case, f"{name}_cov", out.covariance)
    out = ensemble(kernels["ntk"], kernels["nngp"], get["y_train"], times=np.inf, **ridge(case))
    agree(case, "ntk_mean", out.mean[0])
    agree(case, "ntk_cov", out.covariance[0])


@pytest.mark.parametrize("case", cases("max_learning_rate_"))
def test_largest_learning_rates_agree(case):
    get, kernels = data(case)
    for momentum in (0, 0.9):
        for name, outputs in (("mlr", get["y_train"].shape[1]), ("mlr_nosize", 1)):
            ours = max_learning_rate(kernels["ntk"].train, momentum=momentum, reduction="mean", outputs=outputs)
            agree(case, f"{name}_mom{momentum}", np.array(ours))


def test_no_case_of_squared_loss_is_left_out():
    prefixes = ("mse_", "ens_", "gp_", "max_learning_rate_")
    others = [name for name in INDEX if not name.startswith(prefixes)]
    assert all(name.startswith("ode_") or name.endswith("_data") for name in others)
    assert [len(cases(prefix)) for prefix in prefixes] == [12, 12, 6, 2]
