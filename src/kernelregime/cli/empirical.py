"""`kernelregime empirical`: the NTK of anyone's model, in a store."""

import inspect
import os
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from kernelregime._checks import fail
from kernelregime.cli import commands, interrupts, options
from kernelregime.cli.progress import bars

SUMMARY = "NTK of your own model on data, in a store that resumes."
EXAMPLES = (
    "The factory takes no arguments, or some of shape (of one point), seed and classes by name, and returns what empirical.ntk takes: "
    "a pair (f, params), or a Flax, NNX, Equinox or PyTorch module.",
    "Examples:  kernelregime empirical --model mynet:build --data cifar10 --points 100 --store runs/mine.zarr   |   "
    "kernelregime empirical --model mynet:build --data digits --flat --by-layer --explain",
)


@dataclass(frozen=True)
class Asked:
    """The model, and what of its kernel is computed how."""

    model: Annotated[str, typer.Option(help="package.module:factory, importable from here.")] = ""
    flat: Annotated[bool, typer.Option("--flat", help="Points as vectors (default: images as images, channels last).")] = False
    output: Annotated[str, typer.Option(help="trace, full, diagonal or pseudo.")] = "trace"
    by_layer: Annotated[bool, typer.Option("--by-layer", help="The kernel of every group of parameters; they add up.")] = False
    method: Annotated[str, typer.Option(help="auto, structured, jacobian or products.")] = "auto"
    explain: Annotated[bool, typer.Option("--explain", help="Say what would be done and why, and stop.")] = False

    def __post_init__(self) -> None:
        if self.model.count(":") != 1 or not all(part.strip() for part in self.model.split(":")):
            raise fail("--model package.module:factory", repr(self.model), "name the module and the function in it that makes the model")


@dataclass(frozen=True)
class Points(options.Points):
    """Points, in the precision of the model unless told otherwise."""

    dtype: Annotated[str | None, typer.Option(help="Precision: float32 or float64 (default: that of the parameters).")] = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Running(options.Storing):
    """Where the kernel goes, and how it is computed."""

    store: Annotated[str, typer.Option(help="Zarr store, made or resumed.")] = "runs/empirical.zarr"


def empirical(asked: Asked, points: Points, running: Running) -> None:
    """Empirical NTK of your own model on data, in a store that a stopped run goes on with."""
    from kernelregime import empirical as library
    from kernelregime import grams, results

    found = points.load(most=None)
    shaped = found.shape and not asked.flat
    x = options.images(found.x.reshape(len(found.x), *found.shape)) if shaped else found.x
    model = library.as_model(made(asked.model, shape=x.shape[1:], seed=points.seed, classes=len(found.classes) or None))
    chosen: dict[str, Any] = {"output": asked.output, "by_layer": asked.by_layer, "method": asked.method, "dtype": points.dtype}
    place = running.place
    if asked.explain:
        told = library.explain(model, x, **chosen, memory=place["memory"])
        typer.echo(results.plain_json(asdict(told)) if running.json else str(told))
        return
    if not running.quiet:
        in_jax = isinstance(model, library.Model)
        typer.echo(library.explain(model, x, **chosen, memory=place["memory"]) if in_jax else "\n".join(model.notes), err=True)
    start = time.perf_counter()
    try:
        with bars(running.quiet, rate="tiles") as progress:
            kernel = library.ntk(model, x, **chosen, **place, progress=partial(progress, "ntk in tiles"))
    except KeyboardInterrupt:
        raise interrupts.Interrupted(f"{running.store} keeps the tiles that are done; the same command goes on") from None
    seconds = time.perf_counter() - start
    kernels = kernel if asked.by_layer else {"ntk": kernel}
    square = {name: grams.conditioning(part) for name, part in kernels.items() if part.ndim == 2}
    if running.json:
        rows = {name: asdict(report) for name, report in square.items()}
        shown = {"store": running.store, "points": len(x), "seconds": seconds, "notes": model.notes}
        typer.echo(results.plain_json({**shown, "shapes": {name: part.shape for name, part in kernels.items()}, **rows}))
        return
    for name, report in square.items():
        typer.echo(commands.conditioned(f"{name:<12}", report))
    typer.echo(f"kept in {running.store} after {seconds:.3g} s; open it with kernelregime.grams.store.open({running.store!r})")


def made(name: str, **given: Any) -> Any:
    """The model that the factory `name`, module:function, makes; of `given` it gets what it has parameters for."""
    module, _, function = name.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        loaded = import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module == error.name or module.startswith(f"{error.name}.")):
            raise
        do = f"run in the folder of {Path(*module.split('.'))}.py, or install it"
        raise fail(f"a module {module} that can be imported", "none of this name", do) from None
    finally:
        sys.path.remove(os.getcwd())
    factory = getattr(loaded, function, None)
    if not callable(factory):
        there = ", ".join(item for item, value in vars(loaded).items() if callable(value) and not item.startswith("_")) or "no function"
        raise fail(f"a function {function} in {module}", f"{there} in it", "name the function that makes the model")
    wanted = inspect.signature(factory).parameters
    needed = [p.name for p in wanted.values() if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    unknown = [item for item in needed if item not in given]
    if unknown:
        raise fail(f"a factory of no arguments, or of {', '.join(given)}", f"one that needs {', '.join(unknown)}", "give them defaults")
    return factory(**{item: value for item, value in given.items() if item in wanted})


command = commands.command(empirical, Asked, Points, Running, spoken=options.POINTS)
