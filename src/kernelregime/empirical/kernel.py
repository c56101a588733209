"""The finite-width neural tangent kernel as a pure function."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Num, PyTree

from kernelregime import _checks
from kernelregime.empirical import model
from kernelregime.empirical.arrangement import Indices, arranged
from kernelregime.empirical.contraction import Gradients, Indexed, contract, contract_symmetric
from kernelregime.empirical.entrances import NEGATIVE, Use
from kernelregime.empirical.model import Function, Parameters
from kernelregime.empirical.plan import Form, Group, analysis, program_of, wanted
from kernelregime.empirical.program import Program, Value, backward_alone
from kernelregime.layers import Layer

OUTPUTS = ("trace", "full", "diagonal", "pseudo")
METHODS = ("auto", "jacobian", "structured", "products")


class Options(NamedTuple):
    """How a kernel is found: `output`, `method` as in `ntk_function`; whether each parameter `apart`; the form of each group, if chosen.

    `only`: the numbers of the groups that count (None: all).
    """

    output: str = "trace"
    method: str = "auto"
    apart: bool = False
    forms: tuple[Form, ...] | None = None
    only: tuple[int, ...] | None = None


def ntk_function(f: Function | Layer, *, output: str = "trace", method: str = "auto") -> Callable[..., Array]:
    """The empirical neural tangent kernel of `f` as a pure function g(params, x1, x2=None).

    Θ(x, x')_{oo'} = Σ_p ∂f_o(x)/∂θ_p · ∂f_o'(x')/∂θ_p, over all entries θ_p of the floating-point leaves of params.

    `f(params, x)`, or a network, whose `apply` it is: params any pytree, x (N, ...), outputs (N,) or (N, O), each row on its own.
    `output`: "trace", (N1, N2), the mean over outputs (1/O) Σ_o Θ_oo; "full", (N1, N2, O, O); "diagonal", (N1, N2, O); "pseudo",
    (N1, N2), the kernel of the one output Σ_o f_o/√O, (1/O) Σ_oo' Θ_oo' (Mohamadi et al. 2023). `method`:
    "jacobian" contracts the Jacobian of every parameter; "structured" takes a parameter apart that enters by matrix products or
    convolutions, inside of loops too: its gradient is Σ_p h_p ⊗ δ_p with the inputs h and the gradients δ at positions p, so that
    its part of Θ is Σ_pp' (h_p·h'_p')(δ_p·δ'_p'), or the product of these sums, whichever is cheaper; every other parameter as
    "jacobian"; "auto" is "structured" where there is such a parameter; "products" forms no gradient of more than one output: a
    column of Θ is the derivative of f along a gradient, J(Jᵀe), which takes little memory and long. All agree to rounding.

    Returns: g, which can be jitted, batched over params (vmap) and differentiated; it follows the dtype of f, and JAX's matmul
    precision. x2=None stands for x1. Raises: `InputError` for an unknown option and, from g, for shapes that do not fit.

    Source: Lee et al. (2019), arXiv:1902.06720, eq. 4; structured derivatives: Novak et al. (2022), arXiv:2206.08720.
    """
    _checks.one_of("output", output, OUTPUTS)
    _checks.one_of("method", method, METHODS)
    f = model.function(f)

    def kernel(params: PyTree, x1: Num[ArrayLike, "N1 ..."], x2: Num[ArrayLike, "N2 ..."] | None = None) -> Float[Array, "N1 N2 ..."]:
        first = jnp.asarray(x1)
        second = None if x2 is None else jnp.asarray(x2)
        model.check_pair(first, first if second is None else second)
        return reduce(add, parts(f, params, first, second, Options(output, method)))

    return kernel


def parts(f: Function, params: PyTree, x1: Array, x2: Array | None, options: Options) -> list[Array]:
    """The kernel, as a list of one, or with `apart` the part of every trained leaf."""
    if options.method == "products":
        f, output = one_output(f, options.output)
        return [by_products(f, params, x1, x1 if x2 is None else x2, output)]
    rows, leaves = gradients(f, params, x1, options)
    return contracted(rows, None if x2 is None else gradients(f, params, x2, options)[0], leaves, model.parameters(params).trained, options)


def gradients(f: Function, params: PyTree, x: Array, options: Options) -> tuple[list[Gradients], tuple[int, ...]]:
    """The gradients at all points, and which leaf each of their sources is of."""
    find, leaves = finder(one_output(f, options.output)[0], params, x, options)
    return jax.vmap(find)(x), leaves


def contracted(
    rows: list[Gradients], columns: list[Gradients] | None, leaves: Sequence[int], trained: Sequence[int], options: Options
) -> list[Array]:
    """The kernel from the gradients, whose sources are of these leaves, as in `parts`."""
    output = "trace" if options.output == "pseudo" else options.output
    if columns is None:
        found = contract_symmetric(rows, output, apart=options.apart)
    else:
        found = contract(rows, columns, output, apart=options.apart)
    if not options.apart:
        return [found]
    by_leaf: dict[int, Array] = {}
    for leaf, part in zip(leaves, found, strict=True):
        by_leaf[leaf] = by_leaf[leaf] + part if leaf in by_leaf else part
    none = jnp.zeros_like(found[0])
    return [by_leaf.get(leaf, none) for leaf in trained]


def one_output(f: Function, output: str) -> tuple[Function, str]:
    """`f` with Σ_o f_o/√O in place of its outputs, and "trace", for "pseudo"; else both as they are."""
    if output != "pseudo":
        return f, output

    def summed(params: Any, x: Any) -> Any:
        out = f(params, x)
        return out if out.ndim == 1 else out.sum(axis=-1) / math.sqrt(out.shape[-1])

    return summed, "trace"


def finder(f: Function, params: PyTree, x: Any, options: Options) -> tuple[Callable[[Array], list[Gradients]], tuple[int, ...]]:
    """The function that finds the gradients at one point (without the axis N), for points as in `x`; and which leaf each source is of."""
    held, point = model.parameters(params), model.shape_of_point(x)
    result = model.outputs(f, params, point)
    whole = (lambda point: _jacobians(model.single(f, held), held, point)), held.trained
    if options.method == "jacobian":
        return whole
    program = program_of(f, held, point)
    found = analysis(program, held.trained)
    forms = options.forms or found.forms(options.method, options.output, points=len(x))
    if forms is None:
        return whole
    groups = [replace(group, form=form) for group, form in zip(found.groups, forms, strict=True)]
    groups = groups if options.only is None else [groups[number] for number in options.only]
    if not groups:
        one, none = jnp.ones((1, 1, 1), result.dtype), jnp.zeros((result.size, 1, 1, 1), result.dtype)
        return (lambda point: [Gradients((one,), none)]), held.trained[:1]
    return (lambda point: _signals(program, groups, held, point)), tuple(member.leaf for group in groups for member in group.members)


def by_products(f: Function, params: PyTree, x1: Array, x2: Array, output: str) -> Array:
    """The kernel column by column: for each point and output of `x2` its gradient, and the derivative of f along it at all `x1`."""
    held = model.parameters(params)
    single, forms = model.single(f, held), model.outputs(f, params, model.shape_of_point(x1))
    outputs = forms.size

    def at(values: Sequence[Array], x: Array) -> Array:
        return single(held.replace(values), x)

    def column(point: Array, unit: Array) -> Array:
        [along] = jax.vjp(lambda values: at(values, point), held.values)[1](unit)
        return jax.vmap(lambda x: derivative(lambda values: at(values, x), held.values, along))(x1)

    units = jnp.eye(outputs, dtype=forms.dtype)
    columns = jax.lax.map(lambda point: jax.lax.map(lambda unit: column(point, unit), units), x2)  # (N2, O', N1, O)
    if output == "full":
        return columns.transpose(2, 0, 3, 1)
    diagonal = jnp.einsum("jono->njo", columns)
    return diagonal if output == "diagonal" else diagonal.mean(-1)


def derivative(f: Callable[[list[Any]], Array], values: list[Any], along: list[Any]) -> Array:
    """The derivative of `f` at `values`; of a function with a custom rule for backward passes alone as the transpose of its pullback."""
    if not backward_alone(jax.make_jaxpr(f)(values).jaxpr):
        return jax.jvp(f, (values,), (along,))[1]
    out, pullback = jax.vjp(f, values)
    [transposed] = jax.vjp(lambda unit: pullback(unit)[0], jnp.zeros_like(out))[1](along)
    return transposed


def tail(output: str, outputs: int) -> tuple[int, ...]:
    """The axes of a kernel after (N1, N2)."""
    return (outputs,) * {"trace": 0, "pseudo": 0, "diagonal": 1, "full": 2}[output]


def _jacobians(single: Callable[..., Array], held: Parameters, point: Array) -> list[Gradients]:
    def outputs(trained: Sequence[Array]) -> Array:
        return single(held.replace(trained), point)

    out, pullback = jax.vjp(outputs, held.values)
    [leaves] = jax.vmap(pullback)(jnp.eye(out.size, dtype=out.dtype))
    one = (jnp.ones((1, 1, 1), out.dtype),)
    return [Gradients(one, leaf.reshape(out.size, 1, 1, -1).astype(out.dtype)) for leaf in leaves]


def _signals(program: Program, groups: Sequence[Group], held: Parameters, point: Array) -> list[Gradients]:
    sites: list[Value] = list(dict.fromkeys(site for group in groups for site, _, _ in group.sites))
    inside, leaves = wanted(groups), held.leaves

    # A parameter that is its own site takes the place of the leaf; anywhere else zero is added.
    def shifted(given: list[Array]) -> tuple[Array, list[tuple[Any, ...]]]:
        at = dict(zip(sites, given, strict=True))
        inputs = [at.pop(index, leaf) for index, leaf in enumerate(leaves)]
        values = program.run([*inputs, point], at, inside)
        out = values[program.outputs[0]]
        return out, [tuple(_source(program, member.uses, values, out.dtype) for member in group.members) for group in groups]

    given = [
        leaves[site] if isinstance(site, int) and site < len(leaves) else jnp.zeros(program.shape(site), program.dtype(site))
        for site in sites
    ]
    out, pullback, sources = jax.vjp(shifted, given, has_aux=True)
    [found] = jax.vmap(pullback)(jnp.eye(out.size, dtype=out.dtype))
    signals = dict(zip(sites, found, strict=True))
    return [_gathered(group, source, signals, out) for group, source in zip(groups, sources, strict=True)]


def _gathered(group: Group, sources: tuple[Any, ...], found: dict[Value, Array], out: Array) -> Gradients:
    """The gradients of a group in its form."""
    read = [jax.vmap(lambda x, a=axes, t=turns: arranged(x, a, t))(found[site]) for site, axes, turns in group.sites]
    signals = jnp.concatenate(read, axis=2).astype(out.dtype) if len(read) > 1 else read[0].astype(out.dtype)
    if group.form != "jacobian":
        return Gradients(sources, signals)
    summed = [jnp.einsum("bpk,obpm->obmk", source, signals).reshape(out.size, 1, 1, -1) for source in sources]
    return Gradients((jnp.ones((1, 1, 1), out.dtype),) * len(sources), tuple(summed))


def _source(program: Program, uses: Sequence[Use], values: dict[Value, Any], dtype: Any) -> Any:
    """What the parameter is multiplied with in all of its uses, the scalars included."""
    found = [_read(program, use, values, dtype) for use in uses]
    return found[0] if len(found) == 1 else jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), *found)


def _read(program: Program, use: Use, values: dict[Value, Any], dtype: Any) -> Any:
    turns = program.shape(use.site)[: len(use.turns)]
    scale = jnp.ones(turns, dtype)
    for value, divides in use.scales:
        if value == NEGATIVE:
            scale = -scale
            continue
        depth = _depth(value)
        scalar = jnp.reshape(values[value], (*turns[:depth], *(1,) * (len(turns) - depth))).astype(dtype)
        scale = scale / scalar if divides else scale * scalar
    if use.source is None:
        return arranged(scale, use.reading, use.turns)
    source = values[use.source]
    if isinstance(use.reading, Indices):
        rows = arranged(source, use.reading, use.turns)
        weights = jnp.broadcast_to(scale.reshape(*turns, *(1,) * (source.ndim - len(turns))), source.shape)
        weights = arranged(weights, Indices(0, "none"), use.turns)
        return Indexed(rows, jnp.where(rows >= 0, weights, 0))
    scaled = source.astype(dtype) * scale.reshape(*turns, *(1,) * (source.ndim - len(turns))) if use.scales else source.astype(dtype)
    return arranged(scaled, use.reading, use.turns)


def _depth(value: Value) -> int:
    return 1 + _depth(value[1]) if isinstance(value, tuple) else 0
