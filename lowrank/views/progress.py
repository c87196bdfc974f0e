"""A bar on standard error, with the rate and the time left."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TimeRemainingColumn,
)
from rich.text import Text

from lowrank.runs.tasks import Outcome


class _Rate(ProgressColumn):
    """Files a second, as measured over the last half minute."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} files/s" if task.speed else "")


def watched(outcomes: Iterator[Outcome], total: int) -> Iterator[Outcome]:
    """Draw a bar while the outcomes pass by.

    What is passed over is taken from the total instead of being counted: it costs no time,
    so counted it would promise that the rest goes as fast.
    """
    bar = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with bar:
        task = bar.add_task("", total=total)
        for outcome in outcomes:
            if outcome.skipped:
                total -= 1
                bar.update(task, total=total)
            else:
                bar.advance(task)
            bar.stop()  # it goes while others write: they may share the terminal
            yield outcome
            bar.start()
