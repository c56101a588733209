"""Models of other libraries as functions f(params, x) with their parameters; each library is imported when one of its models is given."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from kernelregime import _checks
from kernelregime.empirical import model
from kernelregime.empirical.adapters import evaluation
from kernelregime.empirical.model import Function
from kernelregime.layers import Layer

# Which module turns models of a library, that of one of the classes of a model, into a `Model`.
LIBRARIES = {"flax.linen": "linen", "flax.nnx": "nnx", "equinox": "equinox", "torch": "torch"}


@dataclass(frozen=True, eq=False)
class Model:
    """A function `f(params, x)` of points (N, ...) with its parameters. `notes`: what of it was held fixed, in words."""

    f: Function
    params: Any
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "f", model.function(self.f))


def as_model(given: Any) -> Any:
    """A `Model` of `given`: a pair (f, params) of a function or network and its parameters, or a model of a library in `LIBRARIES`.

    A PyTorch module becomes a `torch.TorchModel`. Raises: `InputError` for anything else.
    """
    if isinstance(given, Model):
        return given
    library = _library(evaluation.applied(given[0])[0] if isinstance(given, tuple) and given else given)
    if library is not None:
        convert: Callable[[Any], Any] = import_module(f"kernelregime.empirical.adapters.{LIBRARIES[library]}").as_model
        return convert(given)
    if isinstance(given, tuple) and len(given) == 2:
        if callable(given[1]) and not callable(given[0]):
            raise _checks.fail("a pair (f, params)", "(params, f)", "exchange them")
        return Model(*given)
    wanted = "a model: a pair (f, params), or a bound Flax, an NNX, Equinox or PyTorch module"
    alone = callable(given) or isinstance(given, Layer)
    do = "give it with its parameters, (f, params)" if alone else "give the model first, and then the points"
    raise _checks.fail(wanted, f"a {type(given).__name__} alone", do)


def as_jax(given: Any) -> Model:
    """The same; `InputError` for a PyTorch module, which only `ntk` takes."""
    found = as_model(given)
    if not isinstance(found, Model):
        raise _checks.fail("a model in JAX", f"a {type(given).__name__}", "use empirical.ntk, which computes in torch")
    return found


def _library(given: Any) -> str | None:
    """The library, among those imported so far, that defines a base class of `given`."""
    names = [base.__module__ for base in type(given).__mro__]
    return next((library for library in LIBRARIES if library in sys.modules and any(_inside(name, library) for name in names)), None)


def _inside(name: str, library: str) -> bool:
    return name == library or name.startswith(f"{library}.")
