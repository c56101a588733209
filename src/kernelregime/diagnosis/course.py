"""How training went beside what a constant kernel predicts of it: all that the verdict asks about steps and learning rates."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from kernelregime import observables
from kernelregime.data import Dataset
from kernelregime.diagnosis import pace
from kernelregime.diagnosis.conditioning import chance, left_to_train
from kernelregime.diagnosis.limit import Limit
from kernelregime.diagnosis.run import Run
from kernelregime.diagnosis.settings import Settings, Thresholds
from kernelregime.prediction import Spectrum

Stability = Literal["stable", "beyond", "unknown"]


@dataclass(frozen=True)
class Goal:
    """A level of loss, for S seeds: whether networks and linearizations have reached it, and in how many steps a constant kernel would.

    `steps` (S,) of the kernel at initialization, `limit_steps` (S,) of the infinite-width one: inf is never, nan not known (other
    optimizers and losses than (heavy-ball) descent on squared loss; no spec; too many points and outputs).
    """

    reached: np.ndarray
    linear_reached: np.ndarray
    steps: np.ndarray
    limit_steps: np.ndarray


@dataclass(frozen=True)
class Course:
    """Training of S seeds: `status` as in a `Trace`, `taken` (S,) steps, of at most `budget`.

    `time_constants` (S,): learning rate × λ_max × steps. `stability`: whether each learning rate is stable while the NTK is constant;
    `excess` (S,): it over the largest stable one, nan where that is not known. `linear_diverged` (S,): linearizations that grew without
    bound. `stop`: the goal that ends a seed's training. `trained`: the one that trainability is judged by, a number of at most `bound`.
    `described` (S,): seeds whose linearization error and drift are so far within the bounds of "near". `optimizer`: in words.
    """

    status: tuple[str, ...]
    interrupted: bool
    budget: int
    taken: np.ndarray
    time_constants: np.ndarray
    stability: tuple[Stability, ...]
    excess: np.ndarray
    linear_diverged: np.ndarray
    stop: Goal
    trained: Goal
    bound: float
    described: np.ndarray
    optimizer: str

    @property
    def seeds(self) -> int:
        """S."""
        return len(self.status)

    @property
    def diverged(self) -> np.ndarray:
        """The seeds (S,) that diverged."""
        return np.array(self.status) == "diverged"

    @property
    def certainly_stable(self) -> np.ndarray:
        """The seeds (S,) whose linearization cannot diverge."""
        return np.array(self.stability) == "stable"

    @property
    def without_comparison(self) -> np.ndarray:
        """The seeds (S,) whose linearization grows without bound, now or with more steps: nothing to compare a network with."""
        return self.linear_diverged | (np.array(self.stability) == "beyond")

    def hopeless(self, goal: Goal, thresholds: Thresholds) -> np.ndarray:
        """The seeds (S,) whose kernel needs many times the steps taken to reach `goal`, and more than any sensible number.

        A seed that its linearization does not describe may get there by another kernel than it began with.
        """
        per_step = self.time_constants / np.maximum(self.taken, 1)
        with np.errstate(invalid="ignore"):
            long = goal.steps >= thresholds.many_times * self.taken
            senseless = per_step * goal.steps >= thresholds.hopeless_training
        return np.asarray(self.described & (self.time_constants >= thresholds.least_training) & long & senseless)

    def waiting(self, goal: Goal, thresholds: Thresholds) -> np.ndarray:
        """The seeds (S,) that more steps may bring to `goal`: no kernel says that those taken are enough, or that all are too few."""
        enough = goal.linear_reached | (self.taken >= thresholds.many_times * goal.limit_steps)
        return ~(goal.reached | self.diverged | enough | self.hopeless(goal, thresholds))


def course(run: Run, dataset: Dataset, settings: Settings, at: Limit | None) -> Course:
    """The course of `run`, and what its kernels and the infinite-width one say of it."""
    bound = settings.thresholds.trainable_unexplained * (chance(dataset) if settings.loss != "mse" else 1.0)
    values, linear = (left_to_train(outputs[-1], dataset, settings) for outputs in (run.outputs_train, run.linear_train))
    stability, excess = stabilities(run, dataset, settings)
    error = observables.function_distance(run.outputs_test[-1], run.linear_test[-1], run.initial.test)
    near = settings.thresholds
    own, infinite = run.initial.spectra, None if at is None else [at.ntk.train] * run.seeds
    stopping = np.full(run.seeds, run.fraction)
    start = np.sum((run.initial.train.astype(np.float64) - dataset.y_train) ** 2, axis=(1, 2))
    spread = np.sum((dataset.y_train - dataset.y_train.mean(axis=0)) ** 2)
    stop = Goal(
        np.array(run.status) == "stopped",
        _loss(run.linear_train[-1], dataset, settings) <= run.fraction * run.losses[:, 0],
        *(_steps(run, dataset, settings, spectra, stopping) for spectra in (own, infinite)),
    )
    enough = (_steps(run, dataset, settings, spectra, bound * spread / start) for spectra in (own, infinite))
    trained = Goal(values <= bound, linear <= bound, *enough)
    return Course(
        status=run.status,
        interrupted=run.interrupted,
        budget=settings.steps,
        taken=run.stopped,
        time_constants=run.learning_rate * run.initial.largest * run.stopped / settings.size(dataset.y_train),
        stability=stability,
        excess=excess,
        linear_diverged=run.linear_diverged,
        stop=stop,
        trained=trained,
        bound=bound,
        described=(error <= near.near_linearization) & (run.drift[-1] <= near.near_drift),
        optimizer=settings.optimizer if isinstance(settings.optimizer, str) else "this optimizer",
    )


def stabilities(run: Run, dataset: Dataset, settings: Settings) -> tuple[tuple[Stability, ...], np.ndarray]:
    """Whether each rate is stable for the linearization of its seed, and the rate over the largest stable one.

    On squared loss and full batches that is 2 (1 + momentum)/λ_max(Θ_0). Below 2/λ_max plain descent is stable for minibatches of a
    summed loss too (their Hessians are smaller), and on cross-entropy (its curvature in the outputs is below 1); above, it may be.
    """
    most = 2 * (1 + settings.momentum) / run.initial.largest * settings.size(dataset.y_train)
    excess = run.learning_rate / most
    full = settings.batch_size is None or settings.batch_size >= len(dataset.x_train)
    if settings.optimizer in ("gd", "momentum") and settings.loss == "mse" and full:
        return tuple("beyond" if ratio > 1 else "stable" for ratio in excess), excess
    bounded = settings.optimizer == "gd" and (full or settings.reduction == "sum")
    return tuple("stable" if bounded and ratio <= 1 else "unknown" for ratio in excess), np.full(run.seeds, np.nan)


def _steps(run: Run, dataset: Dataset, settings: Settings, spectra: list[Spectrum] | None, fractions: np.ndarray) -> np.ndarray:
    """The steps (S,) in which descent with these kernels brings each seed's loss to its fraction of the initial one."""
    if settings.optimizer not in ("gd", "momentum") or settings.loss != "mse" or spectra is None:
        return np.full(run.seeds, np.nan)
    share = 1.0
    if settings.batch_size is not None and settings.reduction == "sum":  # a step descends the loss of its batch
        share = min(1.0, settings.batch_size / len(dataset.x_train))
    out = []
    for s, spectrum in enumerate(spectra):
        # what cannot be told from zero is at most the tolerance: the steps are then a lower bound
        values = np.where(spectrum.null, spectrum.tolerance, spectrum.values)
        left = pace.factors(values, share * run.learning_rate[s] / settings.size(dataset.y_train), settings.momentum)
        energy = pace.energies(spectrum, run.initial.train[s].astype(np.float64) - dataset.y_train)
        out.append(pace.steps_to(float(fractions[s]), energy, left))
    return np.array(out)


def _loss(outputs: np.ndarray, dataset: Dataset, settings: Settings) -> np.ndarray:
    """The train loss (S,) of outputs (S, N, O), as the training loop measures it."""
    out, y = outputs.astype(np.float64), dataset.y_train
    if settings.loss == "mse":
        total = 0.5 * np.sum((out - y) ** 2, axis=(1, 2))
    else:
        total = np.sum(y * (np.logaddexp.reduce(out, axis=2, keepdims=True) - out), axis=(1, 2))
    return np.asarray(total / settings.size(y))
