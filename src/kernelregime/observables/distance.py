"""Distances between kernels and between functions, relative to what they are compared with."""

from typing import Any

import numpy as np
from jaxtyping import Float64

from kernelregime._checks import array, fail


def _pair(names: tuple[str, str], a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays in float64 of shapes that broadcast."""
    first, second = (array(name, value).astype(np.float64, copy=False) for name, value in zip(names, (a, b)))
    try:
        np.broadcast_shapes(first.shape, second.shape)
    except ValueError:
        wanted = f"{names[1]} in the shape of {names[0]}, {first.shape}"
        raise fail(wanted, f"shape {second.shape}", "give both on the same points") from None
    return first, second


def _ratio(distance: Any, size: Any) -> Float64[np.ndarray, "..."]:
    """distance/size: nan where both are zero, infinite where only `size` is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.divide(distance, size))


def relative_distance(a: Any, b: Any) -> float:
    """Frobenius distance of two arrays relative to the second, |a - b|_F / |b|_F.

    `a`, `b`: arrays of one shape, taken whole. No units.

    Returns: a number; nan where both are zero, inf where only `b` is. Raises: `InputError` for shapes that differ and for NaN.
    """
    first, second = _pair(("a", "b"), a, b)
    if first.shape != second.shape:
        raise fail(f"b in the shape of a, {first.shape}", f"shape {second.shape}", "give both on the same points")
    return float(_ratio(np.linalg.norm((first - second).ravel()), np.linalg.norm(second.ravel())))


def drift(gram_t: Any, gram_0: Any) -> Float64[np.ndarray, "..."]:
    """How far a kernel has moved, |Θ_t - Θ_0|_F / |Θ_0|_F.

    `gram_t`: Θ_t (..., N, M) and `gram_0`: Θ_0 (..., N, M); the leading axes broadcast, for example (T, S, N, N) against (S, N, N).
    Kernels with output axes are taken one at a time by `relative_distance`. No units.

    Returns: (...), float64; nan where Θ_0 and Θ_t are zero, inf where only Θ_0 is.
    Raises: `InputError` for shapes that do not fit and for NaN.
    Source: Seleznova and Kutyniok 2021, "Analyzing Finite Neural Networks: Can We Trust Neural Tangent Kernel Theory?", figures 3 and 4.
    """
    now, start = _pair(("gram_t", "gram_0"), gram_t, gram_0)
    if now.ndim < 2 or now.shape[-2:] != start.shape[-2:]:
        raise fail(f"gram_0 (..., N, M) on the points of gram_t, {now.shape}", f"shape {start.shape}", "give both on the same points")
    return _ratio(np.linalg.norm(now - start, axis=(-2, -1)), np.linalg.norm(start, axis=(-2, -1)))


def function_distance(f_t: Any, f_lin: Any, f_0: Any) -> Float64[np.ndarray, "..."]:
    """Error of the linearized network relative to how far the network has moved, |f_t - f_lin| / |f_t - f_0|, for each seed.

    `f_t`: outputs (..., M, O) of the trained network, `f_lin` those of its linearization at the same time, `f_0` at initialization;
    leading axes (seeds, or steps and seeds) broadcast, norms run over points and outputs. No units; 0 is exact linearization, 1 an
    error as large as the movement.

    Returns: (...), float64; nan where neither has moved (at t=0), inf where only the linearization has.
    Raises: `InputError` for shapes that do not fit and for NaN.
    Source: Lee et al. 2019, theorem 2.1 bounds the numerator.
    """
    now, linear = _pair(("f_t", "f_lin"), f_t, f_lin)
    _, start = _pair(("f_t", "f_0"), now, f_0)
    if now.ndim < 2 or not now.shape[-2:] == linear.shape[-2:] == start.shape[-2:]:
        got = f"shapes {now.shape}, {linear.shape}, {start.shape}"
        raise fail("f_t, f_lin and f_0 (..., M, O) on the same points", got, "evaluate all three on the same points")
    return _ratio(np.linalg.norm(now - linear, axis=(-2, -1)), np.linalg.norm(now - start, axis=(-2, -1)))
