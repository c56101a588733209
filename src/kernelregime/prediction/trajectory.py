"""Outputs of a network in the kernel regime during training on squared loss."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from kernelregime._checks import fail
from kernelregime.prediction.dynamics import Dynamics, Reduction, rate_of, relax, times_of
from kernelregime.prediction.problem import Problem, columns, cross_of, joined, pose, project, ridge_of


@dataclass(frozen=True)
class Trajectory:
    """Outputs at `times`: `train` f_t(X), `test` f_t(X_test) or None, `penalized` f_t(X) + ridge·α_t (`train` itself without ridge).

    `ridge` is the absolute number that was used. `status` says what is unstable, then what the Gram is.
    """

    times: Float[np.ndarray, " T"]
    train: Float[np.ndarray, "T N O"]
    test: Float[np.ndarray, "T M O"] | None
    penalized: Float[np.ndarray, "T N O"]
    ridge: float
    status: str


def train(
    gram: Any,
    targets: Any,
    *,
    times: Any,
    dynamics: Dynamics = "flow",
    learning_rate: float = 1.0,
    reduction: Reduction = "sum",
    ridge: float = 0.0,
    ridge_relative: bool = False,
    cross: Any = None,
    initial: Any = None,
    initial_test: Any = None,
    dtype: Any = None,
) -> Trajectory:
    """Outputs of a model with a constant kernel, trained on squared loss by gradient flow or gradient descent.

    With f = f_0 + Θ(·, X) α, α_0 = 0, loss ½ Σ (f - y)² (`reduction="sum"`; "mean": divided by N·O) and a penalty ½ R |θ - θ_0|²
    (divided likewise) on the parameters,

        f_t(x) = f_0(x) + Θ(x, X) α_t,    α_t = (Θ + R)⁻¹ (I - E_t) (y - f_0(X)),    E_t = exp(-s t (Θ + R)) or (I - s (Θ + R))^t

    for `dynamics` "flow" or "descent", with Θ = Θ(X, X) = `gram` (N, N), or its `Spectrum`, or (N, N, O, O), which couples the outputs;
    Θ(x, X) = `cross` (M, N) or (M, N, O, O); y = `targets` (N, O), where (N,) is one output; f_0 = `initial` (N, O) and
    `initial_test` (M, O), both zero by default; s = `learning_rate` (over N·O for the mean); R = `ridge`, times trace(Θ)/n if
    `ridge_relative`. `times` t are non-negative, numpy.inf allowed; for descent they count steps.

    No inverse is formed: (1 - e^{-s t λ})/λ tends to s t as λ → 0, so a singular Θ is exact. At t = inf directions of zero
    eigenvalue have not moved and the test prediction is that of the pseudo-inverse. Outputs that grow beyond the range of numbers are
    infinite (their sign carries no meaning at t = inf), and the status says why.

    Returns a `Trajectory`. Its `train` is the model's own output f_t(X); `penalized` = f_t(X) + R α_t = y + E_t (f_0 - y) is what the
    regularized dynamics drives to y, and what some libraries return as the train outputs under a diagonal regularizer.
    Raises `InputError` for shapes that do not fit, values that are not finite, or a Gram that is not symmetric.
    Source: Lee et al. 2019 (arXiv 1902.06720), equations 8-11.

    >>> train([[2.0]], [1.0], times=[0, np.inf], cross=[[1.0]]).test.ravel()
    array([0. , 0.5])
    """
    problem = pose(gram, targets, initial, dtype)
    spectrum = problem.spectrum
    when = times_of(times, dynamics)
    rate = rate_of(learning_rate, reduction, problem.points * problem.outputs)
    shift = ridge_of("ridge", ridge, ridge_relative, spectrum)
    factors = relax(spectrum.values, when, rate=rate, dynamics=dynamics, ridge=shift)
    residual = problem.residual

    def outputs(start: np.ndarray, basis: np.ndarray, factor: np.ndarray) -> np.ndarray:
        return problem.unfold(factors.mark(start + lift(basis, factor[:, :, None] * residual)))

    trained = outputs(problem.initial, spectrum.vectors, factors.moved)
    penalized = outputs(problem.initial, spectrum.vectors, factors.moved_penalized) if shift > 0 else trained
    tested: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    if cross is not None:
        across = cross_of("cross", cross, spectrum)
        if problem.coupled and np.ndim(cross) != 4:
            raise fail("cross of shape (M, N, O, O), as the kernel couples the outputs", f"shape {np.shape(cross)}", "give all four axes")
        start = _initial_test(initial, initial_test, across.shape[0], problem)
        modes, notes = project(across, spectrum, ridge=shift)
        tested = outputs(start, modes, factors.weight)
    elif initial_test is not None:
        raise fail("cross with initial_test", "None", "give cross = K(test, train) as well")
    return Trajectory(when, trained, tested, penalized, shift, joined(*factors.notes, *notes, spectrum.status))


def lift(basis: np.ndarray, modes: np.ndarray) -> np.ndarray:
    """`basis` (m, n) applied to `modes` (T, n, o) in one matrix product; (T, m, o)."""
    t, n, o = modes.shape
    flat = basis @ modes.transpose(1, 0, 2).reshape(n, t * o)
    return np.ascontiguousarray(flat.reshape(-1, t, o).transpose(1, 0, 2))


def _initial_test(initial: Any, initial_test: Any, rows: int, problem: Problem) -> np.ndarray:
    """f_0 on the test points, flattened like the targets."""
    if (initial is None) != (initial_test is None):
        missing = "initial_test" if initial_test is None else "initial"
        raise fail("both initial and initial_test, or neither", f"no {missing}", "give f_0 on the train and on the test points")
    o = problem.targets.shape[1]
    if initial_test is None:
        return np.zeros((rows, o), problem.targets.dtype)
    start = columns("initial_test", initial_test)
    wanted = (rows // problem.outputs if problem.coupled else rows, problem.outputs)
    if start.shape != wanted:
        raise fail(f"initial_test of shape {wanted}", f"shape {start.shape}", "give f_0 on the test points")
    return start.astype(problem.targets.dtype).reshape(rows, o)
