"""What is diagnosed: a network spec, or anyone's function f(params, x)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kernelregime import _precision, networks
from kernelregime._checks import fail
from kernelregime.layers import Layer
from kernelregime.layers.rates import check_one_rate
from kernelregime.networks import FullyConnected


@dataclass(frozen=True)
class Subject:
    """`f(params, x)` with a way to initialize it, and the spec where there is one."""

    f: Callable[..., Any]
    batched: Callable[..., Any]  # f over stacked parameters, compiled
    init: Callable[[Any], Any]
    seeded: bool
    network: Layer | None
    spec: FullyConnected | None
    name: str

    def initialize(self, seeds: int, seed: int, dtype: str) -> Any:
        """Parameters of `seeds` independent initializations, stacked along a leading axis, in `dtype`."""
        with _precision.enter(dtype):
            keys = jax.random.split(jax.random.PRNGKey(seed), seeds)
            params = jax.vmap(self.init)(keys) if self.network is not None else _stack([self.init(key) for key in keys])
            return jax.tree.map(
                lambda leaf: np.asarray(leaf).astype(dtype) if np.issubdtype(leaf.dtype, np.floating) else np.asarray(leaf), params
            )

    def outputs(self, params: Any, x: np.ndarray, dtype: str) -> np.ndarray:
        """Outputs (S, N, O) of stacked `params`."""
        with _precision.enter(dtype):
            return np.asarray(self.batched(params, jnp.asarray(x, dtype)))

    def check(self, x: np.ndarray, outputs: int, dtype: str) -> None:
        """Raises `InputError` unless f maps points to (N, `outputs`). That rows do not depend on one another is checked with the NTK."""
        with _precision.enter(dtype):
            key = jax.random.PRNGKey(0)
            params = jax.eval_shape(self.init, key) if self.network is not None else self.init(key)
            try:
                shape = jax.eval_shape(self.f, params, jax.ShapeDtypeStruct(x.shape, np.dtype(dtype))).shape
            except (TypeError, AttributeError) as error:
                expected = f"a function f(params, x) -> one array of outputs, for x of shape {x.shape}"
                raise fail(expected, f"{error}".splitlines()[0], "check f, init and the data") from error
        if shape != (len(x), outputs):
            raise fail(
                f"outputs of shape (N, {outputs}), as the targets have",
                f"{shape} for N = {len(x)}",
                "match the network's outputs to the data",
            )

    @property
    def traceable(self) -> bool:
        """Whether JAX can trace `init` (one that uses NumPy's random numbers cannot be)."""
        try:
            jax.eval_shape(self.init, jax.random.PRNGKey(0))
        except (TypeError, jax.errors.JAXTypeError):
            return False
        return True


def _columns(model: Callable[..., Any]) -> Callable[..., Any]:
    """`model` with outputs (N, 1) where it gives (N,)."""

    def f(params: Any, x: Any) -> Any:
        out = model(params, x)
        return out[:, None] if out.ndim == 1 else out

    return f


def _stack(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *trees)


def subject(model: Any, inputs: tuple[int, ...], *, init: Any = None, params: Any = None, dtype: str = "float32") -> Subject:
    """Read `model` as a `Subject` for points of shape `inputs`.

    Raises: `InputError` for something that is neither a layer nor callable, and for a function without `init` or `params`.
    """
    if not isinstance(model, Layer) and not callable(model):
        raise fail("a network spec, or a function f(params, x)", repr(model), "see networks.mlp, or pass your model's apply function")
    f = model.apply if isinstance(model, Layer) else _columns(model)
    batched = jax.jit(jax.vmap(f, in_axes=(0, None)))
    if isinstance(model, Layer):
        check_one_rate(model)
        return Subject(f, batched, lambda key: model.init(key, inputs, dtype), True, model, networks.describe(model), type(model).__name__)
    name = getattr(model, "__name__", type(model).__name__)
    if init is not None:
        return Subject(f, batched, init, True, None, None, name)
    if params is None:
        raise fail(
            "init= or params= with a function f(params, x)", "neither", "give init(key) -> params, so that several seeds can be drawn"
        )
    return Subject(f, batched, lambda key: params, False, None, None, name)
