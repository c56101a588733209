"""How the kernel changes while its model is trained: its derivative along a direction of the parameters."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from kernelregime import _checks, _precision, grams
from kernelregime.empirical import footprint, gram, kernel, tiles
from kernelregime.empirical import model as models
from kernelregime.empirical.compiled import PROGRAMS
from kernelregime.empirical.contraction import MIRROR
from kernelregime.empirical.directions import tangents
from kernelregime.empirical.model import Function
from kernelregime.empirical.operators import operator
from kernelregime.empirical.products import OVERLAP


def ntk_rate(
    model: Any,
    x1: Any,
    x2: Any = None,
    *,
    direction: PyTree,
    output: str = "trace",
    method: str = "auto",
    memory: float | None = None,
    dtype: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> Float[np.ndarray, "N1 N2 ..."]:
    """The time derivative of the empirical neural tangent kernel while the parameters move with velocity `direction`.

    Θ̇(x, x') = d/dt Θ(x, x'; θ + t v) at t = 0, exactly, by one forward derivative of the kernel; v = `direction`, a pytree like params,
    of which only the leaves that are trained count. With v = -∇L(θ) this is the rate under gradient flow on L
    (`gradient_flow_direction`), and η Θ̇ the change in a step of gradient descent to first order in its learning rate η.

    `model`, `x1`, `x2`, `output`, `method`, `dtype`, `progress`: as in `ntk`. `memory`: bytes for the tiles computed at one time.

    Returns: array (N1, N2), with axes (O, O) more for output="full", (O,) for "diagonal", in units of the kernel over those of t.
    Raises: `InputError` as `ntk` does, and for a direction of another structure or shapes than params.

    Source: Huang & Yau (2020), arXiv:1909.08156, eq. 1.6: the first equation of the neural tangent hierarchy.

    >>> ntk_rate((lambda params, x: x @ params["u"] * params["v"], {"u": np.ones((1, 1)), "v": np.ones(1)}), [[1.0]],
    ...     direction={"u": np.ones((1, 1)), "v": np.zeros(1)})
    array([[2.]])
    """
    _checks.one_of("output", output, kernel.OUTPUTS)
    _checks.one_of("method", method, kernel.METHODS)
    given = gram.checked(model, x1, x2, dtype)
    f, params, first, second, working = given.f, given.params, given.first, given.second, given.dtype
    with _precision.enter(working):
        velocity = tangents("direction", direction, models.parameters(params), working)
        compute = PROGRAMS.get(f, ("rate", output, method), lambda reference: jax.jit(_rate(reference, output, method)))
        each, pair = _costs(_rate(lambda: f, output, method), params, first, velocity)
    problem = grams.Problem(
        _Tiles(compute, (params, velocity), first, second, working),
        len(first),
        None if x2 is None else len(second),
        outputs={"rate": grams.Output(kernel.tail(output, given.outputs), MIRROR["trace" if output == "pseudo" else output])},
        dtype=working,
        bytes_per_pair=pair,
        bytes_per_point=each,
    )
    return grams.assemble(problem, memory=memory, progress=progress).matrices["rate"]


def gradient_flow_direction(
    model: Any, x: Any, loss: Callable[[Array], Array] | Any, *, memory: float | None = None, dtype: Any = None
) -> PyTree:
    """The velocity of the parameters under gradient flow, θ̇ = -∇_θ L = -J(x)ᵀ ∂L/∂f.

    `model`, `x` (N, ...), `memory`, `dtype`: as in `operator`. `loss`: L as a function of all outputs f(params, x) of shape (N, O), a
    number, in JAX; or its gradient ∂L/∂f there, an array (N, O): f(params, x) - y for L = ½ Σ (f - y)².

    Returns: a pytree like params of NumPy arrays, zero for leaves that are not trained.
    Raises: `InputError` as `operator` does, and for a loss that is no single number.

    >>> gradient_flow_direction((lambda params, x: x @ params, np.ones((1, 1))), [[2.0]], lambda f: 0.5 * (f**2).sum())
    array([[-4.]])
    """
    jacobian = operator(model, x, memory=memory, dtype=dtype)
    if not callable(loss):
        return jax.tree.map(np.negative, jacobian.vjp(loss))
    outputs = jacobian.values()
    with _precision.enter(jacobian.dtype):
        shape = getattr(jax.eval_shape(loss, outputs), "shape", None)
        if shape != ():
            raise _checks.fail("loss(outputs) to be a number", f"shape {shape}", "sum over points and outputs")
        slope = np.asarray(jax.grad(loss)(jnp.asarray(outputs)))
    return jax.tree.map(np.negative, jacobian.vjp(slope))


def _rate(reference: Callable[[], Function], output: str, method: str) -> Callable[..., Array]:
    """The rate as a pure function of params, the velocities of their trained leaves, and the points."""

    def rate(params: Any, velocity: list[Any], x1: Any, x2: Any) -> Array:
        held = models.parameters(params)
        compute = kernel.ntk_function(reference(), output=output, method=method)
        return jax.jvp(lambda values: compute(held.rebuild(values), x1, x2), (held.values,), (velocity,))[1]

    return rate


def _costs(rate: Callable[..., Array], params: Any, x: np.ndarray, velocity: list[np.ndarray]) -> tuple[float, float]:
    """The bytes that the rate takes for a point of each side, and for a pair."""
    points = jax.eval_shape(lambda given: jnp.zeros((footprint.POINTS, *given.shape[1:]), given.dtype), x)
    traced = jax.make_jaxpr(rate)(params, velocity, points, points).jaxpr
    _, each, pair = footprint.peak(traced)
    _, given, _ = footprint.bytes_of(traced.invars)
    return OVERLAP * float(given + each) / 2, OVERLAP * float(pair)


@dataclass
class _Tiles:
    """Tiles of the rate, all of the shape of the largest so far, so that one compiled program serves them."""

    compute: Callable[..., Array]
    at: tuple[Any, list[np.ndarray]]
    first: np.ndarray
    second: np.ndarray
    dtype: np.dtype
    shape: tuple[int, int] = (0, 0)

    def __call__(self, rows: slice, columns: slice) -> grams.Block:
        counts = rows.stop - rows.start, columns.stop - columns.start
        self.shape = height, width = max(self.shape[0], counts[0]), max(self.shape[1], counts[1])
        with _precision.enter(self.dtype):
            x1, x2 = tiles.filled(self.first[rows], height), tiles.filled(self.second[columns], width)
            block = _precision.to_host(self.compute(*self.at, x1, x2), self.dtype)
        return grams.Block({"rate": tiles.finite(block[: counts[0], : counts[1]])})
