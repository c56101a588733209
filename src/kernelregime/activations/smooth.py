"""Activations whose duals are taken by quadrature."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from kernelregime.activations.quadrature import quadrature_kind


def _silu_slope(x: Array) -> Array:
    s = jax.nn.sigmoid(x)
    return s * (1 + x * (1 - s))


def _elu(x: Array, alpha: Any) -> Array:
    return jnp.where(x > 0, x, alpha * jnp.expm1(jnp.minimum(x, 0)))


def _elu_slope(x: Array, alpha: Any) -> Array:
    return jnp.where(x > 0, 1, alpha * jnp.exp(jnp.minimum(x, 0)))


TANH = quadrature_kind("tanh", jnp.tanh, lambda x: 1 - jnp.tanh(x) ** 2, odd=True)
SIGMOID = quadrature_kind("sigmoid", jax.nn.sigmoid, lambda x: jax.nn.sigmoid(x) * jax.nn.sigmoid(-x))
SILU = quadrature_kind("silu", jax.nn.silu, _silu_slope)
SOFTPLUS = quadrature_kind("softplus", jax.nn.softplus, jax.nn.sigmoid)
ELU = quadrature_kind("elu", _elu, _elu_slope, parameters=(("alpha", 1.0),), kinks=(0.0,))
