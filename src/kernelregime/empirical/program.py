"""The program of a model: where each parameter enters it, found by walking its jaxpr.

A parameter that enters by one product with the signal of a single position, out = A(w)·h with A a multiple of an isometry
(scalings, transpositions, reshapes), has the per-point gradient h ⊗ δ, where δ is the gradient with respect to the product.
A parameter that is only added has the gradient δ itself. Everything else is left alone: its δ is taken at the parameter.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
from jax.extend import core

# Calls whose body may take their place without a change in values or derivatives. custom_jvp and custom_vjp calls are not among
# them: their bodies do not hold their derivatives.
INLINED = frozenset({"jit", "pjit", "closed_call", "core_call", "remat", "remat2", "checkpoint"})
# Rearrangements of entries, changes of sign at most: isometries where they keep the number of entries.
_REARRANGEMENTS = frozenset({"reshape", "transpose", "squeeze", "expand_dims", "broadcast_in_dim", "rev"})
_ISOMETRIES = _REARRANGEMENTS | {"neg", "copy", "copy_p", "convert_element_type"}
_SUMS = frozenset({"add", "sub", "add_any"})


@dataclass(frozen=True)
class Entrance:
    """How a parameter enters: its gradient is `scale` · (value `source`) ⊗ (gradient with respect to value `site`).

    `source=None`: no product, the gradient is that of the site alone. `scales` lists (value, divides).
    """

    site: int
    source: int | None = None
    scales: tuple[tuple[int, bool], ...] = ()


@dataclass(frozen=True)
class _Step:
    """One equation with its operands and results as numbers of values."""

    equation: Any
    operands: tuple[int, ...]
    results: tuple[int, ...]

    @property
    def name(self) -> str:
        return str(self.equation.primitive)

    def evaluate(self, values: Mapping[int, Any], template: Any) -> list[Any]:
        """The results, by evaluating the equation as a program of its own (so that custom derivatives stay in force)."""
        bound = {v: values[i] for v, i in zip(self.equation.invars, self.operands, strict=True) if isinstance(v, core.Var)}
        program = template.replace(constvars=[], invars=list(bound), outvars=list(self.equation.outvars), eqns=[self.equation])
        return list(core.jaxpr_as_fun(core.ClosedJaxpr(program, []))(*bound.values()))


@dataclass(frozen=True)
class Program:
    """A model at one point as numbered values and steps: values 0 .. n-1 are the leaves of params, value n the point."""

    steps: tuple[_Step, ...]
    constants: Mapping[int, Any]
    types: Sequence[Any]
    leaves: int
    output: int
    template: Any

    def run(self, leaves: Sequence[Any], point: Any, shifts: Mapping[int, Any]) -> dict[int, Any]:
        """Every value of the program, `shifts` being added to the values they are numbered by."""
        values = dict(self.constants) | dict(enumerate([*leaves, point]))
        for index in shifts.keys() & values.keys():
            values[index] = values[index] + shifts[index]
        for step in self.steps:
            for index, value in zip(step.results, step.evaluate(values, self.template), strict=True):
                values[index] = value + shifts[index] if index in shifts else value
        return values

    def varying(self) -> set[int]:
        """The values that depend on the point."""
        found = {self.leaves}
        for step in self.steps:
            if found.intersection(step.operands):
                found.update(step.results)
        return found

    def entrances(self, leaves: Sequence[int]) -> list[Entrance]:
        """How the leaves of these numbers enter; a leaf on which the output does not depend is left out."""
        walk = _Walk(self)
        return [found for leaf in leaves if (found := walk.entrance(leaf)) is not None]

    def size(self, index: int) -> int:
        """The number of entries of a value."""
        return math.prod(self.types[index].shape)


def trace(function: Any, leaves: Sequence[Any], point: Any) -> Program:
    """The program of `function(leaves, point)`, one array, at the shapes of `leaves` and `point`."""
    closed = jax.make_jaxpr(function)(list(leaves), point)
    flat = _Flattened()
    inputs = [flat.number(v.aval) for v in closed.jaxpr.invars]
    [output] = flat.inline(closed.jaxpr, closed.consts, inputs)
    needed, steps = {output}, []
    for step in reversed(flat.steps):
        if needed.intersection(step.results) or step.equation.effects:
            needed.update(step.operands)
            steps.append(step)
    return Program(tuple(reversed(steps)), flat.constants, flat.types, len(leaves), output, closed.jaxpr)


class _Flattened:
    """The steps of a jaxpr with nested calls put in line."""

    def __init__(self) -> None:
        self.steps: list[_Step] = []
        self.constants: dict[int, Any] = {}
        self.types: list[Any] = []

    def number(self, aval: Any) -> int:
        self.types.append(aval)
        return len(self.types) - 1

    def constant(self, aval: Any, value: Any) -> int:
        index = self.number(aval)
        self.constants[index] = value
        return index

    def inline(self, jaxpr: Any, consts: Sequence[Any], inputs: Sequence[int]) -> list[int]:
        """Append the steps of `jaxpr` applied to the values `inputs`; the numbers of its outputs."""
        scope = dict(zip(jaxpr.invars, inputs, strict=True))
        scope |= {v: self.constant(v.aval, c) for v, c in zip(jaxpr.constvars, consts, strict=True)}

        def read(atom: Any) -> int:
            return self.constant(atom.aval, atom.val) if isinstance(atom, core.Literal) else scope[atom]

        for equation in jaxpr.eqns:
            operands = tuple(map(read, equation.invars))
            body = _body(equation)
            if body is None:
                results = [self.number(v.aval) for v in equation.outvars]
                self.steps.append(_Step(equation, operands, tuple(results)))
            else:
                results = self.inline(*body, operands)
            scope |= zip(equation.outvars, results, strict=True)
        return list(map(read, jaxpr.outvars))


def _body(equation: Any) -> tuple[Any, Sequence[Any]] | None:
    """The jaxpr and constants of a call that may be put in line."""
    if str(equation.primitive) not in INLINED:
        return None
    inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
    if isinstance(inner, core.ClosedJaxpr):
        inner, consts = inner.jaxpr, inner.consts
    else:
        consts = ()
    understood = isinstance(inner, core.Jaxpr) and len(inner.invars) == len(equation.invars) and len(inner.constvars) == len(consts)
    return (inner, consts) if understood else None


class _Walk:
    """Follows a parameter through the program while its way is understood."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.producer = {index: step for step in program.steps for index in step.results}
        self.consumer = {index: step for step in program.steps for index in step.operands}
        self.uses = Counter([program.output, *(index for step in program.steps for index in step.operands)])

    def entrance(self, leaf: int) -> Entrance | None:
        if not self.uses[leaf]:
            return None
        site, source, scales = leaf, None, []
        # With a single use at every value on the way, all of the parameter's influence passes through the last one.
        while self.uses[site] == 1 and site != self.program.output:
            step = self.consumer[site]
            if not self._keeps_type(step, site):
                break
            if step.name == "dot_general" and source is None and (found := self._dot_partner(step, site)) is not None:
                source = found
            elif (scale := self._scale(step, site)) is not None:
                scales.append(scale)
            elif not self._is_isometric(step, site):
                break
            site = step.results[0]
        return Entrance(site, source, tuple(scales))

    def _keeps_type(self, step: _Step, site: int) -> bool:
        types = self.program.types
        return len(step.results) == 1 and types[step.results[0]].dtype == types[site].dtype

    def _is_isometric(self, step: _Step, site: int) -> bool:
        """Whether the result has the entries of the site, rearranged or with something else added."""
        if self.program.size(step.results[0]) != self.program.size(site):
            return False
        return step.name in _SUMS if len(step.operands) == 2 else step.name in _ISOMETRIES

    def _scale(self, step: _Step, site: int) -> tuple[int, bool] | None:
        """The scalar by which the step multiplies or divides the site."""
        if step.name not in ("mul", "div") or self.program.size(step.results[0]) != self.program.size(site):
            return None
        position = step.operands.index(site)
        other = self._unbroadcast(step.operands[1 - position])
        if self.program.size(other) != 1 or (step.name == "div" and position == 1):
            return None
        return other, step.name == "div"

    def _unbroadcast(self, index: int) -> int:
        """The scalar of which the value is a broadcast copy, or the value itself."""
        origin = index
        while self.program.size(origin) != 1 and origin in self.producer:
            step = self.producer[origin]
            if step.name not in ("broadcast_in_dim", "reshape", "squeeze") or len(step.operands) != 1:
                break
            origin = step.operands[0]
        return origin if self.program.size(origin) == 1 else index

    def _dot_partner(self, step: _Step, site: int) -> int | None:
        """The value a product contracts the site with, if that has one position only."""
        contracted, _ = step.equation.params["dimension_numbers"]
        position = step.operands.index(site)
        other = step.operands[1 - position]
        if self.program.types[other].dtype != self.program.types[site].dtype:
            return None
        entries = math.prod(self.program.types[other].shape[axis] for axis in contracted[1 - position])
        return other if entries == self.program.size(other) else None
