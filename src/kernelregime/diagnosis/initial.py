"""Every seed before training: parameters, outputs, kernels, and the learning rate that follows from them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse.linalg

from kernelregime import _precision, empirical, prediction
from kernelregime._checks import fail
from kernelregime.data import Dataset
from kernelregime.diagnosis.settings import Settings
from kernelregime.diagnosis.subject import Subject

LARGEST_FULL = 3000  # N·O up to which the kernel of all outputs is decomposed: 3000³ is about 10 s a seed
LANCZOS = 1e-3  # relative error of λ_max from products: the default rate is half of what is stable, and λ_max varies more between seeds

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


def initialize(subject: Subject, dataset: Dataset, settings: Settings, followed: np.ndarray, progress: Progress) -> Initial:
    """Parameters, outputs and kernels of every seed before training."""
    params = subject.initialize(settings.seeds, settings.seed, settings.dtype)
    train = subject.outputs(params, dataset.x_train, settings.dtype)
    test = subject.outputs(params, dataset.x_test, settings.dtype)
    full = max(train[0].size, test[0].size) <= LARGEST_FULL
    spectra, cross, theta, largest = [], [], [], []
    for s in range(settings.seeds):
        seed = jax.tree.map(lambda leaf, s=s: leaf[s], params)
        ntk = partial(empirical.ntk, (subject.f, seed), memory=settings.memory, dtype=settings.dtype)
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
        value = scipy.sparse.linalg.eigsh(operator, k=1, v0=start, tol=LANCZOS, return_eigenvectors=False)
    return float(value[0])


def learning_rates(initial: Initial, dataset: Dataset, settings: Settings) -> np.ndarray:
    """The rate of every seed: the one given, or a fraction of the largest stable one."""
    if settings.learning_rate is not None:
        return np.full(settings.seeds, settings.learning_rate)
    if not (initial.largest > 0).all():
        raise fail("outputs that depend on the parameters", "a tangent kernel of zero", "raise sigma_w2, or check the model")
    stable = 2 * (1 + settings.momentum) / initial.largest
    return settings.learning_rate_fraction * stable * settings.size(dataset.y_train)
