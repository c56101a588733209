"""The paper, and what its experiments share."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelregime.claims import Estimate
from kernelregime.experiments.experiment import Arrays
from kernelregime.results import Paper
from kernelregime.theory import dispersion_estimate, sample_ntk, sample_ntk_matrix

PAPER = Paper(
    "can_we_trust",
    "Analyzing Finite Neural Networks: Can We Trust Neural Tangent Kernel Theory?",
    "Seleznova and Kutyniok, MSML 2021",
)


def near_limit(width: int) -> float:
    """The relative distance from a limit in width at which a network of this width is said to have reached it: terms of order 1/M."""
    return 10 / width


def substream(seed: int, part: int) -> int:
    """A seed of its own for a part of a cell, so that parts are independent."""
    return int(np.random.SeedSequence([seed, part]).generate_state(1)[0])


def spreads(
    width: int, depths: Sequence[int], *, activation: str, sigma_w2: float, sigma_b2: float, draws: Sequence[int], seed: int
) -> Arrays:
    """By depth, for an input of |x|² = n_0 = M: the dispersion of Θ(x, x) and the variance of log Θ(x, x), with standard errors."""
    found: dict[str, list[Any]] = {name: [] for name in ("dispersion", "sem", "reliable", "log_variance", "log_variance_sem")}
    for depth, count in zip(depths, draws, strict=True):
        setting = {"sigma_w2": sigma_w2, "sigma_b2": sigma_b2}
        theta = _thetas((*(width for _ in range(depth)), 1), activation, draws=count, seed=substream(seed, depth), **setting)
        estimate = dispersion_estimate(theta)
        found["dispersion"].append(estimate.mean)
        found["sem"].append(estimate.sem)
        found["reliable"].append(estimate.reliable)
        logs = np.log(theta)
        variance = Estimate.of((logs - logs.mean()) ** 2 * count / (count - 1))
        found["log_variance"].append(variance.mean)
        found["log_variance_sem"].append(variance.sem)
    return {name: np.array(values) for name, values in found.items()}


def _thetas(widths: tuple[int, ...], activation: str, *, sigma_w2: float, sigma_b2: float, draws: int, seed: int) -> np.ndarray:
    """Draws of Θ(x, x), |x|² = n_0: by the faster sampler where there is one."""
    law: dict[str, Any] = {"sigma_w2": sigma_w2, "sigma_b2": sigma_b2, "parameterization": "standard", "draws": draws, "seed": seed}
    if activation == "relu" and sigma_b2 == 0:
        return sample_ntk(widths, input_norm2=float(widths[0]), **law).theta
    return sample_ntk_matrix(widths, activation, np.ones((1, widths[0])), **law).theta[:, 0, 0]


def difference(first: Estimate, second: Estimate) -> Estimate:
    """First less second, measured independently."""
    return Estimate(first.mean - second.mean, _known(math.hypot(first.sem, second.sem)), min(first.n, second.n))


def ratio(first: Estimate, second: Estimate) -> Estimate:
    """First over second, measured independently; the error to first order."""
    mean = first.mean / second.mean
    return Estimate(mean, _known(abs(mean) * math.hypot(first.sem / first.mean, second.sem / second.mean)), min(first.n, second.n))


def _known(sem: float) -> float:
    """`sem`, or the one object nan: estimates of unknown error then compare as equal."""
    return sem if math.isfinite(sem) else math.nan
