"""Errors of outputs against targets, and of outputs against a predicted distribution."""

from typing import Any

import numpy as np
from jaxtyping import Float64

from kernelregime._checks import array, counted, fail


def _outputs(value: Any) -> np.ndarray:
    out = array("outputs", value)
    if out.ndim < 2:
        raise fail("outputs of shape (..., M, O)", f"shape {out.shape}", "give one row for every point, one column for every output")
    return out.astype(np.float64, copy=False)


def zscores(outputs: Any, mean: Any, std: Any) -> Float64[np.ndarray, "S M O"]:
    """Distance of outputs from a predicted mean in units of the predicted deviation, z = (f - mean)/std.

    `outputs`: f (S, M, O) of S seeds. `mean` (M, O) and `std` (M,): the predicted ensemble, the same deviation for every output. Under the
    prediction every z is a standard normal number; those of one seed are correlated.

    Returns: (S, M, O), float64; inf (or nan, at f = mean) where `std` is zero.
    Raises: `InputError` for shapes that do not fit, NaN, and a negative deviation.
    """
    f = array("outputs", outputs, ndim=3).astype(np.float64, copy=False)
    centre = array("mean", mean, ndim=2).astype(np.float64, copy=False)
    width = array("std", std, ndim=1, rows=f.shape[1]).astype(np.float64, copy=False)
    if centre.shape != f.shape[1:]:
        raise fail(f"a mean of shape {f.shape[1:]}", f"shape {centre.shape}", "predict on the points of the outputs")
    if (width < 0).any():
        raise fail("standard deviations of at least zero", f"{width.min():g}", "give deviations, not log-deviations")
    with np.errstate(divide="ignore", invalid="ignore"):
        return (f - centre) / width[:, None]


def classification_error(outputs: Any, targets: Any) -> Float64[np.ndarray, "..."]:
    """Fraction of points put in a wrong class.

    The class of a point is its largest output; with one output, class 1 where it is positive and class 0 where it is negative. A tie
    is wrong. `outputs` (..., M, O); leading axes such as seeds are kept. `targets`: labels 0, 1, ..., O-1 of shape (M,) (with one
    output: 0 and 1), or coded targets (M, O), whose largest entry (with one output: whose sign) is the class: one-hot, centred or
    not, or ±1.

    Returns: (...), float64, between 0 and 1. Raises: `InputError` for shapes that do not fit, NaN, and labels without an output.
    """
    f = _outputs(outputs)
    labels = _labels(targets, f.shape[-2], f.shape[-1])
    if f.shape[-1] == 1:
        return np.asarray(np.mean(f[..., 0] * (2 * labels - 1) <= 0, axis=-1))
    own = np.take_along_axis(f, np.broadcast_to(labels[:, None], (*f.shape[:-1], 1)), axis=-1)
    return np.asarray(np.mean((f >= own).sum(-1) > 1, axis=-1))


def _labels(targets: Any, points: int, outputs: int) -> np.ndarray:
    """Labels (M,) out of labels or of coded targets."""
    y = array("targets", targets, ndim=(1, 2), rows=points)
    if y.ndim == 2:
        if y.shape[1] != outputs:
            raise fail(
                f"targets with {counted(outputs, 'column')}, as the outputs have", f"shape {y.shape}", "give labels (M,) or targets (M, O)"
            )
        return np.asarray(y[:, 0] > 0, dtype=np.intp) if outputs == 1 else np.argmax(y, axis=1)
    classes = max(outputs, 2)
    whole = np.asarray(y, dtype=np.intp)
    if (whole != y).any() or whole.min() < 0 or whole.max() >= classes:
        got = f"labels between {y.min():g} and {y.max():g}"
        raise fail(f"labels 0, 1, ..., {classes - 1} (whole numbers)", got, "number the classes, or give coded targets (M, O)")
    return whole


def mean_squared_error(outputs: Any, targets: Any) -> Float64[np.ndarray, "..."]:
    """Mean over points and outputs of (f - y)² (no factor ½).

    `outputs`: f (..., M, O); leading axes such as seeds are kept. `targets`: y (M, O). Units: those of y, squared.

    Returns: (...), float64. Raises: `InputError` for shapes that do not fit and for NaN.
    """
    f = _outputs(outputs)
    y = array("targets", targets, ndim=2).astype(np.float64, copy=False)
    if y.shape != f.shape[-2:]:
        raise fail(f"targets of shape {f.shape[-2:]}", f"shape {y.shape}", "give the targets of the outputs' points")
    return np.asarray(np.mean((f - y) ** 2, axis=(-2, -1)))
