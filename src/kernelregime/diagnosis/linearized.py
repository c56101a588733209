"""The linearized network beside each seed: the same training, with the kernel of its initialization."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from kernelregime import prediction
from kernelregime.data import Dataset
from kernelregime.diagnosis import pace
from kernelregime.diagnosis.fit import fit
from kernelregime.diagnosis.initial import Initial, Progress
from kernelregime.diagnosis.settings import Settings
from kernelregime.diagnosis.subject import Subject
from kernelregime.training import EXPLOSION


@dataclass(frozen=True)
class Linearized:
    """Outputs `train`, `test` (T, S, ·, O) of each seed's linearization, and which of them grew without bound, `diverged` (S,).

    One whose loss exceeds 10⁶ times the initial one is kept as it was then, as the training loop keeps a network.
    """

    train: np.ndarray
    test: np.ndarray
    diverged: np.ndarray


def linearized(
    subject: Subject, dataset: Dataset, settings: Settings, initial: Initial, rates: np.ndarray, times: np.ndarray, progress: Progress
) -> Linearized:
    """The linearization of every seed at its own `times` (T, S): by formula where there is one, else trained in the same loop.

    Raises `KeyboardInterrupt` when the loop is interrupted: half a linearization is nothing to compare with.
    """
    if not times.any():  # every seed diverged with its first step
        train, test = (np.broadcast_to(start, (len(times), *start.shape)) for start in (initial.train, initial.test))
        return Linearized(train, test, np.zeros(times.shape[1], bool))
    if settings.closed_form and initial.spectra is not None:
        return _by_formula(dataset, settings, initial, rates, times)
    return _in_steps(subject, dataset, settings, initial, rates, times, progress)


def _by_formula(dataset: Dataset, settings: Settings, initial: Initial, rates: np.ndarray, times: np.ndarray) -> Linearized:
    assert initial.spectra is not None
    assert initial.cross is not None  # both are kept, or neither
    train, test, diverged = [], [], []
    for s, (spectrum, cross) in enumerate(zip(initial.spectra, initial.cross, strict=True)):
        left = pace.factors(spectrum.values, rates[s] / settings.size(dataset.y_train))
        explodes = pace.steps_beyond(EXPLOSION, pace.energies(spectrum, initial.train[s] - dataset.y_train), left)
        path = prediction.train(
            spectrum,
            dataset.y_train,
            times=np.minimum(times[:, s], explodes),
            dynamics="descent",
            learning_rate=float(rates[s]),
            reduction=settings.reduction,
            cross=cross,
            initial=initial.train[s],
            initial_test=initial.test[s],
        )
        assert path.test is not None  # cross blocks were given
        train.append(path.train)
        test.append(path.test)
        diverged.append(explodes <= times[-1, s])
    return Linearized(np.stack(train, 1), np.stack(test, 1), np.array(diverged))


def _in_steps(
    subject: Subject, dataset: Dataset, settings: Settings, initial: Initial, rates: np.ndarray, times: np.ndarray, progress: Progress
) -> Linearized:
    def expanded(pair: Any, x: Any) -> Any:
        start = jax.lax.stop_gradient(pair["start"])
        shift = jax.tree.map(lambda a, b: a - b, pair["now"], start)
        out, slope = jax.jvp(lambda p: subject.f(p, x), (start,), (shift,))
        return out + slope

    both = replace(subject, f=expanded, batched=jax.jit(jax.vmap(expanded, in_axes=(0, None))))

    def probe(step: int, params: Any) -> dict[str, np.ndarray]:
        return {name: both.outputs(params, x, settings.dtype) for name, x in (("train", dataset.x_train), ("test", dataset.x_test))}

    trace = fit(
        expanded,
        {"start": initial.params, "now": initial.params},
        dataset,
        settings,
        rates,
        {"probe": probe},
        None,
        "linearized network",
        progress,
        steps=np.unique(times),
        hold={"start": "hold", "now": "train"},
    )
    if trace.interrupted:
        raise KeyboardInterrupt
    # a run that ends early because every seed has diverged leaves its last record to what would follow
    at = np.minimum(np.searchsorted(trace.steps, times), len(trace.steps) - 1)
    seeds = np.arange(times.shape[1])[None, :]
    train, test = (trace.records["probe"][name][at, seeds] for name in ("train", "test"))
    last = np.where(trace.stopped_at < 0, np.inf, trace.stopped_at)
    return Linearized(train, test, (np.array(trace.status) == "diverged") & (last <= times[-1]))
