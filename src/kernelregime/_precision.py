"""The one place that enters or leaves float64.

JAX's 64-bit mode is a context that worker threads and processes do not inherit: every worker enters `enter(dtype)` itself,
and every host driver returns through `to_host`, so a float32 answer to a float64 request cannot leave the library.
"""

from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from kernelregime._checks import fail

PRECISIONS = ("float32", "float64")


def resolve(dtype: Any = None, *arrays: Any) -> np.dtype:
    """The working precision: `dtype` if given, else float32 when every array is at most float32, else float64.

    Integers count as float64; half precisions are computed in float32.
    """
    if dtype is not None:
        try:
            name = np.dtype(dtype).name
        except TypeError:
            name = str(dtype)
        if name not in PRECISIONS:
            raise fail("dtype to be float32 or float64", repr(dtype), "choose one of the two")
        return np.dtype(name)
    small = {"float16", "bfloat16", "float32"}
    names = [np.asarray(a).dtype.name if not hasattr(a, "dtype") else np.dtype(a.dtype).name for a in arrays if a is not None]
    return np.dtype("float32" if names and all(name in small for name in names) else "float64")


def enter(dtype: Any) -> AbstractContextManager[Any]:
    """A context in which JAX computes in `dtype` (per thread, never a global switch)."""
    import jax

    return jax.enable_x64(np.dtype(dtype) == np.float64)


def to_host(value: Any, dtype: Any) -> np.ndarray:
    """`value` as a NumPy array; our own error if it does not have the precision that was asked for."""
    out = np.asarray(value)
    if out.dtype != np.dtype(dtype):
        raise RuntimeError(f"internal: a {out.dtype} result under a {np.dtype(dtype)} request")
    return out
