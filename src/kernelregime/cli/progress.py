"""Progress on standard error."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kernelregime.cli import interrupts


@contextmanager
def bars(quiet: bool, *, rate: str = "") -> Iterator[Any]:
    """A function progress(task, done, total) that draws one bar per task on standard error (none when `quiet`).

    `rate`: what is counted, to show how many a second. Between steps it raises interrupts that were lost on their way.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    speed = (TextColumn("{task.fields[rate]}"),) if rate else ()
    with Progress(*columns, *speed, console=Console(stderr=True), disable=quiet, refresh_per_second=4) as progress:
        tasks: dict[str, TaskID] = {}

        def report(task: str, done: int, total: int) -> None:
            interrupts.check()
            if task not in tasks:
                tasks[task] = progress.add_task(task, total=total, completed=done, rate="")
            progress.update(tasks[task], completed=done, total=total)
            found = next(item.speed for item in progress.tasks if item.id == tasks[task])
            progress.update(tasks[task], rate=f"{found:.2g} {rate}/s" if found else "")

        interrupts.check()
        yield report
        interrupts.check()
