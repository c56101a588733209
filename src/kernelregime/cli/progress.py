"""Progress on standard error."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kernelregime.cli import interrupts


@contextmanager
def bars(quiet: bool) -> Iterator[Any]:
    """A function progress(task, done, total) that draws one bar per task on standard error (none when `quiet`).

    Between steps it raises interrupts that were lost on their way.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet, refresh_per_second=4) as progress:
        tasks: dict[str, TaskID] = {}

        def report(task: str, done: int, total: int) -> None:
            interrupts.check()
            if task not in tasks:
                tasks[task] = progress.add_task(task, total=total)
            progress.update(tasks[task], completed=done, total=total)

        interrupts.check()
        yield report
        interrupts.check()
