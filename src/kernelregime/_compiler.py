"""Programs whose loops over many pairs use the widest vectors that the processor has."""

from collections.abc import Callable
from functools import cache, wraps
from typing import Any

WIDEST = {"xla_cpu_prefer_vector_width": 512}  # bits; the compiler takes 256 even where the processor has more


def understood(options: dict[str, Any]) -> dict[str, Any]:
    """The options, or none with a compiler that lacks one of them."""
    import jax

    try:
        jax.jit(lambda x: x, compiler_options=options)(0.0)
    except jax.errors.JaxRuntimeError:
        return {}
    return options


def form(tree: Any) -> tuple[Any, int]:
    """What tells the structures of trees apart. JAX 0.10 takes two dataclasses with equal fields for equal whatever their types,
    programs among them, but hashes their types.
    """
    import jax

    structure = jax.tree.structure(tree)
    return structure, hash(structure)


def compiled(*, static: tuple[str, ...] = ()) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: `jax.jit` with `static` argument names, made when first called, so that an import starts no device."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @cache
        def program() -> Any:
            import jax

            def of_form(_: int, *args: Any, **kwargs: Any) -> Any:
                return function(*args, **kwargs)

            return jax.jit(of_form, static_argnums=0, static_argnames=static, compiler_options=understood(WIDEST))

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return program()(form(args)[1], *args, **kwargs)

        return call

    return decorate
