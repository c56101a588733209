"""The main job: is this network in the kernel regime, does it train, and why?"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from kernelregime import infinite
from kernelregime._checks import fail, one_of
from kernelregime.data import Dataset
from kernelregime.diagnosis import advice, conditioning, course, drift, function_space, inputs, phase, randomness, size, verdict
from kernelregime.diagnosis.course import Course
from kernelregime.diagnosis.findings import Findings
from kernelregime.diagnosis.initial import Progress
from kernelregime.diagnosis.limit import Limit, limit
from kernelregime.diagnosis.run import Run, run
from kernelregime.diagnosis.settings import Settings
from kernelregime.diagnosis.subject import Subject, subject
from kernelregime.layers.scales import has_kernel
from kernelregime.networks import FullyConnected
from kernelregime.results import Diagnosis, Verdict, environment

NEEDS_SPEC = (
    "infinite-width kernels, their ensemble and the distance Θ_0 − Θ_∞: need a network spec in the ntk or standard parameterization",
    "exact dispersion, phase diagram and edge of chaos: need a fully-connected spec",
)


def diagnose(
    network: Any,
    data: Dataset | str | os.PathLike[str] | Sequence[Any],
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
    infinite-width prediction; `Diagnosis.missing` says what falls away. `data`: a `data.Dataset`; a name or file for `load`; or arrays,
    (X, y) (about 120 points of which train and test the network, as in `load`) or (x_train, y_train, x_test, y_test) (all of them).
    `settings`: a `Settings`, or a dict; `options` set its fields singly (`seeds=`, `steps=`, `learning_rate=`, `thresholds=`, ...).
    `checkpoint`: a file to keep training in: an interrupt (Ctrl-C) is passed on when the file is written, and the same call goes on from
    there. Without one, an interrupt of the training returns the diagnosis of what is done, "inconclusive"; any other is passed on.
    `progress(task, done, total)` is called as the work goes on. Kernels default to the `ntk` parameterization; in `standard` their
    eigenvalues are given divided by the width.

    Returns a `Diagnosis`: verdict, evidence (each number with its standard error over seeds and the theory's prediction), advice, raw
    arrays. `report.write` makes it a page. Raises: `InputError`, before anything is trained, for input that cannot be used, for a φ whose
    Gaussian integrals do not converge, and for what does not fit into the memory budget.
    """
    chosen = _settings(settings, options)
    dataset = inputs.understood(data, chosen)
    what = subject(network, dataset.x_train.shape[1:], init=init, params=params, dtype=chosen.dtype)
    if not what.seeded:
        chosen = replace(chosen, seeds=1)
    size.check(what, dataset, chosen)
    what.check(dataset.x_train[:2], dataset.y_train.shape[1], chosen.dtype)
    clock = _Clock()
    where = phase.place(what.spec, dataset)  # what theory cannot say is found out before anything is trained
    at = limit(what.network, dataset, chosen) if what.network is not None and has_kernel(what.network) else None
    clock.mark("infinite-width kernels")
    report = progress or (lambda task, done, total: None)
    measured = run(what, dataset, chosen, checkpoint=None if checkpoint is None else Path(checkpoint), progress=report)
    clock.mark("training")
    found = _evidence(what, measured, dataset, chosen, at, where, report)
    went = course.course(measured, dataset, chosen, at)
    found += Findings(advice=advice.advise(what, measured, dataset, chosen, at, found, went))
    clock.mark("evidence")
    return Diagnosis(
        verdict=_verdict(found, went, chosen),
        evidence=found.evidence,
        config=_config(what, dataset, chosen, measured),
        thresholds={k: float(v) for k, v in asdict(chosen.thresholds).items()},
        arrays=found.arrays,
        missing=found.missing,
        notes=dataset.notes,
        environment=environment(),
        seconds=clock.laps,
    )


def _settings(settings: Any, options: dict[str, Any]) -> Settings:
    if settings is not None and not isinstance(settings, (Settings, Mapping)):
        do = "give Settings(seeds=5), or the options singly"
        raise fail("settings as a diagnosis.Settings or a dict", f"a {type(settings).__name__}", do)
    given = _fields(settings) if isinstance(settings, Settings) else dict(settings or {})
    for name in (*given, *options):
        one_of("setting", name, Settings.__dataclass_fields__)
    return Settings(**{**given, **options})


def _fields(settings: Settings) -> dict[str, Any]:
    return {item.name: getattr(settings, item.name) for item in fields(settings)}


def _verdict(found: Findings, went: Course, settings: Settings) -> Verdict:
    regime, why_regime = verdict.regime(found.evidence, went, settings.thresholds)
    trainable, why_trainable = verdict.trainable(found.evidence, went, settings.thresholds)
    return Verdict(regime, trainable, (*why_regime, *why_trainable), found.advice)


def _evidence(
    what: Subject, measured: Run, dataset: Dataset, settings: Settings, at: Limit | None, where: phase.Place | None, progress: Progress
) -> Findings:
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
    found += phase.phase(what, measured, dataset, settings, at, where)
    found += conditioning.conditioning(what, measured, dataset, settings, at)
    if at is not None and infinite.status(at.error) != "reliable":
        doubt = f"quadrature of an activation or sampling of an Attention is good to {at.error:.1g} only"
        found += Findings(missing=(f"digits of the infinite-width kernel: {doubt}",))
    return found


def _config(what: Subject, dataset: Dataset, settings: Settings, measured: Run) -> dict[str, Any]:
    optimizer = (
        settings.optimizer if isinstance(settings.optimizer, str) else getattr(settings.optimizer, "__name__", "optax transformation")
    )
    kept = {k: v for k, v in _fields(settings).items() if k not in ("thresholds", "optimizer", "learning_rate", "dtype")}
    return {
        "network": None if what.spec is None else _network(what.spec),
        "model": what.name,
        "data": _data(dataset),
        "training": {
            **kept,
            "optimizer": optimizer,
            "learning_rate": measured.learning_rate.tolist(),
            "steps_taken": measured.stopped.tolist(),
        },
        "dtype": settings.dtype,
    }


def _network(spec: FullyConnected) -> dict[str, Any]:
    hidden = spec.widths[:-1]
    return {
        "kind": "mlp",
        "depth": spec.depth,
        "width": hidden[0] if len(set(hidden)) == 1 else list(hidden),
        "activation": spec.activation.name if spec.activation else None,
        "sigma_w2": spec.sigma_w2,
        "sigma_b2": spec.sigma_b2,
        "parameterization": spec.parameterization,
        "outputs": spec.widths[-1],
    }


def _data(dataset: Dataset) -> dict[str, Any]:
    units = {"target_mean": list(dataset.target_mean), "target_deviation": list(dataset.target_deviation)} if dataset.target_mean else {}
    return {
        "name": dataset.name,
        "points_train": len(dataset.x_train),
        "points_test": len(dataset.x_test),
        "inputs": int(np.prod(dataset.x_train.shape[1:])),
        "outputs": dataset.y_train.shape[1],
        "scaling": dataset.scaling,
        "target_coding": dataset.target_coding,
        **units,
        "fingerprint": dataset.fingerprint,
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
