"""The application: commands, and how errors of input reach the user."""

import sys
import warnings
from typing import NoReturn

import typer

from kernelregime import __version__
from kernelregime.cli import diagnose, empirical, gallery, gram, interrupts, kernel, options, phase, reproduce
from kernelregime.cli.errors import UsageError, failure, usage

app = typer.Typer(
    name="kernelregime",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"max_content_width": 120},  # of a terminal that is as wide
    help="Is this network in the kernel (NTK) regime, and what follows?",
    epilog=(
        "Examples:  kernelregime diagnose --data digits --out runs/first   |   "
        "kernelregime phase --activation tanh --sigma-w2 2 --sigma-b2 0.05"
    ),
)
_KERNELS = f"{options.NAMED}; and {', '.join(options.KERNELS_ONLY)}, a kernel without a φ"


def _end(*paragraphs: str) -> str:
    return "\n\n".join(paragraphs)


app.command("diagnose", short_help=diagnose.SUMMARY, epilog=_end(options.NAMED, diagnose.CODED, diagnose.EXAMPLES))(diagnose.command)
app.command("kernel", short_help=kernel.SUMMARY, epilog=_end(_KERNELS, kernel.EXAMPLES))(kernel.command)
app.command("gram", short_help=gram.SUMMARY, epilog=_end(_KERNELS, gram.EXAMPLES))(gram.command)
app.command("empirical", short_help=empirical.SUMMARY, epilog=_end(*empirical.EXAMPLES))(empirical.command)
app.command("phase", short_help=phase.SUMMARY, epilog=_end(options.NAMED, phase.EXAMPLES))(phase.command)
app.command("gallery", short_help=gallery.SUMMARY, epilog=gallery.EXAMPLES)(gallery.command)
app.command("reproduce", short_help=reproduce.SUMMARY, epilog=reproduce.EXAMPLES)(reproduce.command)


def _version(show: bool) -> None:
    if show:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version and exit.")) -> None:
    pass


def main() -> None:
    """Run the command line. Input that cannot be used is one line on standard error and exit code 2; an interrupt is exit code 130."""
    with interrupts.watched(), warnings.catch_warnings():
        # what overflows is refused, or told by the result's status
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            code = app(prog_name="kernelregime", standalone_mode=False)
        except UsageError as error:
            if type(error).__name__ == "NoArgsIsHelpError":
                error.show()
                sys.exit(2)
            _refuse(usage(error))
        except (KeyboardInterrupt, typer.Abort):
            _interrupted("")
        except interrupts.Interrupted as error:
            _interrupted(f": {error}")
        except Exception as error:
            if interrupts.seen():  # what is left of an interrupt that passed through compiled code
                _interrupted("")
            told = failure(error)
            if told is None:
                raise
            _refuse(told)
        if code == interrupts.CODE:
            _interrupted("")
    sys.exit(code or 0)


def _refuse(message: str) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    sys.exit(2)


def _interrupted(what: str) -> NoReturn:
    typer.echo(f"interrupted{what}", err=True)
    interrupts.leave()
