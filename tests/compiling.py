"""How tests compile: with little work for the compiler, because most programs here run once and are about values, not speed."""

from functools import cache, partial
from typing import Any

import jax

from kernelregime._compiler import understood

QUICK = understood({"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True, "xla_cpu_use_fusion_emitters": False})
quick = partial(jax.jit, compiler_options=QUICK)


@cache
def quick_propagate() -> tuple[Any, Any]:
    """The programs of `infinite.gram`, for points and for points with positions, one of each for all tests that want them quickly."""
    from kernelregime._compiler import form
    from kernelregime.infinite.pairs import propagate
    from kernelregime.infinite.positions import propagate_fields

    def program(function: Any, static: tuple[str, ...]) -> Any:
        compiled = quick(lambda _, *args, **options: function.__wrapped__(*args, **options), static_argnums=0, static_argnames=static)
        return lambda *args, **options: compiled(form(args)[1], *args, **options)

    points = program(propagate, ("kinds", "several", "shares"))
    return points, program(propagate_fields, ("kinds", "positions", "kept", "shares"))
