import inspect
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer

from kernelregime._checks import fail
from kernelregime.cli.commands import command


@dataclass(frozen=True)
class First:
    a_number: Annotated[int, typer.Option(help="A number.")] = 1


@dataclass(frozen=True)
class Second:
    b: Annotated[str, typer.Option(help="A word.")] = "x"


def test_the_fields_of_all_groups_are_the_options_of_a_command():
    seen = []

    def run(first: First, second: Second) -> None:
        """What it does."""
        seen.append((first, second))

    made = command(run, First, Second)
    assert [(p.name, p.default) for p in inspect.signature(made).parameters.values()] == [("a_number", 1), ("b", "x")]
    assert made.__doc__ == "What it does."
    made(a_number=3, b="y")
    assert seen == [(First(3), Second("y"))]


def test_errors_of_input_name_the_flags_of_the_command():
    def run(first: First) -> None:
        raise fail("a_number below most_points", "3", "lower a_number")

    with pytest.raises(ValueError, match="expected --a-number below --points; got 3; lower --a-number"):
        command(run, First, spoken={"most_points": "--points"})(a_number=1)
