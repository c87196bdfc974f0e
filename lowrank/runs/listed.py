"""Verified files held against the manifest that lists them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lowrank import targets
from lowrank.errors import FileError, FormatError
from lowrank.runs.manifest import Entry
from lowrank.runs.plan import Plan
from lowrank.runs.tasks import Outcome

_ERRORS = {"relative_error": 0.002, "psnr_db": 1e-6, "max_abs_error": 1e-6}
"""By which share a listed error may be off: of norms that a file states 11 bits are known."""


@dataclass(eq=False)
class Listed:
    """What a manifest lists, at the places where its files are looked for.

    Attributes
    ----------
    name : str
        Of the manifest.
    entries : dict of str to Entry
        By the resolved path of the output.
    shown : dict of str to str
        The path of each as messages and jobs have it.
    """

    name: str
    entries: dict[str, Entry]
    shown: dict[str, str]

    def missing(self, plan: Plan) -> Iterator[Outcome]:
        """What is listed, and not in the plan."""
        here = {_resolved(job.input) for job in plan.jobs}
        for path in self.entries.keys() - here:
            shown = self.shown[path]
            error = FileError(f"missing: {shown}, which {self.name} lists")
            yield Outcome(shown, "", error=error, facts={"state": "missing"})

    def checked(self, outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
        """Outcomes of `verify`, each held against what is listed of its file.

        A file that is damaged is that, whatever is listed of it.
        """
        owners = {entry.output_sha256: path for path, entry in self.entries.items()}
        for outcome in outcomes:
            entry = self.entries.get(_resolved(outcome.input))
            found = outcome.facts.get("sha256")
            originals = outcome.facts.pop("originals_sha256", ())  # found for this comparison only
            owner = owners.get(str(found))
            holds = f"holds what {self.name} lists as {self.shown[owner]}" if owner else ""
            if outcome.error:
                yield outcome
            elif entry and entry.output_sha256 == found:
                untrue = _untrue(entry, outcome.facts, originals)
                what = f"is listed in {self.name} with {untrue}"
                yield _faulty(outcome, "misstated", what) if untrue else outcome
            elif entry is None:
                what = f"is not listed in {self.name}" + (f", and {holds}" if holds else "")
                yield _faulty(outcome, "extra", what)
            elif holds:
                yield _faulty(outcome, "exchanged", holds)
            else:
                yield _faulty(outcome, "changed", f"is not the file that {self.name} lists")


def _untrue(entry: Entry, facts: dict[str, Any], originals: Sequence[str]) -> str:
    """The first number that is listed of a file and is not what was found; "" if all are.

    Errors are known beside an original only. A file whose picture was not at hand has none.
    """
    if entry.output_bytes != facts["bytes"]:
        return f"{entry.output_bytes:,} bytes, and has {facts['bytes']:,}"
    if list(entry.ranks) != facts["ranks"]:
        listed, there = targets.several(entry.ranks), targets.several(facts["ranks"])
        return f"rank {listed or 'none'}, and has {there}"
    if entry.relative_error is None or "against" not in facts:
        return ""
    if originals and entry.input_sha256 not in originals:
        return f"SHA-256 {entry.input_sha256} of its original, and {facts['against']} has another"
    for name, slack in _ERRORS.items():
        listed, there = getattr(entry, name), facts[name]
        known = None not in (listed, there)
        if abs(listed - there) > slack * abs(there) if known else listed is not there:
            return f"{name} {_shown(listed)}, and is measured as {_shown(there)}"
    return ""


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"


def _faulty(outcome: Outcome, state: str, what: str) -> Outcome:
    error = FormatError(f"{state}: {outcome.input} {what}")
    return replace(outcome, error=error, facts=outcome.facts | {"state": state})


def placed(entries: list[Entry], name: str, folders: list[str]) -> Listed:
    """Find the place of a manifest's files: an archive may have moved since.

    Below the folders that are verified, or as they are written, or beside the manifest; with as
    many leading folders left out as leaves the most of them there.
    """
    outputs = [entry.output for entry in entries]
    bases = folders or ["", os.path.dirname(name) or os.curdir]
    depth = max((len(_components(output)) for output in outputs), default=1)
    candidates = [] if folders else [outputs]
    for base in bases[0 if folders else 1 :]:
        for leave in range(depth):
            candidates.append([os.path.join(base, *_without(x, leave)) for x in outputs])
    best = max(candidates, key=lambda paths: sum(map(os.path.lexists, paths)), default=outputs)
    keys = [_resolved(path) for path in best]
    return Listed(name, dict(zip(keys, entries, strict=True)), dict(zip(keys, best, strict=True)))


def _components(path: str) -> list[str]:
    parts = os.path.splitdrive(path)[1].split("/")
    return [x for x in parts if x not in ("", os.curdir, os.pardir)]


def _without(path: str, leave: int) -> list[str]:
    """A path's components without so many leading ones; its name stays."""
    parts = _components(path)
    return parts[min(leave, len(parts) - 1) :]


def _resolved(path: str) -> str:
    return os.path.normcase(os.path.realpath(path))
