"""Every activation the library knows by name."""

from collections.abc import Callable
from typing import Any

from kernelregime._checks import fail, from_registry, one_of
from kernelregime.activations.closed import ERF, IDENTITY, RELU
from kernelregime.activations.quadrature import TANH, from_function
from kernelregime.activations.record import Kind, Nonlinearity

REGISTRY: dict[str, Kind] = {kind.name: kind for kind in (ERF, IDENTITY, RELU, TANH)}


def get(activation: str | Nonlinearity | Callable[..., Any], **parameters: Any) -> Nonlinearity:
    """The nonlinearity with this name (and these parameters), or made from an elementwise JAX function.

    Raises: `InputError` for unknown names (the nearest is suggested) and unknown parameters.
    """
    if isinstance(activation, Nonlinearity):
        return activation
    if not isinstance(activation, str):
        return from_function(activation, **parameters)
    kind: Kind = from_registry("activation", activation, REGISTRY)
    known = dict(kind.parameters)
    for name in parameters:
        if not known:
            raise fail(f"no parameters for {kind.name}", name, "leave it out")
        one_of(f"parameter of {kind.name}", name, known)
    return Nonlinearity(kind, tuple((known | parameters).values()))
