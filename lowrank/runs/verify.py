"""Whether files are whole, and as near to their originals as they state."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from lowrank import codec, files
from lowrank import format as lrk
from lowrank.errors import (
    FileError,
    FormatError,
    LimitError,
    LowrankError,
    called,
    number_of,
)
from lowrank.format.parts import Parts
from lowrank.io.taking import USUAL, Taking
from lowrank.runs import originals, proof, reread, work
from lowrank.runs.plan import Job
from lowrank.runs.tasks import Outcome, Settings

_AT_A_TIME = 1 << 24  # samples that are decoded together
WHOLE = "whole"
"""State of a file with which all is as it should be; any other is a fault."""


@dataclass(frozen=True, eq=False)
class Verifying(Settings):
    """What `verify` was asked to do with each file; `taking` says how an original is taken."""

    decode: bool = False
    hashed: bool = False
    taking: Taking = USUAL


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
        if isinstance(job, originals.Subject) and job.originals is not None:
            found = originals.nearest(job, parts, settings.taking, max_pixels=settings.max_pixels)
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


def _state(error: LowrankError) -> str:
    if isinstance(error, originals.UnmatchedError):
        return "unmatched"
    return "unreadable" if isinstance(error, FileError | LimitError) else "damaged"


def _memory(name: str) -> LimitError:
    return LimitError(f"not enough memory for {name}")
