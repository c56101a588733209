"""Kernel-target alignment."""

from typing import Any

import numpy as np
from jaxtyping import Float64

from kernelregime._checks import array, fail


def square(name: str, value: Any) -> Float64[np.ndarray, "... N N"]:
    """`value` as finite square matrices on the last two axes, in float64; an error otherwise."""
    out = array(name, value)
    if out.ndim < 2 or out.shape[-1] != out.shape[-2]:
        raise fail(f"{name} to be square matrices (..., N, N)", f"shape {out.shape}", "give the kernel of one set of points with itself")
    return out.astype(np.float64, copy=False)


def alignment(gram: Any, targets: Any, *, centred: bool = False) -> Float64[np.ndarray, "..."]:
    """Alignment of a kernel K with the targets Y, a cosine: 1 where K is proportional to Y Yᵀ.

    A(K, Y) = <K, Y Yᵀ>_F / (|K|_F |Y Yᵀ|_F). With `centred=True` both are centred first, K → H K H and Y → H Y, H = 1 - 11ᵀ/N.

    `gram`: K (..., N, N), leading axes such as steps and seeds are kept. `targets`: Y (N, O) or (N,). No units; -1 <= A <= 1, and
    A >= 0 for a positive semidefinite K.

    Returns: A (...), float64; nan where K (after centring) is zero.
    Raises: `InputError` for shapes that do not fit, NaN, and targets that are zero (after centring), whose alignment is not defined.
    Source: Cristianini et al. 2001, definition 1; centred: Cortes, Mohri, Rostamizadeh 2012, section 2.

    >>> import numpy as np
    >>> float(alignment(np.eye(2), np.array([1.0, -1.0])).round(4))
    0.7071
    """
    k = square("gram", gram)
    y = array("targets", targets, ndim=(1, 2), rows=k.shape[-1]).astype(np.float64, copy=False)
    y = y.reshape(len(y), -1)
    size = np.linalg.norm(k, axis=(-2, -1))
    if centred:
        before = np.linalg.norm(y)
        y = y - y.mean(0)
        # what rounding leaves of constant columns is no target
        y = np.where(np.linalg.norm(y) > y.size * np.finfo(np.float64).eps * before, y, 0.0)
        k = k - k.mean(-1, keepdims=True)
        k = k - k.mean(-2, keepdims=True)
    if not y.any():
        raise fail("targets that are not zero" + (" after centring" * centred), f"shape {y.shape}, all zero", "give targets that differ")
    # <K, Y Yᵀ> = Σ_o y_oᵀ K y_o and |Y Yᵀ| = |Yᵀ Y|: no second N x N matrix
    inner = np.einsum("no,...no->...", y, k @ y)
    norm = np.linalg.norm(k, axis=(-2, -1))
    norm = np.where(norm > k.shape[-1] * np.finfo(np.float64).eps * size, norm, 0.0)
    defined = norm > 0
    return np.where(defined, inner / np.where(defined, norm * np.linalg.norm(y.T @ y), 1.0), np.nan)
