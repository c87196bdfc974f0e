"""The command `lowrank verify`: files and trees in, faults and a sum out."""

from __future__ import annotations

import os
import sys
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from lowrank import console
from lowrank.errors import UsageError
from lowrank.options import (
    Jobs,
    Json,
    MaxPixels,
    Quiet,
    Recursive,
    Version,
    examples,
)
from lowrank.views import completion

if TYPE_CHECKING:
    from lowrank.runs.plan import Plan
    from lowrank.runs.verify import Listed

EXAMPLES = examples(
    "lowrank verify photo.lrk",
    "lowrank verify small/ -r --decode -j 2",
    "lowrank verify small/ -r --against photos/",
    "lowrank verify small/ --manifest small.csv",
)
_SUFFIXES = frozenset({".lrk"})


def verify(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT",
            help=".lrk files, folders, or - for stdin.",
            autocompletion=completion.ending(".lrk"),
        ),
    ] = None,
    decode: Annotated[
        bool, typer.Option("--decode", help="Decode each file, too, and throw the picture away.")
    ] = False,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="TREE",
            help="Measure each file against its original, at its place in a folder of images; "
            "farther from it than it states is a fault.",
        ),
    ] = None,
    manifest: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Hold the files against what compress --manifest listed: missing, changed, "
            "exchanged and unlisted ones are faults. -r goes without saying.",
            autocompletion=completion.ending(".csv", ".json"),
        ),
    ] = None,
    recursive: Recursive = False,
    jobs: Jobs = "1",
    max_pixels: MaxPixels = None,
    json: Json = False,
    quiet: Quiet = False,
    version: Version = False,
) -> None:
    """Check that .lrk files are whole: every checksum, and every number that follows.

    A line for each bad file, on standard error, and a sum. The exit code is 1 if any is bad.
    """
    from lowrank import signals, targets

    limit, processes = targets.max_pixels(max_pixels), targets.whole(jobs, "-j", 1)
    if not inputs and manifest is None:
        raise UsageError("nothing to verify; give .lrk files, folders or a --manifest")
    from lowrank.runs import verify as checks
    from lowrank.runs.work import Outcome

    planned, listed = _planned(list(inputs or ()), manifest, recursive=recursive)
    if against is not None:
        from lowrank.io.formats import SUFFIXES

        planned = checks.with_originals(planned, against, suffixes=SUFFIXES)
    settings = checks.Verifying(max_pixels=limit, decode=decode, hashed=listed is not None)
    signals.unwind()
    many = planned.many
    for path, text in planned.notes:
        console.notes(path, (text,), quiet=quiet)
    bar = many and not quiet and not (json and console.on_terminal(sys.stdout))
    outcomes = console.worked_on(
        checks.verify, planned.jobs, settings, processes=processes, quiet=quiet, bar=bar
    )
    if listed:
        whole = any(os.path.isdir(name) for name in inputs or (".",))
        gone = listed.missing(planned) if whole else ()
        outcomes = chain(listed.checked(outcomes), gone)
    failed = (
        Outcome(path, "", error=cause, facts={"state": "unreadable"})
        for path, cause in planned.failed
    )
    tally = checks.Tally(passed=planned.passed)
    for outcome in chain(failed, outcomes):
        tally.add(outcome)
        if outcome.error:
            console.error(outcome.error)
        if json:
            from lowrank.views import as_json

            console.say_json(as_json.verdict_object(outcome), lines=many)
        elif not (quiet or many or outcome.error):
            console.say(outcome.summary)
    if many and json:
        from lowrank.views import as_json

        console.say_json(as_json.tally_object(tally), lines=True)
    elif many and not quiet:
        from lowrank.views import tables

        tables.show(tables.tally(tally))
    raise typer.Exit(1 if tally.bad else 0)


def _planned(
    inputs: list[str], manifest: str | None, *, recursive: bool
) -> tuple[Plan, Listed | None]:
    """Files to verify, and where a manifest has them."""
    from lowrank.runs import plan, verify

    if manifest is None:
        return plan.to_read(inputs, recursive=recursive, suffixes=_SUFFIXES), None
    from lowrank.runs import manifest as lists

    entries = lists.read(manifest)
    folders = [name for name in inputs if os.path.isdir(name)]
    listed = verify.placed(entries, manifest, folders)
    if not inputs:  # the folders that hold what is listed, without what lies below
        holding = {os.path.dirname(path) or os.curdir for path in listed.shown.values()}
        inputs = sorted(filter(os.path.isdir, holding))
    found = plan.Plan(many=True)
    if inputs:
        deep = recursive or bool(folders)
        found = plan.to_read(inputs, recursive=deep, suffixes=_SUFFIXES)
    return found, listed
