"""Commands whose options are the fields of dataclasses."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from inspect import Parameter, Signature
from typing import Any

import typer

from kernelregime._checks import InputError
from kernelregime.cli.wording import flags, in_flags


def doubt(status: str) -> None:
    """A warning, unless kernels are "reliable"."""
    if status != "reliable":
        typer.echo(f"warning: {status}; use smaller variances, or another --activation", err=True)


def conditioned(name: str, report: Any) -> str:
    """A line on the conditioning of a matrix."""
    least = f"λ_min {report.least:.6g}" if report.whole else f"λ_min at most {report.least:.6g}"
    return (
        f"{name} λ_max {report.largest:.6g}, {least}, rounding N·ε·λ_max {report.rounding:.1e} "
        f"({report.below} below it, {report.negative} negative), {report.status}"
    )


def command(run: Callable[..., None], *groups: type, spoken: Mapping[str, str] | None = None) -> Callable[..., None]:
    """A function with every field of the `groups` (dataclasses) as a keyword, which calls `run` with one instance of each.

    Errors of input name these options by their flags; `spoken`: flags of other names that stand in the library's messages.
    """
    options = [item for group in groups for item in fields(group)]
    known = flags(o.name for o in options) | dict(spoken or {})

    def called(**values: Any) -> None:
        try:
            run(*(group(**{item.name: values[item.name] for item in fields(group)}) for group in groups))
        except InputError as error:
            raise InputError(in_flags(str(error), known)) from error

    parameters = [Parameter(o.name, Parameter.KEYWORD_ONLY, default=o.default, annotation=o.type) for o in options]
    called.__doc__ = run.__doc__
    called.__annotations__ = {o.name: o.type for o in options}
    called.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return called
