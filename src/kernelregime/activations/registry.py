"""Every activation the library knows by name."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from kernelregime._checks import fail, one_of, real
from kernelregime.activations.analytic import COS, ERF, GELU, RBF, SIGMOID_LIKE, SIN
from kernelregime.activations.exponential import EXP, EXP_NORMALIZED, GABOR, GAUSSIAN
from kernelregime.activations.function import from_function
from kernelregime.activations.kinked import ABRELU, ABS, IDENTITY, LEAKY_RELU, RELU, SIGN, rectified_monomial
from kernelregime.activations.piecewise import HARD_TANH, RELU6
from kernelregime.activations.polynomials import hermite, monomial, polynomial
from kernelregime.activations.record import Kind, Nonlinearity
from kernelregime.activations.smooth import ELU, SIGMOID, SILU, SOFTPLUS, TANH

_CLOSED = (ABRELU, ABS, COS, ERF, EXP, EXP_NORMALIZED, GABOR, GAUSSIAN, GELU, IDENTITY, LEAKY_RELU, RBF, RELU, SIGMOID_LIKE, SIGN, SIN)
REGISTRY: dict[str, Kind] = {
    kind.name: kind for kind in sorted((*_CLOSED, ELU, HARD_TANH, RELU6, SIGMOID, SILU, SOFTPLUS, TANH), key=lambda k: k.name)
}
_CALL = re.compile(r"\s*([a-z_]+)\s*\((.*)\)\s*")
_POWER = re.compile(r"c(\d{1,3})")


def _polynomial(coef: Sequence[float] = (), **powers: float) -> Nonlinearity:
    """`polynomial`, by its coefficients or by c0, c1, ... as its name shows them; those left out are 0."""
    places = [_POWER.fullmatch(name) for name in powers]
    if None in places or bool(powers) == bool(len(coef)):
        raise TypeError(powers)
    values = {int(place[1]): powers[place[0]] for place in places if place is not None}
    return polynomial([values.get(k, 0.0) for k in range(max(values) + 1)] if values else coef)


# families whose structure depends on an argument
FAMILIES: dict[str, Callable[..., Kind | Nonlinearity]] = {
    "hermite": hermite,
    "monomial": monomial,
    "polynomial": _polynomial,
    "rectified_monomial": rectified_monomial,
}


def registered(name: str) -> Kind:
    """The registered kind of this name."""
    return REGISTRY[name]


def get(activation: str | Nonlinearity | Callable[..., Any], **parameters: Any) -> Nonlinearity:
    """The nonlinearity with this name (and these parameters), or made from an elementwise JAX function (see `from_function`).

    A name may carry its parameters, as `Nonlinearity.name` shows them: "leaky_relu(alpha=0.1)", "monomial(degree=3)",
    "polynomial(coef=0.3 0.8 0.2)" or "polynomial(coef=0.3, 0.8, 0.2)".
    Raises: `InputError` for unknown names (the nearest is suggested) and unknown parameters.

    >>> get("sin(a=2, c=0.5)").values
    (2.0, 1.0, 0.5)
    """
    if isinstance(activation, Nonlinearity):
        return activation
    if not isinstance(activation, str):
        return from_function(activation, **parameters)
    if called := _CALL.fullmatch(activation):
        return get(called[1], **_arguments(activation, called[2]), **parameters)
    one_of("activation", activation, [*REGISTRY, *FAMILIES])
    if activation in FAMILIES:
        try:
            made = FAMILIES[activation](**parameters)
        except TypeError:
            wanted = "coef=(c0, c1, ...)" if activation == "polynomial" else "degree="
            raise fail(f"{activation} with {wanted}", ", ".join(parameters) or "no parameters", "give it") from None
        return made if isinstance(made, Nonlinearity) else Nonlinearity(made)
    kind = REGISTRY[activation]
    known = dict(kind.parameters)
    for name in parameters:
        if not known:
            raise fail(f"no parameters for {kind.name}", name, "leave it out")
        one_of(f"parameter of {kind.name}", name, known)
    return Nonlinearity(kind, tuple((known | parameters).values()))


def _arguments(whole: str, text: str) -> dict[str, Any]:
    """The arguments of a call written as text, all numbers; a degree is an integer, coefficients are several, apart by spaces or commas."""
    found: dict[str, Any] = {}
    name = ""
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        before, equals, value = (word.strip() for word in part.rpartition("="))
        name = before if equals else name
        if name == "coef":
            earlier = () if equals else found[name]
            found[name] = (*earlier, *(real(name, number) for number in value.strip("()[] ").split()))
            continue
        if not equals:
            raise fail("an activation written as name(parameter=number, ...)", repr(whole), "name every parameter")
        number = real(name, value)
        found[name] = int(number) if name == "degree" and number == int(number) else number
    return found
