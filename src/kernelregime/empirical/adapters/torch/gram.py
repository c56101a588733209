"""The finite-width neural tangent kernel of a PyTorch module on the host, in tiles within a memory budget."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from kernelregime import _checks, grams
from kernelregime.empirical import model as models
from kernelregime.empirical.adapters.torch import jacobians, products
from kernelregime.empirical.adapters.torch.module import Evaluation, TorchModel, check_rows, evaluation, host, outputs, precision
from kernelregime.empirical.adapters.torch.plan import Costs, Plan, plan
from kernelregime.empirical.adapters.torch.settings import computing
from kernelregime.empirical.adapters.torch.ways import activations, ways
from kernelregime.empirical.tiles import finite
from kernelregime.grams import identity

OUTPUTS = {
    "trace": grams.Output((), (1, 0)),
    "pseudo": grams.Output((), (1, 0)),
    "diagonal": grams.Output((), (1, 0, 2), ("output",)),
    "full": grams.Output((), (1, 0, 3, 2), ("output1", "output2")),
}
METHODS = ("auto", "jacobian", "structured", "products")


def ntk(
    given: TorchModel,
    x1: Any,
    x2: Any = None,
    *,
    output: str = "trace",
    by_layer: bool = False,
    method: str = "auto",
    memory: float | None = None,
    dtype: Any = None,
    engine: str = "threads",
    workers: int | None = None,
    store: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Any:
    """The empirical neural tangent kernel of a PyTorch module, over its parameters with requires_grad=True.

    Θ(x, x')_{oo'} = Σ_p ∂f_o(x)/∂θ_p · ∂f_o'(x')/∂θ_p, a tied parameter counted once, with all its uses.

    A copy of the module is evaluated, in eval mode and in `dtype`, on the device of its parameters; buffers are held. `output`: as in
    `empirical.ntk`; "pseudo" is the kernel of Σ_o f_o/√O, (N1, N2). `by_layer`: a dict, by the dotted names of the modules that hold
    trained parameters (of a tied one, the first; its own name for a parameter of the module itself), of kernels that add up to the
    whole.
    `method`: "jacobian", gradients of each point, by `torch.func.vmap` or, where that refuses or errs, one by one with
    `torch.autograd.grad`; for the trace and the diagonal, of fewer outputs at one time where memory asks for it. "structured" is the
    same: torch gives no program to take apart. "products": the gradient of one output, then the derivative of all others along it, in
    memory of the order of the parameters. "auto": "products" where `memory` holds the Jacobians of fewer than four points a side. All
    agree to rounding. `engine`, `workers`, `store`, `progress`: as in `empirical.ntk`; in threads, tiles wait for one another, as torch
    computes one on all cores.

    Returns: as `empirical.ntk` does. Raises: `InputError` for parameters, points or kernels that are not finite, for a module whose
    outputs depend on chance or on other rows, or are no tensor (N,) or (N, O) in `dtype`, and for a budget too small for a pair of points.

    Source: Lee et al. (2019), arXiv:1902.06720, eq. 4; "pseudo": Mohamadi et al. (2023), arXiv:2206.12543.
    """
    _checks.one_of("output", output, OUTPUTS)
    _checks.one_of("method", method, METHODS)
    working = precision(given.module, dtype)
    first = models.points("x1", host(x1), working)
    second = None if x2 is None else models.points("x2", host(x2), working)
    models.check_pair(first, first if second is None else second)
    run = grams.engine(engine, workers)
    with computing(working, next(given.module.parameters()).device):
        model = evaluation(given.module, working)
        budget = _budget(memory, model.device) // run.workers
        tiles = _prepare(model, first, second, working, output=output, by_layer=by_layer, method=method, memory=budget)
    result = grams.assemble(
        _problem(tiles),
        memory=tiles.plan.memory * run.workers,
        engine=engine,
        workers=workers,
        store=store,
        progress=progress,
    ).matrices["ntk"]
    return {name: result[..., index] for index, name in enumerate(tiles.groups)} if by_layer else result


def _budget(memory: float | None, device: torch.device) -> int:
    """Bytes; by default half of what is free on the device."""
    if memory is None and device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0]) // 2
    return grams.memory_budget(memory)


def _prepare(
    model: Evaluation,
    first: np.ndarray,
    second: np.ndarray | None,
    working: np.dtype,
    *,
    output: str,
    by_layer: bool,
    method: str,
    memory: int,
) -> "_Tiles":
    """What computes a tile, after the module was tried at two points."""
    count = outputs(model, first, working)
    pair = models.two_points(first, first if second is None else second)
    check_rows(model, pair)
    groups: dict[str, list[str]] = {}
    for name in model.trained:
        groups.setdefault((name.rpartition(".")[0] or name) if by_layer else "", []).append(name)
    costs = Costs(
        parameters=sum(value.nbytes for value in model.trained.values()),
        pair=len(groups) * count ** len(OUTPUTS[output].axes) * working.itemsize,
        activations=activations(model, model.tensor(pair)),
        combinations=1 if output == "pseudo" else count,
        apart=output != "full",
        points=max(len(first), 0 if second is None else len(second)),
    )
    found = plan(costs, ways(model, model.tensor(pair), count), method, memory)
    return _Tiles(model, first, second, working, output, count, groups, by_layer, found)


@dataclass(frozen=True, eq=False)
class _Tiles:
    model: Evaluation
    first: np.ndarray
    second: np.ndarray | None
    dtype: np.dtype
    output: str
    outputs: int
    groups: dict[str, list[str]]
    by_layer: bool
    plan: Plan

    def __call__(self, rows: slice, columns: slice) -> grams.Block:
        with computing(self.dtype, self.model.device):
            x1, x2 = self.model.tensor(self.first[rows]), None
            if self.second is not None or rows != columns:
                x2 = self.model.tensor((self.first if self.second is None else self.second)[columns])
            weights = torch.eye(self.outputs, device=self.model.device)
            if self.output == "pseudo":
                weights = weights.sum(0, keepdim=True) / self.outputs**0.5
            common, plan = (weights, self.output, list(self.groups.values())), self.plan
            if plan.products:
                found = products.kernel(self.model, x1, x1 if x2 is None else x2, *common, chunk=plan.chunk)
            else:
                found = jacobians.kernel(self.model, x1, x2, *common, block=plan.block, chunk=plan.chunk, vmapped=plan.vmapped)
            return grams.Block({"ntk": finite((found if self.by_layer else found[..., 0]).cpu().numpy())})


def _problem(tiles: _Tiles) -> grams.Problem:
    shape = OUTPUTS[tiles.output]
    tail, mirror, axes = (tiles.outputs,) * len(shape.axes), shape.mirror, shape.axes
    if tiles.by_layer:
        tail, mirror, axes = (*tail, len(tiles.groups)), (*mirror, len(mirror)), (*axes, "layer")
    return grams.Problem(
        tiles,
        len(tiles.first),
        None if tiles.second is None else len(tiles.second),
        outputs={"ntk": grams.Output(tail, mirror, axes)},
        dtype=tiles.dtype,
        bytes_per_pair=tiles.plan.bytes_per_pair,
        bytes_per_point=tiles.plan.bytes_per_point,
        identity=lambda: _identity(tiles),
    )


def _identity(tiles: _Tiles) -> dict[str, Any]:
    """What tells a kernel from others: the module by its class and its values at the first points, all data by fingerprints."""
    module = tiles.model.module
    with computing(tiles.dtype, tiles.model.device), torch.no_grad():
        values = tiles.model(tiles.model.tensor(tiles.first[:2])).cpu().numpy()
    held = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {
        "f": f"{type(module).__module__}.{type(module).__qualname__}",
        "values": identity.rounded(values)[:20],
        "params": {name: identity.fingerprint(value.detach().cpu().numpy()) for name, value in held.items()},
        "trained": list(tiles.model.trained),
        "x1": identity.fingerprint(tiles.first),
        "x2": None if tiles.second is None else identity.fingerprint(tiles.second),
        "output": tiles.output,
        "layers": list(tiles.groups) if tiles.by_layer else None,
    }
