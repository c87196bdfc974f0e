"""A bar on standard error, with the rate and the time left."""

from __future__ import annotations

import sys
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

from lowrank.batch import Outcome


class _Rate(ProgressColumn):
    """Files a second, as measured over the last half minute."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} files/s" if task.speed else "")


def watched(outcomes: Iterator[Outcome], total: int) -> Iterator[Outcome]:
    """Draw a bar while the outcomes pass by.

    What is passed over is taken from the total instead of being counted: it costs no time,
    so counted it would promise that the rest goes as fast.
    """
    columns = (BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    console = Console(stderr=True)
    # Lines on standard output are led around the bar only where both are on the terminal;
    # otherwise they would be drawn there and missing where they belong.
    with Progress(
        *columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty()
    ) as bar:
        task = bar.add_task("", total=total)
        for outcome in outcomes:
            if outcome.skipped:
                total -= 1
                bar.update(task, total=total)
            else:
                bar.advance(task)
            yield outcome
