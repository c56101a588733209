"""The laws are checked in float64, with JAX refusing implicit promotion of dtypes and of ranks."""

import pytest


@pytest.fixture(autouse=True)
def strict(strict_float64):
    """Around every law."""
