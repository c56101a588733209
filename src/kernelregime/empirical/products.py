"""Products with the Jacobian of a model, some points at a time within a memory budget.

The loop over chunks runs on the host: in a loop of one compiled program XLA takes thirty times longer for the gradients of convolutions
on a CPU, and could not be interrupted.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from kernelregime import _checks, _precision
from kernelregime.empirical import footprint, model, tiles
from kernelregime.empirical.compiled import PROGRAMS
from kernelregime.empirical.kernel import derivative, ntk_function
from kernelregime.empirical.model import Function

# XLA takes up to 1.6 times what is alive in the order of the program, over the models of the tests at several sizes (see `footprint`).
OVERLAP = 2.0


@dataclass(frozen=True)
class Jacobian:
    """J = ∂f/∂θ of `f` at `params` over points that each call is given: products with it and with its transpose.

    `params`: floating-point leaves in `dtype`. `outputs`: O. `memory`: bytes for what is computed at one time, a sum of gradients
    included; the parameters, the points and the results for all points apart.
    """

    f: Function
    params: Any
    outputs: int
    dtype: np.dtype
    memory: int

    def values(self, x: np.ndarray) -> Float[np.ndarray, "N O"]:
        """f(x)."""
        return self._rows("outputs", x)

    def forward(self, x: np.ndarray, tangents: Sequence[Any]) -> Float[np.ndarray, "N O"]:
        """J v for the tangents v of the trained leaves."""
        return self._rows("forward", x, list(tangents))

    def backward(self, x: np.ndarray, cotangents: Float[np.ndarray, "N O"]) -> list[Array]:
        """Jᵀu for u of shape (N, O): one array for each trained leaf."""
        compute, rows = self.program("backward", x)
        with _precision.enter(self.dtype):
            total = [jnp.zeros(leaf.shape, self.dtype) for leaf in model.parameters(self.params).values]
            for part in _parts(len(x), rows):
                cotangent = np.zeros((rows, self.outputs), self.dtype)  # zero for the rows that only fill up the last chunk
                cotangent[: part.stop - part.start] = cotangents[part]
                # One chunk waits for the other: a queue of them would hold the points of all.
                total = jax.block_until_ready(compute(self.params, tiles.filled(x[part], rows), cotangent, total))
        return list(total)

    def squares(self, x: np.ndarray) -> Float[np.ndarray, " N"]:
        """The sums Σ_op (∂f_o(x_n)/∂θ_p)² of every point."""
        return self._rows("squares", x)

    def _rows(self, kind: str, x: np.ndarray, *operands: Any) -> np.ndarray:
        compute, rows = self.program(kind, x)
        found = []
        with _precision.enter(self.dtype):
            for part in _parts(len(x), rows):
                block = _precision.to_host(compute(self.params, tiles.filled(x[part], rows), *operands), self.dtype)
                found.append(block[: part.stop - part.start])
        return np.concatenate(found)

    def program(self, kind: str, x: np.ndarray) -> tuple[Callable[..., Any], int]:
        """The compiled program, and how many of the points `x` go through it at one time: chunks of one size."""
        size = cost(self, kind, x)
        need = math.ceil(size.bytes_once + size.bytes_per_point)
        if self.memory < need:
            do = "give a larger memory=, or method='hutchinson'" if kind == "squares" else "give a larger memory="
            raise _checks.fail(f"a memory budget of at least {need} bytes (one point)", f"{self.memory} bytes", do)
        most = int((self.memory - size.bytes_once) // max(size.bytes_per_point, 1))
        rows = math.ceil(len(x) / math.ceil(len(x) / most))
        return PROGRAMS.get(self.f, ("jacobian", kind), lambda reference: _compiled(reference, kind)), rows


@dataclass(frozen=True)
class Cost:
    """The bytes that a product takes beside the parameters and the points: in any case, and for every point of a chunk."""

    bytes_once: float
    bytes_per_point: float


def cost(jacobian: Jacobian, kind: str, x: Any) -> Cost:
    """The cost of a product over points of the shape of those in `x`; kept with f, because finding it traces f."""

    def build(reference: Callable[[], Function]) -> Cost:
        with _precision.enter(jacobian.dtype):
            return _cost(jacobian, reference(), kind, model.shape_of_point(x))

    return PROGRAMS.get(jacobian.f, ("cost", kind, *model.shapes(jacobian.params, x)), build)


def _cost(jacobian: Jacobian, f: Function, kind: str, point: Any) -> Cost:
    points = jax.ShapeDtypeStruct((footprint.POINTS, *point.shape), point.dtype)
    cotangents = jax.ShapeDtypeStruct((footprint.POINTS, jacobian.outputs), jacobian.dtype)
    leaves = [jax.ShapeDtypeStruct(leaf.shape, jacobian.dtype) for leaf in model.parameters(jacobian.params).values]
    operands = {"outputs": (), "forward": (leaves,), "backward": (cotangents, leaves), "squares": ()}[kind]
    traced = jax.make_jaxpr(_function(f, kind))(jacobian.params, points, *operands).jaxpr
    once, each, _ = footprint.peak(traced)
    # The given points and cotangents stay where they are; so does the sum of gradients, which the program adds to.
    _, given, _ = footprint.bytes_of(traced.invars)
    kept = sum(math.prod(leaf.shape) for leaf in leaves) * jacobian.dtype.itemsize if kind == "backward" else 0
    return Cost(OVERLAP * once + kept, OVERLAP * (given + each))


def _function(f: Function, kind: str) -> Callable[..., Any]:
    """The product as a pure function of params, points, and what is multiplied."""

    def outputs(params: Any, x: Any) -> Callable[[Sequence[Any]], Array]:
        return lambda values: jnp.reshape(f(model.parameters(params).rebuild(values), x), (len(x), -1))

    def forward(params: Any, x: Any, tangents: list[Any]) -> Array:
        of_leaves, leaves = outputs(params, x), model.parameters(params).values
        return derivative(of_leaves, leaves, tangents)

    def backward(params: Any, x: Any, cotangents: Array, total: list[Array]) -> list[Array]:
        _, pullback = jax.vjp(outputs(params, x), model.parameters(params).values)
        [found] = pullback(cotangents)
        return [a + b for a, b in zip(total, found, strict=True)]

    def squares(params: Any, x: Any) -> Array:
        kernel = ntk_function(f, output="diagonal")
        return jax.vmap(lambda point: kernel(params, point[None]).sum())(x)

    def values(params: Any, x: Any) -> Array:
        return outputs(params, x)(model.parameters(params).values)

    kinds: dict[str, Callable[..., Any]] = {"outputs": values, "forward": forward, "backward": backward, "squares": squares}
    return kinds[kind]


def _compiled(reference: Callable[[], Function], kind: str) -> Callable[..., Any]:
    def compute(*args: Any) -> Any:
        return _function(reference(), kind)(*args)

    return jax.jit(compute, donate_argnums=3 if kind == "backward" else ())


def _parts(n: int, rows: int) -> Iterator[slice]:
    return (slice(start, min(start + rows, n)) for start in range(0, n, rows))
