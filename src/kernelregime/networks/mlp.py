"""Fully-connected networks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from kernelregime import activations
from kernelregime._checks import fail, integer
from kernelregime.activations import Nonlinearity
from kernelregime.layers import Activation, Conv, Dense, Layer, Sequential
from kernelregime.layers.scales import Parameterization


def mlp(
    *,
    depth: int,
    width: int | Sequence[int],
    outputs: int = 1,
    activation: str | Callable[..., Any] = "relu",
    sigma_w2: float = 2.0,
    sigma_b2: float | None = None,
    parameterization: Parameterization = "ntk",
) -> Sequential:
    """A fully-connected network: `depth` weight layers, `depth - 1` of them hidden, and a linear readout.

    `width`: units of every hidden layer, or one number for each. `sigma_w2`, `sigma_b2`: the variances σ_w², σ_b² of every layer
    (`sigma_b2=None`: no bias; 0: one that starts at zero, trained in "standard"). `parameterization`: "ntk",
    "standard" or, without kernels at infinite width, "mup"; see `layers.Dense`.
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
    return Sequential(with_roles((*layers, dense[-1])))


def with_roles(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """The layers, the first and the last with weights known as input and output, which "mup" scales as such."""
    weighed = [index for index, layer in enumerate(layers) if isinstance(layer, Dense | Conv) and layer.parameterization == "mup"]
    roles = dict.fromkeys(weighed[:1], "input") | dict.fromkeys(weighed[1:][-1:], "output")
    found: list[Any] = [replace(layer, role=roles[i]) if i in roles else layer for i, layer in enumerate(layers)]  # type: ignore[type-var]
    return tuple(found)


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
    """`network` as a `FullyConnected`, or None: it has other layers, they differ in variance, φ or parameterization, or have what theory's
    formulas know nothing of, a width scale `s` or "mup".
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
    if parameterization == "mup":
        return None
    widths = tuple(layer.units for layer in dense if isinstance(layer, Dense))
    phi = functions.pop() if functions else None
    return FullyConnected(len(dense), widths, phi, sigma_w2, sigma_b2, parameterization)
