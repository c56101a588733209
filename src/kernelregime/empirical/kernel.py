"""The finite-width neural tangent kernel as a pure function."""

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


def ntk_function(f: Function, *, output: str = "trace", method: str = "auto") -> Callable[..., Array]:
    """The empirical neural tangent kernel of `f` as a pure function g(params, x1, x2=None).

    Θ(x, x')_{oo'} = Σ_p ∂f_o(x)/∂θ_p · ∂f_o'(x')/∂θ_p, over all entries θ_p of the floating-point leaves of params.

    `f(params, x)`: params any pytree, x (N, ...), outputs (N,) or (N, O), each row on its own. `output`: "trace", (N1, N2), the
    mean over outputs (1/O) Σ_o Θ_oo; "full", (N1, N2, O, O); "diagonal", (N1, N2, O). `method`: "jacobian" contracts the Jacobian
    of every parameter; "structured" never forms the Jacobian of a parameter that enters by one matrix product with one position
    per point, (h·h')(δ·δ') with the product's input h and the gradient δ there, and does as "jacobian" for every other parameter;
    "auto" is "structured" where there is such a parameter. All agree to rounding.

    Returns: g, which can be jitted, batched over params (vmap) and differentiated; it follows the dtype of f, and JAX's matmul
    precision. x2=None stands for x1. Raises: `InputError` for an unknown option and, from g, for shapes that do not fit.

    Source: Lee et al. (2019), arXiv:1902.06720, eq. 4; structured derivatives: Novak et al. (2022), arXiv:2206.08720.
    """
    _checks.one_of("output", output, OUTPUTS)
    _checks.one_of("method", method, METHODS)

    def kernel(params: PyTree, x1: Num[ArrayLike, "N1 ..."], x2: Num[ArrayLike, "N2 ..."] | None = None) -> Float[Array, "N1 N2 ..."]:
        held, first = model.parameters(params), jnp.asarray(x1)
        second = first if x2 is None else jnp.asarray(x2)
        model.check_pair(first, second)
        point = jax.ShapeDtypeStruct(first.shape[1:], first.dtype)
        result = model.outputs(f, params, point)
        find = _finder(f, held, plan(f, held, point, method))
        rows = jax.vmap(find)(first)
        columns = rows if x2 is None else jax.vmap(find)(second)
        parts = [_contract(r, c, output) for r, c in zip(rows, columns, strict=True)]
        shape = (len(first), len(second), *tail(output, result.size))
        return reduce(add, parts).transpose(_ORDER[output]) if parts else jnp.zeros(shape, result.dtype)

    return kernel


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


def _finder(f: Function, held: Parameters, chosen: Plan) -> Callable[[Array], list[Gradients]]:
    """The gradients at one point (without the axis N)."""
    program = chosen.program
    if program is None:
        return lambda point: _jacobians(model.single(f, held), held, point)
    return lambda point: _signals(program, chosen.sites, held, point)


def _jacobians(single: Callable[..., Array], held: Parameters, point: Array) -> list[Gradients]:
    def outputs(trained: Sequence[Array]) -> Array:
        return single(held.replace(trained), point)

    out, pullback = jax.vjp(outputs, held.values)
    [leaves] = jax.vmap(pullback)(jnp.eye(out.size, dtype=out.dtype))
    one = (jnp.ones(1, out.dtype),)
    return [Gradients(one, leaf.reshape(out.size, -1).astype(out.dtype)) for leaf in leaves]


def _signals(program: Program, sites: dict[int, list[Entrance]], held: Parameters, point: Array) -> list[Gradients]:
    def shifted(shifts: dict[int, Array]) -> tuple[Array, dict[int, tuple[Array, ...]]]:
        values = program.run(held.leaves, point, shifts)
        out = values[program.output]
        return out, {site: tuple(_source(entrance, values, out.dtype) for entrance in group) for site, group in sites.items()}

    still = {site: jnp.zeros(program.types[site].shape, program.types[site].dtype) for site in sites}
    out, pullback, sources = jax.vjp(shifted, still, has_aux=True)
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
