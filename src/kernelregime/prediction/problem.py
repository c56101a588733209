"""Kernel, targets and initial outputs as one linear problem in the eigenbasis of the kernel."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelregime._checks import array, counted, fail, real
from kernelregime._linalg import Spectrum, eigen, product, symmetric
from kernelregime._precision import resolve


@dataclass(frozen=True)
class Blocks:
    """A kernel on train and test points: `train` K(X, X) (N, N) or its `Spectrum`, `cross` K(test, X) (M, N), `test` K(test, test).

    `test` is (M, M), or its diagonal (M,) where only variances are asked for. Predictions on the train points need `train` only.
    """

    train: Any
    cross: Any = None
    test: Any = None


@dataclass(frozen=True)
class Problem:
    """Targets and initial outputs, each (n, o): (N, O), or (N·O, 1) for a kernel that couples the outputs (`coupled`)."""

    spectrum: Spectrum
    targets: np.ndarray
    initial: np.ndarray
    points: int
    outputs: int
    coupled: bool

    @property
    def residual(self) -> np.ndarray:
        """Vᵀ(y - f_0), the residual by eigenmode."""
        return self.spectrum.vectors.T @ (self.targets - self.initial)

    def unfold(self, outputs: np.ndarray) -> np.ndarray:
        """(T, n, o) as (T, points, O)."""
        return outputs.reshape(outputs.shape[0], -1, self.outputs)


def pose(gram: Any, targets: Any, initial: Any = None, dtype: Any = None) -> Problem:
    """Check `gram`, `targets` and `initial` against one another; a kernel (N, N, O, O) is flattened to (N·O, N·O)."""
    y = columns("targets", targets)
    points, outputs = y.shape
    spectrum = spectrum_of(gram, dtype)
    coupled = outputs > 1 and spectrum.size == y.size and (isinstance(gram, Spectrum) or np.ndim(gram) == 4)
    if spectrum.size != (y.size if coupled else points):
        wanted = f"targets for a gram of {counted(spectrum.size, 'row')}"
        raise fail(wanted, f"targets of shape {y.shape}", "give one row of targets for every train point")
    work = spectrum.vectors.dtype
    f0 = np.zeros_like(y) if initial is None else columns("initial", initial)
    if f0.shape != y.shape:
        raise fail(f"initial of the shape of targets {y.shape}", f"shape {f0.shape}", "give f_0 on the train points")
    flat = (-1, 1) if coupled else y.shape
    return Problem(spectrum, y.astype(work).reshape(flat), f0.astype(work).reshape(flat), points, outputs, coupled)


def columns(name: str, value: Any) -> np.ndarray:
    """`value` as (N, O); one dimension is one output."""
    out = array(name, value, ndim=(1, 2))
    return out[:, None] if out.ndim == 1 else out


def spectrum_of(gram: Any, dtype: Any = None) -> Spectrum:
    """`gram` itself if it is a `Spectrum`, else its eigendecomposition."""
    if not isinstance(gram, Spectrum):
        return eigen(flatten("gram", gram), dtype=dtype)
    if dtype is not None and resolve(dtype) != gram.vectors.dtype:
        raise fail(f"dtype {gram.vectors.dtype}, that of the Spectrum", repr(dtype), "pass dtype to eigen")
    return gram


def flatten(name: str, kernel: Any) -> np.ndarray:
    """A kernel (N1, N2) as it is; (N1, N2, O, O) as (N1·O, N2·O)."""
    out = array(name, kernel, ndim=(2, 4))
    if out.ndim == 2:
        return out
    n1, n2, o1, o2 = out.shape
    if o1 != o2:
        raise fail(f"{name} of shape (N1, N2, O, O)", f"shape {out.shape}", "give the axes in this order")
    return out.transpose(0, 2, 1, 3).reshape(n1 * o1, n2 * o2)


def cross_of(name: str, cross: Any, spectrum: Spectrum) -> np.ndarray:
    """`cross` flattened and in the precision of the spectrum, one column for every row of the Gram."""
    out = flatten(name, cross)
    if out.shape[1] != spectrum.size:
        wanted = f"{name} to be K(test, train) with {counted(spectrum.size, 'column')}"
        raise fail(wanted, f"shape {np.shape(cross)}", "give one row for every test point (transpose it?)")
    return out.astype(spectrum.vectors.dtype)


def prior_block(name: str, block: Any, points: int, dtype: np.dtype, *, full: bool) -> tuple[np.ndarray, str]:
    """K(test, test) as (M, M) if `full`, else its diagonal (M,); and a note if it had to be symmetrized."""
    if block is None:
        do = "give (M, M), or its diagonal (M,) with covariance='diagonal'"
        raise fail(f"{name}, the prior covariance of the test points", "None", do)
    out, note = array(name, block, ndim=2 if full else (1, 2), rows=points), ""
    if out.ndim == 1:
        return out.astype(dtype), note
    if full:
        out, _, note = symmetric(name, out, dtype)
        return out, note
    if out.shape != (points, points):
        raise fail(f"{name} of shape {(points, points)} or {(points,)}", f"shape {out.shape}", "give K(test, test), or its diagonal")
    return np.diagonal(out).astype(dtype), note


def project(cross: np.ndarray, spectrum: Spectrum, *, ridge: float) -> tuple[np.ndarray, tuple[str, ...]]:
    """K(test, X) V, and a note if test points have weight on modes of zero eigenvalue.

    A positive semidefinite kernel has |k(x, X)·v|² <= k(x, x)·vᵀKv, so the weight on a null mode is zero in exact arithmetic: what is
    within rounding of zero becomes zero, or else it would grow with t.
    """
    modes = product(cross, spectrum.vectors)
    if ridge > 0 or not spectrum.null.any():
        return modes, ()
    modes = modes.copy()
    largest = float(np.max(np.abs(cross)))
    null = modes[:, spectrum.null]
    modes[:, spectrum.null] = np.where(np.abs(null) <= spectrum.size * spectrum.rounding * largest, 0, null)
    left = np.max(np.abs(modes[:, spectrum.null]), axis=0)
    if not left.any():
        return modes, ()
    seen = f"test points have weight on {np.count_nonzero(left)} modes of zero eigenvalue (up to {left.max() / largest:.1e} of cross)"
    return modes, (f"{seen}: predictions drift with t along them, and at t = inf leave them out (pseudo-inverse)",)


def ridge_of(name: str, value: float, relative: bool, spectrum: Spectrum) -> float:
    """`value` as an absolute number; relative to the mean eigenvalue trace(K)/n if `relative`."""
    scale = float(np.sum(spectrum.values, dtype=np.float64)) / spectrum.size if relative else 1.0
    return real(name, value, least=0.0) * scale


def variances(raw: np.ndarray, scale: np.ndarray, rounding: float) -> tuple[np.ndarray, tuple[str, ...]]:
    """`raw` with values below zero by no more than rounding·scale set to zero, and a note on what was found."""
    slack = rounding * scale
    rounded = (raw < 0) & (raw >= -slack)
    notes = [f"{int(rounded.sum())} variances within rounding below zero are set to zero"] if rounded.any() else []
    beyond = raw < -slack
    if beyond.any():
        least = float(np.min(raw[beyond]))
        notes.append(f"{int(beyond.sum())} variances are negative beyond rounding, the least {least:.3g}: do the blocks belong together?")
    return np.where(rounded, raw.dtype.type(0), raw), tuple(notes)


def joined(*notes: str) -> str:
    """Distinct notes as one status, the gravest first."""
    return "; ".join(dict.fromkeys(note for note in notes if note))
