"""The command `lowrank verify`: files and trees in, faults and a sum out."""

from __future__ import annotations

import os
import sys
from itertools import chain
from typing import TYPE_CHECKING

from lowrank import console
from lowrank.errors import UsageError

if TYPE_CHECKING:
    from lowrank.runs.listed import Listed
    from lowrank.runs.plan import Plan
    from lowrank.runs.tasks import Outcome

_SUFFIXES = frozenset({".lrk"})


def verify(
    inputs: list[str],
    manifest: str | None,
    *,
    decode: bool,
    against: str | None,
    frames: str | None,
    axis: str | None,
    recursive: bool,
    jobs: str,
    max_pixels: str | None,
    json: bool,
    quiet: bool,
) -> int:
    """Check that files are whole: a line for each bad one, a sum, and the exit code.

    The arguments are options as they were typed.
    """
    from lowrank import signals, targets

    limit, processes = targets.max_pixels(max_pixels), targets.whole(jobs, "-j", 1)
    which, along = targets.frames(frames), targets.axis(axis)
    if not inputs and manifest is None:
        raise UsageError("nothing to verify; give .lrk files, folders or a --manifest")
    if against is None and (frames or axis):
        raise UsageError("--frames and --axis say how an original was taken; give --against, too")
    from lowrank.io.taking import Taking
    from lowrank.runs import originals
    from lowrank.runs import verify as checks
    from lowrank.runs.tasks import Outcome

    planned, listed = _planned(inputs, manifest, recursive=recursive)
    if against is not None:
        from lowrank.io.formats import SUFFIXES

        planned = originals.with_originals(planned, against, suffixes=SUFFIXES)
    settings = checks.Verifying(
        max_pixels=limit, decode=decode, hashed=listed is not None,
        taking=Taking(axis=along, frames=which),
    )  # fmt: skip
    signals.unwind()
    many = planned.many
    for path, text in planned.notes:
        console.notes(path, (text,), quiet=quiet)
    bar = many and not quiet and not (json and console.on_terminal(sys.stdout))
    outcomes = console.worked_on(
        checks.verify, planned.jobs, settings, processes=processes, quiet=quiet, bar=bar
    )
    if listed:
        whole = any(os.path.isdir(name) for name in inputs or [os.curdir])
        gone = listed.missing(planned) if whole else ()
        outcomes = chain(listed.checked(outcomes), gone)
    failed = (Outcome(path, "", error=cause) for path, cause in planned.failed)
    tally = checks.Tally(passed=planned.passed)
    for outcome in map(checks.stated, chain(failed, outcomes)):
        tally.add(outcome)
        _say_of(outcome, many=many, json=json, quiet=quiet)
    if many and json:
        from lowrank.views import as_json

        console.say_json(as_json.tally_object(tally), lines=True)
    elif many and not quiet:
        from lowrank.views import tables

        tables.show(tables.tally(tally))
    return 1 if tally.bad else 0


def _say_of(outcome: Outcome, *, many: bool, json: bool, quiet: bool) -> None:
    """Say what is wrong with a file; that it is whole, where it is the only one."""
    if outcome.error:
        console.error(outcome.error)
    if json:
        from lowrank.views import as_json

        console.say_json(as_json.verdict_object(outcome), lines=many)
    elif not (quiet or many or outcome.error):
        console.say(outcome.summary)


def _planned(
    inputs: list[str], manifest: str | None, *, recursive: bool
) -> tuple[Plan, Listed | None]:
    """Files to verify, and where a manifest has them."""
    from lowrank.runs import plan

    if manifest is None:
        return plan.to_read(inputs, recursive=recursive, suffixes=_SUFFIXES), None
    from lowrank.runs import listed as held
    from lowrank.runs import manifest as lists

    entries = lists.read(manifest)
    folders = [name for name in inputs if os.path.isdir(name)]
    listed = held.placed(entries, manifest, folders)
    if not inputs:  # the folders that hold what is listed, without what lies below
        holding = {os.path.dirname(path) or os.curdir for path in listed.shown.values()}
        inputs = sorted(filter(os.path.isdir, holding))
    found = plan.Plan(many=True)
    if inputs:
        deep = recursive or bool(folders)
        found = plan.to_read(inputs, recursive=deep, suffixes=_SUFFIXES)
    return found, listed
