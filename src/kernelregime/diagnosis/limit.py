"""The infinite-width network beside the trained ones: its kernels on the data, and its ensemble after the same training."""

import math
from dataclasses import dataclass

import numpy as np

from kernelregime import infinite, prediction
from kernelregime._checks import fail
from kernelregime.data import Dataset
from kernelregime.diagnosis.run import Run
from kernelregime.diagnosis.settings import Settings
from kernelregime.layers import Layer


@dataclass(frozen=True)
class Limit:
    """NTK Θ and NNGP K of the spec on train and test points (float64), with the largest quadrature error of a layer."""

    ntk: prediction.Blocks
    nngp: prediction.Blocks
    theta: np.ndarray
    error: float


def limit(network: Layer, dataset: Dataset, settings: Settings) -> Limit:
    """The kernels of `network` at infinite width on the points of `dataset`; Θ is decomposed once.

    Raises: `InputError` for a φ whose Gaussian integrals do not converge.
    """
    n = len(dataset.x_train)
    both = infinite.gram(network, np.concatenate([dataset.x_train, dataset.x_test]), dtype="float64", memory=settings.memory)
    if not math.isfinite(both.error):
        do = "declare its kinks, or use smaller variances"
        raise fail("a φ whose Gaussian integrals converge", "an infinite error in the infinite-width kernel", do)
    assert both.ntk is not None  # both kinds were asked for
    assert both.nngp is not None
    ntk = prediction.Blocks(prediction.eigen(both.ntk[:n, :n]), both.ntk[n:, :n], both.ntk[n:, n:])
    nngp = prediction.Blocks(both.nngp[:n, :n], both.nngp[n:, :n], both.nngp[n:, n:])
    return Limit(ntk, nngp, both.ntk[:n, :n], both.error)


@dataclass(frozen=True)
class Ends:
    """Mean (S, M, O) and variance (S, M) of the ensemble after the training of each seed."""

    mean: np.ndarray
    variance: np.ndarray


def ensemble(
    at: Limit, dataset: Dataset, settings: Settings, points: prediction.ensembles.Points, rate: float, steps: np.ndarray
) -> prediction.Ensemble:
    """The ensemble after gradient descent of `steps` (T,) at learning rate `rate`; where Θ_∞ is not stable at it, under gradient flow."""
    stable = prediction.max_learning_rate(at.ntk.train, reduction=settings.reduction, outputs=dataset.y_train.shape[1])
    return prediction.ensemble(
        at.ntk,
        at.nngp,
        dataset.y_train,
        times=steps,
        points=points,
        covariance="diagonal",
        dynamics="descent" if rate < stable else "flow",
        learning_rate=rate,
        reduction=settings.reduction,
    )


def ends(at: Limit, dataset: Dataset, settings: Settings, points: prediction.ensembles.Points, run: Run) -> Ends:
    """The ensemble after the steps of each seed at its own learning rate."""
    mean: list[np.ndarray] = [np.empty(0)] * run.seeds
    variance = list(mean)
    for rate in np.unique(run.learning_rate):  # one call for all seeds of a rate
        same = np.flatnonzero(run.learning_rate == rate)
        law = ensemble(at, dataset, settings, points, float(rate), run.stopped[same])
        for place, seed in enumerate(same):
            mean[seed], variance[seed] = law.mean[place], law.variance[place]
    return Ends(np.stack(mean), np.stack(variance))
