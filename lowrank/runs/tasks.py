"""What the commands are asked to do with a file, and what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lowrank.errors import LowrankError
from lowrank.io.taking import USUAL as WHATEVER
from lowrank.io.taking import Taking
from lowrank.limits import DEFAULT_MAX_PIXELS
from lowrank.targets import USUAL, Target

if TYPE_CHECKING:
    from lowrank.report import Report
    from lowrank.runs.manifest import Entry


@dataclass(frozen=True, eq=False)
class Settings:
    """What either command was asked to do with each file."""

    max_pixels: int = DEFAULT_MAX_PIXELS
    force: bool = False
    skip_existing: bool = False
    preserve: bool = False

    @property
    def prints(self) -> bool:
        """Whether an output without a name is printed, and no file."""
        return False


@dataclass(frozen=True, eq=False)
class Compressing(Settings):
    """What `compress` was asked to do.

    `measure` wants a report of what is written; `check` has it read back and decoded before it
    takes its name; `manifest` wants an entry for the list of that name. `memory` is what may be
    taken of it, in bytes, by what is read in passes, and asks for passes; `resume` the file in
    which they are kept; `spread` the cluster that one large source is spread over.
    """

    target: Target = USUAL
    layout: str | None = None
    store: str | None = None
    measure: bool = False
    nodata: float | None = None
    taking: Taking = WHATEVER
    check: bool = False
    manifest: str | None = None
    certify: bool = False
    memory: int | None = None
    resume: str | None = None
    spread: str | None = None


@dataclass(frozen=True, eq=False)
class Decompressing(Settings):
    """What `decompress` was asked to do."""

    rank: int | None = None
    partial: bool = False
    format: str | None = None
    png_level: int = 1
    frames: int | slice | None = None
    pixel: tuple[int, int] | None = None

    @property
    def prints(self) -> bool:
        """A trace is."""
        return self.pixel is not None


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one job.

    `summary` is a line for people, `report` the numbers behind it (compress only, where
    asked for), `data` the output's bytes where it goes to standard output, `entry` what a
    manifest lists, `facts` what `verify` found, or a trace.
    """

    input: str
    output: str
    bytes_before: int = 0
    bytes_after: int = 0
    summary: str = ""
    notes: tuple[str, ...] = ()
    report: Report | None = None
    relative_error: float | None = None
    error: LowrankError | None = None
    skipped: bool = False
    data: bytes | None = None
    entry: Entry | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Total:
    """What became of many jobs, in as many numbers as for one.

    `worst` is the largest relative error that a written file states, `worst_input` the
    image that it belongs to; "" where nothing states one. `passed` counts what folders hold
    beside what was worked on, by suffix.
    """

    done: int = 0
    skipped: int = 0
    failed: int = 0
    before: int = 0
    after: int = 0
    worst: float = 0.0
    worst_input: str = ""
    code: int = 0
    passed: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        """Count one more; the first failure's exit code stays."""
        if outcome.error:
            self.failed += 1
            self.code = self.code or outcome.error.exit_code
        elif outcome.skipped:
            self.skipped += 1
        else:
            self.done += 1
            self.before += outcome.bytes_before
            self.after += outcome.bytes_after
            if outcome.relative_error is not None and outcome.relative_error >= self.worst:
                self.worst, self.worst_input = outcome.relative_error, outcome.input


Worker = Callable[..., Outcome]
"""`compress` or `decompress`, called with a job, the settings and `repeated`.

A repeated job may have been done before by a process that died before it could say so: an
output that holds the very bytes is its own, and no reason to refuse.
"""
