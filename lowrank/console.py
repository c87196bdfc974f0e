"""What a run says, and where: results on standard output, all else on standard error."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, takewhile
from typing import TYPE_CHECKING, Any, TextIO

from lowrank.errors import FileError, UsageError, called, printable

if TYPE_CHECKING:
    from lowrank.report.ask import Result
    from lowrank.runs.plan import Job, Plan
    from lowrank.runs.tasks import Outcome, Settings, Worker


def say(line: str, *, aside: bool = False) -> None:
    """Write a line to standard output, or aside, to standard error.

    It stays one line, and steers no terminal, whatever name or text it quotes.
    """
    _write(printable(line), sys.stderr if aside else sys.stdout)


_told = False


def say_json(fields: dict[str, Any], *, lines: bool = False) -> None:
    """Write an object to standard output."""
    global _told  # noqa: PLW0603 - there is one standard output
    from lowrank.views import as_json

    _told = True
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    _write(as_json.dumps(fields, lines=lines, encoding=encoding), sys.stdout)


def _write(text: str, stream: TextIO | None) -> None:
    if stream is not None:  # it is where a program was started with it closed
        stream.write(f"{text}\n")
        stream.flush()


def note(text: str, *, quiet: bool) -> None:
    """Say what somebody should know, unless silence was asked for."""
    if not quiet:
        say(f"lowrank: note: {text}", aside=True)


def notes(name: str, lines: tuple[str, ...], *, quiet: bool) -> None:
    """Say what somebody should know of a file."""
    for line in lines:
        note(f"{called(name)}: {line}", quiet=quiet)


def error(message: Exception | str) -> None:
    """Say in one line what went wrong."""
    lines = (line.strip() for line in str(message).splitlines())
    try:
        say(f"lowrank: error: {' '.join(filter(None, lines))}", aside=True)
    except OSError:  # nobody can be told, but by the exit code
        let_go()


def failed(message: Exception | str, typed: list[str]) -> None:
    """Say why a command ends early: in one line, and as JSON if that was asked for.

    Parameters
    ----------
    message : Exception or str
    typed : list of str
        The command line. Where objects were written already, what they say stands.
    """
    error(message)
    if "--json" in takewhile(lambda word: word != "--", typed) and not _told:
        try:
            say_json({"error": printable(str(message))}, lines=True)
        except OSError:
            let_go()


def mistyped(error: Exception, message: str, typed: list[str]) -> None:
    """Say what is wrong with a command line, by Typer's words, and where help is."""
    command = getattr(getattr(error, "ctx", None), "command_path", "lowrank")
    first = next(iter(typed[1:]), "")
    if command == "lowrank" and message.startswith("Option ") and first.isalpha():
        command = f"lowrank {first}"  # the error of an option without its value knows no command
    dashed = (word for word in typed[1:] if word.startswith("-") and word != "-")
    named = next(filter(os.path.exists, dashed), "")
    if named:
        advice = f"a file whose name begins so is given as {os.path.join(os.curdir, named)}"
    elif command != "lowrank":
        advice = f"{command} --help lists its options"
    elif os.path.exists(first):
        advice = f"give one before a file: lowrank compress {first}"
    elif first.startswith("-"):
        advice = "options stand after a command: lowrank --help"
    else:
        advice = "lowrank --help lists commands and options"
    failed(f"{message.rstrip('.')}; {advice}", typed)


