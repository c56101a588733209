"""A PyTorch module as this package sees it: a copy in eval mode and in the working precision, its trained parameters, its outputs."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from kernelregime import _checks, _precision
from kernelregime.empirical import model as models

SHOWN = 3  # names in a note
NORMS = (nn.modules.batchnorm._BatchNorm, nn.SyncBatchNorm)


@dataclass(frozen=True, eq=False)
class TorchModel:
    """A PyTorch module, which stays as it is. `notes`: what of it is held fixed, in words."""

    module: nn.Module
    notes: tuple[str, ...] = ()

    def ntk(self, x1: Any, x2: Any = None, **options: Any) -> Any:
        """The kernel; see `gram.ntk`."""
        from kernelregime.empirical.adapters.torch import gram

        return gram.ntk(self, x1, x2, **options)


def as_model(given: Any) -> TorchModel:
    """`given`, a module, checked; `InputError` for one without trained parameters, or with batch statistics or complex ones."""
    if not isinstance(given, nn.Module):
        raise _checks.fail("a PyTorch module alone", f"a {type(given).__name__}", "give the module, which holds its parameters")
    module = getattr(given, "_orig_mod", given)  # of one that torch.compile returned
    parameters = dict(module.named_parameters())
    _check_parameters(parameters)
    for name, part in module.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            got = f"a compiled {name or 'module'!r} (torch.jit)"
            raise _checks.fail("a module of Python code", got, "give the one that it was made from")
        if isinstance(part, NORMS) and part.running_mean is None:
            got = f"batch statistics in {name or type(part).__name__!r} (track_running_stats=False)"
            raise _checks.fail("a module that gives each row of x on its own", got, "use running statistics, or LayerNorm or GroupNorm")
    return TorchModel(module, tuple(_notes(module, parameters)))


def _check_parameters(parameters: dict[str, nn.Parameter]) -> None:
    for name, value in parameters.items():
        if nn.parameter.is_lazy(value) or value.is_meta:
            do = "give it a shape and values (call the module once; load its weights)"
            raise _checks.fail("parameters that hold numbers", f"{name!r} without any", do)
        if value.is_complex():
            raise _checks.fail("real parameters", f"{name!r} of dtype {value.dtype}", "write the module in real and imaginary parts")
    if not any(_trained(value) for value in parameters.values()):
        got = _checks.counted(len(parameters), "parameter") + ", none of them trained"
        raise _checks.fail("a module with trained parameters", got, "set requires_grad=True on those that are trained")


def _trained(value: torch.Tensor) -> bool:
    return value.requires_grad and value.is_floating_point()


def _notes(module: nn.Module, parameters: dict[str, nn.Parameter]) -> Iterator[str]:
    kinds = [type(part) for part in module.modules()]
    if any(issubclass(kind, nn.modules.dropout._DropoutNd) for kind in kinds):
        yield "evaluated in eval mode: without dropout"
    if any(issubclass(kind, NORMS) for kind in kinds):
        yield "evaluated in eval mode: batch normalization by its running statistics"
    frozen = [name for name, value in parameters.items() if not _trained(value)]
    if frozen:
        yield f"not trained, as requires_grad=False: {_listed(frozen)}"
    buffers = [name for name, _ in module.named_buffers()]
    if buffers:
        yield f"held as they are, being buffers: {_listed(buffers)}"


def _listed(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def precision(module: nn.Module, dtype: Any) -> np.dtype:
    """The working precision: `dtype`, or float64 if one of the parameters is, else float32."""
    double = any(value.dtype == torch.float64 for value in module.parameters())
    return _precision.resolve(dtype, np.empty(0, "float64" if double else "float32"))


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A copy of a module, nobody else's, in eval mode. `trained`: its trained parameters by name; a tied one has the first of its names."""

    module: nn.Module
    trained: dict[str, torch.Tensor]
    device: torch.device

    def __call__(self, x: torch.Tensor, trained: dict[str, torch.Tensor] | None = None) -> torch.Tensor:
        """Outputs (N, O), with the module's own parameters or with others."""
        found = self.module(x) if trained is None else torch.func.functional_call(self.module, trained, (x,))
        return found.reshape(len(x), -1)

    @property
    def leaves(self) -> list[nn.Parameter]:
        """The trained parameters of the copy itself, in the order of `trained`."""
        found = dict(self.module.named_parameters())
        return [found[name] for name in self.trained]

    def tensor(self, x: np.ndarray) -> torch.Tensor:
        """Points on the device; integers as int64, as embeddings want them, except bytes."""
        given = x.astype(np.int64) if x.dtype.kind in "iu" and x.dtype != np.uint8 else x
        return torch.tensor(given, device=self.device)


