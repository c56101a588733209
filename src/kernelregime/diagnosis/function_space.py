"""Evidence (a), read first: does the trained network do what its linearization, and the infinite-width ensemble, say?"""

from typing import Final

import numpy as np

from kernelregime import observables, prediction
from kernelregime.claims import Estimate
from kernelregime.data import Dataset
from kernelregime.data.targets import STANDARDIZED_REGRESSION
from kernelregime.diagnosis.findings import Findings, positive
from kernelregime.diagnosis.limit import Limit, ends, ensemble
from kernelregime.diagnosis.run import Run
from kernelregime.diagnosis.settings import Settings
from kernelregime.results import Evidence

GROUP: Final = "function space"
MEMBERS = 100  # draws from the ensemble for the expected error of a member: a standard error below 1 % of a test set's


def linearization(run: Run) -> Findings:
    """‖f_T - f_T^lin‖/‖f_T - f_0‖ on test points, along training and at each seed's end."""
    start = run.initial.test
    path = np.stack(
        [observables.function_distance(f, lin, start) for f, lin in zip(run.outputs_test, run.linear_test, strict=True)], axis=1
    )
    final = Evidence(
        "linearization_error",
        GROUP,
        "Linearization error on test points",
        Estimate.of(path[:, -1]),
        predicted=0.0,
        source="Lee et al. 2019, theorem 2.1: O(width^-1/2)",
        role="regime",
        comment="‖f_T − f_T^lin‖ / ‖f_T − f_0‖: 0 is a network that trains exactly as its linearization",
    )
    arrays = {
        "steps": run.steps,
        "linearization_error": path,
        "train_loss": run.losses[:, np.minimum(run.steps, run.losses.shape[1] - 1)],
        "test_outputs": run.outputs_test[-1],
        "linear_test_outputs": run.linear_test[-1],
    }
    return Findings((final,), arrays)


def losses(run: Run, dataset: Dataset, settings: Settings) -> Findings:
    """Losses of the network on test points and of the linearization on train points, in the units of the train loss per point."""
    if settings.loss != "mse":
        return Findings()

    def loss(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        total = 0.5 * np.sum((outputs.astype(np.float64) - targets) ** 2, axis=(2, 3)).T
        return total / targets.size if settings.reduction == "mean" else total

    return Findings(
        arrays={"linear_train_loss": loss(run.linear_train, dataset.y_train), "test_loss": loss(run.outputs_test, dataset.y_test)}
    )


def against_ensemble(run: Run, dataset: Dataset, settings: Settings, at: Limit) -> Findings:
    """z-scores of the trained networks under the infinite-width ensemble after the same training, and the ensemble's mean loss."""
    law = ends(at, dataset, settings, "test", run)
    std = np.sqrt(law.variance)
    # where training leaves nothing of the prior's spread a z-score is a ratio of rounding errors
    known = std > 1e-6 * np.sqrt(np.diag(np.asarray(at.nngp.test)))
    z = np.where(known[..., None], (run.outputs_test[-1] - law.mean) / np.where(known, std, 1)[..., None], np.nan)
    seen = known.any(axis=1)
    squares, caution = positive(np.nanmean(z[seen] ** 2, axis=(1, 2))) if seen.any() else (Estimate(np.nan, np.nan, 0), "")
    score = Evidence(
        "ensemble_z_rms",
        GROUP,
        "Root mean square z-score under the infinite-width ensemble",
        _root(squares),
        predicted=1.0,
        source="Lee et al. 2019, eqs 14 and 15",
        comment="; ".join(filter(None, ("far above 1: the infinite-width ensemble does not contain the trained networks", caution))),
    )
    middle = int(np.argsort(run.learning_rate * run.stopped)[run.seeds // 2])
    path = ensemble(at, dataset, settings, "train", float(np.mean(run.learning_rate)), run.steps)
    outputs = dataset.y_train.shape[1]
    expected = 0.5 * (np.sum((path.mean - dataset.y_train) ** 2, axis=(1, 2)) + outputs * np.sum(path.variance, axis=1))
    arrays = {
        "zscores": z[np.isfinite(z)][:20000],
        "ensemble_mean": law.mean[middle],
        "ensemble_std": std[middle],
        "test_targets": dataset.y_test,
        "ntk_train_loss": expected / dataset.y_train.size if settings.reduction == "mean" else expected,
    }
    if not seen.any():
        return Findings((), arrays, ("z-scores under the ensemble: it has no spread left on the test points",))
    return Findings((score,), arrays)


def _root(square: Estimate) -> Estimate:
    """The square root of an estimate, its error to first order."""
    root = float(np.sqrt(square.mean))
    return Estimate(root, square.sem / (2 * root) if root > 0 else square.sem, square.n)


def test_errors(run: Run, dataset: Dataset, settings: Settings, at: Limit | None) -> Findings:
    """Test errors of network, linearized network, infinite-width NTK (mean after the same training) and NNGP posterior mean.

    Beside the first two stands what theory expects of one member of the ensemble, whose outputs still carry its initialization.
    """
    predictors = {"network": run.outputs_test[-1], "linearized": run.linear_test[-1]}
    member = None
    if at is not None and settings.closed_form:
        law = ends(at, dataset, settings, "test", run)
        noise = np.random.default_rng(settings.seed).standard_normal((MEMBERS, *law.mean.shape))
        members = law.mean + np.sqrt(law.variance)[..., None] * noise
        member = float(np.mean(_errors(members.reshape(-1, *law.mean.shape[1:]), dataset)))
        predictors["ntk"] = law.mean
        predictors["nngp"] = prediction.posterior(at.nngp, dataset.y_train, covariance="diagonal").mean[None]
    words = {
        "network": "trained network",
        "linearized": "linearized network",
        "ntk": "infinite-width NTK mean",
        "nngp": "NNGP posterior mean",
    }
    what = "Test error" if dataset.labels_test is not None else "Test mean squared error"
    if dataset.target_coding == STANDARDIZED_REGRESSION:
        what += " over the targets' variance"
    found = []
    for name, outputs in predictors.items():
        expected = member if name in ("network", "linearized") else None
        source = "a member of the infinite-width ensemble" if expected is not None else ""
        found.append(
            Evidence(f"test_error_{name}", GROUP, f"{what}, {words[name]}", Estimate.of(_errors(outputs, dataset)), expected, source)
        )
    return Findings(tuple(found))


def _errors(outputs: np.ndarray, dataset: Dataset) -> np.ndarray:
    """The error of each of (S, M, O) outputs: of classification where there are labels, else the mean square."""
    if dataset.labels_test is not None:
        return observables.classification_error(outputs, dataset.labels_test)
    return observables.mean_squared_error(outputs, dataset.y_test)