def run(
    worker: Worker,
    plan: Plan,
    settings: Settings,
    *,
    processes: int,
    dask: str | None,
    json: bool,
    quiet: bool,
    tables: bool = False,
    manifest: str | None = None,
) -> int:
    """Run jobs and say what became of them.

    Parameters
    ----------
    worker : callable
        `work.compress` or `work.decompress`.
    plan : Plan
        Of a batch there is a summary, and JSON comes in lines.
    settings : Settings
    processes : int
    dask : str or None
        Address of a cluster to work on instead.
    json, quiet : bool
    tables : bool
        Show what was measured of each file.
    manifest : str or None
        Where to list what was made.

    Returns
    -------
    int
        The exit code: 0, or that of the first failure.
    """
    from lowrank import signals
    from lowrank.runs import tasks

    planned, many = plan.jobs, plan.many
    _check_streams(plan, settings, json=json)
    over = settings.force or settings.skip_existing
    if manifest is not None:
        from lowrank.runs import manifest as lists

        lists.check(manifest, [(job.input, job.output) for job in planned], force=over)
    signals.unwind()
    total = tasks.Total(passed=plan.passed)
    for path, text in plan.notes:
        notes(path, (text,), quiet=quiet)
    bar = many and not quiet and not (json and on_terminal(sys.stdout))
    outcomes = worked_on(
        worker, planned, settings, processes=processes, dask=dask, quiet=quiet, bar=bar
    )
    listed = []
    unread = (tasks.Outcome(path, "", error=cause) for path, cause in plan.failed)
    for outcome in chain(unread, outcomes):
        total.add(outcome)
        if outcome.entry is not None:
            listed.append(outcome.entry)
        _say_of(outcome, many=many, json=json, quiet=quiet, tables=tables)
    if manifest is not None:
        lists.write(manifest, listed, force=over)
        if total.failed:
            note(f"{manifest} does not list what failed", quiet=quiet)
    if many and json:
        from lowrank.views import as_json

        say_json(as_json.total_object(total), lines=True)
    elif many and not quiet:
        from lowrank.views import tables as view

        view.show(view.total(total))
    return total.code


def _say_of(outcome: Outcome, *, many: bool, json: bool, quiet: bool, tables: bool) -> None:
    """Say what became of a file, of one or of many; or write what it became."""
    if outcome.error:
        said = str(outcome.error)
        error(said if not many or outcome.input in said else f"{outcome.input}: {said}")
    else:
        notes(outcome.input, outcome.notes, quiet=quiet)
    if json:
        from lowrank.views import as_json

        say_json(as_json.outcome_object(outcome), lines=many)
    elif outcome.data is not None:
        sys.stdout.buffer.write(outcome.data)
        sys.stdout.buffer.flush()
    elif outcome.error or quiet:
        return
    elif outcome.skipped:
        say(f"{outcome.input} -> {outcome.output}: exists, skipped")
    elif tables and outcome.report:
        from lowrank.views import tables as view

        view.show(view.report(outcome.report))
    else:
        say(outcome.summary)


def _check_streams(plan: Plan, settings: Settings, *, json: bool) -> None:
    """Refuse early what standard input and output cannot give or take."""
    planned = plan.jobs
    to_stdout = any(job.output == "-" for job in planned)
    if to_stdout and json:
        raise UsageError("--json and the output cannot share standard output; give -o a file")
    nameless = any(job.output is job.stem is None for job in planned)
    traced = settings.prints and nameless and not json
    if (to_stdout or traced) and sys.stdout is None:
        raise FileError("standard output is closed; give -o a file")
    if to_stdout and on_terminal(sys.stdout):
        raise UsageError("will not write binary data to a terminal; give -o a file")
    if plan.many and traced:
        raise UsageError("several traces cannot share standard output; give -o a folder")
    if settings.preserve and any("-" in (job.input, job.output) for job in planned):
        raise UsageError("-p keeps times and mode of a file, which a stream has not; leave it out")


def worked_on(
    worker: Worker,
    jobs: list[Job],
    settings: Settings,
    *,
    processes: int,
    quiet: bool,
    bar: bool,
    dask: str | None = None,
) -> Iterator[Outcome]:
    """Outcomes of jobs as they come, from wherever they are worked on.

    `bar` draws one while they do, on a terminal. Lines of JSON that go there stay as they are:
    it would be drawn among them.
    """
    if dask is not None:
        from lowrank.runs import cluster

        outcomes = cluster.run(
            worker, jobs, settings, address=dask, say=lambda text: note(text, quiet=quiet)
        )
    elif processes > 1 and len(jobs) > 1:
        from lowrank.runs import pool

        outcomes = pool.run(worker, jobs, settings, processes=processes)
    else:
        alone = len(jobs) == 1 and not bar
        outcomes = (_attempt(worker, job, settings, quiet=quiet or not alone) for job in jobs)
    if bar and on_terminal(sys.stderr):
        from lowrank.views import progress

        outcomes = progress.watched(outcomes, len(jobs))
    return outcomes


