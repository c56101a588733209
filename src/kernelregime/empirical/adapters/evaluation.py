"""What evaluating a model means whatever its library: the arguments of its call, and the state and random keys that are held fixed."""

import inspect
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp

from kernelregime import _checks
from kernelregime.empirical.model import Frozen, Function

# The names by which models are told, at the call or by an attribute, whether they are trained, with the value for evaluation.
EVALUATION = {
    "train": False,
    "training": False,
    "is_train": False,
    "is_training": False,
    "deterministic": True,
    "use_running_average": True,
    "inference": True,
}
KEYS = frozenset({"key", "rng", "rngs"})  # arguments for random keys, which an evaluation has no use for
STRUCTURES = 64  # structures of models of which the function, and with it the compiled programs, are kept
FILL_IN = "pass (f, params) with a function f(params, x) of yours that fills it in"
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@partial(jax.tree_util.register_dataclass, data_fields=("data",), meta_fields=("kind",))
@dataclass(frozen=True)
class _Key:
    """A random key as the integers behind it, which NumPy can hold."""

    data: Any
    kind: Any


def held(tree: Any) -> Frozen:
    """`tree` as a part of params that is not trained."""

    def plain(leaf: Any) -> Any:
        key = hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return _Key(jax.random.key_data(leaf), jax.random.key_impl(leaf)) if key else leaf

    return Frozen(jax.tree.map(plain, tree))


def released(tree: Any) -> Any:
    """`tree` with the value of each `Frozen` in its place."""

    def release(node: Any) -> Any:
        if isinstance(node, Frozen):
            return released(node.value)
        return jax.random.wrap_key_data(node.data, impl=node.kind) if isinstance(node, _Key) else node

    return jax.tree.map(release, tree, is_leaf=lambda node: isinstance(node, Frozen | _Key))


def kept(kind: Callable[..., Function], *structure: Any) -> Function:
    """`kind(*structure)`, one and the same for models of one structure, so that they share compiled programs; a new one if unhashable."""
    try:
        return _kept(kind, *structure)
    except (TypeError, ValueError):  # of hash, of == with arrays
        return kind(*structure)


@lru_cache(STRUCTURES)
def _kept(kind: Callable[..., Function], *structure: Any) -> Function:
    return kind(*structure)


def arguments(call: Callable[..., Any], inputs: int, given: Iterable[str] = (), do: str = FILL_IN) -> dict[str, Any]:
    """What to call a model with after its `inputs` positional arguments to evaluate it; those in `given` are left out.

    Raises: `InputError` if it needs others, with the advice `do`.
    """
    try:
        parameters = list(inspect.signature(call).parameters.values())[inputs:]
    except (TypeError, ValueError):  # a callable without a signature
        return {}
    chosen: dict[str, Any] = {}
    for parameter in parameters:
        required = parameter.default is inspect.Parameter.empty and parameter.kind not in _VARIADIC
        if parameter.name in given or parameter.kind in _VARIADIC:
            continue
        if parameter.name in EVALUATION and parameter.kind is not inspect.Parameter.POSITIONAL_ONLY:
            chosen[parameter.name] = EVALUATION[parameter.name]
        elif required and parameter.name in KEYS:
            chosen[parameter.name] = None
        elif required:
            raise _checks.fail("a model called with its inputs alone", f"one that also needs {parameter.name!r}", do)
    return chosen


def mode(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The note on arguments and attributes that were set for the evaluation."""
    named = ", ".join(f"{name}={value}" for name, value in sorted(values.items()) if EVALUATION.get(name) is value)
    return (f"evaluation mode: {named}",) if named else ()


def applied(function: Any) -> tuple[Any, dict[str, Any]]:
    """The object whose method `apply` this is, compiled or with keywords filled in at most, and the keywords; else `function` itself."""
    inner: Any = function
    keywords: dict[str, Any] = {}
    while True:
        if isinstance(inner, partial) and not inner.args:
            inner, keywords = inner.func, inner.keywords | keywords
        elif hasattr(inner, "__wrapped__") and isinstance(inner, jax.stages.Wrapped):
            inner = getattr(inner, "__wrapped__")  # noqa: B009  # which the type of the protocol does not tell
        else:
            break
    method = isinstance(inner, types.MethodType) and inner.__name__ == "apply"
    return (inner.__self__, keywords) if method else (function, {})
