"""The infinite-width network beside the trained ones: its kernels on the data, and its ensemble at the times the seeds ended."""

from dataclasses import dataclass

import numpy as np

from kernelregime import infinite, prediction
from kernelregime.data import Dataset
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
    """The kernels of `network` at infinite width on the points of `dataset`; Θ is decomposed once."""
    n = len(dataset.x_train)
    both = infinite.gram(network, np.concatenate([dataset.x_train, dataset.x_test]), dtype="float64", memory=settings.memory)
    assert both.ntk is not None  # both kinds were asked for
    assert both.nngp is not None
    ntk = prediction.Blocks(prediction.eigen(both.ntk[:n, :n]), both.ntk[n:, :n], both.ntk[n:, n:])
    nngp = prediction.Blocks(both.nngp[:n, :n], both.nngp[n:, :n], both.nngp[n:, n:])
    return Limit(ntk, nngp, both.ntk[:n, :n], both.error)


def ensemble(
    at: Limit, dataset: Dataset, settings: Settings, points: prediction.ensembles.Points, times: np.ndarray
) -> prediction.Ensemble:
    """The ensemble under gradient flow at `times` = learning rate × steps; every seed has its own rate, so time carries it."""
    return prediction.ensemble(
        at.ntk, at.nngp, dataset.y_train, times=times, points=points, covariance="diagonal", reduction=settings.reduction
    )
