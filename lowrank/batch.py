"""One file in, one file out; and the sum of many."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace

from lowrank import api, bounds, codec, files, images, truncation
from lowrank import format as lrk
from lowrank.bounds import File, Report
from lowrank.errors import FileError, LimitError, LowrankError, UsageError
from lowrank.jobs import Job
from lowrank.parts import Parts
from lowrank.rank import Target


@dataclass(frozen=True)
class Settings:
    """What `compress` or `decompress` was asked to do with each file.

    `repeated` jobs may have been done before by a process that died before it could say so:
    an output that holds the very bytes is theirs, and no reason to refuse.
    """

    target: Target | None = None
    layout: str | None = None
    store: str | None = None
    certify: bool = False
    measure: bool = False
    rank: int | None = None
    partial: bool = False
    format: str | None = None
    png_level: int | None = None
    max_pixels: int = images.DEFAULT_MAX_PIXELS
    force: bool = False
    skip_existing: bool = False
    repeated: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of one job.

    `summary` is a line for people, `report` the numbers behind it (compress only, where
    asked for), `data` the output's bytes where it goes to standard output.
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


@dataclass
class Total:
    """What became of many jobs, in as many numbers as for one.

    `worst` is the largest relative error that a written file states, `worst_input` the
    image that it belongs to; "" where nothing states one.
    """

    done: int = 0
    skipped: int = 0
    failed: int = 0
    before: int = 0
    after: int = 0
    worst: float = 0.0
    worst_input: str = ""
    code: int = 0

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


Worker = Callable[[Job, Settings], Outcome]


def compress(job: Job, settings: Settings) -> Outcome:
    """Compress one image, or shorten one `.lrk` file; write the result."""
    output = job.place(".lrk")
    if _skip(output, settings):
        return Outcome(job.input, output, skipped=True)
    _check_output(job.input, output, settings)
    data = files.read_bytes(job.input)
    target = settings.target or api.target_of({})
    if data.startswith(lrk.SIGNATURE):
        return _shorten(job, output, data, target, settings)
    loaded = images.read(data, name=job.input, max_pixels=settings.max_pixels)
    encoded = api.encode(
        loaded,
        target,
        layout=settings.layout,
        store=settings.store,
        certify=settings.certify or settings.measure,
    )
    written = lrk.serialize(encoded.parts)
    report = None
    if settings.certify or settings.measure:
        report = bounds.measure(
            loaded.picture,
            encoded.parts,
            source=loaded.source,
            file=file_facts(output, encoded.parts, len(written)),
            file_bytes=len(written),
            exact=encoded.exact or None,
        )
    before, after = len(data), len(written)
    against = (
        f"{before / after:.2f}x smaller" if after <= before else f"{after / before:.2f}x larger"
    )
    error = _relative_error(encoded.parts)
    outcome = Outcome(
        job.input,
        output,
        bytes_before=before,
        summary=f"{job.input} -> {output}: {after:,} bytes ({against}), "
        f"{_ranks(encoded.parts)}, error {error:.3%}",
        notes=loaded.notes + encoded.notes,
        report=report,
        relative_error=error,
    )
    return _write(job, settings, outcome, written)


def decompress(job: Job, settings: Settings) -> Outcome:
    """Rebuild the image of one `.lrk` file and write it."""
    if job.output and _skip(job.output, settings):
        return Outcome(job.input, job.output, skipped=True)
    if job.output:
        _check_output(job.input, job.output, settings)
    data = files.read_bytes(job.input)
    parts = lrk.parse(
        data, name=job.input, max_pixels=settings.max_pixels, partial=settings.partial
    )
    output = job.place(images.default_suffix(parts.mode))
    if _skip(output, settings):
        return Outcome(job.input, output, skipped=True)
    _check_output(job.input, output, settings)
    if settings.format:
        form = images.format_for(f".{settings.format.lower().lstrip('.')}", parts.mode)
    elif output == "-":
        form = images.format_for(images.default_suffix(parts.mode), parts.mode)
    else:
        form = images.format_for(output, parts.mode)
    picture = codec.decode(parts, rank=settings.rank)
    level = {} if settings.png_level is None else {"png_level": settings.png_level}
    written = images.write(picture, format=form, **level)
    notes = list(images.write_notes(picture, format=form))
    if parts.missing:
        terms = parts.terms + parts.missing
        notes.append(f"the file ends early: decoded {parts.terms} of {terms} terms")
    summary = (
        f"{job.input} -> {output}: {parts.width}x{parts.height} {parts.mode.name}, "
        f"{_ranks(parts, settings.rank)}, {len(written):,} bytes {form}"
    )
    outcome = Outcome(job.input, output, len(data), summary=summary, notes=tuple(notes))
    return _write(job, settings, outcome, written)


def _shorten(job: Job, output: str, data: bytes, target: Target, settings: Settings) -> Outcome:
    if settings.certify or settings.measure or settings.layout or settings.store:
        raise UsageError(
            f"{job.input} is a .lrk file, which compress only shortens; "
            "--certify, --json, --layout and --store need the image"
        )
    longer = lrk.parse(data, name=job.input, max_pixels=settings.max_pixels)
    parts = truncation.truncate(longer, target)
    written = lrk.serialize(parts)
    summary = f"{job.input} -> {output}: {_ranks(parts)}, {len(written):,} bytes"
    outcome = Outcome(job.input, output, len(data), summary=summary)
    return _write(job, settings, outcome, written)


def file_facts(path: str, parts: Parts, size: int) -> File:
    """What a report says of a file."""
    bits = 8 * size / (parts.width * parts.height)
    return File(path, size, parts.layout, parts.store, bits)


def _write(job: Job, settings: Settings, outcome: Outcome, written: bytes) -> Outcome:
    if outcome.output == "-":
        return replace(outcome, bytes_after=len(written), data=written)
    if job.stem:
        files.make_folder(os.path.dirname(outcome.output))
    if not (settings.repeated and _holds(outcome.output, written)):
        files.write_atomic(outcome.output, written, force=settings.force)
    return replace(outcome, bytes_after=len(written))


def _holds(path: str, data: bytes) -> bool:
    return os.path.isfile(path) and files.read_bytes(path) == data


def _ranks(parts: Parts, most: int | None = None) -> str:
    ranks = [k if most is None else min(k, most) for k in parts.ranks]
    text = str(ranks[0]) if len(set(ranks)) == 1 else "/".join(map(str, ranks))
    return f"rank {text}, {parts.store}"


def _relative_error(parts: Parts) -> float:
    """Frobenius error that the file states, relative to ||A||_F of the whole picture."""
    norm = math.hypot(*(x.norm for x in (parts.packed or parts.factors)))
    error = math.hypot(*(x.error for x in parts.packed), *(x.tail for x in parts.factors))
    return error / norm if norm else 0.0


def _skip(output: str, settings: Settings) -> bool:
    return settings.skip_existing and output != "-" and os.path.exists(output)


def _check_output(source: str, output: str, settings: Settings) -> None:
    """Refuse early what would be refused late, before any work is done."""
    if output == "-":
        return
    if source != "-" and files.same_file(source, output):
        raise UsageError(f"{output} is the input itself; give another output with -o")
    if os.path.isdir(output):
        raise FileError(f"{output} is a folder; give a file name with -o")
    if os.path.lexists(output) and not (settings.force or settings.repeated):
        raise FileError(f"{output} exists; -f replaces it")


def attempt(worker: Worker, job: Job, settings: Settings) -> Outcome:
    """Run one job; an error of ours becomes its outcome."""
    try:
        return worker(job, settings)
    except LowrankError as error:
        return Outcome(job.input, job.output or "", error=error)
    except MemoryError:
        limit = LimitError(f"not enough memory for {job.input}; give a smaller image")
        return Outcome(job.input, job.output or "", error=limit)
