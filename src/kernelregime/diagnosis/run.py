"""The measured part of a diagnosis: training of every seed, its kernel on the way, and the linearized network beside it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from kernelregime import empirical, observables
from kernelregime.data import Dataset
from kernelregime.diagnosis.fit import fit, stop_fraction
from kernelregime.diagnosis.initial import Initial, Progress, initialize, learning_rates
from kernelregime.diagnosis.linearized import Linearized, linearized
from kernelregime.diagnosis.settings import Settings
from kernelregime.diagnosis.subject import Subject
from kernelregime.training import Trace


@dataclass(frozen=True)
class Run:
    """Everything measured on the trained seeds. S seeds, T recorded steps, N train, M test and K followed points, O outputs.

    `steps` (T,); `losses` (S, n+1) at every step; `stopped` (S,) the step each seed ended at; `outputs_train`, `outputs_test`
    (T, S, ·, O) and the same for the linearized network, which may have diverged (`linear_diverged` (S,)); `drift`, `alignment`,
    `alignment_centred` (T, S); `theta_final` (S, K, K). `fraction`: of its initial loss, at which a seed stops.
    """

    initial: Initial
    learning_rate: np.ndarray
    steps: np.ndarray
    losses: np.ndarray
    stopped: np.ndarray
    status: tuple[str, ...]
    interrupted: bool
    outputs_train: np.ndarray
    outputs_test: np.ndarray
    linear_train: np.ndarray
    linear_test: np.ndarray
    drift: np.ndarray
    alignment: np.ndarray
    alignment_centred: np.ndarray
    theta_final: np.ndarray
    followed: np.ndarray
    linear_diverged: np.ndarray
    fraction: float

    @property
    def seeds(self) -> int:
        """S."""
        return len(self.status)


def run(subject: Subject, dataset: Dataset, settings: Settings, *, checkpoint: Path | None, progress: Progress) -> Run:
    """Train every seed and the linearization of each, and measure both at the same steps."""
    followed = np.unique(np.linspace(0, len(dataset.x_train) - 1, min(settings.kernel_points, len(dataset.x_train))).astype(int))
    initial = initialize(subject, dataset, settings, followed, progress)
    rates = learning_rates(initial, dataset, settings)
    kernels = partial(_kernels, subject, dataset.x_train[followed], settings)
    fraction = stop_fraction(dataset, settings, initial.train)
    trace = fit(
        subject.f,
        initial.params,
        dataset,
        settings,
        rates,
        {"probe": _probe(subject, dataset, settings, initial, followed, kernels)},
        checkpoint,
        "training",
        progress,
        stop=fraction,
        depends_on={"x_test": dataset.x_test, "followed": followed},
    )
    if trace.interrupted and (checkpoint is not None or not trace.records):  # to be resumed, or cut short before anything was measured
        raise KeyboardInterrupt
    steps, stopped = np.asarray(trace.steps), np.where(trace.stopped_at < 0, trace.losses.shape[1] - 1, trace.stopped_at)
    times = np.minimum(steps[:, None], stopped[None, :])  # none later than the seed's own last
    linear = linearized(subject, dataset, settings, initial, rates, times, progress)
    return _measured(
        trace, initial, linear, rates=rates, stopped=stopped, theta=kernels(trace.params), followed=followed, fraction=fraction
    )


def _measured(
    trace: Trace,
    initial: Initial,
    linear: Linearized,
    *,
    rates: np.ndarray,
    stopped: np.ndarray,
    theta: np.ndarray,
    followed: np.ndarray,
    fraction: float,
) -> Run:
    """The run from its trace, its start and its linearization."""
    measured = trace.records["probe"]
    return Run(
        initial=initial,
        learning_rate=rates,
        steps=np.asarray(trace.steps),
        losses=trace.losses,
        stopped=stopped,
        status=trace.status,
        interrupted=trace.interrupted,
        outputs_train=measured["train"],
        outputs_test=measured["test"],
        linear_train=linear.train,
        linear_test=linear.test,
        drift=measured["drift"],
        alignment=measured["alignment"],
        alignment_centred=measured["alignment_centred"],
        theta_final=theta,
        followed=followed,
        linear_diverged=linear.diverged,
        fraction=fraction,
    )


def _kernels(subject: Subject, x: np.ndarray, settings: Settings, params: Any) -> np.ndarray:
    """The traced NTK (S, K, K) of every seed on the points `x`."""
    seeds = [jax.tree.map(lambda leaf, s=s: np.asarray(leaf[s]), params) for s in range(settings.seeds)]
    ntk = partial(empirical.ntk, x1=x, memory=settings.memory, dtype=settings.dtype)
    return np.stack([ntk((subject.f, seed)) for seed in seeds]).astype(np.float64)


def _probe(
    subject: Subject, dataset: Dataset, settings: Settings, initial: Initial, followed: np.ndarray, kernels: Callable[[Any], np.ndarray]
) -> Callable[[int, Any], dict[str, np.ndarray]]:
    """What is recorded of the network on the way."""
    targets = dataset.y_train[followed]

    def probe(step: int, params: Any) -> dict[str, np.ndarray]:
        theta = kernels(params)
        return {
            "train": subject.outputs(params, dataset.x_train, settings.dtype),
            "test": subject.outputs(params, dataset.x_test, settings.dtype),
            "drift": np.array([observables.drift(t, t0) for t, t0 in zip(theta, initial.theta, strict=True)]),
            "alignment": np.array([observables.alignment(t, targets) for t in theta]),
            "alignment_centred": np.array([observables.alignment(t, targets, centred=True) for t in theta]),
        }

    return probe
