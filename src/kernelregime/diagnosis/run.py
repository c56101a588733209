"""The measured part of a diagnosis: kernels at initialization, training of every seed, and the linearized network beside it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse.linalg

from kernelregime import _precision, empirical, observables, prediction
from kernelregime import training as loops
from kernelregime._checks import fail
from kernelregime.data import Dataset
from kernelregime.diagnosis.settings import Settings
from kernelregime.diagnosis.subject import Subject

LARGEST_FULL = 3000  # N·O up to which the kernel of all outputs is decomposed: 3000³ is about 10 s a seed

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Initial:
    """Every seed at initialization. `spectra`, `cross`: the kernel of all outputs on train points, decomposed, and its test-train block;
    None where N·O is too large. `theta` (S, K, K): the traced NTK on the points followed. `largest` (S,): λ_max of the full kernel.
    """

    params: Any
    train: np.ndarray
    test: np.ndarray
    spectra: list[prediction.Spectrum] | None
    cross: list[np.ndarray] | None
    theta: np.ndarray
    largest: np.ndarray


@dataclass(frozen=True)
class Run:
    """Everything measured on the trained seeds. S seeds, T recorded steps, N train, M test and K followed points, O outputs.

    `steps` (T,); `losses` (S, n+1) at every step; `stopped` (S,) the step each seed ended at; `outputs_train`, `outputs_test`
    (T, S, ·, O) and the same for the linearized network; `drift`, `alignment`, `alignment_centred` (T, S); `theta_final` (S, K, K).
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

    @property
    def seeds(self) -> int:
        """S."""
        return len(self.status)


def initialize(subject: Subject, dataset: Dataset, settings: Settings, followed: np.ndarray, progress: Progress) -> Initial:
    """Parameters, outputs and kernels of every seed before training."""
    params = subject.initialize(settings.seeds, settings.seed, settings.dtype)
    train = subject.outputs(params, dataset.x_train, settings.dtype)
    test = subject.outputs(params, dataset.x_test, settings.dtype)
    full = max(train[0].size, test[0].size) <= LARGEST_FULL
    spectra, cross, theta, largest = [], [], [], []
    for s in range(settings.seeds):
        seed = jax.tree.map(lambda leaf, s=s: leaf[s], params)
        ntk = partial(empirical.ntk, subject.f, seed, memory=settings.memory, dtype=settings.dtype)
        if full:
            gram = ntk(dataset.x_train, output="full").astype(np.float64)
            spectra.append(prediction.eigen(_flat(gram)))
            cross.append(ntk(dataset.x_test, dataset.x_train, output="full").astype(np.float64))
            theta.append(np.einsum("ijoo->ij", gram[np.ix_(followed, followed)]) / gram.shape[-1])
            largest.append(spectra[-1].values[-1])
        else:
            theta.append(ntk(dataset.x_train[followed]).astype(np.float64))
            largest.append(largest_eigenvalue(subject.f, seed, dataset.x_train, settings.dtype))
        progress("kernels at initialization", s + 1, settings.seeds)
    return Initial(params, train, test, spectra if full else None, cross if full else None, np.stack(theta), np.array(largest))


def _flat(gram: np.ndarray) -> np.ndarray:
    """(N, N, O, O) as a symmetric (N·O, N·O)."""
    n, _, o, _ = gram.shape
    flat = gram.transpose(0, 2, 1, 3).reshape(n * o, n * o)
    return (flat + flat.T) / 2


def largest_eigenvalue(f: Callable[..., Any], params: Any, x: np.ndarray, dtype: str) -> float:
    """λ_max of the kernel of all outputs, from products J(Jᵀv) alone (Lanczos)."""
    with _precision.enter(dtype):
        points = jnp.asarray(x, dtype)
        shape = jax.eval_shape(f, params, points).shape

        @jax.jit
        def product(v: Any) -> Any:
            out, pull = jax.vjp(lambda p: f(p, points), params)
            return jax.jvp(lambda p: f(p, points), (params,), (pull(v.reshape(shape).astype(out.dtype))[0],))[1].ravel()

        size = int(np.prod(shape))
        operator = scipy.sparse.linalg.LinearOperator((size, size), matvec=lambda v: np.asarray(product(v), np.float64), dtype=np.float64)
        start = np.random.default_rng(0).standard_normal(size)
        value = scipy.sparse.linalg.eigsh(operator, k=1, v0=start, tol=1e-3, return_eigenvectors=False)
    return float(value[0])


def learning_rates(initial: Initial, dataset: Dataset, settings: Settings) -> np.ndarray:
    """The rate of every seed: the one given, or a fraction of the largest stable one."""
    if settings.learning_rate is not None:
        return np.full(settings.seeds, settings.learning_rate)
    if not (initial.largest > 0).all():
        raise fail("outputs that depend on the parameters", "a tangent kernel of zero", "raise sigma_w2, or check the model")
    stable = 2 * (1 + settings.momentum) / initial.largest
    return settings.learning_rate_fraction * stable * settings.size(dataset.y_train)


