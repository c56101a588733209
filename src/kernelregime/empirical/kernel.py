"""The finite-width neural tangent kernel as a pure function."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Num, PyTree

from kernelregime import _checks
from kernelregime.empirical import model
from kernelregime.empirical.model import Function, Parameters
from kernelregime.empirical.program import Entrance, Program, trace
from kernelregime.layers import Layer

OUTPUTS = ("trace", "full", "diagonal")
METHODS = ("auto", "jacobian", "structured")
# From the axes (i, j), (o, i, j) and (i, o, j, p) of the products to rows, columns, outputs.
_ORDER = {"trace": (0, 1), "diagonal": (1, 2, 0), "full": (0, 2, 1, 3)}


@dataclass(frozen=True)
class Gradients:
    """Gradients of N points with respect to the parameters that enter at one place, as products of two factors.

    `signals` (N, O, M): the gradients of the outputs with respect to the value at that place. `sources`: for every parameter
    that enters there, what it is multiplied with, (N, K); ones, K = 1, for a parameter that is only added.
    """

    sources: tuple[Array, ...]
    signals: Array


jax.tree_util.register_dataclass(Gradients, ["sources", "signals"], [])


@dataclass(frozen=True)
class Plan:
    """How gradients are found: through the model's program, or (`program=None`) by JAX's Jacobian of every parameter."""

    program: Program | None
    sites: dict[int, list[Entrance]]


def ntk_function(f: Function | Layer, *, output: str = "trace", method: str = "auto") -> Callable[..., Array]:
    """The empirical neural tangent kernel of `f` as a pure function g(params, x1, x2=None).

    Θ(x, x')_{oo'} = Σ_p ∂f_o(x)/∂θ_p · ∂f_o'(x')/∂θ_p, over all entries θ_p of the floating-point leaves of params.

    `f(params, x)`, or a network, whose `apply` it is: params any pytree, x (N, ...), outputs (N,) or (N, O), each row on its own.
    `output`: "trace", (N1, N2), the mean over outputs (1/O) Σ_o Θ_oo; "full", (N1, N2, O, O); "diagonal", (N1, N2, O). `method`:
    "jacobian" contracts the Jacobian of every parameter; "structured" never forms the Jacobian of a parameter that enters by one matrix
    product with one position per point, (h·h')(δ·δ') with the product's input h and the gradient δ there, and does as "jacobian" for
    every other parameter;
    "auto" is "structured" where there is such a parameter. All agree to rounding.

    Returns: g, which can be jitted, batched over params (vmap) and differentiated; it follows the dtype of f, and JAX's matmul
    precision. x2=None stands for x1. Raises: `InputError` for an unknown option and, from g, for shapes that do not fit.

    Source: Lee et al. (2019), arXiv:1902.06720, eq. 4; structured derivatives: Novak et al. (2022), arXiv:2206.08720.
    """
    _checks.one_of("output", output, OUTPUTS)
    _checks.one_of("method", method, METHODS)
    f = model.function(f)

    def kernel(params: PyTree, x1: Num[ArrayLike, "N1 ..."], x2: Num[ArrayLike, "N2 ..."] | None = None) -> Float[Array, "N1 N2 ..."]:
        first = jnp.asarray(x1)
        second = first if x2 is None else jnp.asarray(x2)
        model.check_pair(first, second)
        find = finder(f, params, first, method)
        rows = gradients(find, first)
        return contract(rows, rows if x2 is None else gradients(find, second), output)

    return kernel


def finder(f: Function, params: PyTree, x: Any, method: str) -> Callable[[Array], list[Gradients]]:
    """The function that finds the gradients at one point (without the axis N), for points as in `x`."""
    held, point = model.parameters(params), jax.ShapeDtypeStruct(x.shape[1:], x.dtype)
    result = model.outputs(f, params, point)
    chosen = plan(f, held, point, method)
    program = chosen.program
    if program is None:
        return lambda point: _jacobians(model.single(f, held), held, point)
    if not chosen.sites:
        return lambda point: [Gradients((jnp.ones(1, result.dtype),), jnp.zeros((result.size, 1), result.dtype))]
    return lambda point: _signals(program, chosen.sites, held, point)


def gradients(find: Callable[[Array], list[Gradients]], x: Array, *, chunk: int | None = None) -> list[Gradients]:
    """The gradients at all points; found for `chunk` points at a time (default: all)."""
    n = len(x)
    chunks = math.ceil(n / (chunk or max(n, 1)))
    if chunks <= 1:
        return jax.vmap(find)(x)
    each = math.ceil(n / chunks)
    filled = x[jnp.minimum(jnp.arange(chunks * each), n - 1)].reshape(chunks, each, *x.shape[1:])
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:n], jax.lax.map(jax.vmap(find), filled))


def contract(rows: list[Gradients], columns: list[Gradients], output: str) -> Float[Array, "N1 N2 ..."]:
    """The kernel from the gradients of both sets of points."""
    parts = [_contract(r, c, output) for r, c in zip(rows, columns, strict=True)]
    return reduce(add, parts).transpose(_ORDER[output])


def tail(output: str, outputs: int) -> tuple[int, ...]:
    """The axes of a kernel after (N1, N2)."""
    return (outputs,) * {"trace": 0, "diagonal": 1, "full": 2}[output]


def plan(f: Function, held: Parameters, point: Any, method: str) -> Plan:
    """The plan for `f` at parameters and a point of these shapes."""
    if method == "jacobian":
        return Plan(None, {})
    program = trace(model.single(f, held), held.leaves, point)
    sites: dict[int, list[Entrance]] = {}
    for entrance in program.entrances(held.trained):
        sites.setdefault(entrance.site, []).append(entrance)
    # With no product to take apart JAX's own Jacobian does the same work, in a shorter program.
    products = any(entrance.source is not None for group in sites.values() for entrance in group)
    return Plan(program, sites) if products or method == "structured" else Plan(None, {})


def _jacobians(single: Callable[..., Array], held: Parameters, point: Array) -> list[Gradients]:
    def outputs(trained: Sequence[Array]) -> Array:
        return single(held.replace(trained), point)

    out, pullback = jax.vjp(outputs, held.values)
    [leaves] = jax.vmap(pullback)(jnp.eye(out.size, dtype=out.dtype))
    one = (jnp.ones(1, out.dtype),)
    return [Gradients(one, leaf.reshape(out.size, -1).astype(out.dtype)) for leaf in leaves]


def _signals(program: Program, sites: dict[int, list[Entrance]], held: Parameters, point: Array) -> list[Gradients]:
    # A parameter that is its own site takes the place of the leaf; anywhere else zero is added.
    def shifted(given: dict[int, Array]) -> tuple[Array, dict[int, tuple[Array, ...]]]:
        leaves = [given.get(index, leaf) for index, leaf in enumerate(held.leaves)]
        values = program.run(leaves, point, {site: value for site, value in given.items() if site >= len(leaves)})
        out = values[program.output]
        return out, {site: tuple(_source(entrance, values, out.dtype) for entrance in group) for site, group in sites.items()}

    inputs = dict(enumerate(held.leaves))
    given = {site: inputs.get(site, jnp.zeros(program.types[site].shape, program.types[site].dtype)) for site in sites}
    out, pullback, sources = jax.vjp(shifted, given, has_aux=True)
    [signals] = jax.vmap(pullback)(jnp.eye(out.size, dtype=out.dtype))
    return [Gradients(sources[site], signals[site].reshape(out.size, -1).astype(out.dtype)) for site in sites]


def _source(entrance: Entrance, values: dict[int, Any], dtype: Any) -> Array:
    """What the parameter is multiplied with on its way, the scalars included, as a vector."""
    source = jnp.ones(1, dtype) if entrance.source is None else jnp.ravel(values[entrance.source]).astype(dtype)
    for index, divides in entrance.scales:
        scalar = jnp.reshape(values[index], ()).astype(dtype)
        source = source / scalar if divides else source * scalar
    return source


def _contract(rows: Gradients, columns: Gradients, output: str) -> Array:
    """The kernel of the parameters that enter at one place, its axes in the order that a matrix product gives (`_ORDER`)."""
    gram = reduce(add, (a @ b.T for a, b in zip(rows.sources, columns.sources, strict=True)))
    if output == "trace":
        left, right = (part.signals.reshape(len(part.signals), -1) for part in (rows, columns))
        return gram * (left @ right.T) / rows.signals.shape[1]
    if output == "diagonal":
        return gram[None] * jnp.einsum("iom,jom->oij", rows.signals, columns.signals)
    return gram[:, None, :, None] * jnp.einsum("iom,jpm->iojp", rows.signals, columns.signals)
