"""`kernelregime gallery`: all claims that were run, on pages that need no network."""

from dataclasses import dataclass
from typing import Annotated

import typer

from kernelregime.cli import commands, options

SUMMARY = "Pages of all claims with their verdicts and figures."
EXAMPLES = "Examples:  kernelregime gallery   |   kernelregime gallery --results runs/reproduce/laptop --out gallery --overwrite"


@dataclass(frozen=True)
class Showing:
    """What is shown, and where."""

    results: Annotated[str, typer.Option(help="Folder with results of kernelregime reproduce.")] = "runs/reproduce"
    out: Annotated[str, typer.Option(help="Folder for the pages; it must be new or empty.")] = "runs/gallery"
    overwrite: options.Overwrite = False


def gallery(showing: Showing) -> None:
    """Pages of all claims that were run: statement, numbers, verdict, figures in the papers' layouts; computes nothing."""
    from kernelregime import report

    path = report.gallery.write(report.gallery.found_in(showing.results), showing.out, overwrite=showing.overwrite)
    typer.echo(f"open {path}")


command = commands.command(gallery, Showing)
