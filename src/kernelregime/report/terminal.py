"""The diagnosis in a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from kernelregime.report.words import REGIMES, SECTIONS, TRAINABLE, agreement, beside, claimed, details, headline, sentence, short
from kernelregime.results import Diagnosis, Evidence, Reproduction

_TONES = {"kernel": "green", "near": "yellow", "feature": "magenta", "unknown": "bold", "holds": "green", "fails": "magenta", "none": "dim"}

VERDICTS = {"holds": "green", "fails": "magenta", "inconclusive": "yellow"}


def summary(diagnosis: Diagnosis) -> Any:
    """A rich renderable: the verdict, the evidence beside the theory's predictions, reasons, advice, missing evidence.

    Made for 80 columns; nothing in it depends on colour.
    """
    from rich.console import Group
    from rich.text import Text

    parts: list[Any] = [_verdict(diagnosis)]
    if diagnosis.evidence:
        parts.append(_table(diagnosis))
    todo, already = (tuple(item.text for item in diagnosis.verdict.advice if item.satisfied is so) for so in (False, True))
    lists = (
        ("Why", diagnosis.verdict.reasons),
        ("What to do", todo),
        ("Already so", already),
        ("How the data were read", diagnosis.notes),
        ("What is missing", diagnosis.missing),
    )
    for title, items in lists:
        if items:
            parts += [Text(title, style="bold"), _bullets(items)]
    return Group(*parts)


def _verdict(diagnosis: Diagnosis) -> Any:
    from rich import box
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    regime, trainable = diagnosis.verdict.regime, diagnosis.verdict.trainable
    words = Text("Verdict: ")
    words.append(regime, style=f"bold {_TONES[REGIMES[regime][0]]}")
    words.append(" · ")
    words.append("trainability inconclusive" if trainable == "inconclusive" else trainable, style=f"bold {_TONES[TRAINABLE[trainable][0]]}")
    described = [Text(line) for line in (REGIMES[regime][2], TRAINABLE[trainable][2])]
    title = [Text(headline(diagnosis.config), style="bold"), Text(details(diagnosis.config), style="dim")]
    return Panel(Group(*title, Text(), words, *described), box=box.ROUNDED, title="kernelregime diagnosis", title_align="left")


def _table(diagnosis: Diagnosis) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), expand=False, pad_edge=False)
    table.add_column("Evidence", overflow="fold")
    table.add_column("Measured ± sem (n)", no_wrap=True)
    table.add_column("Theory", no_wrap=True)
    table.add_column("Agreement", min_width=9)
    groups = dict.fromkeys([section.group for section in SECTIONS] + [item.group for item in diagnosis.evidence])
    for group in groups:
        items = [item for item in diagnosis.evidence if item.group == group]
        if items:
            table.add_row(Text(group.capitalize(), style="bold"))
        for item in items:
            table.add_row(*_cells(item, diagnosis.thresholds))
    return table


def _cells(item: Evidence, thresholds: Mapping[str, float]) -> tuple[Any, ...]:
    from rich.padding import Padding
    from rich.text import Text

    kind, word = agreement(item, thresholds)
    measured, size, predicted = beside(item)
    agreed = "–" if kind == "none" else word
    label = Padding(Text(short(item.label)), (0, 0, 0, 2))
    return label, Text(f"{measured} ({size.split()[-1]})" if size else measured), Text(predicted), Text(agreed, style=_TONES.get(kind, ""))


def _bullets(items: tuple[str, ...]) -> Any:
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1))
    for item in items:
        grid.add_row(Text(" -"), Text(sentence(item)))
    return grid


def verdicts(found: Sequence[Reproduction]) -> Any:
    """A rich renderable: for each experiment its claims, what was predicted and measured, and the verdicts."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), expand=False, pad_edge=False)
    table.add_column("Claim", overflow="fold")
    for name in ("Predicted", "Measured ± sem (n)", "Verdict"):
        table.add_column(name, no_wrap=True)
    for result in found:
        table.add_row(
            Text(f"{result.key}  {result.title}", style="bold"), "", "", Text(result.verdict, style=f"bold {VERDICTS[result.verdict]}")
        )
        for claim in result.claims:
            told = Text(claim.verdict, style=VERDICTS[claim.verdict])
            table.add_row(f"  {claim.statement} [{claim.origin}]", *claimed(claim), told)
    return table
