"""Directions in the space of parameters: pytrees of the structure of the parameters."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from kernelregime import _checks
from kernelregime.empirical.model import Parameters


def tangents(name: str, given: Any, held: Parameters, dtype: np.dtype) -> list[np.ndarray]:
    """The leaves of `given` that belong to trained parameters, in `dtype`; `InputError` unless it has their structure and shapes."""
    leaves, structure = jax.tree.flatten(given)
    shapes = [np.shape(leaf) for leaf in leaves]
    wanted = f"{name} of the structure and shapes of params"
    if structure != held.structure:
        raise _checks.fail(wanted, "another structure", "give a pytree like params, with zeros for parameters that do not move")
    if shapes != [np.shape(leaf) for leaf in held.leaves]:
        raise _checks.fail(wanted, f"shapes {shapes}", "give an array for every one in params")
    return [finite(name, leaves[index], dtype) for index in held.trained]


def finite(name: str, value: Any, dtype: np.dtype) -> np.ndarray:
    """One number or an array of any size, none included, in `dtype`."""
    return _checks.array(name, value).astype(dtype) if np.size(value) else np.zeros(np.shape(value), dtype)


def unflatten(values: Sequence[Any], held: Parameters) -> Any:
    """The pytree of NumPy arrays with `values` for the trained parameters and zeros for all others."""
    leaves = [np.zeros(np.shape(leaf), leaf.dtype) for leaf in held.leaves]
    for index, value in zip(held.trained, values, strict=True):
        leaves[index] = np.asarray(value)
    return jax.tree.unflatten(held.structure, leaves)
