"""Duals from what is lost between ρ' at ρ = 1 and at ρ: sums of positive terms, so that no digit is."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from kernelregime.activations.angles import safe_sqrt
from kernelregime.activations.record import Dual, Kind

CLOSE = 1e-2  # relative difference of variances below which 1 - ρ' at ρ = 1 is not a difference of two numbers near 1


class Form(NamedTuple):
    """A dual in parts, each a function of the variances a, b (and w = 1 - ρ, v = 1 + ρ), then the parameters of the activation.

    `moment(q)` = E φ(√q z)². `top(a, b)` = ρ' at ρ = 1. `lost(a, b, w, v)` = top - ρ'. `kept(a, b, w, v)` = top + ρ', or None where
    1 + ρ' stays away from 0. `slope(a, b, w, v)` = E φ'φ'.
    """

    moment: Callable[..., Array]
    top: Callable[..., Array]
    lost: Callable[..., Array]
    kept: Callable[..., Array] | None
    slope: Callable[..., Array]


def _apart(top: Callable[[Array, Array], Array], a: Array, b: Array) -> Array:
    """1 - top(a, b): for a ≈ b as ½ ∫∫ ∂²top/∂x∂y over the square [a, b]², because top(q, q) = 1 for all q."""
    middle, step = (a + b) / 2, a - b
    far = (jnp.abs(step) > CLOSE * middle) & (middle > 0)
    reach = jnp.where(far, 0, step) / (2 * math.sqrt(3))  # Gauss-Legendre at two nodes a side
    safe = jnp.where(middle > 0, middle, 1)
    low, high = safe - reach, safe + reach
    found = _mixed(top, jnp.stack([low, low, high]), jnp.stack([low, high, high]))  # the fourth is the second: top is symmetric
    mean = (found[0] + 2 * found[1] + found[2]) / 4
    return jnp.where(far, 1 - top(jnp.where(far, a, 1), jnp.where(far, b, 1)), step * step * mean / 2)


def _mixed(top: Callable[[Array, Array], Array], a: Array, b: Array) -> Array:
    """∂²top/∂a∂b."""
    one = jnp.ones_like(a)
    return jax.jvp(lambda x: jax.jvp(lambda y: top(x, y), (b,), (one,))[1], (a,), (one,))[1]


def dual_of(form: Form, a: Array, b: Array, w: Array, v: Array, *values: Any) -> Dual:
    """The dual of a form; its error is infinite where E φ² is not finite."""
    apart = _apart(lambda x, y: form.top(x, y, *values), a, b)
    minus = apart + form.lost(a, b, w, v, *values)
    plus = 2 - minus
    if form.kept is not None:
        small = apart + form.kept(a, b, w, v, *values)
        plus, minus = jnp.where(w > v, small, plus), jnp.where(w > v, 2 - small, minus)
    finite = jnp.isfinite(form.moment(a, *values)) & jnp.isfinite(form.moment(b, *values))
    error = jnp.max(jnp.where(finite, jnp.zeros_like(w), jnp.inf), initial=0.0)
    return Dual(minus, plus, form.slope(a, b, w, v, *values), error)


def kind_of(name: str, function: Callable[..., Array], derivative: Callable[..., Array], form: Form, **rest: Any) -> Kind:
    """The kind with the dual of a form."""
    return Kind(name, function, derivative, form.moment, partial(dual_of, form), **rest)


def squares(a: Array, b: Array) -> tuple[Array, Array]:
    """(√a - √b)² and √a√b."""
    root_a, root_b = safe_sqrt(a), safe_sqrt(b)
    return (root_a - root_b) ** 2, root_a * root_b
