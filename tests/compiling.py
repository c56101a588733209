"""How tests compile: with little work for the compiler, because most programs here run once and are about values, not speed."""

from functools import cache, partial
from typing import Any

import jax

from kernelregime._compiler import understood

QUICK = understood({"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True, "xla_cpu_use_fusion_emitters": False})
quick = partial(jax.jit, compiler_options=QUICK)


@cache
def quick_propagate() -> Any:
    """The program of `infinite.gram`, one for all tests that have it compiled quickly."""
    from kernelregime.infinite.pairs import propagate

    return quick(propagate.__wrapped__, static_argnames=("kinds", "several"))
