"""Predictions from stored kernels against their reference values."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from comparison import kernels, translate
from comparison.record import Outcome
from kernelregime import prediction
from kernelregime.prediction import Blocks

RTOL = 1e-10  # of the largest target, initial output or prior variance
Arrays = Mapping[str, np.ndarray]


def compare(outcome: Outcome, entry: dict[str, Any], arrays: Arrays, data: Arrays | None) -> None:
    """Compare one case; which kind it is follows from what it holds. `data`: the arrays of the case it names as its data."""
    if "loss" in entry:
        raise translate.UnsupportedError("other losses and momentum in continuous time")
    if data is None:
        _kernels(outcome, entry, arrays)
        return
    given = {name: value for name, value in arrays.items() if name != "t"}
    found = _learning_rates if all(name.startswith("mlr_") for name in given) else _rule(given)
    for name, (ours, scale) in found(entry, given, data, arrays.get("t")).items():
        outcome.compare(name, ours, given.pop(name), RTOL * scale)
    for name in given:
        outcome.fail(f"array {name} is not understood", math.inf, name)


def _rule(given: Arrays) -> Callable[..., dict[str, tuple[Any, Any]]]:
    if "train_t" in given:
        return _training
    return _posteriors if any(name.startswith("ntkgp_") for name in given) else _ensembles


def _kernels(outcome: Outcome, entry: dict[str, Any], arrays: Arrays) -> None:
    """The kernels a data set of this file was given, from its spec."""
    network = translate.network(entry["spec"])
    n = arrays["x_train"].shape[0]
    computed = kernels.compute(network, np.concatenate([arrays["x_train"], arrays["x_test"]]))
    rows = {"d": slice(0, n), "t": slice(n, None)}
    blocks = []
    for name in entry["arrays"]:
        if name.startswith("k_"):
            _, pair, kind = name.split("_")
            blocks.append(kernels.Block(name, kind, rows[pair[0]], rows[pair[1]], arrays[name]))
    kernels.compare_blocks(outcome, entry["spec"], computed, blocks)


def _blocks(data: Arrays, kind: str) -> Blocks:
    return Blocks(data[f"k_dd_{kind}"], data[f"k_td_{kind}"], data[f"k_tt_{kind}"])


def _noisy(prior: Blocks, entry: dict[str, Any]) -> Blocks:
    """For the last layer alone the reference counts the regularizer as noise too: it belongs to the prior of the train points."""
    n = len(prior.train)
    scale = 1.0 if entry["diag_reg_absolute_scale"] else np.trace(prior.train) / n
    return Blocks(prior.train + entry["diag_reg"] * scale * np.eye(n), prior.cross, prior.test)


def _size(*values: np.ndarray) -> float:
    return max(float(np.max(np.abs(value))) for value in values)


def _training(entry: dict[str, Any], given: Arrays, data: Arrays, times: np.ndarray) -> dict[str, tuple[Any, Any]]:
    """Outputs during training on squared loss; the reference's train outputs are those of the regularized dynamics."""
    result = prediction.train(
        data["k_dd_ntk"],
        data["y_train"],
        times=[*times, math.inf],
        learning_rate=entry["learning_rate"],
        reduction="mean",
        ridge=entry["diag_reg"],
        ridge_relative=not entry["diag_reg_absolute_scale"],
        cross=data["k_td_ntk"],
        initial=data["f0_train"],
        initial_test=data["f0_test"],
    )
    assert result.test is not None
    scale = _size(data["y_train"], data["f0_train"], data["f0_test"])
    found = {"train_t": result.penalized[:-1], "train_inf": result.penalized[-1], "test_t": result.test[:-1], "test_inf": result.test[-1]}
    return {name: (found[name], scale) for name in given}


def _ensembles(entry: dict[str, Any], given: Arrays, data: Arrays, times: np.ndarray) -> dict[str, tuple[Any, Any]]:
    """Mean and covariance over initializations; arrays are named <kernel>_<points>_<t or inf>_<mean or cov>."""
    found = {}
    for name in given:
        kind, points, when, moment = name.split("_")
        prior = _blocks(data, "nngp")
        result = prediction.ensemble(
            _blocks(data, kind),
            _noisy(prior, entry) if kind == "nngp" else prior,
            data["y_train"],
            times=math.inf if when == "inf" else times,
            points="penalized" if points == "train" else "test",
            learning_rate=entry["learning_rate"],
            reduction="mean",
            ridge=entry["diag_reg"],
            ridge_relative=not entry["diag_reg_absolute_scale"],
        )
        value = result.mean if moment == "mean" else result.covariance
        assert value is not None
        scale = _size(data["y_train"]) if moment == "mean" else _size(data["k_tt_nngp" if points == "test" else "k_dd_nngp"])
        found[name] = (value[0] if when == "inf" else value, scale)
    return found


def _posteriors(entry: dict[str, Any], given: Arrays, data: Arrays, _: Any) -> dict[str, tuple[Any, Any]]:
    """Posteriors; "ntkgp" is the NTK as a prior, "ntk" the ensemble trained for ever."""
    found = {}
    for name in given:
        kind, moment = name.split("_")
        kernel = _blocks(data, "nngp" if kind == "nngp" else "ntk")
        regularizer = {"noise": entry["diag_reg"], "noise_relative": not entry["diag_reg_absolute_scale"]}
        if kind == "ntk":
            ridge = {"ridge": regularizer["noise"], "ridge_relative": regularizer["noise_relative"]}
            ensemble = prediction.ensemble(kernel, _blocks(data, "nngp"), data["y_train"], times=math.inf, **ridge)
            assert ensemble.covariance is not None
            value: Any = ensemble.mean[0] if moment == "mean" else ensemble.covariance[0]
        else:
            posterior = prediction.posterior(kernel, data["y_train"], **regularizer)
            value = posterior.mean if moment == "mean" else posterior.covariance
        scale = _size(data["y_train"]) if moment == "mean" else _size(data["k_tt_ntk" if kind == "ntkgp" else "k_tt_nngp"])
        found[name] = (value, scale)
    return found


def _learning_rates(_: Any, given: Arrays, data: Arrays, __: Any) -> dict[str, tuple[Any, Any]]:
    """Largest stable learning rates, named mlr_mom<momentum> or, for one output, mlr_nosize_mom<momentum>."""
    found = {}
    for name, reference in given.items():
        outputs = 1 if "_nosize" in name else data["y_train"].shape[1]
        rate = prediction.max_learning_rate(data["k_dd_ntk"], momentum=float(name.split("mom")[1]), reduction="mean", outputs=outputs)
        found[name] = (rate, float(np.abs(reference)))
    return found
