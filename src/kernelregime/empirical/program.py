"""The program of a model: its jaxpr as numbered values and steps, which can be run with shifts and followed by `entrances`.

A loop (scan) is a step with a program of its own. Values in it are written (number of the step, value in the loop) and have the turns
of the loop as their first axis.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

# Calls whose body may take their place without a change in values or derivatives. custom_jvp and custom_vjp calls are not among
# them: their bodies do not hold their derivatives.
INLINED = frozenset({"jit", "pjit", "closed_call", "core_call", "remat", "remat2", "checkpoint"})
SCAN = ("jaxpr", "length", "reverse")  # what of a loop is read here

Value = int | tuple[int, Any]


@dataclass(frozen=True)
class Step:
    """One equation with its operands and results as numbers of values; `body`: the program of a turn, if it is a loop."""

    equation: Any
    operands: tuple[int, ...]
    results: tuple[int, ...]
    body: "Program | None" = None

    @property
    def name(self) -> str:
        """The name of its primitive."""
        return str(self.equation.primitive)

    @property
    def carried(self) -> tuple[int, int]:
        """Which operands of a loop are carried from turn to turn, from and to: those before are the same in all, those behind are cut.

        They are told by their shapes: a slice has an axis less, as have results that are no more than carried.
        """
        assert self.body is not None
        given = [len(v.aval.shape) for v in self.equation.invars]
        sliced = sum(n != len(self.body.shape(i)) for i, n in enumerate(given))
        carry = sum(len(v.aval.shape) == len(self.body.shape(i)) for v, i in zip(self.equation.outvars, self.body.outputs, strict=True))
        return len(given) - sliced - carry, len(given) - sliced

    def evaluate(self, values: Mapping[int, Any], template: Any) -> list[Any]:
        """The results, by evaluating the equation as a program of its own (so that custom derivatives stay in force)."""
        bound = {v: values[i] for v, i in zip(self.equation.invars, self.operands, strict=True) if isinstance(v, core.Var)}
        program = template.replace(constvars=[], invars=list(bound), outvars=list(self.equation.outvars), eqns=[self.equation])
        return list(core.jaxpr_as_fun(core.ClosedJaxpr(program, []))(*bound.values()))

    def turns(
        self, values: Mapping[int, Any], shifts: Mapping[Value, Any], wanted: Collection[Value]
    ) -> tuple[list[Any], dict[Value, Any]]:
        """The results of a loop with `shifts` added in its turns, and the `wanted` values of all turns."""
        assert self.body is not None
        body, options = self.body, self.equation.params
        given, (begin, end) = [values[i] for i in self.operands], self.carried
        kept, moved = list(wanted), list(shifts)  # JAX would sort the keys of a dict, which cannot be compared

        def turn(state: Any, each: Any) -> Any:
            found = body.run([*given[:begin], *state, *each[0]], dict(zip(moved, each[1], strict=True)), kept)
            outputs = [found[i] for i in body.outputs]
            return outputs[: end - begin], (outputs[end - begin :], [found[value] for value in kept])

        xs = (given[end:], list(shifts.values()))
        state, (stacked, found) = jax.lax.scan(
            turn, given[begin:end], xs, length=options["length"], reverse=options["reverse"], unroll=options.get("unroll", 1)
        )
        return [*state, *stacked], dict(zip(kept, found, strict=True))


@dataclass(frozen=True)
class Program:
    """Steps on numbered values, of which the first `inputs` are given; of a model: the leaves of params, and the point."""

    steps: tuple[Step, ...]
    constants: Mapping[int, Any]
    types: Sequence[Any]
    inputs: int
    outputs: tuple[int, ...]
    template: Any = field(repr=False)

    def run(self, inputs: Sequence[Any], shifts: Mapping[Value, Any], wanted: Collection[Value] = ()) -> dict[Value, Any]:
        """Every value of the program, and those `wanted` in loops, with `shifts` added to the values they are named by."""
        values: dict[Any, Any] = dict(self.constants) | dict(enumerate(inputs))
        for index in shifts.keys() & values.keys():
            values[index] = values[index] + shifts[index]
        for number, step in enumerate(self.steps):
            inner = {key[1]: shift for key, shift in shifts.items() if isinstance(key, tuple) and key[0] == number}
            kept = {key[1] for key in wanted if isinstance(key, tuple) and key[0] == number}
            if inner or kept:
                results, found = step.turns(values, inner, kept)
                values |= {(number, key): value for key, value in found.items()}
            else:
                results = step.evaluate(values, self.template)
            for index, value in zip(step.results, results, strict=True):
                values[index] = value + shifts[index] if index in shifts else value
        return values

    def shape(self, value: Value) -> tuple[int, ...]:
        """Of a value, with the turns of its loops first."""
        if not isinstance(value, tuple):
            return tuple(self.types[value].shape)
        step = self.steps[value[0]]
        assert step.body is not None
        return (step.equation.params["length"], *step.body.shape(value[1]))

    def dtype(self, value: Value) -> Any:
        """Of a value."""
        body = self.steps[value[0]].body if isinstance(value, tuple) else None
        return self.types[value].dtype if body is None else body.dtype(value[1])  # type: ignore[index]

    def varying(self, inputs: Collection[int]) -> frozenset[int]:
        """The values that depend on these inputs."""
        found = set(inputs)
        for step in self.steps:
            if found.intersection(step.operands):
                found.update(step.results)
        return frozenset(found)

    @cached_property
    def producers(self) -> Mapping[int, Step]:
        """The step of each result."""
        return {index: step for step in self.steps for index in step.results}

    @cached_property
    def consumers(self) -> Mapping[int, list[tuple[int, int]]]:
        """(Number of the step, which of its operands) for each use of a value."""
        found: dict[int, list[tuple[int, int]]] = {}
        for number, step in enumerate(self.steps):
            for place, index in enumerate(step.operands):
                found.setdefault(index, []).append((number, place))
        return found


def trace(function: Any, leaves: Sequence[Any], point: Any) -> Program:
    """The program of `function(leaves, point)`, one array, at the shapes of `leaves` and `point`."""
    closed = jax.make_jaxpr(function)(list(leaves), point)
    return _program(closed.jaxpr, closed.consts)


def _program(jaxpr: Any, consts: Sequence[Any]) -> Program:
    flat = _Flattened()
    inputs = [flat.number(v.aval) for v in jaxpr.invars]
    outputs = flat.inline(jaxpr, consts, inputs)
    needed, steps = set(outputs), []
    for step in reversed(flat.steps):
        if needed.intersection(step.results) or step.equation.effects:
            needed.update(step.operands)
            steps.append(step)
    return Program(tuple(reversed(steps)), flat.constants, flat.types, len(inputs), tuple(outputs), jaxpr)


def backward_alone(jaxpr: Any) -> bool:
    """Whether something in a program has no forward derivative, because its backward one was written by hand."""
    inner = (part for equation in jaxpr.eqns for part in core.jaxprs_in_params(equation.params))
    return any(str(equation.primitive).startswith("custom_vjp") for equation in jaxpr.eqns) or any(map(backward_alone, inner))


class _Flattened:
    """The steps of a jaxpr with nested calls put in line."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
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
            if not isinstance(atom, core.Literal):
                return scope[atom]
            form: Any = atom.aval
            return self.constant(form, jnp.asarray(atom.val, form.dtype))

        for equation in jaxpr.eqns:
            operands = tuple(map(read, equation.invars))
            body = _body(equation)
            if body is None:
                results = [self.number(v.aval) for v in equation.outvars]
                self.steps.append(Step(equation, operands, tuple(results), _turn(equation)))
            else:
                results = self.inline(*body, operands)
            scope |= zip(equation.outvars, results, strict=True)
        return list(map(read, jaxpr.outvars))


def _body(equation: Any) -> tuple[Any, Sequence[Any]] | None:
    """The jaxpr and constants of a call that may be put in line."""
    if str(equation.primitive) not in INLINED:
        return None
    return _understood(equation.params.get("jaxpr", equation.params.get("call_jaxpr")), len(equation.invars))


def _turn(equation: Any) -> Program | None:
    """The program of a turn of a loop, where the loop is understood."""
    if str(equation.primitive) != "scan" or not all(name in equation.params for name in SCAN):
        return None
    found = _understood(equation.params["jaxpr"], len(equation.invars))
    return None if found is None else _program(*found)


def _understood(inner: Any, inputs: int) -> tuple[Any, Sequence[Any]] | None:
    if isinstance(inner, core.ClosedJaxpr):
        inner, consts = inner.jaxpr, inner.consts
    else:
        consts = ()
    understood = isinstance(inner, core.Jaxpr) and len(inner.invars) == inputs and len(inner.constvars) == len(consts)
    return (inner, consts) if understood else None
