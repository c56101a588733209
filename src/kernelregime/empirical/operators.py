"""The finite-width neural tangent kernel as an operator: products with it, without it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse.linalg
from jaxtyping import Array, Float, PyTree

from kernelregime import _checks, grams
from kernelregime.empirical import gram, spectrum, tiles
from kernelregime.empirical import model as models
from kernelregime.empirical.directions import tangents, unflatten
from kernelregime.empirical.products import Jacobian
from kernelregime.empirical.spectrum import SAMPLES, STEPS, Eigenpairs, Estimate, Progress, SpectralDensity


def operator(model: Any, x1: Any, x2: Any = None, *, memory: float | None = None, dtype: Any = None) -> "NtkOperator":
    """The empirical neural tangent kernel as an operator, for as many points as there are: it is never formed.

    Θ v = J(x1) (J(x2)ᵀ v), with J = ∂f/∂θ: Θ(x, x')_{oo'} = Σ_p ∂f_o(x)/∂θ_p · ∂f_o'(x')/∂θ_p as in `ntk(output="full")`, with rows
    (n1, o1) and columns (n2, o2). One product takes one backward pass over x2, of which a vector of the size of the parameters is kept,
    and one forward derivative over x1.

    `model`, `x1` (N1, ...), `x2` (N2, ...), `dtype`: as in `ntk`; x2=None stands for x1, and makes the kernel symmetric. `memory`:
    bytes for what is computed at one time, beside the points and the vectors that are multiplied (default: half of the free memory);
    the points that go through the model at one time follow from it.

    Returns: `NtkOperator`. Raises: `InputError` as `ntk` does.

    >>> kernel = operator((lambda params, x: x @ params, np.ones((2, 1))), np.array([[1.0, 0.0], [1.0, 1.0]]))
    >>> kernel.matvec([1.0, 1.0])
    array([2., 3.])
    """
    given = gram.checked(model, x1, x2, dtype)
    jacobian = Jacobian(given.f, given.params, given.outputs, given.dtype, grams.memory_budget(memory))
    for kind in ("forward", "backward"):  # refuse a budget that is too small here, not at the first product
        jacobian.program(kind, given.first)
    return NtkOperator(jacobian, given.first, given.second, x2 is None)


@dataclass(frozen=True, eq=False)
class NtkOperator:
    """The kernel Θ = J(x1) J(x2)ᵀ of shape (N1·O, N2·O) by its products; made by `operator`.

    A vector over the rows has shape (N1, O) or (N1·O,), one over the columns (N2, O) or (N2·O,); several go together with one axis more
    at the end, and results have the form of what was given. All are NumPy arrays in `dtype`. Estimates draw their probes from
    `seed`: neither `memory` nor the number of cores changes them but for rounding.
    """

    jacobian: Jacobian = field(repr=False)
    x1: np.ndarray = field(repr=False)
    x2: np.ndarray = field(repr=False)
    symmetric: bool

    @property
    def shape(self) -> tuple[int, int]:
        """(N1·O, N2·O)."""
        return len(self.x1) * self.jacobian.outputs, len(self.x2) * self.jacobian.outputs

    @property
    def dtype(self) -> np.dtype:
        """float32 or float64."""
        return self.jacobian.dtype

    def matvec(self, v: Any) -> np.ndarray:
        """Θ v, for one vector over the columns or several."""
        return self._product("v", v, self.x1, self.x2)

    def rmatvec(self, u: Any) -> np.ndarray:
        """Θᵀ u, for one vector over the rows or several."""
        return self._product("u", u, self.x2, self.x1)

    def jvp(self, tangent: PyTree) -> Float[np.ndarray, "N1 O"]:
        """J v at x1, for a pytree v like params; what it holds for leaves that are not trained does not matter."""
        values = tangents("the tangent", tangent, models.parameters(self.jacobian.params), self.dtype)
        return tiles.finite(self.jacobian.forward(self.x1, values))

    def vjp(self, cotangent: Any) -> PyTree:
        """Jᵀu at x1, for one vector u over the rows; a pytree like params, zero for leaves that are not trained."""
        given = _Vectors("cotangent", cotangent, len(self.x1), self.jacobian.outputs, self.dtype)
        if len(given.columns) != 1:
            raise _checks.fail("one cotangent", f"{len(given.columns)}", "give one vector at a time")
        return unflatten(self.jacobian.backward(self.x1, given.columns[0]), models.parameters(self.jacobian.params))

    def values(self) -> Float[np.ndarray, "N1 O"]:
        """The outputs f(params, x1)."""
        return self.jacobian.values(self.x1)

    def to_scipy(self) -> scipy.sparse.linalg.LinearOperator:
        """The same for the solvers of SciPy; its adjoint is itself where the kernel is symmetric."""
        adjoint = self.matvec if self.symmetric else self.rmatvec
        return scipy.sparse.linalg.LinearOperator(
            self.shape, matvec=self.matvec, rmatvec=adjoint, matmat=self.matvec, rmatmat=adjoint, dtype=self.dtype
        )

    def dense(self, **options: Any) -> np.ndarray:
        """The kernel as a matrix (N1·O, N2·O), by `ntk` with `options`; for kernels that fit into memory."""
        given = self.jacobian
        second = None if self.symmetric else self.x2
        options = {"memory": given.memory, "dtype": self.dtype, **options}
        found = gram.ntk((given.f, given.params), self.x1, second, output="full", **options)
        return np.asarray(found).transpose(0, 2, 1, 3).reshape(self.shape)

    def top(self, k: int, *, tol: float = 0.0, seed: int = 0, progress: Callable[[int], None] | None = None) -> Eigenpairs:
        """The k largest eigenvalues and their eigenvectors, by the implicitly restarted Lanczos method of ARPACK.

        `k` < N·O; `tol`: relative accuracy of the eigenvalues (0: that of the dtype); `seed`: of the vector it starts from;
        `progress(products)` is called after every product with the kernel.

        Returns: `Eigenpairs`. Raises: `InputError` for a kernel of two sets of points; `RunError` without convergence.
        Source: Lehoucq, Sorensen & Yang (1998), ARPACK Users' Guide; `scipy.sparse.linalg.eigsh`.
        """
        self._check_symmetric()
        return spectrum.top(self.to_scipy(), k, tol=tol, seed=seed, progress=progress)

    def trace(self, *, method: str = "exact", samples: int = SAMPLES, seed: int = 0, progress: Progress | None = None) -> Estimate:
        """The trace |J|_F² = Σ_n Σ_o Θ(x_n, x_n)_oo over points and outputs.

        `method`: "exact", by the gradient of every output at every point, which costs about as much as O probes and needs room for the
        O gradients of a point; or "hutchinson", the mean over `samples` probes v of random signs of vᵀΘv = |Jᵀv|², each with a progress
        call `progress(done, samples)`.

        Returns: `Estimate`. Raises: `InputError` for a kernel of two sets of points, an unknown method, and fewer than two samples.
        Source: Hutchinson (1989), Commun. Stat. Simul. Comput. 18, 1059-1076.
        """
        self._check_symmetric()
        if _checks.one_of("method", method, ("exact", "hutchinson")) == "exact":
            return Estimate(float(np.sum(self.jacobian.squares(self.x1), dtype=np.float64)), 0.0, 0)

        def square(probe: np.ndarray) -> Any:
            return sum(float(np.sum(np.square(leaf, dtype=np.float64))) for leaf in self._pulled(self.x1, probe))

        return spectrum.trace(square, self.shape[0], self.dtype, samples=samples, seed=seed, progress=progress)

    def logdet(
        self, *, shift: float, samples: int = SAMPLES, steps: int = STEPS, seed: int = 0, progress: Progress | None = None
    ) -> Estimate:
        """The logarithm of det(Θ + shift·1) by stochastic Lanczos quadrature.

        It is the mean over probes of N·O Σ_k w_k log(t_k + shift), with nodes t_k and weights w_k of the Gauss quadrature that `steps`
        products with the kernel give for each of the `samples` probes of random signs. What is missing at so many steps makes it too
        large, by at most `truncation` of the result: Gauss-Radau quadrature with a node at zero, where the spectrum begins, is too small.
        Take more steps until `truncation` is below the standard error. Eigenvalues are known to rounding: to some ε λ_max.
        `shift` > 0 in units of Θ. The vectors of Lanczos take `steps`·N·O numbers. `progress(done, samples)` after every probe.

        Returns: `Estimate`. Raises: `InputError` for a kernel of two sets of points, fewer than two samples, and where `memory` does not
        hold the vectors.
        Source: Ubaru, Chen & Saad (2017), SIAM J. Matrix Anal. Appl. 38, 1075-1099, algorithm 1; the bound: Bai & Golub (1996).
        """
        self._check_symmetric()
        options = {"samples": samples, "steps": steps, "seed": seed, "memory": self.jacobian.memory, "progress": progress}
        return spectrum.logdet(self.matvec, self.shape[0], self.dtype, shift, **options)

    def spectral_density(
        self,
        *,
        grid: Any = None,
        width: float | None = None,
        samples: int = SAMPLES,
        steps: int = STEPS,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> SpectralDensity:
        """The density of eigenvalues, ρ(λ) = 1/(N·O) Σ_i exp(-(λ - λ_i)²/2w²)/(w √2π), by stochastic Lanczos quadrature.

        `grid`: where (default: evenly over all eigenvalues, 4 w beyond them). `width`: w, in units of Θ (default: a hundredth of the
        largest eigenvalue). ρ has integral 1 over all λ; N·O times it counts eigenvalues. Structure that is finer than the eigenvalues
        found in `steps` products is lost: compare with twice as many. `samples`, `steps`, `seed`, `progress`: as in `logdet`.

        Returns: `SpectralDensity`. Raises: `InputError` as `logdet` does.
        Source: Ghorbani, Krishnan & Xiao (2019), arXiv:1901.10159, section 2; Ubaru, Chen & Saad (2017).
        """
        self._check_symmetric()
        options = {"samples": samples, "steps": steps, "seed": seed, "memory": self.jacobian.memory, "progress": progress}
        return spectrum.density(self.matvec, self.shape[0], self.dtype, grid=grid, width=width, **options)

    def _pulled(self, x: np.ndarray, cotangent: np.ndarray) -> list[Array]:
        return self.jacobian.backward(x, cotangent.reshape(len(x), -1))

    def _product(self, name: str, given: Any, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        vectors = _Vectors(name, given, len(columns), self.jacobian.outputs, self.dtype)
        found = [self.jacobian.forward(rows, self._pulled(columns, column)) for column in vectors.columns]
        return tiles.finite(vectors.like(np.stack(found)))

    def _check_symmetric(self) -> None:
        if not self.symmetric:
            raise _checks.fail("the kernel of one set of points", "one of x1 and x2", "leave out x2")


class _Vectors:
    """Vectors over `n` points and `outputs` in any of their forms: (n, O), (n·O,), either with an axis (K,) more at the end."""

    def __init__(self, name: str, given: Any, n: int, outputs: int, dtype: np.dtype) -> None:
        value = _checks.array(name, given)
        shape = value.shape
        self.split = shape[:2] == (n, outputs)
        self.several = shape[2:] if self.split else shape[1:]
        if (not self.split and shape[:1] != (n * outputs,)) or len(self.several) > 1:
            wanted = f"{name} of shape ({n}, {outputs}) or ({n * outputs},), or several with one axis more at the end"
            raise _checks.fail(wanted, f"shape {shape}", "give a number for every point and output")
        self.columns = np.moveaxis(value.astype(dtype).reshape(n, outputs, -1), -1, 0)

    def like(self, found: Float[np.ndarray, "K N O"]) -> np.ndarray:
        """Results in the form of the vectors."""
        _, n, outputs = found.shape
        tail = (n, outputs) if self.split else (n * outputs,)
        return np.moveaxis(found, 0, -1).reshape(*tail, *self.several)
