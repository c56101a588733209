"""Options for the compiler of loops over many pairs."""

from functools import cache
from typing import Any

WIDEST = {"xla_cpu_prefer_vector_width": 512}  # bits; the compiler takes 256 even where the processor has more


@cache
def wide() -> dict[str, Any] | None:
    """Options with which loops use the widest vectors the processor has; None with a compiler that lacks them."""
    import jax

    try:
        jax.jit(lambda x: x, compiler_options=WIDEST)(0.0)
    except jax.errors.JaxRuntimeError:
        return None
    return WIDEST
