"""How weights are drawn and what multiplies them: the parameterizations."""

import math
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from kernelregime._checks import fail

Parameterization = Literal["ntk", "standard", "mup"]
Role = Literal["input", "hidden", "output"]
PARAMETERIZATIONS = ("ntk", "standard", "mup")
ROLES = ("input", "hidden", "output")


class Scale(NamedTuple):
    """Of trained numbers: the standard deviation they start with, and what they are multiplied by; 1 if None."""

    start: Any
    times: Any

    def drawn(self, normal: Array) -> Array:
        """Standard normal numbers as they start."""
        return normal if self.start is None else jnp.asarray(self.start, normal.dtype) * normal

    def used(self, value: Array) -> Array:
        """What is made of them, as it acts."""
        return value if self.times is None else jnp.asarray(self.times, value.dtype) * value


def scales(layer: Any, inputs: int, outputs: int, shrink: int = 1) -> tuple[Scale, Scale]:
    """Of weights and of biases, for a layer with `sigma_w2`, `sigma_b2`, `parameterization` and `role`; `shrink`: s_in of `Dense`.

    "mup" as in Yang and Hu 2021, table 1 (with learning rates that do not depend on the width), biases of all but the output as its
    input weights.
    """

    def root(variance: Any, over: float = 1.0) -> Any:
        return None if variance is None else jnp.sqrt(variance / over)

    if layer.parameterization == "ntk":
        return Scale(None, root(layer.sigma_w2, inputs)), Scale(None, root(layer.sigma_b2))
    if layer.parameterization == "standard":
        return Scale(root(layer.sigma_w2, inputs / shrink), None if shrink == 1 else 1 / math.sqrt(shrink)), Scale(
            root(layer.sigma_b2), None
        )
    weights = {
        "input": Scale(root(layer.sigma_w2, outputs), math.sqrt(outputs / inputs)),
        "hidden": Scale(root(layer.sigma_w2, inputs), None),
        "output": Scale(root(layer.sigma_w2, inputs), 1 / math.sqrt(inputs)),
    }
    if layer.role == "output":
        return weights["output"], Scale(root(layer.sigma_b2), None)
    return weights[layer.role], Scale(root(layer.sigma_b2, outputs), math.sqrt(outputs))


def check_kernel(layer: Any) -> None:
    """`InputError` for a parameterization without an infinite-width kernel."""
    if layer.parameterization == "mup":
        do = "train finite networks (empirical, diagnose), or take parameterization='ntk'"
        raise fail("a parameterization whose NTK stays constant at infinite width, ntk or standard", "mup, in which features move", do)


def has_kernel(layer: Any) -> bool:
    """Whether no layer has a parameterization without an infinite-width kernel."""
    inner = getattr(layer, "layers", None)
    return all(map(has_kernel, inner)) if inner is not None else getattr(layer, "parameterization", "ntk") != "mup"
