"""Means of a Gram matrix over the blocks that the classes cut out."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from kernelregime._checks import counted, fail
from kernelregime.observables.alignment import square


@dataclass(frozen=True)
class BlockMeans:
    """Mean of the diagonal (`theta_d`), of pairs of one class (`theta_c`, off the diagonal), of pairs of two classes (`theta_n`)."""

    theta_d: Float64[np.ndarray, "..."]
    theta_c: Float64[np.ndarray, "..."]
    theta_n: Float64[np.ndarray, "..."]


def block_means(gram: Any, labels: Any) -> BlockMeans:
    """Mean kernel on the diagonal, within a class, and between classes.

    θ_d = (1/N) Σ_i Θ_ii; θ_c = (1/K) Σ_k Σ_{i≠j in k} Θ_ij / (N_k (N_k - 1));
    θ_n = (1/K) Σ_k Σ_{i in k, j not in k} Θ_ij / (N_k (N - N_k)).

    `gram`: Θ (..., N, N), leading axes are kept. `labels` (N,): one class for each point, of any type. N_k points are in class k of K.
    Every class counts the same, however many points it has; a class of one point has no pairs and is left out of θ_c.
    Units: those of Θ.

    Returns: `BlockMeans` of arrays (...), float64.
    Raises: `InputError` where there is one class only, or no class with two points.
    Source: Seleznova and Kutyniok 2022, "Neural Tangent Kernel Beyond the Infinite-Width Limit", equation (23).
    """
    theta = square("gram", gram)
    points = theta.shape[-1]
    names = np.asarray(labels)
    if names.shape != (points,):
        raise fail(f"labels of shape ({points},), one class a point", f"shape {names.shape}", "give the labels of the gram's points")
    classes, index = np.unique(names, return_inverse=True)
    member = (index[:, None] == np.arange(classes.size)).astype(np.float64)
    count = member.sum(0)
    if classes.size < 2 or count.max() < 2:
        raise fail(
            "at least two classes and a class with two points",
            f"{counted(classes.size, 'class', 'classes')} on {counted(points, 'point')}",
            "give more points",
        )
    sums = member.T @ theta @ member
    diagonal = np.diagonal(theta, axis1=-2, axis2=-1)
    same = np.diagonal(sums, axis1=-2, axis2=-1)
    paired = count > 1
    within = (same - diagonal @ member)[..., paired] / (count * (count - 1))[paired]
    between = (sums.sum(-1) - same) / (count * (points - count))
    return BlockMeans(*(np.asarray(values.mean(-1)) for values in (diagonal, within, between)))
