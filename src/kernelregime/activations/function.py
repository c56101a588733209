"""Any elementwise JAX function as an activation."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from kernelregime._checks import fail
from kernelregime.activations.kinked import two_slopes
from kernelregime.activations.quadrature import quadrature_kind
from kernelregime.activations.record import Kind, Nonlinearity

_SCALES = (0.5, 3.0)
_PROBES = (-2.7, -1.3, -0.4, 0.3, 1.1, 2.9)


@lru_cache(maxsize=256)
def _function_kind(
    function: Callable[[Array], Array], derivative: Callable[[Array], Array] | None, name: str, kinks: tuple[float, ...]
) -> Kind:
    maker = (_function_kind, (function, derivative, name, kinks))
    if derivative is None:

        def derivative(x: Array) -> Array:
            return jax.jvp(function, (x,), (jnp.ones_like(x),))[1]

    slopes = _two_slopes(function)
    if slopes is None:
        return replace(quadrature_kind(name, function, derivative, kinks=kinks), maker=maker)
    below, above = slopes
    return Kind(
        name,
        function=function,
        derivative=derivative,
        second_moment=lambda q: (below * below + above * above) / 2 * q,
        dual=lambda a, b, w, v: two_slopes(a, b, w, v, below, above, (below + above) / 2),
        kinks=kinks or (0.0,) * (below != above),
        homogeneous=True,
        odd=below == above,
        maker=maker,
    )


def _two_slopes(function: Callable[[Array], Array]) -> tuple[float, float] | None:
    """(-φ(-1), φ(1)) of a φ with φ(cx) = cφ(x) for c > 0, seen at some points; None for others."""
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        x = jnp.asarray(_PROBES)
        values = np.asarray(function(x))
        scaled = [np.asarray(function(c * x)) / c for c in _SCALES]
        above, below = float(function(jnp.ones(()))), -float(function(-jnp.ones(())))
    exact = all(np.allclose(other, values, rtol=1e-13, atol=0) for other in scaled)
    return (below, above) if exact and below * below + above * above > 0 else None


def from_function(
    function: Callable[[Array], Array],
    *,
    derivative: Callable[[Array], Array] | None = None,
    name: str | None = None,
    kinks: tuple[float, ...] = (),
) -> Nonlinearity:
    """A nonlinearity from any elementwise JAX function; φ' by automatic differentiation when not given.

    One with φ(cx) = cφ(x) for c > 0 has a closed-form dual. The dual of any other is taken by quadrature and carries an error
    estimate (`Dual.error`): rounding for an analytic φ at variances up to 10⁴, large for one that varies on much shorter scales
    than 1 or has kinks. `kinks`: the points where φ' jumps; the integrals of mean-field theory are split there.
    Raises: `InputError` when `function` is not callable or does not act elementwise.
    """
    if not callable(function):
        raise fail("a callable φ(x)", repr(function), "give a JAX function of an array, or one of the registered names")
    probe = jax.eval_shape(function, jax.ShapeDtypeStruct((3, 2), jnp.float32))
    if getattr(probe, "shape", None) != (3, 2):
        raise fail("φ to map an array of shape (3, 2) to the same shape", f"{probe}", "give an elementwise function")
    return Nonlinearity(_function_kind(function, derivative, name or getattr(function, "__name__", "function"), tuple(kinks)))
