"""Whether files are whole, what a manifest lists, and as near to their originals as they state."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lowrank import codec, files, targets
from lowrank import format as lrk
from lowrank.errors import (
    FileError,
    FormatError,
    LimitError,
    LowrankError,
    UsageError,
    called,
    naming,
    number_of,
)
from lowrank.format.parts import Parts
from lowrank.io import folders, states, zarr
from lowrank.io.taking import USUAL, Taking
from lowrank.report import ask, compared
from lowrank.report.compared import Compared
from lowrank.runs import proof, reread, work
from lowrank.runs.manifest import Entry
from lowrank.runs.plan import Job, Plan
from lowrank.runs.tasks import Outcome, Settings

_AT_A_TIME = 1 << 24  # samples that are decoded together
_ERRORS = {"relative_error": 0.002, "psnr_db": 1e-6, "max_abs_error": 1e-6}
"""By which share a listed error may be off: of norms that a file states 11 bits are known."""
WHOLE = "whole"
"""State of a file with which all is as it should be; any other is a fault."""


@dataclass(frozen=True, eq=False)
class Verifying(Settings):
    """What `verify` was asked to do with each file; `taking` says how an original is taken."""

    decode: bool = False
    hashed: bool = False
    taking: Taking = USUAL


@dataclass(frozen=True)
class Subject(Job):
    """A file to verify, and the images that it may have been made from.

    `originals` is None where none is asked for; empty where none was found in `tree`.
    """

    originals: tuple[str, ...] | None = None
    tree: str = ""


@dataclass(eq=False)
class Tally:
    """What became of many files.

    `worst` is the lowest PSNR (dB) of a file beside its original, `worst_input` that file; ""
    where nothing was measured. `passed` counts what folders hold beside `.lrk` files.
    """

    states: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    worst: float = 0.0
    worst_input: str = ""
    passed: Counter[str] = field(default_factory=Counter)

    @property
    def good(self) -> int:
        """Files with which all is as it should be."""
        return self.states[WHOLE]

    @property
    def bad(self) -> int:
        """All others."""
        return self.states.total() - self.good

    def add(self, outcome: Outcome) -> None:
        """Count one more."""
        facts = outcome.facts
        self.states[facts["state"]] += 1
        self.bytes += outcome.bytes_before
        psnr = facts.get("psnr_db")
        if psnr is not None and (not self.worst_input or psnr < self.worst):
            self.worst, self.worst_input = psnr, outcome.input


def verify(job: Job, settings: Verifying, *, repeated: bool = False) -> Outcome:
    """Read one `.lrk` file whole: every checksum, and every number that follows from another.

    Whether it holds is a fact of the outcome, `state`: "whole", "damaged", "unreadable" (the
    file cannot be read), "unlike" (farther from its original than it states), "unmatched" (no
    original).
    """
    if job.afar:
        from lowrank.runs import afar

        return afar.done(verify, job, settings, writes=False)
    facts: dict[str, Any] = {"state": WHOLE}
    error: LowrankError | None = None
    summary, size, name = "", 0, called(job.input)
    try:
        data = files.read_bytes(job.input)
        size = facts["bytes"] = len(data)
        if settings.hashed:
            facts["sha256"] = proof.sha256(data)
        if not data:
            raise FormatError(f"empty file: {name}; get the file again from its source")
        parts = lrk.parse(data, name=job.input, max_pixels=settings.max_pixels)
        head = parts.head
        facts |= {
            **({} if head.frames is None else {"frames": head.frames}),
            "width": head.width, "height": head.height, "mode": head.mode.title,
            "layout": head.layout, "store": head.store, "ranks": list(parts.ranks),
            "stated_error": codec.relative_error(parts),
        }  # fmt: skip
        many = "" if head.frames is None else f"{number_of(head.frames, 'frame')} of "
        summary = (
            f"{name}: whole, {size:,} bytes, {many}{head.width}x{head.height} "
            f"{head.mode.title}, {work.ranks(parts)}"
        )
        if settings.decode:
            _decode(parts)
        if isinstance(job, Subject) and job.originals is not None:
            found = _nearest(job, parts, settings)
            facts |= {
                "against": found.path, "factor_error": found.factor_error,
                "stated_error": found.stated_error, "psnr_db": found.pixels.psnr_db,
                "rmse": found.pixels.rmse, "max_abs_error": found.pixels.max_abs_error,
                "peak": found.pixels.peak, "relative_error": found.sample_error,
            }  # fmt: skip
            if settings.hashed:
                there = filter(files.regular, job.originals)
                facts["originals_sha256"] = [reread.sha256(path) for path in there]
            summary += f"; {beside(facts)}"
            if found.above:
                facts["state"] = "unlike"
                raise FormatError(
                    f"{name} is farther from {found.path} than it states: {beside(facts)}; "
                    "it is not made from this image, or is not what was made"
                )
    except (LowrankError, MemoryError) as cause:
        error = cause if isinstance(cause, LowrankError) else _memory(name)
        if facts["state"] == WHOLE:
            facts["state"] = _state(error)
    return Outcome(job.input, "", bytes_before=size, summary=summary, error=error, facts=facts)


def stated(outcome: Outcome) -> Outcome:
    """The outcome with a `state`, also where `verify` did not come to find one.

    A file was not brought here from where it lies, or the process that read it died.
    """
    if outcome.error is None or "state" in outcome.facts:
        return outcome
    return replace(outcome, facts={"state": _state(outcome.error)} | outcome.facts)


def _decode(parts: Parts) -> None:
    """Decode all samples; of a stack that has parts some frames at a time."""
    if parts.head.frames is None:
        codec.decode(parts)
        return
    from lowrank.objects.stack import LowRankStack

    stack = LowRankStack(parts)
    if not stack.in_parts:
        codec.decode(parts)
        return
    step = max(_AT_A_TIME // math.prod(stack.shape[1:]), 1)
    for a in range(0, len(stack), step):
        stack[a : a + step]


def beside(facts: dict[str, Any]) -> str:
    """Words for a file beside its original."""
    psnr = facts["psnr_db"]
    dB = "equal samples" if psnr is None else f"{psnr:.2f} dB"
    return f"error {facts['factor_error']:.3%}, stated {facts['stated_error']:.3%}, {dB}"


class _UnmatchedError(FileError):
    """There is no original to measure a file against."""


def _state(error: LowrankError) -> str:
    if isinstance(error, _UnmatchedError):
        return "unmatched"
    return "unreadable" if isinstance(error, FileError | LimitError) else "damaged"


def _memory(name: str) -> LimitError:
    return LimitError(f"not enough memory for {name}")


def _nearest(job: Subject, parts: Parts, settings: Verifying) -> Compared:
    """The file beside the original that it is nearest to, of those with its name."""
    name, originals = called(job.input), job.originals or _as_frames(job.tree, parts)
    if not originals:
        raise _UnmatchedError(f"no original of {name} in {job.tree}; leave out --against")
    found: list[Compared] = []
    failures: list[LowrankError] = []
    for path in originals:
        try:
            found.append(_beside(path, parts, settings))
        except UsageError as error:  # another size or mode: another image
            failures.append(_UnmatchedError(f"{name} is not made from {path}: {error}"))
        except LowrankError as error:
            failures.append(_UnmatchedError(f"{name}: its original: {naming(error, path)}"))
    if not found:
        raise failures[0]
    return min(found, key=lambda x: (x.above, x.factor_error))


def _beside(path: str, parts: Parts, settings: Verifying) -> Compared:
    """A file beside one original, which is read in passes where it is large."""
    taking = settings.taking
    later_as = taking if taking.asked else Taking(stack=parts.head.frames is not None)
    with states.unchanged(path):
        later = ask.read_later(path, parts, later_as, max_pixels=settings.max_pixels)
        if later is not None:
            return compared.in_passes(later, parts)
        content = b"" if os.path.isdir(path) else files.read_bytes(path)
    loaded = ask.original(path, content, parts, max_pixels=settings.max_pixels, taking=taking)
    return compared.against(loaded, parts)


def _as_frames(tree: str, parts: Parts) -> tuple[str, ...]:
    """The folder of the originals itself, where it may be the frames of a stack; else none."""
    try:
        there = len(folders.frames_of(tree)[0])
    except FileError:
        return ()
    return (tree,) if parts.head.frames is not None and there >= parts.head.frames else ()


# -- originals ---------------------------------------------------------------------------


def with_originals(plan: Plan, tree: str, *, suffixes: frozenset[str]) -> Plan:
    """Give every file of a plan the images of a tree that it may have been made from.

    Those at the same place in the tree, `sub/a.png` for `sub/a.lrk` and for `sub/a.png.lrk`;
    where there are none, those of the same name anywhere in it. Where there are none of these
    either, the pictures of the folder itself may be the frames of a stack.

    Raises
    ------
    FileError
        There is no such tree.
    UsageError
        It has no name; or is one file, for several.
    """
    if zarr.is_array(tree) or not os.path.isdir(tree):
        if not tree:
            raise UsageError("--against is empty; give the folder of the originals")
        if not os.path.exists(tree):
            raise FileError(f"--against {tree} does not exist; give the folder of the originals")
        if len(plan.jobs) > 1:
            raise UsageError(f"--against {tree} is one file; give the folder of the originals")
        jobs: list[Job] = [Subject(job.input, originals=(tree,)) for job in plan.jobs]
        return replace(plan, jobs=jobs)
    places: dict[str, list[str]] = {}
    names: dict[str, list[str]] = {}
    for base, below, found in os.walk(tree):
        below.sort()
        arrays = [name for name in below if zarr.is_array(os.path.join(base, name))]
        below[:] = [name for name in below if name not in arrays]
        for name in sorted(found + arrays):
            if name in arrays or os.path.splitext(name)[1].lower() in suffixes:
                path = os.path.join(base, name)
                for key in (name, os.path.splitext(name)[0]):
                    place = os.path.normpath(os.path.join(os.path.relpath(base, tree), key))
                    places.setdefault(place, []).append(path)
                    names.setdefault(key, []).append(path)

    def subject(job: Job) -> Subject:
        stem = job.stem or os.path.splitext(os.path.basename(job.input))[0]
        originals = places.get(os.path.normpath(stem)) or names.get(os.path.basename(stem), [])
        frames = os.path.join(tree, stem)
        if not originals and os.path.isdir(frames):  # a folder that became one stack
            originals = [frames]
        return Subject(job.input, originals=tuple(originals), tree=tree)

    return replace(plan, jobs=[subject(job) for job in plan.jobs])


# -- a manifest --------------------------------------------------------------------------


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