def run(subject: Subject, dataset: Dataset, settings: Settings, *, checkpoint: Path | None, progress: Progress) -> Run:
    """Train every seed and the linearization of each, and measure both at the same steps."""
    followed = np.unique(np.linspace(0, len(dataset.x_train) - 1, min(settings.kernel_points, len(dataset.x_train))).astype(int))
    initial = initialize(subject, dataset, settings, followed, progress)
    rates = learning_rates(initial, dataset, settings)
    targets = dataset.y_train[followed]

    def kernels(params: Any) -> np.ndarray:
        seeds = [jax.tree.map(lambda leaf, s=s: np.asarray(leaf[s]), params) for s in range(settings.seeds)]
        ntk = partial(empirical.ntk, x1=dataset.x_train[followed], memory=settings.memory, dtype=settings.dtype)
        return np.stack([ntk(subject.f, seed) for seed in seeds]).astype(np.float64)

    def probe(step: int, params: Any) -> dict[str, np.ndarray]:
        theta = kernels(params)
        return {
            "train": subject.outputs(params, dataset.x_train, settings.dtype),
            "test": subject.outputs(params, dataset.x_test, settings.dtype),
            "drift": np.array([observables.drift(t, t0) for t, t0 in zip(theta, initial.theta, strict=True)]),
            "alignment": np.array([observables.alignment(t, targets) for t in theta]),
            "alignment_centred": np.array([observables.alignment(t, targets, centred=True) for t in theta]),
        }

    trace = _train(
        subject.f, initial.params, dataset, settings, rates, {"probe": probe}, checkpoint, "training", progress, outputs=initial.train
    )
    if trace.interrupted and (checkpoint is not None or not trace.records):  # to be resumed, or cut short before anything was measured
        raise KeyboardInterrupt
    measured = trace.records["probe"]
    steps, stopped = np.asarray(trace.steps), np.where(trace.stopped_at < 0, trace.losses.shape[1] - 1, trace.stopped_at)
    linear_train, linear_test = _linear(subject, dataset, settings, initial, rates, steps, stopped, progress)
    return Run(
        initial=initial,
        learning_rate=rates,
        steps=steps,
        losses=trace.losses,
        stopped=stopped,
        status=trace.status,
        interrupted=trace.interrupted,
        outputs_train=measured["train"],
        outputs_test=measured["test"],
        linear_train=linear_train,
        linear_test=linear_test,
        drift=measured["drift"],
        alignment=measured["alignment"],
        alignment_centred=measured["alignment_centred"],
        theta_final=kernels(trace.params),
        followed=followed,
    )


def stop_fraction(dataset: Dataset, settings: Settings, outputs: np.ndarray) -> float:
    """The fraction of its initial loss at which a seed stops: `settings.stop_fraction`, or less where the initial loss is mostly the
    outputs (S, N, O) at initialization: every seed that stops has brought the residual to that share of the targets' variance.
    """
    if settings.loss != "mse":
        return settings.stop_fraction
    start = np.max(np.sum((outputs.astype(np.float64) - dataset.y_train) ** 2, axis=(1, 2)))
    constant = np.sum((dataset.y_train - dataset.y_train.mean(axis=0)) ** 2)
    return float(settings.stop_fraction * min(1.0, constant / start))


def _train(
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
    outputs: np.ndarray,
    steps: np.ndarray | None = None,
) -> loops.Trace:
    """The loop of `training`, to the stop fraction, or (with `steps`) to the last of these steps."""
    budget = settings.steps if steps is None else int(steps[-1])
    stop = stop_fraction(dataset, settings, outputs) if steps is None else None
    return loops.train(
        f,
        params,
        dataset.x_train,
        dataset.y_train,
        steps=budget,
        learning_rate=rates,
        optimizer=settings.optimizer,
        loss=settings.loss,
        reduction=settings.reduction,
        batch_size=settings.batch_size,
        stop_fraction=stop,
        probes=probes,
        probe_steps=loops.geometric_steps(budget, count=max(2, settings.probes)) if steps is None else steps.tolist(),
        dtype=settings.dtype,
        key=None if settings.batch_size is None else jax.random.PRNGKey(settings.seed),
        checkpoint=checkpoint,
        progress=lambda step, total, losses: progress(task, step, total),
    )


def _linear(
    subject: Subject,
    dataset: Dataset,
    settings: Settings,
    initial: Initial,
    rates: np.ndarray,
    steps: np.ndarray,
    stopped: np.ndarray,
    progress: Progress,
) -> tuple[np.ndarray, np.ndarray]:
    """Outputs (T, S, ·, O) of each seed's linearization at the steps recorded, none later than the seed's own last."""
    times = np.minimum(steps[:, None], stopped[None, :])
    if settings.closed_form and initial.spectra is not None and initial.cross is not None:
        paths = [
            prediction.train(
                initial.spectra[s],
                dataset.y_train,
                times=times[:, s],
                dynamics="descent",
                learning_rate=float(rates[s]),
                reduction=settings.reduction,
                cross=initial.cross[s],
                initial=initial.train[s],
                initial_test=initial.test[s],
            )
            for s in range(settings.seeds)
        ]
        return np.stack([p.train for p in paths], 1), np.stack([_known(p.test) for p in paths], 1)

    def linearized(pair: Any, x: Any) -> Any:
        start = jax.lax.stop_gradient(pair["start"])
        shift = jax.tree.map(lambda a, b: a - b, pair["now"], start)
        out, slope = jax.jvp(lambda p: subject.f(p, x), (start,), (shift,))
        return out + slope

    both = replace(subject, f=linearized, batched=jax.jit(jax.vmap(linearized, in_axes=(0, None))))

    def probe(step: int, params: Any) -> dict[str, np.ndarray]:
        return {name: both.outputs(params, x, settings.dtype) for name, x in (("train", dataset.x_train), ("test", dataset.x_test))}

    visited = np.unique(times)
    params = {"start": initial.params, "now": initial.params}
    trace = _train(
        linearized,
        params,
        dataset,
        settings,
        rates,
        {"probe": probe},
        None,
        "linearized network",
        progress,
        outputs=initial.train,
        steps=visited,
    )
    at = np.searchsorted(trace.steps, times)
    seeds = np.arange(settings.seeds)[None, :]
    return trace.records["probe"]["train"][at, seeds], trace.records["probe"]["test"][at, seeds]


def _known(test: np.ndarray | None) -> np.ndarray:
    assert test is not None  # cross blocks were given
    return test
