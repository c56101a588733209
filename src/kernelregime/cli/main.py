"""The application: commands, and how errors of input reach the user."""

import sys

import typer

from kernelregime import __version__
from kernelregime._checks import InputError
from kernelregime.cli import diagnose, kernel, phase

app = typer.Typer(
    name="kernelregime",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Is this network in the kernel (NTK) regime, and what follows?",
    epilog=(
        "Examples:  kernelregime diagnose --data digits --out runs/first   |   "
        "kernelregime phase --activation tanh --sigma-w2 2 --sigma-b2 0.05"
    ),
)
app.command("diagnose", epilog=diagnose.EXAMPLES)(diagnose.command)
app.command("kernel", epilog=kernel.EXAMPLES)(kernel.command)
app.command("phase", epilog=phase.EXAMPLES)(phase.command)


def _version(show: bool) -> None:
    if show:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version and exit.")) -> None:
    pass


def main() -> None:
    """Run the command line. Input that cannot be used is one line on standard error and exit code 2; an interrupt is exit code 130."""
    try:
        app()
    except InputError as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        sys.exit(2)
    except OSError as error:
        got = f"{error.strerror or error} ({error.filename})" if error.filename else str(error)
        typer.echo(f"error: expected files that can be read and written; got {got}; check the path, its permissions and the disk", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        sys.exit(130)
