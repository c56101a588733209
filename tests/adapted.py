"""The kernel of a model of another library: by its definition, from the library's own evaluation, and as `empirical.ntk` has it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from compiling import quick

from kernelregime import empirical

ROUNDING = 1e-12


def by_jacobians(own: Callable[[Any, Any], Any], trained: Any, x1: Any, x2: Any) -> np.ndarray:
    """Θ(x, x')_{oo'} = Σ_p ∂f_o(x)/∂θ_p ∂f_o'(x')/∂θ_p from the Jacobian of own(trained, x), the whole batch at once."""
    x = np.concatenate([x1, x2])
    leaves = jax.tree.leaves(quick(jax.jacrev(own))(trained, x))
    rows = [np.asarray(leaf).reshape(*leaf.shape[:2], -1) for leaf in leaves]
    return sum(np.einsum("iop,jqp->ijoq", row[: len(x1)], row[len(x1) :]) for row in rows)


def check(model: Any, own: Callable[[Any, Any], Any], trained: Any, x: np.ndarray) -> None:
    """`empirical.ntk` of the model, by every method, is the kernel of own(trained, x) between two sets of points, to rounding."""
    x1, x2 = x[:2], x[2:]
    with jax.enable_x64(True):
        expected = by_jacobians(own, trained, x1, x2)
    for method in ("auto", "jacobian", "products"):
        found = empirical.ntk(model, x1, x2, output="full", method=method, dtype="float64")
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype == np.float64
        assert np.abs(found - expected).max() <= ROUNDING * np.abs(expected).max()
    assert np.abs(expected).max() > 1e-3


def filled(shapes: Any) -> Any:
    """Arrays of these shapes and dtypes, at random where they are floating-point, in float64; variances are positive."""
    rng = np.random.default_rng(3)

    def fill(path: Any, leaf: Any) -> Any:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.key(0)
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return np.zeros(leaf.shape, leaf.dtype)
        values = 0.5 * rng.standard_normal(leaf.shape)
        return values**2 + 0.3 if "var" in jax.tree_util.keystr(path) else values

    return jax.tree.map_with_path(fill, shapes)


def points(*shape: int, integers: int = 0) -> np.ndarray:
    """Five points, of integers below `integers` where that is not 0."""
    rng = np.random.default_rng(7)
    return rng.integers(integers, size=(5, *shape)) if integers else rng.standard_normal((5, *shape))


@jax.custom_vjp
def twice_backward(x: Any) -> Any:
    """tanh, with twice its derivative as its derivative."""
    return jnp.tanh(x)


twice_backward.defvjp(lambda x: (jnp.tanh(x), x), lambda x, g: (2 * g * (1 - jnp.tanh(x) ** 2),))


@jax.custom_jvp
def steep(x: Any) -> Any:
    """The sign, with 3 as its derivative."""
    return jnp.sign(x)


steep.defjvp(lambda at, along: (jnp.sign(at[0]), 3 * along[0]))
