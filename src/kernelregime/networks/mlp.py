"""Fully-connected networks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kernelregime import activations
from kernelregime._checks import fail, integer
from kernelregime.activations import Nonlinearity
from kernelregime.layers import Activation, Dense, Layer, Sequential


def mlp(
    *,
    depth: int,
    width: int | Sequence[int],
    outputs: int = 1,
    activation: str | Callable[..., Any] = "relu",
    sigma_w2: float = 2.0,
    sigma_b2: float | None = None,
    parameterization: Literal["ntk", "standard"] = "ntk",
) -> Sequential:
    """A fully-connected network: `depth` weight layers, `depth - 1` of them hidden, and a linear readout.

    `width`: units of every hidden layer, or one number for each. `sigma_w2`, `sigma_b2`: the variances σ_w², σ_b² of every layer
    (`sigma_b2=None`: no bias; 0: one that starts at zero, trained in "standard"). `parameterization`: "ntk" or "standard"; see
    `layers.Dense`.
    Raises: `InputError` for a depth or width below 1, negative variances, or unknown names.

    >>> len(mlp(depth=3, width=512, outputs=10).layers)
    5
    """
    hidden = integer("depth (weight layers)", depth) - 1
    widths = list(width) if isinstance(width, Sequence) else [integer("width", width)] * hidden
    if len(widths) != hidden:
        raise fail(f"{hidden} hidden widths for depth {depth}", f"{len(widths)}", "give one integer, or one for each hidden layer")
    phi = activations.get(activation)
    dense = [Dense(n, sigma_w2, sigma_b2, parameterization) for n in [*widths, integer("outputs", outputs)]]
    layers = [layer for d in dense[:-1] for layer in (d, Activation(phi))]
    return Sequential((*layers, dense[-1]))


@dataclass(frozen=True)
class FullyConnected:
    """A fully-connected network as theory sees it: depth L, widths n_1 … n_L, and one φ, σ_w², σ_b² for all layers."""

    depth: int
    widths: tuple[int, ...]
    activation: Nonlinearity | None
    sigma_w2: float
    sigma_b2: float | None
    parameterization: Literal["ntk", "standard"]

    def parameters(self, inputs: int) -> int:
        """How many numbers it trains, on points of so many `inputs`."""
        return sum(n * (before + (self.sigma_b2 is not None)) for before, n in zip((inputs, *self.widths), self.widths))


def describe(network: Layer) -> FullyConnected | None:
    """`network` as a `FullyConnected`, or None: it has other layers, they differ in variance, φ or parameterization, or have a width
    scale `s`, of which theory's formulas know nothing.
    """
    if not isinstance(network, Sequential) or len(network.layers) % 2 == 0:
        return None
    dense, between = network.layers[::2], network.layers[1::2]
    if not all(isinstance(layer, Dense) for layer in dense) or not all(isinstance(layer, Activation) for layer in between):
        return None
    settings = {
        (float(layer.sigma_w2), None if layer.sigma_b2 is None else float(layer.sigma_b2), layer.parameterization)
        for layer in dense
        if isinstance(layer, Dense)
    }
    scaled = any(layer.s != (1, 1) for layer in dense if isinstance(layer, Dense))
    functions = {layer.nonlinearity for layer in between if isinstance(layer, Activation)}
    if scaled or len(settings) != 1 or len(functions) > 1:
        return None
    sigma_w2, sigma_b2, parameterization = settings.pop()
    widths = tuple(layer.units for layer in dense if isinstance(layer, Dense))
    phi = functions.pop() if functions else None
    return FullyConnected(len(dense), widths, phi, sigma_w2, sigma_b2, parameterization)
