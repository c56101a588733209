"""Flax NNX modules as functions of their parameters."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from flax import nnx

from kernelregime import _checks
from kernelregime.empirical.adapters import Model, evaluation

_VALUES = (jax.Array, np.ndarray, np.generic, bool, int, float, complex)


@dataclass(frozen=True, eq=False)
class _Merged:
    """f(params, x) of the modules of one graph."""

    graph: Any
    keywords: tuple[tuple[str, Any], ...]

    def __call__(self, params: Any, x: Any) -> Any:
        return nnx.merge(self.graph, params["params"], evaluation.released(params["held"]))(x, **dict(self.keywords))


def as_model(given: Any) -> Model:
    """A module as a `Model` with params {"params": variables of the class `nnx.Param`, "held": `Frozen` of all others}.

    The values are those of the module at this time; the module itself stays as it is. A copy of it is set to evaluation mode, and what
    a call writes to its variables is dropped. Raises: `InputError` for anything but one module, and for a module that needs further
    arguments.
    """
    if isinstance(given, tuple) and len(given) == 2 and callable(given[0]) and not isinstance(given[0], nnx.Module):
        return Model(*given)  # a function f(params, x), by nnx.jit say
    if not isinstance(given, nnx.Module) or not callable(given):
        got = f"a {'pair' if isinstance(given, tuple) else type(given).__name__}"
        raise _checks.fail("an NNX module alone, that can be called", got, "give the module, which holds its parameters (see nnx.merge)")
    module = _evaluating(given)
    parts: tuple[Any, ...] = nnx.split(module, nnx.Param, ...)
    graph, trained, rest = parts
    for leaf in jax.tree.leaves((trained, rest)):
        if not isinstance(leaf, _VALUES):
            do = "fill in abstract variables; make variables without hijax or ref (nnx.var_defaults)"
            raise _checks.fail("an NNX module whose variables hold arrays", f"a {type(leaf).__name__}", do)
    keywords = evaluation.arguments(module, 1)
    f = evaluation.kept(_Merged, graph, tuple(sorted(keywords.items())))
    return Model(f, {"params": trained, "held": evaluation.held(rest)}, _notes(module, rest) + evaluation.mode(keywords))


def _evaluating(given: nnx.Module) -> nnx.Module:
    """A copy of the module with its own and its submodules' attributes set for evaluation."""
    module = nnx.clone(given)
    module.eval()
    for _, found in nnx.iter_modules(module):
        for name in evaluation.EVALUATION.keys() & vars(found).keys():
            if isinstance(getattr(found, name), bool | None):
                setattr(found, name, evaluation.EVALUATION[name])
        if isinstance(found, nnx.Embed) and found.dtype == found.embedding.dtype:
            found.dtype = None  # as every other layer: that of its parameters, once they are in the precision asked for
    return module


def _notes(module: nnx.Module, rest: Any) -> tuple[str, ...]:
    modules = [found for _, found in nnx.iter_modules(module)]
    dropout = ("dropout off",) if any(isinstance(found, nnx.Dropout) and found.rate for found in modules) else ()
    averages = ("batch statistics: running averages",) if any(isinstance(found, nnx.BatchNorm) for found in modules) else ()
    variables = jax.tree.leaves(rest, is_leaf=lambda node: isinstance(node, nnx.Variable))
    known = (nnx.RngState, nnx.BatchStat) if averages else nnx.RngState
    kinds = sorted({type(variable).__name__ for variable in variables if not isinstance(variable, known)})
    return dropout + averages + tuple(f"variables of the class {kind} held fixed" for kind in kinds)
