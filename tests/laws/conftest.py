"""The laws are checked in float64, with JAX refusing implicit promotion of dtypes and of ranks."""

import jax
import pytest

from kernelregime import _precision


@pytest.fixture(autouse=True)
def strict_float64():
    with _precision.enter("float64"), jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield
