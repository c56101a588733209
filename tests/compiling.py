"""How tests compile: with little work for the compiler, because most programs here run once and are about values, not speed."""

from functools import cache, partial
from typing import Any

import jax


def _understood(options: dict[str, Any]) -> dict[str, Any]:
    """The options, or none with a compiler that lacks one of them."""
    try:
        jax.jit(lambda x: x, compiler_options=options)(0.0)
    except jax.errors.JaxRuntimeError:
        return {}
    return options


QUICK = _understood({"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True, "xla_cpu_use_fusion_emitters": False})
quick = partial(jax.jit, compiler_options=QUICK)


@cache
def quick_propagate() -> Any:
    """The program of `infinite.gram`, one for all tests that have it compiled quickly."""
    from kernelregime.infinite.pairs import propagate

    return quick(propagate.__wrapped__, static_argnames=("kinds", "several"))
