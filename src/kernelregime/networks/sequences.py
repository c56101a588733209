"""Networks on sequences of tokens (T, channels)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from kernelregime import activations
from kernelregime._checks import fail, integer, one_of
from kernelregime.layers import Activation, Attention, Branches, Dense, Flatten, GlobalPool, Identity, LayerNorm, Sequential
from kernelregime.layers.scales import Parameterization
from kernelregime.networks.mlp import with_roles


def transformer(
    *,
    blocks: int,
    channels: int,
    heads: int,
    outputs: int = 1,
    expand: int = 4,
    readout: Literal["pool", "flatten"] = "pool",
    scaling: Literal["linear", "root"] = "linear",
    weights: Literal["softmax", "identity", "abs", "relu"] = "softmax",
    embedding: Literal["none", "sum"] = "sum",
    samples: int = 4096,
    activation: str | Callable[..., Any] = "gelu",
    sigma_w2: float = 1.0,
    sigma_b2: float | None = None,
    parameterization: Parameterization = "ntk",
) -> Sequential:
    """A transformer that reads sequences: a linear map of the tokens, then `blocks` times self-attention and two `Dense` layers with
    an activation between them, each after a `LayerNorm` and beside a shortcut; `LayerNorm`, mean over the tokens or flattening, readout.

    `channels` of every token, split among `heads`; `expand` times as many between the two `Dense` layers. `scaling`, `weights`,
    `embedding`, `samples` as in `layers.Attention`, `parameterization` as in `mlp`; all weights have `sigma_w2`. Sequences of
    several lengths: a `layers.Batch`.
    Source: Vaswani et al. 2017, with normalization first (Xiong et al. 2020).
    Raises: `InputError` for numbers below 1, and what the layers refuse.

    >>> len(transformer(blocks=2, channels=64, heads=4).layers)
    8
    """
    one_of("readout", readout, ("pool", "flatten"))
    phi, size = Activation(activations.get(activation)), integer("channels", channels)
    if size % integer("heads", heads):
        raise fail("channels that heads divide evenly", f"{size} channels and {heads} heads", "change one of the two")
    each = size // heads
    attention = Attention(
        size,
        heads,
        each,
        each,
        *(sigma_w2,) * 4,
        sigma_b2=sigma_b2,
        scaling=scaling,
        weights=weights,
        embedding=embedding,
        sigma_p2=sigma_w2,
        samples=samples,
        parameterization=parameterization,
    )
    linear = Dense(size, sigma_w2, sigma_b2, parameterization)
    dense = Sequential((LayerNorm(), replace(linear, width=integer("expand", expand) * size), phi, linear))
    block = (Branches((Sequential((LayerNorm(), attention)), Identity())), Branches((dense, Identity())))
    end = GlobalPool() if readout == "pool" else Flatten()
    return Sequential(with_roles((linear, *block * integer("blocks", blocks), LayerNorm(), end, replace(linear, width=outputs))))
