"""Lanczos tridiagonalization of an operator on the host, and the quadrature it gives for functions of the operator.

Our own although libraries have one, because none fits an operator that is computed in chunks by the host. `scipy.sparse.linalg.eigsh`
keeps its tridiagonal matrix to itself. `matfree` 0.6 wants a product that JAX can put into its loop, where XLA takes twenty times as
long for the gradients of convolutions on a CPU; nothing shows before a probe is done; it keeps the vectors of all probes at one time;
and where the Krylov space ends early, as it does for kernels of low rank, it goes on with rounding errors (of the identity, 4 steps,
it finds eigenvalues of 0.5 and 1.5; of zero, NaN).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from jaxtyping import Float

REORTHOGONALIZATIONS = 2  # "twice is enough": Giraud et al. (2005), Numer. Math. 101, 87-100


@dataclass(frozen=True)
class Quadrature:
    """Nodes t and weights w, which sum to 1, with Σ w f(t) ≈ vᵀ f(A) v / vᵀv; `beyond`: the norm of what the last step left over."""

    nodes: Float[np.ndarray, " K"]
    weights: Float[np.ndarray, " K"]
    diagonal: Float[np.ndarray, " K"]
    beside: Float[np.ndarray, " K-1"]
    last: Float[np.ndarray, " K"]
    beyond: float


def quadrature(
    apply: Callable[[Float[np.ndarray, " n"]], Float[np.ndarray, " n"]], start: Float[np.ndarray, " n"], steps: int
) -> Quadrature:
    """Gauss quadrature for the spectral measure of the symmetric operator `apply` in the vector `start`, by `steps` products.

    Every new vector is orthogonalized against all before it. Fewer nodes come back where the Krylov space has fewer dimensions; the
    quadrature is exact then, and `beyond` is 0.

    Source: Golub & Meurant (2010), Matrices, Moments and Quadrature with Applications, theorem 6.2.
    """
    count = min(steps, start.size)
    basis = np.empty((count, start.size), start.dtype)
    diagonal, beside = np.zeros(count), np.zeros(count)
    vector = start / np.linalg.norm(start)
    for step in range(count):
        basis[step] = vector
        image = apply(vector)
        diagonal[step] = vector @ image
        for _ in range(REORTHOGONALIZATIONS):
            image = image - (basis[: step + 1] @ image) @ basis[: step + 1]
        beside[step] = np.linalg.norm(image)
        largest = max(np.abs(diagonal).max(), beside.max())
        if beside[step] <= np.finfo(start.dtype).eps * largest or step + 1 == start.size:
            return _gauss(diagonal[: step + 1], beside[:step], 0.0)
        vector = image / beside[step].astype(start.dtype)
    return _gauss(diagonal, beside[:-1], float(beside[-1]))


def _gauss(diagonal: np.ndarray, beside: np.ndarray, beyond: float) -> Quadrature:
    nodes, vectors = scipy.linalg.eigh_tridiagonal(diagonal, beside)
    return Quadrature(nodes, vectors[0] ** 2, diagonal, beside, vectors[-1] ** 2, beyond)


def radau(found: Quadrature, node: float) -> Quadrature:
    """The quadrature with one node more, at `node`, which must lie below all others.

    For a function with derivatives of alternating signs, as the logarithm, Gauss and Radau quadrature with a node below the spectrum
    lie on the two sides of the exact value.

    Source: Golub & Meurant (2010), section 6.2.2; for log det, Bai & Golub (1996), Ann. Numer. Math. 4, 29-38.
    """
    if found.beyond == 0:
        return found
    # The last entry of the extended matrix, node + β² e_Kᵀ (T - node)⁻¹ e_K, makes `node` one of its eigenvalues.
    entry = node + found.beyond**2 * float(np.sum(found.last / (found.nodes - node)))
    return _gauss(np.append(found.diagonal, entry), np.append(found.beside, found.beyond), 0.0)
