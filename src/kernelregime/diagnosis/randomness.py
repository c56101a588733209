"""Evidence (c): is the kernel at initialization the deterministic one of infinite width?"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import jax
import numpy as np

from kernelregime import _precision, empirical, observables, theory
from kernelregime._checks import InputError
from kernelregime.claims import Estimate
from kernelregime.data import Dataset
from kernelregime.diagnosis.findings import Findings
from kernelregime.diagnosis.initial import Progress
from kernelregime.diagnosis.limit import Limit
from kernelregime.diagnosis.run import Run
from kernelregime.diagnosis.settings import Settings
from kernelregime.diagnosis.subject import Subject
from kernelregime.networks import FullyConnected
from kernelregime.results import Evidence

GROUP: Final = "randomness"
LARGEST_SAMPLE = 4e8  # random weights drawn at the most: about four seconds


def randomness(subject: Subject, run: Run, dataset: Dataset, settings: Settings, at: Limit | None, progress: Progress) -> Findings:
    """Dispersion of Θ(x, x) over initializations against exact theory, and the distance of Θ_0 from Θ_∞."""
    found = Findings()
    if at is not None:
        theta = at.theta[np.ix_(run.followed, run.followed)]
        apart = [observables.relative_distance(t, theta) for t in run.initial.theta]
        distance = Evidence(
            "theta_distance",
            GROUP,
            "Distance of Θ_0 from the infinite-width NTK",
            Estimate.of(apart),
            predicted=0.0,
            source="Jacot et al. 2018, theorem 1",
            comment="‖Θ_0 − Θ_∞‖_F / ‖Θ_∞‖_F",
        )
        found += Findings((distance,))
    if not subject.seeded:
        return found + Findings(missing=("randomness of the NTK at initialization: needs init= to draw seeds",))
    return found + _dispersion(subject, run, dataset, settings, progress)


def _dispersion(subject: Subject, run: Run, dataset: Dataset, settings: Settings, progress: Progress) -> Findings:
    size = sum(leaf[0].size for leaf in jax.tree.leaves(run.initial.params))
    draws = int(max(3, min(settings.draws, max(20, LARGEST_SAMPLE // size))))
    x = dataset.x_train[:1]
    samples = _draws(subject, x, draws, settings, progress)
    sampled = theory.dispersion_estimate(samples)
    estimate, caution = sampled.estimate, "" if sampled.reliable else sampled.status
    exact, why = _exact(subject.spec, x[0])
    spread = math.sqrt(max(estimate.mean - 1, 0.0))
    sem = estimate.sem / (2 * spread) if spread > 0 else estimate.sem
    dispersion = Evidence(
        "dispersion",
        GROUP,
        "Dispersion of the NTK at one input",
        estimate,
        predicted=exact,
        source="exact finite-width moments for ReLU" if exact is not None else "",
        comment="; ".join(word for word in ("E Θ(x,x)² / (E Θ(x,x))²", why, caution) if word),
    )
    relative = Evidence(
        "ntk_relative_std",
        GROUP,
        "Relative standard deviation of Θ(x, x) over initializations",
        Estimate(spread, sem, draws),
        predicted=None if exact is None else math.sqrt(max(exact - 1, 0.0)),
        source="exact finite-width moments for ReLU" if exact is not None else "",
        role="regime",
        comment="; ".join(word for word in (why, caution) if word),
    )
    return Findings((dispersion, relative), {"ntk_samples": samples / np.mean(samples)})


def _draws(subject: Subject, x: np.ndarray, draws: int, settings: Settings, progress: Progress) -> np.ndarray:
    """Θ(x, x) of one output for `draws` initializations (draws,), compiled where `init` can be traced."""
    f, told = first_output(subject.f), partial(progress, "draws of the NTK")
    with _precision.enter(settings.dtype):
        key = jax.random.PRNGKey(settings.seed + 1)
        keys = jax.random.split(key, draws)
        traceable = subject.traceable
    if traceable:
        kernels = empirical.sample_at_init(
            subject.init, f, x, draws=draws, key=key, memory=settings.memory, dtype=settings.dtype, progress=told
        )
        return kernels.ravel()
    samples = []
    for done, one in enumerate(keys, 1):
        samples.append(empirical.ntk((f, subject.init(one)), x, memory=settings.memory, dtype=settings.dtype).item())
        told(done, draws)
    return np.array(samples)


def first_output(f: Callable[..., Any]) -> Callable[..., Any]:
    """F restricted to its first output: the law of Θ(x, x) is that of one output."""

    def one(params: Any, x: Any) -> Any:
        return f(params, x)[:, 0]

    return one


def _exact(spec: FullyConnected | None, x: np.ndarray) -> tuple[float | None, str]:
    """The exact dispersion where it is known, else None and the reason."""
    if spec is None:
        return None, "exact moments need a fully-connected spec"
    if spec.activation is not None and spec.activation.kind.name != "relu":
        return None, f"exact moments are known for ReLU, not for {spec.activation.name}"
    try:
        widths = (x.size, *spec.widths[:-1], 1)
        moments = theory.ntk_moments(
            widths, sigma_w2=spec.sigma_w2, sigma_b2=spec.sigma_b2, parameterization=spec.parameterization, input_norm2=float(x @ x)
        )
    except InputError:
        return None, "exact moments are known for biases that start at zero"
    return moments.dispersion, ""
