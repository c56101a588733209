"""The checked arguments of a training run."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from kernelregime import _precision
from kernelregime._checks import array, fail, integer, one_of, real
from kernelregime.training.checkpoint import check_place, fingerprint, identity
from kernelregime.training.loop import Rules
from kernelregime.training.losses import LOSSES, REDUCTIONS, check_targets, loss_function
from kernelregime.training.optimizers import Factory, factory, transformations
from kernelregime.training.probing import chosen_steps


@dataclass(frozen=True)
class Plan:
    """What a run does: arrays on the host in the working precision, rules to compile, and where to keep the run (`path`, `mark`)."""

    rules: Rules
    params: Any
    x: np.ndarray
    y: np.ndarray
    rates: np.ndarray
    key: Any
    stop_fraction: float | None
    steps: int
    probe_steps: tuple[int, ...]
    dtype: np.dtype
    path: Path | None
    mark: str


@dataclass(frozen=True)
class Recipe:
    """How to train: arguments of `train`, as the user gave them."""

    steps: int
    learning_rate: Any
    optimizer: str | Factory
    loss: str
    reduction: str
    batch_size: int | None
    stop_fraction: float | None
    probe_steps: Sequence[int] | None
    dtype: Any
    key: Any


def checked(
    f: Callable[[Any, Any], Any],
    params: Any,
    x: Any,
    y: Any,
    recipe: Recipe,
    *,
    probe_names: Sequence[str],
    checkpoint: str | os.PathLike[str] | None,
    depends_on: Mapping[str, Any],
) -> Plan:
    """The plan, or an `InputError` that names the first argument that cannot be used."""
    one_of("loss", recipe.loss, LOSSES)
    one_of("reduction", recipe.reduction, REDUCTIONS)
    stacked, working = _params(params, recipe.dtype)
    points, targets = _data(x, y, recipe.loss, working)
    total = integer("steps", recipe.steps)
    if total > np.iinfo(np.int32).max:
        raise fail("steps below 2³¹", total, "train in several runs")
    rates = _rates(recipe.learning_rate, len(jax.tree.leaves(stacked)[0]))
    size = _batch_size(recipe.batch_size, len(points))
    fraction = None if recipe.stop_fraction is None else real("stop_fraction", recipe.stop_fraction, above=0.0, most=1.0)
    times = chosen_steps(recipe.probe_steps, total)
    make = factory(recipe.optimizer)
    words = {
        "versions": [jax.__version__, optax.__version__],
        "steps": total,
        "optimizer": recipe.optimizer if isinstance(recipe.optimizer, str) else identity(recipe.optimizer),
        "loss": [recipe.loss, recipe.reduction],
        "batch_size": size,
        "stop_fraction": fraction,
        "probes": [list(probe_names), list(times)],
    }
    order, drawn_from = (None, None) if size is None else (recipe.key, _key(recipe.key))
    path = None if checkpoint is None else Path(checkpoint)
    mark = "" if path is None else _mark(path, words, depends_on, stacked, x=points, y=targets, rates=rates, key=drawn_from)
    rules = Rules(f, loss_function(recipe.loss, recipe.reduction), transformations(make, rates), size)
    _outputs(f, stacked, points, targets)
    return Plan(rules, stacked, points, targets, rates.astype(working), order, fraction, total, times, working, path, mark)


@contextmanager
def conventions(dtype: Any) -> Iterator[None]:
    """The precision of the run; and promotion as optax needs it, which does not run under the strict flags that a caller may have set."""
    with _precision.enter(dtype), jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def _params(params: Any, dtype: Any) -> tuple[Any, np.dtype]:
    """Params as NumPy arrays in the working precision, checked for one leading axis of seeds."""
    leaves, structure = jax.tree.flatten(params)
    if not leaves:
        raise fail("params with at least one array", "none", "initialize the model first")
    working = _precision.resolve(dtype, *leaves)
    arrays = [array("every array of params", leaf) for leaf in leaves]
    seeds = {a.shape[0] if a.ndim else None for a in arrays}
    if len(seeds) > 1 or None in seeds:
        got = f"shapes {', '.join(str(a.shape) for a in arrays[:4])}"
        raise fail("params stacked along one leading axis of seeds", got, "stack them (for one seed: a[None] for every array a)")
    bad = [a.dtype for a in arrays if a.dtype.kind in "iub"]
    if bad:
        raise fail("params of floating-point numbers", f"dtype {bad[0]}", "keep integers and flags out of params (close over them in f)")
    return jax.tree.unflatten(structure, [a.astype(working) for a in arrays]), working


def _data(x: Any, y: Any, loss: str, working: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Points and targets in the working precision (integers stay what they are)."""
    points = array("x", x)
    targets = array("y", y, ndim=2, rows=len(points)).astype(working)
    check_targets(loss, targets)
    return points.astype(working) if points.dtype.kind not in "iub" else points, targets


def _rates(learning_rate: Any, seeds: int) -> np.ndarray:
    rates = array("learning_rate", learning_rate, ndim=(0, 1)).astype(np.float64)
    if rates.ndim and len(rates) != seeds:
        raise fail(f"one learning_rate, or one for each of {seeds} seeds", f"{len(rates)}", "give a number or an array (S,)")
    if (rates <= 0).any():
        raise fail("a learning_rate above zero", f"{rates.min():g}", "change it")
    return np.broadcast_to(rates, (seeds,)).copy()


def _batch_size(batch_size: int | None, points: int) -> int | None:
    if batch_size is None or integer("batch_size", batch_size) == points:
        return None
    if batch_size > points:
        raise fail(f"batch_size of at most {points}, the number of points", batch_size, "give a smaller one, or None for full-batch steps")
    return int(batch_size)


def _key(key: Any) -> np.ndarray:
    """The key's words, from which the order of minibatches is drawn."""
    try:
        words = np.asarray(jax.random.key_data(key))
    except (TypeError, ValueError, AttributeError):
        words = np.zeros(0, np.uint32)
    if words.ndim != 1 or words.size == 0:
        got = "None" if key is None else f"a {type(key).__name__}"
        raise fail("one JAX PRNG key for the order of minibatches", got, "give key=jax.random.key(0)")
    return words


def _mark(path: Path, words: dict[str, Any], depends_on: Mapping[str, Any], params: Any, **arrays: np.ndarray | None) -> str:
    check_place(path)
    leaves, structure = jax.tree.flatten(params)
    named = {f"params/{k}": leaf for k, leaf in enumerate(leaves)} | {name: a for name, a in arrays.items() if a is not None}
    named |= {f"depends_on/{name}": array(f"depends_on[{name!r}]", value) for name, value in sorted(depends_on.items())}
    return fingerprint({**words, "params": str(structure)}, named)


def _outputs(f: Callable[[Any, Any], Any], params: Any, x: np.ndarray, y: np.ndarray) -> None:
    """An error unless one set of params gives outputs in the shape of the targets."""
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), params)
    with conventions(y.dtype):
        out = jax.eval_shape(f, one, jax.ShapeDtypeStruct(x.shape, x.dtype))
    got = getattr(out, "shape", None)
    if got != y.shape:
        what = f"a {type(out).__name__}" if got is None else f"shape {got}"
        raise fail(f"f(params, x) of the shape of y, {y.shape}", what, "match the network's outputs and the targets")
