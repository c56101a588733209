"""The loop of `training` with the settings of a diagnosis."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from kernelregime import training as loops
from kernelregime.data import Dataset
from kernelregime.diagnosis.initial import Progress
from kernelregime.diagnosis.settings import Settings


def stop_fraction(dataset: Dataset, settings: Settings, outputs: np.ndarray) -> float:
    """The fraction of its initial loss at which a seed stops: `settings.stop_fraction`, or less where the initial loss is mostly the
    outputs (S, N, O) at initialization: every seed that stops has brought the residual to that share of the targets' variance.
    """
    if settings.loss != "mse":
        return settings.stop_fraction
    start = np.max(np.sum((outputs.astype(np.float64) - dataset.y_train) ** 2, axis=(1, 2)))
    constant = np.sum((dataset.y_train - dataset.y_train.mean(axis=0)) ** 2)
    return float(settings.stop_fraction * min(1.0, constant / start))


def fit(
    f: Callable[..., Any],
    params: Any,
    dataset: Dataset,
    settings: Settings,
    rates: np.ndarray,
    probes: dict[str, Any],
    checkpoint: Path | None,
    task: str,
    progress: Progress,
    *,
    stop: float | None = None,
    steps: np.ndarray | None = None,
    hold: Any = None,
    depends_on: dict[str, Any] | None = None,
) -> loops.Trace:
    """The loop of `training`: to the fraction `stop` of the initial loss, or (with `steps`) to the last of these steps.

    `hold`: labels of the params that stay where they are, as `training.holding` takes them.
    """
    budget = settings.steps if steps is None else int(steps[-1])
    return loops.train(
        f,
        params,
        dataset.x_train,
        dataset.y_train,
        steps=budget,
        learning_rate=rates,
        optimizer=settings.optimizer if hold is None else loops.holding(settings.optimizer, hold),
        loss=settings.loss,
        reduction=settings.reduction,
        batch_size=settings.batch_size,
        stop_fraction=stop,
        probes=probes,
        probe_steps=loops.geometric_steps(budget, count=max(2, settings.probes)) if steps is None else steps.tolist(),
        dtype=settings.dtype,
        key=None if settings.batch_size is None else jax.random.PRNGKey(settings.seed),
        checkpoint=checkpoint,
        depends_on=depends_on,
        progress=lambda step, total, losses: progress(task, step, total),
    )
