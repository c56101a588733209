"""The kernel as products with vectors: a gradient of one output, then the derivative of all others along it."""

from collections.abc import Sequence
from functools import partial

import torch
from torch.func import jvp

from kernelregime.empirical.adapters.torch.jacobians import Gradients, gradients
from kernelregime.empirical.adapters.torch.module import Evaluation


def kernel(
    model: Evaluation,
    x1: torch.Tensor,
    x2: torch.Tensor,
    weights: torch.Tensor,
    output: str,
    groups: Sequence[Sequence[str]],
    *,
    chunk: int,
) -> torch.Tensor:
    """The kernel (N1, N2, ..., groups) of the combinations `weights` (C, O) of outputs; derivatives for `chunk` points at one time."""
    count = len(weights)
    tail = {"trace": (), "pseudo": (), "diagonal": (count,), "full": (count, count)}[output]
    result = weights.new_zeros(len(x1), len(x2), *tail, len(groups))
    for j in range(len(x2)):
        for c in range(count):
            gradient = gradients(model, x2[j : j + 1], weights[c : c + 1], chunk=1, vmapped=False)
            for g, names in enumerate(groups):
                moved = along(model, x1, gradient, names, chunk=chunk) @ weights.T
                if output == "full":
                    result[:, j, :, c, g] = moved
                elif output == "diagonal":
                    result[:, j, c, g] = moved[:, c]
                else:
                    result[:, j, g] += moved[:, c] / (count if output == "trace" else 1)
    return result


def along(model: Evaluation, x: torch.Tensor, gradient: Gradients, names: Sequence[str], *, chunk: int) -> torch.Tensor:
    """The derivative (N, O) of the outputs along the gradient (1, 1, P) of one point, of the parameters `names` alone."""
    chosen = {name: model.trained[name] for name in names}
    direction = {name: gradient[name].reshape(value.shape) for name, value in chosen.items()}
    moved = []
    for part in x.split(chunk):
        outputs = partial(_outputs, model, part)
        moved.append(jvp(outputs, (chosen,), (direction,))[1].detach())
    return torch.cat(moved)


def _outputs(model: Evaluation, x: torch.Tensor, chosen: dict[str, torch.Tensor]) -> torch.Tensor:
    return model(x, {**model.trained, **chosen})
