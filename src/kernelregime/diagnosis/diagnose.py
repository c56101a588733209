"""The main job: is this network in the kernel regime, does it train, and why?"""

import os
import time
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from kernelregime import data as datasets
from kernelregime._checks import fail, one_of
from kernelregime.data import Dataset
from kernelregime.diagnosis import advice, conditioning, course, drift, function_space, phase, randomness, verdict
from kernelregime.diagnosis.findings import Findings
from kernelregime.diagnosis.initial import Progress
from kernelregime.diagnosis.limit import Limit, limit
from kernelregime.diagnosis.run import Run, run
from kernelregime.diagnosis.settings import Settings
from kernelregime.diagnosis.subject import Subject, subject
from kernelregime.results import Diagnosis, Verdict, environment

POINTS = 120  # train points: with ten classes the kernel of all outputs has 1,200 rows, decomposed in a second
NEEDS_SPEC = (
    "infinite-width kernels, their ensemble and the distance Θ_0 − Θ_∞: need a network spec",
    "exact dispersion, phase diagram and edge of chaos: need a fully-connected spec",
)


def diagnose(
    network: Any,
    data: Dataset | str | os.PathLike[str],
    *,
    init: Callable[[Any], Any] | None = None,
    params: Any = None,
    settings: Settings | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Diagnosis:
    """Train `network` from several seeds on `data` and say whether it is in the kernel regime, whether it is trainable, and why.

    `network`: a spec (`networks.mlp(...)`, or any layer of `layers`), or a function f(params, x) -> (N, O) with `init(key) -> params`
    (several seeds) or `params` (one seed: evidence is shown, the verdict is inconclusive). Without a spec there is no
    infinite-width prediction; `Diagnosis.missing` says what falls away. `data`: a `data.Dataset`, or a name or file for `load`.
    `settings`: a `Settings`; `options` set its fields singly (`seeds=`, `steps=`, `learning_rate=`, `thresholds=`, ...). `checkpoint`: a
    file to keep training in: an interrupt (Ctrl-C) is passed on when the file is written, and the same call goes on from there.
    Without one, an interrupt of the training returns the diagnosis of what is done, "inconclusive"; one that comes later is passed on.
    `progress(task, done, total)` is called as the work goes on. Kernels default to the `ntk` parameterization; in `standard` their
    eigenvalues are given divided by the width.

    Returns a `Diagnosis`: verdict, evidence (each number with its standard error over seeds and the theory's prediction), advice, raw
    arrays. `report.write` makes it a page. Raises: `InputError` for input that cannot be used.
    """
    chosen = _settings(settings, options)
    dataset = data if isinstance(data, Dataset) else load(data)
    inputs = dataset.x_train.shape[1:]
    what = subject(network, inputs, init=init, params=params, dtype=chosen.dtype)
    if not what.seeded and chosen.seeds > 1:
        chosen = Settings(**{**_fields(chosen), "seeds": 1})
    _check_targets(dataset, chosen)
    what.check(dataset.x_train[:2], dataset.y_train.shape[1], chosen.dtype)
    report = progress or (lambda task, done, total: None)
    clock = _Clock()
    measured = run(what, dataset, chosen, checkpoint=None if checkpoint is None else Path(checkpoint), progress=report)
    clock.mark("training")
    at = limit(what.network, dataset, chosen) if what.network is not None else None
    clock.mark("infinite-width kernels")
    went = course.course(measured, dataset, chosen, at)
    found = _evidence(what, measured, dataset, chosen, at, report)
    found += Findings(advice=advice.advise(what, measured, dataset, chosen, at, found, went))
    clock.mark("evidence")
    regime, why_regime = verdict.regime(found.evidence, went, chosen.thresholds)
    train, why_train = verdict.trainable(found.evidence, went, chosen.thresholds)
    return Diagnosis(
        verdict=Verdict(regime, train, (*why_regime, *why_train), found.advice),
        evidence=found.evidence,
        config=_config(what, dataset, chosen, measured),
        thresholds={k: float(v) for k, v in asdict(chosen.thresholds).items()},
        arrays=found.arrays,
        missing=found.missing,
        environment=environment(),
        seconds=clock.laps,
    )


def load(
    name: str | os.PathLike[str],
    *,
    points_train: int | None = None,
    points_test: int | None = None,
    scaling: str = "unit-norm",
    target_coding: str | None = None,
    seed: int = 0,
) -> Dataset:
    """`data.load` with the defaults of a diagnosis: about 120 balanced train and test points, rows on the sphere |x|² = d, and for
    classes targets of mean 0 and variance 1, so that the outputs at initialization do not swamp them.

    Raises: `InputError` as `data.load` does.
    """
    if points_train is None or points_test is None or target_coding is None:
        whole = datasets.load(name, scaling="none", target_coding=target_coding, seed=seed)
        classes = max(1, len(whole.classes))
        points_train = points_train if points_train is not None else max(classes, min(POINTS, len(whole.x_train)) // classes * classes)
        points_test = points_test if points_test is not None else min(POINTS, len(whole.x_test))
        target_coding = target_coding or ("standardized-one-hot" if whole.classes else "regression")
    return datasets.load(name, points_train=points_train, points_test=points_test, scaling=scaling, target_coding=target_coding, seed=seed)


def _settings(settings: Settings | None, options: dict[str, Any]) -> Settings:
    names = [item.name for item in fields(Settings)]
    for name in options:
        one_of("setting", name, names)
    return Settings(**{**(_fields(settings) if settings else {}), **options})


def _check_targets(dataset: Dataset, settings: Settings) -> None:
    """Raises `InputError` for targets with nothing to learn, and for targets that cross-entropy cannot take."""
    y = dataset.y_train
    if not np.ptp(y, axis=0).any():
        raise fail("targets that differ between train points", "the same target for all", "give other targets")
    if settings.loss == "cross_entropy" and (y.shape[1] < 2 or (y < 0).any() or not np.allclose(y.sum(axis=1), 1)):
        raise fail("class probabilities as targets for cross_entropy", f"coding {dataset.target_coding}", 'use target coding "one-hot"')


def _fields(settings: Settings) -> dict[str, Any]:
    return {item.name: getattr(settings, item.name) for item in fields(settings)}


def _evidence(what: Subject, measured: Run, dataset: Dataset, settings: Settings, at: Limit | None, progress: Progress) -> Findings:
    """Every group of evidence, function space first."""
    found = Findings(missing=() if at is not None else NEEDS_SPEC)
    found += function_space.linearization(measured) + function_space.losses(measured, dataset, settings)
    if at is not None and settings.closed_form:
        found += function_space.against_ensemble(measured, dataset, settings, at)
    elif at is not None:
        found += Findings(missing=("the infinite-width ensemble: known for squared loss and full-batch gradient descent only",))
    found += function_space.test_errors(measured, dataset, settings, at)
    found += drift.drift(measured, dataset, settings, at)
    found += randomness.randomness(what, measured, dataset, settings, at, progress)
    found += phase.phase(what, measured, dataset, settings, at)
    found += conditioning.conditioning(what, measured, dataset, settings, at)
    if at is not None and at.error > 1e-6:
        found += Findings(
            missing=(f"digits of the infinite-width kernel: the quadrature of its activation is good to {at.error:.1g} only",)
        )
    return found


def _config(what: Subject, dataset: Dataset, settings: Settings, measured: Run) -> dict[str, Any]:
    spec = what.spec
    network = None
    if spec is not None:
        hidden = spec.widths[:-1]
        network = {
            "kind": "mlp",
            "depth": spec.depth,
            "width": hidden[0] if len(set(hidden)) == 1 else list(hidden),
            "activation": spec.activation.name if spec.activation else None,
            "sigma_w2": spec.sigma_w2,
            "sigma_b2": spec.sigma_b2,
            "parameterization": spec.parameterization,
            "outputs": spec.widths[-1],
        }
    optimizer = (
        settings.optimizer if isinstance(settings.optimizer, str) else getattr(settings.optimizer, "__name__", "optax transformation")
    )
    kept = {k: v for k, v in _fields(settings).items() if k not in ("thresholds", "optimizer", "learning_rate", "dtype")}
    return {
        "network": network,
        "model": what.name,
        "data": {
            "name": dataset.name,
            "points_train": len(dataset.x_train),
            "points_test": len(dataset.x_test),
            "inputs": int(np.prod(dataset.x_train.shape[1:])),
            "outputs": dataset.y_train.shape[1],
            "scaling": dataset.scaling,
            "target_coding": dataset.target_coding,
            "fingerprint": dataset.fingerprint,
        },
        "training": {
            **kept,
            "optimizer": optimizer,
            "learning_rate": measured.learning_rate.tolist(),
            "steps_taken": measured.stopped.tolist(),
        },
        "dtype": settings.dtype,
    }


class _Clock:
    """Seconds between marks."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def mark(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = round(now - self._last, 3)
        self._last = now
