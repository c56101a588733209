"""Flax linen modules as functions of their variables."""

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

import flax
import jax
from flax import linen

from kernelregime import _checks
from kernelregime.empirical.adapters import Model, evaluation

_ADVICE = "give module.bind(variables) or (module, variables)"
_TRAINING = ("rngs", "mutable", "capture_intermediates")  # keywords of `apply` that an evaluation cannot have


@dataclasses.dataclass(frozen=True, eq=False)
class _Applied:
    """f(params, x) of a module, with params its variables."""

    module: linen.Module
    keywords: tuple[tuple[str, Any], ...]

    def __call__(self, params: Any, x: Any) -> Any:
        try:
            return self.module.apply(evaluation.released(params), x, mutable=False, **dict(self.keywords))
        except flax.errors.FlaxError as error:
            raise _refused(error, x) from error


def as_model(given: Any) -> Model:
    """A bound module, or a pair of a module (or its `apply`) and its variables, as a `Model` whose params are the variables.

    The collection "params" is trained, all others are held; parts of it may be held too, in a `Frozen`. BatchNorm uses its running
    averages and Dropout is off, by the arguments of `__call__` and the attributes of the module named in `evaluation.EVALUATION`.
    Raises: `InputError` for an unbound module alone, for variables without the collection "params", for a module that needs further
    arguments, and, from the function, when evaluating would change a variable or draw random numbers.
    """
    module, variables, given_keywords = _parts(given)
    module, keywords, note = _evaluating(module, given_keywords)
    params = _collections(variables)
    f = evaluation.kept(_Applied, module, tuple(sorted(keywords.items())))
    return Model(f, params, note + _notes(params))


def _parts(given: Any) -> tuple[linen.Module, Any, dict[str, Any]]:
    """The unbound module, its variables, and the keywords of its call."""
    if isinstance(given, linen.Module):
        if given.scope is None:
            raise _checks.fail("a Flax module with its variables", f"an unbound {type(given).__name__} alone", _ADVICE)
        return *given.unbind(), {}
    module, keywords = evaluation.applied(given[0]) if isinstance(given, tuple) and len(given) == 2 else (None, {})
    if not isinstance(module, linen.Module):
        raise _checks.fail("a Flax module with its variables", f"a {type(given).__name__} of something else", _ADVICE)
    for name in _TRAINING:
        if keywords.get(name):
            raise _checks.fail("an evaluation of the module", f"its apply with {name}=", f"leave out {name}")
    keywords = {name: value for name, value in keywords.items() if name not in _TRAINING}
    return (module if module.scope is None else module.unbind()[0]), given[1], keywords


def _collections(variables: Any) -> dict[str, Any]:
    """The variables as dictionaries, without boxes of metadata, all but "params" held."""
    if not isinstance(variables, Mapping) or "params" not in variables:
        got = f"those of {', '.join(map(repr, variables))}" if isinstance(variables, Mapping) else f"a {type(variables).__name__}"
        raise _checks.fail("variables with the collection 'params'", got, "give {'params': params, ...}, as module.init returns")
    plain = linen.unbox(flax.core.unfreeze(dict(variables)))
    return {name: part if name == "params" else evaluation.held(part) for name, part in plain.items()}


def _evaluating(module: linen.Module, given: dict[str, Any]) -> tuple[linen.Module, dict[str, Any], tuple[str, ...]]:
    """The module and the keywords of its call, set for evaluation where the user did not set them, and the note on it."""
    method = given.get("method") or "__call__"
    call = getattr(module, method) if isinstance(method, str) else method
    called = evaluation.arguments(call, 1 if isinstance(method, str) or inspect.ismethod(method) else 2, given)
    attributes: dict[str, Any] = {}
    for name in {field.name for field in dataclasses.fields(module)} & set(evaluation.EVALUATION) - set(given):
        value = getattr(module, name)
        if isinstance(value, bool) or (value is None and name not in called):
            attributes[name] = evaluation.EVALUATION[name]
    # Of two places for one value, Flax wants one to be None.
    for name in attributes.keys() & called.keys():
        if inspect.signature(call).parameters[name].default is None:
            del called[name]
    note = evaluation.mode(attributes | called | given)
    return (module.clone(**attributes) if attributes else module), called | given, note


def _notes(params: dict[str, Any]) -> tuple[str, ...]:
    others = sorted(name for name in params if name not in ("params", "batch_stats") and jax.tree.leaves(params[name]))
    averages = ("batch statistics: running averages",) if jax.tree.leaves(params.get("batch_stats")) else ()
    return averages + tuple(f"collection {name!r} held fixed" for name in others)


def _refused(error: flax.errors.FlaxError, x: Any) -> _checks.InputError:
    """What an error of Flax says, and what to do about it."""
    said = str(error).splitlines()[0].split(" (https://")[0]
    if isinstance(error, flax.errors.InvalidRngError):
        do = "turn dropout off in the module (deterministic=True), or pass (f, params) with the random key in f"
        return _checks.fail("a module that draws no random numbers in evaluation", said, do)
    if isinstance(error, flax.errors.ModifyScopeVariableError):
        do = "let batch norm use its running averages (use_running_average=True) in the module, or pass (f, params)"
        return _checks.fail("a module that changes no variable in evaluation", said, do)
    wanted = f"variables and points, here of shape {tuple(x.shape[1:])}, that fit the module"
    return _checks.fail(wanted, said, "initialize the module with points of this shape, and give all of its variables")
