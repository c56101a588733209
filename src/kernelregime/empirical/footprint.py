"""What a kernel costs in memory while it is computed, for the choice of tiles."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jax.extend import core

from kernelregime.empirical import kernel, model
from kernelregime.empirical.model import Function
from kernelregime.empirical.program import Program, trace

# Values of the forward pass exist as results and as what the backward pass keeps; gradients on their way back as what comes in and
# what goes out of a step. On the CPU, XLA's own count of temporary bytes is then 10 to 90 percent of this one.
COPIES = 2


@dataclass(frozen=True)
class Footprint:
    """The outputs of a model, and the bytes a point and a pair of points take while a kernel is computed."""

    outputs: int
    dtype: Any
    bytes_per_point: float
    bytes_per_pair: float
    bytes_of_parameters: float


def footprint(f: Function, params: Any, point: Any, *, output: str, method: str) -> Footprint:
    """The footprint of the kernel of `f` at parameters and a point of these shapes; `InputError` where the shapes of `f` do not fit."""
    held = model.parameters(params)
    result = model.outputs(f, params, point)
    program = trace(model.single(f, held), held.leaves, point)
    chosen = kernel.plan(f, held, point, method)
    if chosen.program is None:
        signals = [leaf.size for leaf in held.values]
        sources = [1] * len(signals)
    else:
        signals = [program.size(site) for site in chosen.sites]
        entrances = [entrance for group in chosen.sites.values() for entrance in group]
        sources = [1 if entrance.source is None else program.size(entrance.source) for entrance in entrances]
    item, outputs = result.dtype.itemsize, result.size
    entries = {"trace": 1, "diagonal": outputs, "full": outputs**2}[output]
    values, largest = _values(program)
    point_entries = COPIES * (values + outputs * largest) + outputs * sum(signals) + sum(sources)
    pair_entries = entries * (len(signals) + 2) + len(sources)
    parameter_entries = sum(leaf.size for leaf in held.values)
    return Footprint(outputs, result.dtype, item * point_entries, item * pair_entries, item * parameter_entries)


def _values(program: Program) -> tuple[int, int]:
    """The entries of all values that depend on the point, and of the largest of them."""
    varying = program.varying()
    sizes = [size for step in program.steps if varying.intersection(step.results) for size in _sizes(step.equation)]
    return sum(sizes), max(sizes, default=0)


def _sizes(equation: Any) -> Iterator[int]:
    """Entries of the results of an equation and of the equations inside it, loops counted in full."""
    for variable in equation.outvars:
        yield _entries(variable.aval)
    for inner in equation.params.values():
        body = inner.jaxpr if isinstance(inner, core.ClosedJaxpr) else inner
        if isinstance(body, core.Jaxpr):
            for nested in body.eqns:
                for size in _sizes(nested):
                    yield size * int(equation.params.get("length", 1))


def _entries(aval: Any) -> int:
    return int(getattr(aval, "size", 1))
