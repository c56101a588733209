"""The kernel of the features of a network: that of the units of an inner layer in the place of its outputs."""

from dataclasses import dataclass
from operator import index
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from kernelregime._checks import fail
from kernelregime.empirical.adapters import Model, as_jax
from kernelregime.layers import Sequential
from kernelregime.layers.rates import check_one_rate


@dataclass(frozen=True, eq=False)
class _Units:
    """A network as a function whose outputs are its units, positions and channels in one axis."""

    network: Sequential

    def __call__(self, params: Any, x: Any) -> Float[Array, "N M"]:
        return jnp.reshape(self.network.apply(params, x), (len(x), -1))


def features(model: Any, layer: int) -> Model:
    """The model whose outputs are the M units h of an inner layer: its kernel is the features kernel Θ^h.

    Θ^h(x, x')_{ks} = ∇_θ h_k(x)·∇_θ h_s(x'), over the parameters up to that layer. With output="trace", `ntk` gives the mean over units
    (1/M) Σ_k Θ^h_kk: the values κ_d, κ_c, κ_n of a kernel with block structure κ ⊗ 1_M. The traced kernel Σ_k Θ^h_kk is M times it.

    `model`: (network, params) of a `Sequential`. `layer`: which of `network.layers` is the last one, from 0, or from -1 backwards: -2
    are the features that go into a last `Dense` layer. Units with positions count one by one, M of them in all, the last axis fastest.
    For any other model write f(params, x) that returns the activations, as (N, M), and give (f, params) to `ntk`.

    Returns: `Model` for `ntk`, `operator`, `ntk_rate`. Raises: `InputError` for another model, and a layer that is not there.
    Source: Seleznova et al. (2023), arXiv:2305.16427, eq. 3 and assumption 3.2.

    >>> import jax
    >>> from kernelregime import empirical, networks
    >>> network = networks.mlp(depth=2, width=8)
    >>> empirical.ntk(features((network, network.init(jax.random.key(0), (3,))), -2), [[1.0, 0.0, 0.0]]).shape
    (1, 1)
    """
    taken = as_jax(model)
    network = getattr(taken.f, "__self__", None)  # f is the bound `apply` of a network
    if not isinstance(network, Sequential):
        do = "write f(params, x) that returns the activations, and give (f, params) to ntk"
        raise fail("(network, params) of a Sequential network", f"a function {getattr(taken.f, '__name__', taken.f)}", do)
    count = len(network.layers)
    try:
        last = range(count)[index(layer)]
    except (TypeError, IndexError):
        raise fail(f"layer to be an integer from {-count} to {count - 1}", repr(layer), "count network.layers from 0") from None
    part = Sequential(network.layers[: last + 1])
    check_one_rate(part)
    return Model(_Units(part), tuple(taken.params)[: last + 1], taken.notes)
