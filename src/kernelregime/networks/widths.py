"""The same network with more units."""

from dataclasses import replace
from typing import Any

from kernelregime._checks import fail, integer
from kernelregime.layers import Layer


def widened(network: Layer, multiple: int, *, outputs: int = 1) -> Layer:
    """`network` with `multiple` times as many units in every layer (of an attention layer: channels, heads and keys), its outputs apart,
    of which there are `outputs` times as many.

    Raises: `InputError` for a multiple below 1, and a network whose hidden units are its outputs too, as in a residual block at the end.

    >>> from kernelregime import networks
    >>> [layer.width for layer in networks.widened(networks.mlp(depth=3, width=8), 4).layers[::2]]
    [32, 32, 1]
    """
    return _grown(network, integer("multiple", multiple), integer("outputs", outputs), last=True)


def _grown(layer: Layer, multiple: int, outputs: int, *, last: bool) -> Layer:
    """`last`: whether the output of the layer is that of the network."""
    inner: tuple[Layer, ...] | None = getattr(layer, "layers", None)
    if inner is None:
        kept = layer.grows[:1] if last else ()
        changed: dict[str, Any] = {name: (outputs if name in kept else multiple) * getattr(layer, name) for name in layer.grows}
        return replace(layer, **changed)  # type: ignore[type-var]
    ends = (
        {len(inner) - 1 - next((i for i, part in enumerate(reversed(inner)) if _weighs(part)), 0)}
        if layer.in_turn
        else set(range(len(inner)))
    )
    if last and not layer.in_turn and not all(map(_weighs, inner)):
        do = "end it with a Dense layer"
        raise fail("a network with a readout of its own weights", f"a {type(layer).__name__} without some at its end", do)
    parts = tuple(_grown(part, multiple, outputs, last=last and index in ends) for index, part in enumerate(inner))
    return replace(layer, layers=parts)  # type: ignore[type-var]


def _weighs(layer: Layer) -> bool:
    """Whether there are units in a layer whose number can be chosen."""
    inner: tuple[Layer, ...] | None = getattr(layer, "layers", None)
    return bool(layer.grows) if inner is None else any(map(_weighs, inner))