def _attempt(worker: Worker, job: Job, settings: Settings, *, quiet: bool) -> Outcome:
    from lowrank.runs import work

    with waiting(quiet=quiet):
        return work.attempt(worker, job, settings)


@contextmanager
def waiting(*, quiet: bool) -> Iterator[None]:
    """Show on a terminal how far a long piece of work is, while it runs."""
    if quiet or sys.stderr is None or not on_terminal(sys.stderr):
        yield
        return
    from lowrank.views import waiting as line

    with line.shown(sys.stderr):
        yield


def check_page(name: str, sources: list[str], *, force: bool) -> None:
    """Refuse early a page that cannot be, or whose name says that it is something else."""
    from lowrank import files
    from lowrank.io import urls
    from lowrank.io.formats import SUFFIXES

    stem, suffix = os.path.splitext(name)
    elsewhere = name == "-" or urls.is_url(name)
    if elsewhere or suffix.lower() in SUFFIXES | {".lrk"}:
        stem = "page" if elsewhere else stem
        raise UsageError(f"--html writes a page, not {name}; give --html {stem}.html")
    files.check_output(name, force=force, inputs=sources, option="--html")


def write_page(name: str, result: Result, sources: list[str], *, force: bool, quiet: bool) -> None:
    """Write a report as a page, and say so."""
    from lowrank import files, signals

    signals.unwind()
    with waiting(quiet=quiet):
        page = _page(result)
    files.write_atomic(name, page, force=force, allowed=files.permissions(*sources))
    if not quiet:
        say(f"{sources[0]} -> {name}: {len(page):,} bytes")


def show_report(result: Result, *, preview: bool | None) -> bool:
    """Show the tables of a report, below small pictures where these are wished and can be drawn.

    Returns
    -------
    bool
        There were pictures.
    """
    from lowrank.views import tables

    small = []
    if preview or (preview is None and on_terminal(sys.stdout)):
        from lowrank.views import preview as pictures

        small = pictures.of(result, wish=preview)
    tables.show(*small, tables.result(result))
    return bool(small)


def _page(result: Result) -> bytes:
    if result.reports[0].stack is not None:
        from lowrank.report import gallery
        from lowrank.views import stack_page

        return stack_page.page(result, gallery.of(result)).encode()
    from lowrank.report import exhibit
    from lowrank.views import html

    return html.page(result, exhibit.of(result)).encode()


def begin() -> tuple[TextIO, TextIO]:
    """Make ready for a run; of one before it, in the same process, nothing is left.

    Returns
    -------
    TextIO, TextIO
        Standard output and error, whatever comes to stand in their places.
    """
    global _told  # noqa: PLW0603 - as above

    _told = False
    occupy_closed_streams()
    buffer_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without σ still gets its table
    return sys.stdout, sys.stderr


def occupy_closed_streams() -> None:
    """Take the places of closed standard streams: no file of ours may come to stand there."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free place


def buffer_streams() -> None:
    """Give standard output and error the buffers that PYTHONUNBUFFERED takes from them.

    A raw stream writes a part of what it is given, on a disk that gets full, and Python's text
    on top of it does not look how much that was.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        raw = getattr(stream, "buffer", None)
        if not isinstance(raw, io.RawIOBase):
            continue
        encoding, errors = stream.encoding, stream.errors
        stream.flush()
        stream.detach()
        whole = io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, write_through=True)
        setattr(sys, name, whole)


def let_go(*streams: TextIO | None) -> None:
    """Let what could not be written to these streams, or the standard ones, go nowhere.

    Python would try again at its end, say that it failed again, and exit with 120.
    """
    for stream in streams or (sys.stdout, sys.stderr):
        if stream is None:
            continue
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def on_terminal(stream: TextIO | None) -> bool:
    """Whether a standard stream is a terminal; it is None where a program is started without."""
    return stream is not None and stream.isatty()
