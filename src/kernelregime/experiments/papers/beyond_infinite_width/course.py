"""The dispersion of Θ(x, x) of finite ReLU networks over a list of architectures: measured, exact, and as theorem 3.2 prints it."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from kernelregime.claims import Estimate
from kernelregime.experiments.experiment import Arrays
from kernelregime.theory import ntk_moments, printed_ntk_moments, simulated_dispersion


def course(networks: Sequence[tuple[int, ...]], *, sigma_w2: float, precise: int, seed: int) -> Arrays:
    """For each network (n_0, …, n_L): `dispersion` and `sem` of `precise` weighted draws, `exact`, and the printed `theorem` and `lemma`.

    `standard` parameterization, zero biases that are trained, |x| = 1.
    """
    rows = []
    for widths, own in zip(networks, np.random.SeedSequence(seed).generate_state(len(networks)), strict=True):
        found = simulated_dispersion(widths, sigma_w2=sigma_w2, sigma_b2=0.0, parameterization="standard", draws=precise, seed=int(own))
        exact = ntk_moments(widths, sigma_w2=sigma_w2, sigma_b2=0.0, parameterization="standard")
        theorem = printed_ntk_moments(widths, sigma_w2=sigma_w2, sigma_b2=0.0, form="theorem")
        lemma = printed_ntk_moments(widths, sigma_w2=sigma_w2, sigma_b2=0.0, form="lemma")
        rows.append((found.mean, found.sem, exact.dispersion, theorem.dispersion, lemma.dispersion))
    return dict(zip(("dispersion", "sem", "exact", "theorem", "lemma"), np.array(rows).T, strict=True))


def at(arrays: Arrays, index: int, draws: int) -> Estimate:
    """The measured dispersion of a network of a course."""
    return Estimate(float(arrays["dispersion"][index]), float(arrays["sem"][index]), draws)


def less(first: Estimate, second: Estimate) -> Estimate:
    """The difference of two independent estimates."""
    return Estimate(first.mean - second.mean, float(np.hypot(first.sem, second.sem)), min(first.n, second.n))


def ratio(first: Estimate, second: Estimate) -> Estimate:
    """The ratio of two independent estimates, to first order in their errors."""
    value = first.mean / second.mean
    return Estimate(value, abs(value) * float(np.hypot(first.sem / first.mean, second.sem / second.mean)), min(first.n, second.n))


def least_step(estimates: Sequence[Estimate]) -> Estimate:
    """The smallest of the differences between an estimate and the one before it."""
    return min((less(after, before) for before, after in pairwise(estimates)), key=lambda step: step.mean)


def left_out(depth: int, width: float) -> float:
    """The relative size of what the printed moments leave out: a term O(M^{-3/2}) in each of L factors, the constant taken as 1."""
    return float(depth * width**-1.5)
