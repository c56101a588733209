"""Any elementwise JAX function as an activation."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from kernelregime._checks import fail
from kernelregime.activations.kinked import two_slopes
from kernelregime.activations.piecewise import piecewise_kind
from kernelregime.activations.quadrature import quadrature_kind
from kernelregime.activations.record import Kind, Nonlinearity

# a φ that is straight where it is probed is taken for straight everywhere: from far below the units of data to far above them
_SCALES = np.geomspace(1e-6, 1e6, 49)
_PROBES = np.array([-2.7, -1.3, -0.4, 0.3, 1.1, 2.9])
_LARGE = 1e6  # how far lines are followed beyond the outer kinks


@lru_cache(maxsize=256)
def _function_kind(
    function: Callable[[Array], Array], derivative: Callable[[Array], Array] | None, name: str, kinks: tuple[float, ...]
) -> Kind:
    maker = (_function_kind, (function, derivative, name, kinks))
    function = _following(function)
    if derivative is None:

        def derivative(x: Array) -> Array:
            return jax.jvp(function, (x,), (jnp.ones_like(x),))[1]
    else:
        derivative = _following(derivative)
    slopes = None if any(kinks) else _two_slopes(function)
    if slopes is None:
        if rises := _rises(function, kinks):
            kind = piecewise_kind(name, function, derivative, kinks, rises, odd=_odd(function, kinks))
        else:
            kind = quadrature_kind(name, function, derivative, kinks=kinks)
        return replace(kind, maker=maker)
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


def _rises(function: Callable[[Array], Array], kinks: tuple[float, ...]) -> tuple[float, ...]:
    """By how much φ' rises at each of the kinks, for a φ that is continuous and linear between them at some points; else ()."""
    if not kinks:
        return ()
    ends = (kinks[0] - _LARGE, *kinks, kinks[-1] + _LARGE)
    slopes: list[float] = []
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        for low, high in pairwise(ends):
            shares = np.concatenate([[0], np.geomspace(1e-6, 0.5, 12)])  # of the interval, from both ends: the outer ones are long
            x = np.unique(np.concatenate([low + (high - low) * shares, high - (high - low) * shares]))
            values = np.asarray(function(jnp.asarray(x)))
            slope = float(jax.jvp(function, (jnp.asarray((low + high) / 2),), (jnp.ones(()),))[1])
            start = values[np.argmin(np.abs(x))] - slope * x[np.argmin(np.abs(x))]
            if not np.allclose(values, start + slope * x, rtol=1e-13, atol=1e-13 * np.abs(values[np.argsort(np.abs(x))[:3]]).max()):
                return ()
            slopes.append(slope)
    return tuple(float(rise) for rise in np.diff(slopes)) if any(slopes) else ()


def _odd(function: Callable[[Array], Array], kinks: tuple[float, ...]) -> bool:
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        x = jnp.linspace(0.03, 3 * max(1.0, *map(abs, kinks)), 50)
        return bool(jnp.all(function(x) == -function(-x)))


def from_function(
    function: Callable[[Array], Array],
    *,
    derivative: Callable[[Array], Array] | None = None,
    name: str | None = None,
    kinks: tuple[float, ...] = (),
) -> Nonlinearity:
    """A nonlinearity from any elementwise JAX function; φ' by automatic differentiation when not given.

    One with φ(cx) = cφ(x) for c > 0, at points from 10⁻⁶ to 10⁶, has a closed-form dual, and a continuous φ that is linear between
    its `kinks` one to rounding.
    The dual of any other is taken by quadrature and carries an error estimate (`Dual.error`): rounding for an analytic φ at variances
    up to 10⁴, large for one that varies on much shorter scales than 1 or has kinks elsewhere than at 0. `kinks`: the points where φ' or
    φ jumps; every integral is split there. Values of φ follow the precision of x.
    Raises: `InputError` when `function` is not callable or does not act elementwise.
    """
    if not callable(function):
        raise fail("a callable φ(x)", repr(function), "give a JAX function of an array, or one of the registered names")
    probe = jax.eval_shape(function, jax.ShapeDtypeStruct((3, 2), jnp.float32))
    if getattr(probe, "shape", None) != (3, 2):
        raise fail("φ to map an array of shape (3, 2) to the same shape", f"{probe}", "give an elementwise function")
    return Nonlinearity(
        _function_kind(function, derivative, name or getattr(function, "__name__", "function"), tuple(sorted(map(float, kinks))))
    )
