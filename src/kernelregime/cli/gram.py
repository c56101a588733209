"""`kernelregime gram`: infinite-width Gram matrices of any size, in a store."""

import time
import warnings
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from kernelregime._checks import one_of
from kernelregime.cli import commands, interrupts, options
from kernelregime.cli.progress import bars

SUMMARY = "NTK or NNGP of any number of points, in a store that resumes."
EXAMPLES = (
    "Examples:  kernelregime gram --depth 5 --data digits --store runs/digits.zarr --kind ntk   |   "
    "kernelregime gram --data cifar10 --points 30000 --store cifar10.zarr --memory 1GB --engine processes"
)
KINDS = {"ntk": ("ntk",), "nngp": ("nngp",), "both": ("nngp", "ntk")}


@dataclass(frozen=True)
class Running(options.Storing):
    """Which kernels, and where they go."""

    kind: Annotated[str, typer.Option(help="Kernel: ntk, nngp or both.")] = "ntk"
    verify: Annotated[bool, typer.Option("--verify", help="First read the whole store; compute again what is damaged.")] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("kind", self.kind, KINDS)


def gram(network: options.Network, points: options.Points, running: Running) -> None:
    """NTK or NNGP Gram matrix of the infinitely wide network on any number of points, in a store that a stopped run goes on with."""
    from kernelregime import grams, infinite, results
    from kernelregime.report.quantities import duration

    x = network.points(points.load(most=None))
    problem = infinite.problem(network.build(outputs=1), x, kind=KINDS[running.kind], dtype=points.dtype)
    if running.verify and Path(running.store).exists():
        typer.echo(f"damaged tiles: {grams.store.verify(running.store)}", err=True)
    cost = grams.cost(problem, **running.place)
    if not running.quiet:
        typer.echo(_before(cost, x.shape, running, points.dtype), err=True)
    start = time.perf_counter()
    found = _computed(problem, running)
    seconds = time.perf_counter() - start
    with bars(running.quiet) as progress:
        reports = {}
        for done, (kind, matrix) in enumerate(found.matrices.items()):
            progress("conditioning", done, len(found.matrices))
            reports[kind] = grams.conditioning(matrix)
        progress("conditioning", len(reports), len(reports))
    status = infinite.status(found.error)
    commands.doubt(status)
    if running.json:
        rows = {kind: asdict(report) for kind, report in reports.items()}
        shown = {"store": running.store, "points": len(x), "dtype": points.dtype, "tiles": cost.tiles, "computed": cost.tiles - cost.done}
        typer.echo(results.plain_json({**shown, "seconds": seconds, "quadrature_error": found.error, "status": status, **rows}))
        return
    for kind, report in reports.items():
        typer.echo(commands.conditioned(f"{kind.upper():<5}", report))
    if found.error > 0:
        typer.echo(f"quadrature error of the activation, relative: {found.error:.1e}")
    typer.echo(f"kept in {running.store} after {duration(seconds)}; open it with kernelregime.grams.store.open({running.store!r})")


def _computed(problem: Any, running: Running) -> Any:
    """The matrices; an interrupt says that the store keeps what is done."""
    from kernelregime import grams

    try:
        with bars(running.quiet, rate="tiles") as progress, warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", UserWarning)
            found = grams.assemble(problem, **running.place, progress=partial(progress, f"{running.kind} in tiles"))
    except KeyboardInterrupt:
        raise interrupts.Interrupted(f"{running.store} keeps the tiles that are done; the same command goes on") from None
    for warning in told:
        typer.echo(f"warning: {warning.message}", err=True)
    return found


def _before(cost: Any, shape: tuple[int, ...], running: Running, dtype: str) -> str:
    from kernelregime.diagnosis.size import shown
    from kernelregime.report.quantities import duration

    matrices = {"both": "NNGP and NTK"}.get(running.kind, running.kind.upper())
    kept = f", {cost.done} of them in the store already" if cost.done else ""
    points, *positions, channels = shape
    images = f" of images ({' × '.join(map(str, positions))}, {channels} channel{'s' * (channels > 1)})" if positions else ""
    return (
        f"{matrices}, {points} × {points} {dtype}{images}: {cost.tiles} tiles of {cost.side} points{kept}; {shown(cost.bytes)} on the disk "
        f"({shown(cost.free)} free); about {duration(cost.seconds)} of computing with one worker"
    )


command = commands.command(gram, options.Network, options.Points, Running, spoken=options.POINTS)
