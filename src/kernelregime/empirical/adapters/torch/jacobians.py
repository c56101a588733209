"""Gradients of the outputs of a module, point by point, and the kernel as their products."""

from collections.abc import Iterator, Sequence
from functools import reduce
from operator import add
from typing import Any

import torch
from torch.func import vjp, vmap

from kernelregime.empirical.adapters.torch.module import Evaluation

Gradients = dict[str, torch.Tensor]  # for every trained parameter (N, C, P): N points, C combinations of outputs, P entries


def kernel(
    model: Evaluation,
    x1: torch.Tensor,
    x2: torch.Tensor | None,
    weights: torch.Tensor,
    output: str,
    groups: Sequence[Sequence[str]],
    *,
    block: int,
    chunk: int,
    vmapped: bool,
) -> torch.Tensor:
    """The kernel (N1, N2, ..., groups) of the combinations `weights` (C, O) of outputs, each group of parameters on its own.

    Gradients are found of `block` combinations and `chunk` points at one time; x2=None stands for x1. All combinations in one block
    where output is "full".
    """
    parts: list[torch.Tensor] = []
    for some in weights.split(block):
        rows = gradients(model, x1, some, chunk=chunk, vmapped=vmapped)
        columns = rows if x2 is None else gradients(model, x2, some, chunk=chunk, vmapped=vmapped)
        part = torch.stack([reduce(add, (_contract(rows[name], columns[name], output) for name in names)) for names in groups], -1)
        parts = [reduce(add, [*parts, part / len(weights)])] if output == "trace" else [*parts, part]
        del rows, columns  # before those of the next block are found
    return parts[0] if len(parts) == 1 else torch.cat(parts, 2)


def _contract(rows: torch.Tensor, columns: torch.Tensor, output: str) -> torch.Tensor:
    if output in ("trace", "pseudo"):
        return rows.flatten(1) @ columns.flatten(1).T
    if output == "diagonal":
        return (rows.movedim(1, 0) @ columns.permute(1, 2, 0)).movedim(0, 2)
    found = rows.flatten(0, 1) @ columns.flatten(0, 1).T
    return found.reshape(*rows.shape[:2], *columns.shape[:2]).transpose(1, 2)


def gradients(model: Evaluation, x: torch.Tensor, weights: torch.Tensor, *, chunk: int, vmapped: bool) -> Gradients:
    """The gradients of the combinations `weights` (C, O) of the outputs at all points, for `chunk` points at a time."""
    find = _together if vmapped else _one_by_one
    if len(x) <= chunk:
        return find(model, x, weights)
    found: Gradients = {}
    for start, part in _chunks(x, chunk):
        for name, value in find(model, part, weights).items():
            if start == 0:
                found[name] = value.new_empty(len(x), *value.shape[1:])
            found[name][start : start + len(part)] = value
    return found


def _chunks(x: torch.Tensor, chunk: int) -> Iterator[tuple[int, torch.Tensor]]:
    return ((start, x[start : start + chunk]) for start in range(0, len(x), chunk))


def _together(model: Evaluation, x: torch.Tensor, weights: torch.Tensor) -> Gradients:
    """By `vmap` over points and combinations."""

    def at(point: torch.Tensor) -> Any:
        _, pullback = vjp(lambda trained: model(point[None], trained)[0], model.trained)
        [found] = vmap(pullback)(weights)
        return found

    # A parameter that the module also holds under a name torch does not know would keep its graph.
    found = {name: value.detach() for name, value in vmap(at)(x).items()}
    return {name: value.flatten(2) if value.ndim > 2 else value[..., None] for name, value in found.items()}


def _one_by_one(model: Evaluation, x: torch.Tensor, weights: torch.Tensor) -> Gradients:
    """By `torch.autograd.grad` in the module itself, for every point and combination."""
    leaves = model.leaves
    found = {name: value.new_zeros(len(x), len(weights), value.numel()) for name, value in model.trained.items()}
    for i in range(len(x)):
        out = model(x[i : i + 1])[0]
        if not out.requires_grad:
            continue
        for c, weight in enumerate(weights):
            values = torch.autograd.grad(out, leaves, weight, retain_graph=c + 1 < len(weights), allow_unused=True)
            for name, value in zip(found, values, strict=True):
                if value is not None:
                    found[name][i, c] = (value.to_dense() if value.is_sparse else value).reshape(-1)
    return found
