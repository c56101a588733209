"""Which ways to differentiate a module work and are right, tried at two points against plain autograd, and what they cost in memory."""

from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import torch

from kernelregime import _checks
from kernelregime.empirical.adapters.torch import products
from kernelregime.empirical.adapters.torch.jacobians import Gradients, gradients
from kernelregime.empirical.adapters.torch.module import Evaluation, line


@dataclass(frozen=True)
class Ways:
    """Whether `vmap`, and derivatives along a direction, agree with plain autograd; `refusal`: what was wrong with the latter."""

    vmapped: bool
    directed: bool
    refusal: str = ""


@dataclass(frozen=True)
class Activations:
    """Bytes that the graph of one point keeps, beside parameters and buffers: all, and the largest tensor."""

    kept: int
    largest: int


def ways(model: Evaluation, x: torch.Tensor, outputs: int) -> Ways:
    """The ways that give, at the points `x`, the gradient of a random combination of outputs that plain autograd gives."""
    rng = np.random.default_rng(0)
    weights = torch.tensor(rng.standard_normal((1, outputs)), dtype=torch.get_default_dtype(), device=model.device)
    try:
        exact = gradients(model, x, weights, chunk=len(x), vmapped=False)
    except Exception as error:  # of whatever the module does
        raise _checks.fail("a module that torch.autograd.grad differentiates", f"the error {line(error)!r}", "change it") from error
    return Ways(_vmaps(model, x, weights, exact), *_directs(model, x, weights, exact))


def _vmaps(model: Evaluation, x: torch.Tensor, weights: torch.Tensor, exact: Gradients) -> bool:
    try:
        found = gradients(model, x, weights, chunk=len(x), vmapped=True)
    except Exception:  # in-place operations, choices that depend on values, recurrent layers: whatever vmap refuses
        return False
    error, size = (sum(float(value.double().square().sum()) for value in values) for values in (_less(found, exact), exact.values()))
    return error**0.5 <= _tolerance() * size**0.5


def _directs(model: Evaluation, x: torch.Tensor, weights: torch.Tensor, exact: Gradients) -> tuple[bool, str]:
    gradient = {name: value[:1] for name, value in exact.items()}
    try:
        found = products.along(model, x, gradient, list(exact), chunk=len(x)) @ weights[0]
    except Exception as error:  # operations without a forward derivative
        return False, f"the error {line(error)!r}"
    wanted = reduce(add, ((value @ gradient[name][0].T)[:, 0, 0].double() for name, value in exact.items()))
    size = reduce(add, (value.double().square().sum((1, 2)) for value in exact.values())).max()
    fits = bool((found.double() - wanted).abs().max() <= _tolerance() * size)
    return fits, "" if fits else "forward derivatives that differ from those of autograd"


def _less(found: Gradients, exact: Gradients) -> list[Any]:
    return [found[name].double() - value.double() for name, value in exact.items()]


def _tolerance() -> float:
    return float(torch.finfo(torch.get_default_dtype()).eps ** 0.5)


def activations(model: Evaluation, x: torch.Tensor) -> Activations:
    """Of one point, as counted while the module computes it."""
    given = {value.untyped_storage().data_ptr() for value in [*model.module.parameters(), *model.module.buffers()]}
    found: dict[int, int] = {}

    def pack(value: torch.Tensor) -> torch.Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in given:
            found[storage.data_ptr()] = storage.nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        out = model(x[:1])
    sizes = [*found.values(), out.nbytes, x[:1].nbytes]
    return Activations(sum(sizes), max(sizes))
