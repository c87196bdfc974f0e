"""What a run says, and where: results on standard output, all else on standard error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from lowrank.errors import FileError, UsageError

if TYPE_CHECKING:
    from lowrank.runs.plan import Job
    from lowrank.runs.work import Outcome, Settings, Worker


def say(line: str, *, aside: bool = False) -> None:
    """Write a line to standard output, or aside, to standard error."""
    stream = sys.stderr if aside else sys.stdout
    if stream is not None:  # it is where a program was started with it closed
        stream.write(f"{line}\n")
        stream.flush()


def notes(name: str, lines: tuple[str, ...], *, quiet: bool) -> None:
    """Say what somebody should know of a file, unless silence was asked for."""
    if not quiet:
        for line in lines:
            say(f"lowrank: note: {name}: {line}", aside=True)


def error(message: Exception | str) -> None:
    """Say in one line what went wrong."""
    say(f"lowrank: error: {' '.join(str(message).split())}", aside=True)


def run(
    worker: Worker,
    planned: list[Job],
    settings: Settings,
    *,
    many: bool,
    processes: int,
    dask: str | None,
    json: bool,
    quiet: bool,
    tables: bool = False,
) -> int:
    """Run jobs and say what became of them.

    Parameters
    ----------
    worker : callable
        `work.compress` or `work.decompress`.
    planned : list of Job
    settings : Settings
    many : bool
        They are a batch, however few: there is a summary, and JSON comes in lines.
    processes : int
    dask : str or None
        Address of a cluster to work on instead.
    json, quiet : bool
    tables : bool
        Show what was measured of each file.

    Returns
    -------
    int
        The exit code: 0, or that of the first failure.
    """
    from lowrank import signals
    from lowrank.runs import work

    to_stdout = any(job.output == "-" for job in planned)
    if to_stdout and json:
        raise UsageError("--json and the output cannot share standard output; give -o a file")
    if to_stdout and sys.stdout is None:
        raise FileError("standard output is closed; give -o a file")
    if to_stdout and _on_terminal(sys.stdout):
        raise UsageError("will not write binary data to a terminal; give -o a file")
    signals.unwind()
    total = work.Total()
    if dask:
        from lowrank.runs import cluster

        outcomes = cluster.run(worker, planned, settings, address=dask)
    elif processes > 1 and len(planned) > 1:
        from lowrank.runs import pool

        outcomes = pool.run(worker, planned, settings, processes=processes)
    else:
        outcomes = (work.attempt(worker, job, settings) for job in planned)
    # Lines of JSON stay as they are: a bar would be drawn among them.
    if many and not quiet and _on_terminal(sys.stderr) and not (json and _on_terminal(sys.stdout)):
        from lowrank.views import progress

        outcomes = progress.watched(outcomes, len(planned))
    for outcome in outcomes:
        total.add(outcome)
        if outcome.error:
            error(outcome.error)
        else:
            notes(outcome.input, outcome.notes, quiet=quiet)
        if json:
            from lowrank.views import as_json

            say(as_json.dumps(as_json.outcome_object(outcome), lines=many))
        elif outcome.data is not None:
            sys.stdout.buffer.write(outcome.data)
            sys.stdout.buffer.flush()
        elif not quiet and not outcome.error:
            _show(outcome, tables=tables)
    if many and json:
        from lowrank.views import as_json

        say(as_json.dumps(as_json.total_object(total), lines=True))
    elif many and not quiet:
        from lowrank.views import tables as view

        view.show(view.total(total))
    return total.code


def _on_terminal(stream: TextIO | None) -> bool:
    """Whether a standard stream is a terminal; it is None where a program is started without."""
    return stream is not None and stream.isatty()


def _show(outcome: Outcome, *, tables: bool) -> None:
    if outcome.skipped:
        say(f"{outcome.input} -> {outcome.output}: exists, skipped")
    elif tables and outcome.report:
        from lowrank.views import tables as view

        view.show(view.report(outcome.report))
    else:
        say(outcome.summary)
