"""`kernelregime reproduce`: the claims of the papers, each run with a verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from kernelregime._checks import RunError, counted, fail
from kernelregime.cli import commands, interrupts, options
from kernelregime.cli.progress import bars

SUMMARY = "Run the claims of a paper; each gets a verdict."
EXAMPLES = (
    "Examples:  kernelregime reproduce --list   |   kernelregime reproduce B1 --scale smoke   |   "
    "kernelregime reproduce beyond_infinite_width --scale laptop --resume"
)


@dataclass(frozen=True)
class Running:
    """Which claims, how large, and where."""

    claims: Annotated[list[str] | None, typer.Argument(metavar="[CLAIM|PAPER|all]...", help="B1, beyond_infinite_width, ...")] = None
    catalogue: Annotated[bool, typer.Option("--list", help="Show all claims with what they cost, and run none.")] = False
    scale: Annotated[str, typer.Option(help="Size: smoke (seconds), laptop (minutes) or paper.")] = "laptop"
    out: Annotated[str, typer.Option(help="Folder of results, by scale and claim.")] = "runs/reproduce"
    engine: Annotated[str, typer.Option(help="Cells in threads, processes, dask or dask:tcp://HOST:PORT.")] = "threads"
    workers: Annotated[int | None, typer.Option(help="Cells at one time (default: one thread, or a process a core).")] = None
    resume: Annotated[bool, typer.Option("--resume", help="Go on with stopped runs; keep finished results.")] = False
    overwrite: options.Overwrite = False
    json: options.Json = False
    quiet: options.Quiet = False


def reproduce(running: Running) -> None:
    """Run claims of the papers at a scale, cell by cell, and give each its verdict."""
    from rich.console import Console

    from kernelregime import experiments, grams, report, results

    if running.catalogue:
        _show(experiments.experiments())
        return
    if not running.claims:
        raise fail("a claim or a paper", "none", "name one; kernelregime reproduce --list shows them")
    chosen = {item.key: item for name in running.claims for item in experiments.find(name)}.values()
    grams.engine(running.engine, running.workers)  # which refuses what is none before anything is said
    places = [experiments.place(item, running.scale, running.out) for item in chosen]
    kept = [at.check(resume=running.resume, overwrite=running.overwrite) for at in places]
    if not running.quiet:
        typer.echo(_before(places, kept), err=True)
    found, failures = [], []
    for at in places:
        try:
            found.append(_run(at, running))
        except RunError as error:  # the others go on
            failures.append(error)
            continue
        if not running.json and not running.quiet:
            typer.echo(_line(found[-1]), err=True)
    if running.json:
        typer.echo(results.plain_json([_shown(item) for item in found]))
    elif found:
        Console().print(report.verdicts(found))
    if failures:
        raise RunError("; and ".join(map(str, failures)))


def _run(at: Any, running: Running) -> Any:
    from kernelregime import experiments

    try:
        with bars(running.quiet, rate="cells") as progress:
            return experiments.reproduce(
                at.experiment,
                running.scale,
                folder=running.out,
                engine=running.engine,
                workers=running.workers,
                resume=running.resume,
                overwrite=running.overwrite,
                progress=progress,
            )
    except KeyboardInterrupt:
        told = f"{at.folder} keeps the {len(at.done())} cells that are done; the same command with --resume goes on"
        raise interrupts.Interrupted(told) from None


def _before(places: Sequence[Any], kept: Sequence[bool]) -> str:
    """What will be run, and how long it takes; `kept`: whether what a folder holds is."""
    from kernelregime.report.quantities import duration

    left = [(at.experiment, cell) for at, keep in zip(places, kept) for cell in (at.left() if keep else at.experiment.plan(at.scale))]
    seconds = sum(experiment.seconds(**cell.params) for experiment, cell in left)
    sizes = f"{counted(len(places), 'claim')}, {counted(len(left), 'cell')} to run"
    return f"{sizes}, about {duration(seconds)} on one core besides compilation; results go to {places[0].folder.parent}"


def _line(result: Any) -> str:
    from kernelregime.report.quantities import duration

    counts = {verdict: sum(claim.verdict == verdict for claim in result.claims) for verdict in ("holds", "fails", "inconclusive")}
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    return f"{result.key}  {result.verdict} as printed ({told})  {duration(result.seconds)}"


def _show(every: Sequence[Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from kernelregime.report.quantities import duration

    table = Table(box=None, pad_edge=False)
    for name in ("claim", "paper", "what", "laptop", "paper's size"):
        table.add_column(name, no_wrap=name != "what")
    for item in every:
        table.add_row(item.key, item.paper.name, item.title, duration(item.cost("laptop")), duration(item.cost("paper")))
    Console().print(table)


def _shown(result: Any) -> dict[str, Any]:
    kept = ("statement", "source", "origin", "relation", "predicted", "tolerance", "verdict")
    claims = [
        {name: getattr(claim, name) for name in kept} | {name: getattr(claim.measured, name) for name in ("mean", "sem", "n")}
        for claim in result.claims
    ]
    return {"claim": result.key, "scale": result.scale, "verdict": result.verdict, "seconds": result.seconds, "claims": claims}


command = commands.command(reproduce, Running)
