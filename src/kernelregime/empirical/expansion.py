"""Taylor expansions of a model in its parameters."""

import math
from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from kernelregime import _checks
from kernelregime.empirical import model
from kernelregime.empirical.model import Function
from kernelregime.layers import Layer


def linearize(f: Function | Layer, params0: PyTree) -> Callable[[PyTree, Any], Array]:
    """The model's linearization at `params0`, as a function f_lin(params, x).

    f_lin(θ, x) = f(θ_0, x) + ∂f(θ_0, x)/∂θ · (θ - θ_0), over the floating-point leaves of params; other leaves stay as in `params0`.

    `f(params, x)`: any JAX function of a pytree and points, or a network. The outputs have the shape and dtype of f(params0, x).
    Raises: `InputError` if params differ from `params0` in structure or shapes.

    Source: Lee et al. (2019), arXiv:1902.06720, eq. 5.
    """
    return taylor(f, params0, order=1)


def taylor(f: Function | Layer, params0: PyTree, order: int = 2) -> Callable[[PyTree, Any], Array]:
    """The model's Taylor polynomial of degree `order` at `params0`, as a function f_taylor(params, x).

    f_taylor(θ, x) = Σ_{k=0..order} (1/k!) d^k/ds^k f(θ_0 + s (θ - θ_0), x) at s = 0, by nested forward derivatives (cost 2^order).

    `order` >= 1; otherwise as `linearize`. Raises: `InputError` for another order, or params that differ in structure or shapes.
    """
    degree = _checks.integer("order", order)
    f, held = model.function(f), model.parameters(params0)

    def expanded(params: PyTree, x: Any) -> Float[Array, "N ..."]:
        step = model.difference(params, held)

        def derivatives(k: int, values: list[Array]) -> list[Array]:
            """The value and its first k derivatives along the step."""
            if k == 0:
                return [f(held.rebuild(values), x)]
            lower, slopes = jax.jvp(lambda at: derivatives(k - 1, at), (values,), (step,))
            return [lower[0], *slopes]

        try:
            terms = derivatives(degree, held.values)
        except Exception as error:  # any that f raises
            if getattr(x, "shape", ()):
                model.check_order(f, params0, jax.ShapeDtypeStruct(x.shape[1:], jnp.asarray(x).dtype), error)
            raise
        return reduce(add, (term / math.factorial(k) for k, term in enumerate(terms)))

    return expanded
