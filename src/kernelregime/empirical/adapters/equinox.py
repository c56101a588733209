"""Equinox modules as functions of their parameters."""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax

from kernelregime import _checks
from kernelregime.empirical.adapters import Model, evaluation

AXIS = "batch"  # the name of the axis of points, as in the examples of Equinox
_BATCH = (
    "for a model of a whole batch pass (f, params) with params, static = eqx.partition(model, eqx.is_inexact_array)"
    " and f = lambda params, x: eqx.combine(params, static)(x)"
)
_STATE = f"give (module, state) if that is the state; for anything else {evaluation.FILL_IN}"


@dataclass(frozen=True, eq=False)
class _PerPoint:
    """f(params, x) of the modules of one structure, for each point on its own; `static`: (module, state) without their arrays."""

    static: Any
    keywords: tuple[tuple[str, Any], ...]

    def __call__(self, params: Any, x: Any) -> Any:
        rest, *state = eqx.combine(evaluation.released(params["held"]), self.static)
        model = eqx.combine(params["params"], rest)

        def one(point: Any) -> Any:
            try:
                out = model(point, *state, **dict(self.keywords))
            except (TypeError, ValueError) as error:
                raise _refused(error, point) from error
            return out[0] if state and isinstance(out, tuple) else out

        return jax.vmap(one, axis_name=AXIS)(x)


def _per_point(structure: Any, leaves: tuple[tuple[type, Any], ...], keywords: tuple[tuple[str, Any], ...]) -> _PerPoint:
    return _PerPoint(jax.tree.unflatten(structure, [leaf for _, leaf in leaves]), keywords)


def as_model(given: Any) -> Model:
    """A module of one example, or a pair of a module and its state, as a `Model` with params {"params": ..., "held": `Frozen`}.

    Its inexact arrays (`eqx.is_inexact_array`) are trained; other arrays and the state are held. It is set to inference mode and called
    for each point on its own, model(point) or model(point, state), with key=None where it needs a key.
    Raises: `InputError` for what cannot be called, for a state that is none, for a module that needs further arguments, and, from the
    function, for points that it does not accept.
    """
    model, *state = given if isinstance(given, tuple) else (given,)
    if len(state) == 1 and not isinstance(state[0], eqx.nn.State) and not _arrays(model):
        return Model(model, *state)  # a function f(params, x), by eqx.filter_jit say
    if not callable(model) or len(state) > 1 or not all(isinstance(part, eqx.nn.State) for part in state):
        got = " and ".join(f"a {type(part).__name__}" for part in (model, *state))
        raise _checks.fail("an Equinox module that can be called, or (module, state)", got, "give the module, which holds its parameters")
    model = eqx.nn.inference_mode(model)
    keywords = evaluation.arguments(model, 1 + len(state), do=evaluation.FILL_IN if state else _STATE)
    trained, rest = eqx.partition(model, eqx.is_inexact_array)
    arrays, static = eqx.partition((rest, *state), eqx.is_array)
    leaves, structure = jax.tree.flatten(static)
    # Types too: a leaf 1 equals one of 1.0 or True.
    f = evaluation.kept(_per_point, structure, tuple((type(leaf), leaf) for leaf in leaves), tuple(sorted(keywords.items())))
    return Model(f, {"params": trained, "held": evaluation.held(arrays)}, _notes(model, state) + evaluation.mode(keywords))


def _arrays(model: Any) -> bool:
    return any(map(eqx.is_inexact_array, jax.tree.leaves(model)))


def _notes(model: Any, state: list[Any]) -> tuple[str, ...]:
    layers = jax.tree.leaves(model, is_leaf=lambda node: isinstance(node, eqx.nn.Dropout | eqx.nn.BatchNorm))
    dropout = any(isinstance(layer, eqx.nn.Dropout) and layer.p for layer in layers)
    averages = any(isinstance(layer, eqx.nn.BatchNorm) for layer in layers)
    notes = {"dropout off": dropout, "batch statistics: running averages": averages, "state held fixed": state and not averages}
    return tuple(note for note, true in notes.items() if true)


def _refused(error: Exception, point: Any) -> _checks.InputError:
    if isinstance(error, _checks.InputError):
        return error
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    return _checks.fail(f"an Equinox module of one example, here of shape {tuple(point.shape)}", f"the error {said!r}", _BATCH)
