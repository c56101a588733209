"""What a kernel costs in memory while it is computed, for the choice of tiles."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import jax
import numpy as np
from jax.extend import core

from kernelregime.empirical import kernel, model
from kernelregime.empirical.contraction import contract
from kernelregime.empirical.kernel import Options
from kernelregime.empirical.model import Function
from kernelregime.empirical.program import INLINED

# The number of points at which the kernel is traced. It is prime, and no axis of a model is a multiple of it: it divides the number
# of entries of a value once where the value exists for every point, twice where for every pair.
POINTS = 1_000_003
# XLA keeps some values in a second layout for a matrix product, and lets steps overlap that do not wait for one another: over the
# models of the tests at several sizes it takes up to 1.44 times what is alive in the order of the program.
OVERLAP = 1.5
RESHAPES = frozenset({"reshape", "squeeze", "expand_dims"})
CALLS = INLINED | {"custom_jvp_call", "custom_vjp_call"}


@dataclass(frozen=True)
class Footprint:
    """The outputs of a model, and the bytes that its kernel takes while it is computed.

    `bytes_once`: of values that depend on the parameters alone, such as a product of two of them; the parameters themselves apart.
    `bytes_per_point`: for a point while its gradients are found. `bytes_kept_per_point`: for a point whose gradients wait for those of
    others. `bytes_per_pair`: for a pair of points.
    """

    outputs: int
    dtype: Any
    bytes_once: float
    bytes_per_point: float
    bytes_kept_per_point: float
    bytes_per_pair: float
    bytes_of_parameters: float


def footprint(f: Function, params: Any, point: Any, options: Options) -> Footprint:
    """The footprint of the kernel of `f` at parameters and a point of these shapes; `InputError` where the shapes of `f` do not fit."""
    result = model.outputs(f, params, point)
    points = jax.ShapeDtypeStruct((POINTS, *point.shape), point.dtype)
    output = "trace" if options.output == "pseudo" else options.output
    if options.method == "products":
        return _of_products(kernel.one_output(f, options.output)[0], params, points, output, result)
    finding, found = jax.make_jaxpr(lambda params, x: kernel.gradients(f, params, x, options)[0], return_shape=True)(params, points)
    contracting = jax.make_jaxpr(lambda rows: contract(rows, rows, output, apart=options.apart))(found)
    inputs = finding.jaxpr.invars
    parameters, own, _ = bytes_of(inputs)
    once, sought, _ = peak(finding.jaxpr)
    _, kept, _ = bytes_of(contracting.jaxpr.invars)
    _, row, by_pair = peak(contracting.jaxpr)  # one row of the kernel, where that is found by itself
    kept += row
    sizes = (OVERLAP * once, OVERLAP * (own + max(sought, kept)), OVERLAP * (own + kept), by_pair, parameters)
    return Footprint(result.size, result.dtype, *map(float, sizes))


def _of_products(f: Function, params: Any, points: Any, output: str, result: Any) -> Footprint:
    """Of NTK-vector products: nothing is kept of a point; a gradient at a time counts as what depends on parameters alone."""
    traced = jax.make_jaxpr(lambda params, x: kernel.by_products(f, params, x, x, output))(params, points)
    parameters, own, _ = bytes_of(traced.jaxpr.invars)
    once, sought, by_pair = peak(traced.jaxpr)
    return Footprint(result.size, result.dtype, *map(float, (OVERLAP * once, *(OVERLAP * (own + sought),) * 2, by_pair, parameters)))


def peak(jaxpr: Any) -> np.ndarray:
    """The most bytes of results alive at one time in the order of the program: those of each kind on their own."""
    origin: dict[Any, Any] = {}  # of values that are another one in a new shape
    last: dict[Any, int] = {}
    for index, equation in enumerate(jaxpr.eqns):
        if str(equation.primitive) in RESHAPES and isinstance(equation.invars[0], core.Var):
            origin[equation.outvars[0]] = origin.get(equation.invars[0], equation.invars[0])
        last |= {origin.get(variable, variable): index for variable in _variables([*equation.invars, *equation.outvars])}
    last |= {origin.get(variable, variable): len(jaxpr.eqns) for variable in _variables(jaxpr.outvars)}
    alive, top, results = np.zeros(3), np.zeros(3), set[Any]()
    for index, equation in enumerate(jaxpr.eqns):
        new = [variable for variable in equation.outvars if variable not in origin]
        results.update(new)
        found = bytes_of(new)
        alive = alive + found
        top = np.maximum(top, alive + _inside(equation, found))
        touched = {origin.get(variable, variable) for variable in _variables([*equation.invars, *equation.outvars])}
        gone = {variable for variable in touched & results if last[variable] == index}
        alive = alive - bytes_of(gone)
        results -= gone
    return top


def _inside(equation: Any, found: np.ndarray) -> np.ndarray:
    """The peak of the programs in an equation, beside its results."""
    inner = reduce(np.maximum, map(peak, core.jaxprs_in_params(equation.params)), np.zeros(3))
    # The results of a call are those of its body; a loop or a branch has them twice.
    return np.maximum(inner - found, 0) if str(equation.primitive) in CALLS else inner


def _variables(atoms: Iterable[Any]) -> Iterator[Any]:
    return (atom for atom in atoms if isinstance(atom, core.Var))


def bytes_of(variables: Iterable[Any]) -> np.ndarray:
    """The bytes of values that exist once, for a point, for a pair."""
    total = np.zeros(3)
    for aval in (variable.aval for variable in variables):
        entries = int(getattr(aval, "size", 0))
        kind = 0
        while entries and entries % POINTS == 0:
            entries, kind = entries // POINTS, kind + 1
        total[min(kind, 2)] += entries * int(getattr(getattr(aval, "dtype", None), "itemsize", 0))
    return total
