"""Any elementwise JAX function as an activation."""

from collections.abc import Callable
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from kernelregime._checks import fail
from kernelregime.activations.kinked import two_slopes
from kernelregime.activations.quadrature import quadrature_kind
from kernelregime.activations.record import Kind, Nonlinearity

# a φ that is straight where it is probed is taken for straight everywhere: from far below the units of data to far above them
_SCALES = np.geomspace(1e-6, 1e6, 49)
_PROBES = np.array([-2.7, -1.3, -0.4, 0.3, 1.1, 2.9])


@lru_cache(maxsize=256)
def _function_kind(
    function: Callable[[Array], Array], derivative: Callable[[Array], Array] | None, name: str, kinks: tuple[float, ...]
) -> Kind:
    function = _following(function)
    if derivative is None:

        def derivative(x: Array) -> Array:
            return jax.jvp(function, (x,), (jnp.ones_like(x),))[1]
    else:
        derivative = _following(derivative)
    slopes = None if any(kinks) else _two_slopes(function)
    if slopes is None:
        return quadrature_kind(name, function, derivative, kinks=kinks)
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
    )


def _following(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """`function` in the precision of x, whatever that of the constants in it."""

    def following(x: Array) -> Array:
        dtype = jnp.result_type(x)
        return jnp.asarray(function(x), dtype if jnp.issubdtype(dtype, jnp.floating) else None)

    return following


def _two_slopes(function: Callable[[Array], Array]) -> tuple[float, float] | None:
    """(-φ(-1), φ(1)) of a φ with φ(cx) = cφ(x) for c > 0, seen at some points; None for others."""
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        values = np.asarray(function(jnp.asarray(_PROBES)))
        scaled = np.asarray(function(jnp.asarray(_SCALES[:, None] * _PROBES))) / _SCALES[:, None]
        above, below = float(function(jnp.ones(()))), -float(function(-jnp.ones(())))
    exact = np.allclose(scaled, values, rtol=1e-13, atol=0)
    return (below, above) if exact and below * below + above * above > 0 else None


def from_function(
    function: Callable[[Array], Array],
    *,
    derivative: Callable[[Array], Array] | None = None,
    name: str | None = None,
    kinks: tuple[float, ...] = (),
) -> Nonlinearity:
    """A nonlinearity from any elementwise JAX function; φ' by automatic differentiation when not given.

    One with φ(cx) = cφ(x) for c > 0, at points from 10⁻⁶ to 10⁶, has a closed-form dual. The dual of any other is taken by
    quadrature and carries an error estimate (`Dual.error`): rounding for an analytic φ at variances up to 10⁴, large for one that
    varies on much shorter scales than 1 or has kinks. `kinks`: the points where φ' jumps; the integrals of mean-field theory are
    split there. Values of φ follow the precision of x.
    Raises: `InputError` when `function` is not callable or does not act elementwise.
    """
    if not callable(function):
        raise fail("a callable φ(x)", repr(function), "give a JAX function of an array, or one of the registered names")
    probe = jax.eval_shape(function, jax.ShapeDtypeStruct((3, 2), jnp.float32))
    if getattr(probe, "shape", None) != (3, 2):
        raise fail("φ to map an array of shape (3, 2) to the same shape", f"{probe}", "give an elementwise function")
    return Nonlinearity(_function_kind(function, derivative, name or getattr(function, "__name__", "function"), tuple(kinks)))
