"""What tells one Gram matrix from another: the network in words and numbers, and fingerprints of the data. All of it JSON."""

import hashlib
from dataclasses import fields, is_dataclass
from typing import Any

import jax
import numpy as np

from kernelregime import _precision
from kernelregime._checks import fail
from kernelregime.activations import Nonlinearity

PROBES = (-2.7, -1.3, -0.4, 0.3, 1.1, 2.9)
DIGITS = 6  # of the values of an activation: the same on every machine


def fingerprint(x: np.ndarray) -> str:
    """SHA-256 of shape, dtype and bytes (little-endian, on every machine the same)."""
    portable = np.ascontiguousarray(x, dtype=x.dtype.newbyteorder("<"))
    digest = hashlib.sha256(f"{portable.dtype.str}:{portable.shape};".encode())
    digest.update(portable.data if portable.size else b"")
    return digest.hexdigest()


def description(spec: Any) -> Any:
    """A spec as JSON: the names of its records with their fields; an activation by its name, parameters, and values at fixed points."""
    if isinstance(spec, Nonlinearity):
        return {"activation": spec.kind.name, "values": description(spec.values), "at": _values(spec)}
    if is_dataclass(spec) and not isinstance(spec, type):
        return {type(spec).__name__: {item.name: description(getattr(spec, item.name)) for item in fields(spec)}}
    if isinstance(spec, (list, tuple)):
        return [description(item) for item in spec]
    if spec is None or isinstance(spec, (bool, int, str)):
        return spec
    if isinstance(spec, (float, np.generic, np.ndarray, jax.Array)):
        value = np.asarray(spec)
        return float(value) if value.ndim == 0 else fingerprint(value)
    raise fail("a network made of records and numbers", f"a {type(spec).__name__} in it", "leave out store=, or make the layer a dataclass")


def rounded(values: Any) -> list[str]:
    """Numbers to `DIGITS` digits, as text."""
    return [f"{value:.{DIGITS - 1}e}" for value in np.ravel(np.asarray(values, np.float64)).tolist()]


def difference(stored: Any, asked: Any, where: str = "") -> str | None:
    """The first place where two of these differ, in words; None if they are equal."""
    if isinstance(stored, dict) and isinstance(asked, dict):
        parts = [(f"{where}.{key}".lstrip("."), stored.get(key), asked.get(key)) for key in {**stored, **asked}]
    elif isinstance(stored, list) and isinstance(asked, list) and len(stored) == len(asked):
        parts = [(f"{where}[{i}]", one, other) for i, (one, other) in enumerate(zip(stored, asked))]
    else:
        return None if stored == asked else f"{where} = {_short(stored)}, not {_short(asked)}"
    return next((found for place, one, other in parts if (found := difference(one, other, place))), None)


def _values(phi: Nonlinearity) -> list[str]:
    if not phi.kind.finite:
        return []
    with _precision.enter("float64"):
        x = jax.numpy.asarray(PROBES)
        return rounded([phi(x), phi.derivative(x)])


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