def evaluation(module: nn.Module, dtype: np.dtype) -> Evaluation:
    """A copy of `module` in eval mode and in `dtype`; `InputError` for parameters that are NaN or infinite."""
    own = _copied(module).eval()
    own = own.double() if dtype == np.float64 else own.float()  # neither touches complex buffers
    own.zero_grad()
    for name, value in own.named_parameters():
        if not torch.isfinite(value).all():
            got = f"NaN or infinite values in {name!r}"
            raise _checks.fail("finite parameters", got, "look for divergence in training or at initialization")
    trained = {name: value.detach() for name, value in own.named_parameters() if _trained(value)}
    return Evaluation(own, trained, next(iter(trained.values())).device)


def _copied(module: nn.Module) -> nn.Module:
    # A tensor that is neither a parameter nor a buffer may be the result of others (of weight_norm, say), which deepcopy refuses.
    results = {id(value): value for part in module.modules() for value in vars(part).values() if isinstance(value, torch.Tensor)}
    try:
        return copy.deepcopy(module, {key: value.detach().clone() for key, value in results.items() if not value.is_leaf})
    except Exception as error:  # of whatever the module holds
        raise _checks.fail("a module that copy.deepcopy can copy", line(error), "take out what cannot be copied") from error


def host(x: Any) -> Any:
    """`x`, with a tensor as a NumPy array."""
    if not isinstance(x, torch.Tensor):
        return x
    value = x.detach().cpu()
    return (value.float() if value.dtype in (torch.float16, torch.bfloat16) else value).numpy()


def outputs(model: Evaluation, x: np.ndarray, dtype: np.dtype) -> int:
    """The number of outputs; `InputError` unless the module maps (N, ...) to (N,) or (N, O) in `dtype`."""
    rows = model.tensor(x[:1])
    try:
        with torch.no_grad():
            one, three = (model.module(rows.repeat(count, *[1] * (x.ndim - 1))) for count in (1, 3))
    except Exception as error:  # any that the module raises
        expected = f"a module that accepts x of shape {('N', *x.shape[1:])} and dtype {rows.dtype}".replace("'", "")
        raise _checks.fail(expected, f"the error {line(error)!r}", "check x and the module") from error
    if not (isinstance(one, torch.Tensor) and isinstance(three, torch.Tensor)):
        do = "wrap it in a module that returns the outputs alone"
        raise _checks.fail("a module that returns one tensor of shape (N,) or (N, O)", f"a {type(one).__name__}", do)
    if one.shape[:1] != (1,) or three.shape[:1] != (3,) or one.shape[1:] != three.shape[1:] or one.ndim > 2:
        got = f"{tuple(one.shape)} for 1 point and {tuple(three.shape)} for 3"
        raise _checks.fail("a module that returns shape (N,) or (N, O), with the points first", got, "reshape its outputs")
    models.check_dtype(str(one.dtype).removeprefix("torch."), dtype)
    return one.numel()


def check_rows(model: Evaluation, pair: np.ndarray) -> None:
    """`InputError` if outputs differ from call to call, or a row depends on another row, on its place, or on their number."""
    with torch.no_grad():
        found = [model(model.tensor(pair[rows])).cpu().numpy() for rows in ([0, 1], [0, 0], [0, 0, 0], [0, 0])]
        moved = _scattered(model)(model.tensor(pair[[0, 0]])).cpu().numpy()
    two, same, three, again = (value.astype(np.float64) for value in found)
    if np.abs(again - same).max() > np.finfo(found[0].dtype).eps ** 0.5 * np.abs(same).max():
        got = "outputs that change from call to call"
        raise _checks.fail("a module that is a function of x alone", got, "take out random numbers, and state that calls change")
    models.compare_rows(two, same, three, moved.astype(np.float64), found[0].dtype)


def _scattered(model: Evaluation) -> Evaluation:
    """A copy with every trained parameter larger or smaller by the fraction `models.STEP`, at random."""
    other = evaluation(model.module, precision(model.module, None))
    rng = np.random.default_rng(0)
    for leaf in other.leaves:
        sign = torch.tensor(rng.integers(2, size=tuple(leaf.shape)) * 2 - 1, device=leaf.device)
        leaf.mul_(1 + models.STEP * sign)
    return other


def line(error: Exception) -> str:
    """What an error says, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
