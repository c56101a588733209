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
from kernelregime.empirical import model as models
from kernelregime.empirical.adapters import as_jax


def linearize(model: Any) -> Callable[[PyTree, Any], Array]:
    """The linearization of `model` at its parameters θ_0, as a function f_lin(params, x).

    f_lin(θ, x) = f(θ_0, x) + ∂f(θ_0, x)/∂θ · (θ - θ_0), over the trained leaves of params; other leaves stay as in θ_0.

    `model`: (f, params0), or a Flax, NNX or Equinox module, as in `ntk`. The outputs have the shape and dtype of f(params0, x). It
    trains like any f: with `training.train` or an optax optimizer.
    Raises: `InputError` if params differ from params0 in structure or shapes.

    Source: Lee et al. (2019), arXiv:1902.06720, eq. 5.
    """
    return taylor(model, order=1)


def taylor(model: Any, order: int = 2) -> Callable[[PyTree, Any], Array]:
    """The Taylor polynomial of `model` of degree `order` at its parameters θ_0, as a function f_taylor(params, x).

    f_taylor(θ, x) = Σ_{k=0..order} (1/k!) d^k/ds^k f(θ_0 + s (θ - θ_0), x) at s = 0, by nested forward derivatives (cost 2^order).

    `order` >= 1; otherwise as `linearize`. Raises: `InputError` for another order, or params that differ in structure or shapes.
    """
    degree, taken = _checks.integer("order", order), as_jax(model)
    f, held = taken.f, models.parameters(taken.params)

    def expanded(params: PyTree, x: Any) -> Float[Array, "N ..."]:
        step = models.difference(params, held)

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
                models.check_order(f, taken.params, jax.ShapeDtypeStruct(x.shape[1:], jnp.asarray(x).dtype), error)
            raise
        return reduce(add, (term / math.factorial(k) for k, term in enumerate(terms)))

    return expanded
