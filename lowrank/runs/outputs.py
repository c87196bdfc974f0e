"""Outputs of the commands: their names, whether they may be written, and the writing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO

from lowrank import files
from lowrank.errors import UsageError
from lowrank.io import formats
from lowrank.picture import Mode
from lowrank.runs.plan import Job
from lowrank.runs.tasks import Compressing, Outcome, Settings

if TYPE_CHECKING:
    from lowrank.runs.proof import Proof


def named(job: Job, format: str | None, suffix: str, mode: Mode) -> tuple[str, str]:
    """Path and format of a picture's output; `suffix` where nothing says another.

    Raises
    ------
    UsageError
        Name and format contradict each other.
    """
    if format:
        suffix = f".{format.lower().lstrip('.')}"
    # Names that are made here follow the format; standard output has no name to follow.
    output = job.place(suffix)
    follows = job.output not in (None, "-") and (
        os.path.splitext(output)[1] != "" or not (format or files.special(output))
    )
    form = formats.format_for(output if follows else suffix, mode)
    if format and form != formats.format_for(suffix, mode):
        raise UsageError(f"--format {format} contradicts -o {output}; leave out one")
    return output, form


def check_output(job: Job, output: str, settings: Settings, *, repeated: bool) -> None:
    """Refuse early what would be refused late, before any work is done."""
    beside = job.output is None and job.stem is None and not job.frames
    if beside and not os.path.lexists(job.input):
        return  # that there is no input is what whoever reads it says
    if output != "-":
        files.check_output(
            output,
            force=settings.force or settings.skip_existing or repeated,
            inputs=(job.input, *job.frames),
            makes_folder=job.stem is not None,
        )


def check_listed(job: Job, settings: Compressing) -> None:
    """Refuse what no manifest lists: that has one file for each output.

    Raises
    ------
    UsageError
    """
    if settings.manifest is None:
        return
    if job.afar:
        raise UsageError("--manifest lists files here; leave it out, or copy the input first")
    if job.frames or os.path.isdir(job.input):
        raise UsageError(
            "a manifest lists one file for each output, and a stack has many; leave it out"
        )


def is_done(job: Job, output: str, settings: Settings) -> bool:
    """Whether the output is there, and not older than its source."""
    there, source = files.regular(output), newest(job)
    if not settings.skip_existing or there is None:
        return False
    return source is None or there.st_mtime_ns >= source.st_mtime_ns


def newest(job: Job) -> os.stat_result | None:
    """Status of the input, of several files the one that was changed last; None of no file."""
    found = chain.from_iterable(map(files.statuses, job.sources))
    return max(found, key=lambda status: status.st_mtime_ns, default=None)


def write(
    job: Job,
    settings: Settings,
    outcome: Outcome,
    written: bytes,
    *,
    repeated: bool,
    proof: Proof | None = None,
) -> Outcome:
    """Write an output, whole or not at all."""
    examine = proof.examine if proof else None
    if outcome.output == "-":
        if examine:
            examine(written)
        return replace(outcome, bytes_after=len(written), data=written)
    if repeated and _holds(outcome.output, written):
        if examine:
            examine(written)
    else:
        put(job, settings, outcome.output, written, examine=examine)
    entry = proof.entry() if proof and proof.listed else None
    return replace(outcome, bytes_after=len(written), entry=entry)


def put(
    job: Job, settings: Settings, output: str,
    data: bytes | Iterable[bytes | memoryview] | Callable[[BinaryIO], object],
    *, examine: Callable[[bytes], None] | None = None,
    inspect: Callable[[str], None] | None = None,
) -> None:  # fmt: skip
    """Write what a job makes, as `files.write_atomic` takes it, by the rules of its settings."""
    if job.stem:
        files.make_folder(os.path.dirname(output))
    files.write_atomic(
        output,
        data,
        force=settings.force or (settings.skip_existing and files.regular(output) is not None),
        allowed=files.permissions(*job.sources),
        preserved=newest(job) if settings.preserve else None,
        examine=examine,
        inspect=inspect,
    )


def _holds(path: str, data: bytes) -> bool:
    return os.path.isfile(path) and files.read_bytes(path) == data
