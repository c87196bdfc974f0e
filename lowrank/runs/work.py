"""One file in, one file out; and the sum of many."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lowrank import codec, files, targets
from lowrank import format as lrk
from lowrank.errors import LimitError, LowrankError, UsageError
from lowrank.format.parts import Parts
from lowrank.io import formats, images
from lowrank.io.taking import USUAL as WHATEVER
from lowrank.io.taking import Taking, several
from lowrank.limits import DEFAULT_MAX_PIXELS, LARGE
from lowrank.picture import Loaded, Mode, Picture
from lowrank.runs.plan import Job
from lowrank.stores import Encoded
from lowrank.targets import USUAL, Target

if TYPE_CHECKING:
    from lowrank.report import Report
    from lowrank.runs.manifest import Entry
    from lowrank.runs.proof import Proof


@dataclass(frozen=True, eq=False)
class Settings:
    """What either command was asked to do with each file."""

    max_pixels: int = DEFAULT_MAX_PIXELS
    force: bool = False
    skip_existing: bool = False
    preserve: bool = False


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
    png_level: int | None = None
    frames: int | slice | None = None
    pixel: tuple[int, int] | None = None


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


def compress(job: Job, settings: Compressing, *, repeated: bool = False) -> Outcome:
    """Compress one image, or shorten one `.lrk` file; write the result."""
    output = job.place(".lrk")
    if is_done(job, output, settings):
        return _there_already(job, output, settings)
    check_output(job, output, settings, repeated=repeated)
    began = time.monotonic()
    data, loaded = _read(job, settings)
    if data.startswith(lrk.SIGNATURE):
        outcome, written = _shorten(job, output, data, settings)
        proof = _proof(outcome, settings, data, None, began)
        return write(job, settings, outcome, written, repeated=repeated, proof=proof)
    if loaded is None:
        loaded = images.read(
            data, name=job.input, max_pixels=settings.max_pixels, nodata=settings.nodata
        )
    encoded = codec.encode(
        loaded.picture,
        settings.target,
        layout=settings.layout,
        store=settings.store,
        certify=settings.measure,
    )
    written = lrk.serialize(encoded.parts)
    before, after = loaded.source.bytes, len(written)
    against = (
        f"{before / after:.2f}x smaller" if after <= before else f"{after / before:.2f}x larger"
    )
    error = codec.relative_error(encoded.parts)
    outcome = Outcome(
        job.input,
        output,
        bytes_before=before,
        summary=f"{job.input} -> {output}: {after:,} bytes ({against}), "
        f"{ranks(encoded.parts)}, error {error:.3%}",
        notes=loaded.notes + encoded.notes,
        report=_measured(loaded, encoded, output, after) if settings.measure else None,
        relative_error=error,
    )
    proof = _proof(outcome, settings, data, loaded.picture, began)
    return write(job, settings, outcome, written, repeated=repeated, proof=proof)


def compressor(jobs: list[Job], settings: Compressing) -> Worker:
    """Return `compress`, or what does the same in passes where a source may be large."""
    if any(_is_large(job, settings) for job in jobs):
        worker: Worker = import_module("lowrank.runs.large").compress
        return worker
    return compress


def spreads(jobs: list[Job], settings: Compressing) -> bool:
    """Whether one large source is to be spread over a cluster, and no jobs."""
    return settings.spread is not None and len(jobs) == 1 and _is_large(jobs[0], settings)


def _is_large(job: Job, settings: Compressing) -> bool:
    """Whether a source may be one to read in passes, by the sizes of its files."""
    if any("://" in name for name in (job.input, job.output or "", job.stem or "")):
        return True
    if job.input.lower().endswith(formats.ZARR):
        return os.path.isdir(job.input)
    asked = settings.memory is not None or settings.resume is not None
    status = [files.regular(name) for name in job.frames or (job.input,)]
    if not all(status):
        return False
    # What is compressed in its file says nothing of its samples.
    small = job.frames or job.input.lower().endswith((".tif", ".tiff"))
    return asked or sum(x.st_size for x in status if x) >= (LARGE // 32 if small else LARGE)


def _read(job: Job, settings: Compressing) -> tuple[bytes, Loaded | None]:
    """The bytes of the input; and what it was taken for, where it may be a stack.

    Several files, and an array that is mapped, are never one piece of memory: no bytes.
    """
    folder = job.input.lower().endswith(formats.ZARR) and os.path.isdir(job.input)
    array = folder or (job.input.lower().endswith(".npy") and files.regular(job.input) is not None)
    if settings.manifest is not None:
        array = False  # its SHA-256 is of the file
        if job.frames:
            raise UsageError("a manifest lists one input for each output, and a stack has many")
    data = b"" if job.frames or array else files.read_bytes(job.input)
    single = not (job.frames or array or settings.taking.asked or several(data))
    if single or data.startswith(lrk.SIGNATURE):
        return data, None
    from lowrank.objects import loading

    loaded = loading.read(
        job.frames or job.input,
        data=data,
        max_pixels=settings.max_pixels,
        nodata=settings.nodata,
        taking=settings.taking,
    )
    return data, loaded


def _proof(
    outcome: Outcome,
    settings: Compressing,
    data: bytes,
    picture: Picture | None,
    began: float | None,
) -> Proof | None:
    """What reads an output back, where that is asked for, or a manifest, which measures it."""
    if not (settings.check or settings.manifest):
        return None
    from lowrank.runs.proof import Proof

    return Proof(
        outcome.input, outcome.output, data, picture,
        max_pixels=settings.max_pixels, began=began, listed=settings.manifest is not None,
    )  # fmt: skip


def _there_already(job: Job, output: str, settings: Compressing) -> Outcome:
    """An output that is passed over; for a manifest it is read and measured like a new one."""
    outcome = Outcome(job.input, output, skipped=True)
    if settings.manifest is None:
        return outcome
    data, loaded = _read(job, settings)
    picture = None if loaded is None else loaded.picture
    if loaded is None and not data.startswith(lrk.SIGNATURE):
        picture = images.read(
            data, name=job.input, max_pixels=settings.max_pixels, nodata=settings.nodata
        ).picture
    proof = _proof(outcome, settings, data, picture, None)
    if proof is None:
        return outcome
    proof.examine(files.read_bytes(output))
    return replace(outcome, entry=proof.entry())


def _measured(loaded: Loaded, encoded: Encoded, output: str, size: int) -> Report:
    from lowrank.report import measure

    return measure.measure(
        loaded.picture,
        encoded.parts,
        source=loaded.source,
        file=measure.file_facts(output, encoded.parts, size),
        file_bytes=size,
        exact=encoded.exact or None,
    )


def decompress(
    job: Job, settings: Decompressing, *, repeated: bool = False, data: bytes | None = None
) -> Outcome:
    """Rebuild the image of one `.lrk` file and write it; `data` is the file, once it is read."""
    if job.output and is_done(job, job.output, settings):
        return Outcome(job.input, job.output, skipped=True)
    if job.output:
        check_output(job, job.output, settings, repeated=repeated)
    data = files.read_bytes(job.input) if data is None else data
    parts = lrk.parse(
        data, name=job.input, max_pixels=settings.max_pixels, partial=settings.partial
    )
    head = parts.head
    output, form = named(job, settings.format, formats.default_suffix(head.mode), head.mode)
    if is_done(job, output, settings):
        return Outcome(job.input, output, skipped=True)
    check_output(job, output, settings, repeated=repeated)
    decoded = codec.decode(parts, rank=settings.rank)
    level = {} if settings.png_level is None else {"png_level": settings.png_level}
    written = images.write(decoded.picture, format=form, **level)
    notes = images.write_notes(decoded.picture, format=form) + decoded.notes
    summary = (
        f"{job.input} -> {output}: {head.width}x{head.height} {head.mode.title}, "
        f"{ranks(parts, settings.rank)}, {len(written):,} bytes {form}"
    )
    outcome = Outcome(job.input, output, len(data), summary=summary, notes=notes)
    return write(job, settings, outcome, written, repeated=repeated)


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


def _shorten(job: Job, output: str, data: bytes, settings: Compressing) -> tuple[Outcome, bytes]:
    asked = settings.certify or settings.layout or settings.store or settings.taking.asked
    target = settings.target
    if asked or settings.nodata is not None or target.weights or target.tune == "eye":
        raise UsageError(
            f"{job.input} is a .lrk file, which compress only shortens; --certify, "
            "--layout, --nodata, --store, --tune, --weights, --frames and --axis need the image"
        )
    longer = lrk.parse(data, name=job.input, max_pixels=settings.max_pixels)
    parts = codec.shorten(longer, target)
    written = lrk.serialize(parts)
    summary = f"{job.input} -> {output}: {ranks(parts)}, {len(written):,} bytes"
    notes: tuple[str, ...] = ()
    if target.kind == "rank" and target.value > max(longer.ranks):
        notes = (f"it has {max(longer.ranks)} terms of a matrix at most: kept all",)
    report: Report | None = None
    if settings.measure:  # as of a file alone: what it states
        from lowrank.report import measure

        report = measure.stated(parts, file=measure.file_facts(output, parts, len(written)))
    outcome = Outcome(job.input, output, len(data), summary=summary, notes=notes, report=report)
    return outcome, written


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
    if job.stem:
        files.make_folder(os.path.dirname(outcome.output))
    if repeated and _holds(outcome.output, written):
        if examine:
            examine(written)
    else:
        source = newest(job)
        files.write_atomic(
            outcome.output,
            written,
            force=settings.force or (settings.skip_existing and _exists(outcome.output)),
            allowed=files.permissions(*(job.frames or (job.input,))),
            preserved=source if settings.preserve else None,
            examine=examine,
        )
    entry = proof.entry() if proof and proof.listed else None
    return replace(outcome, bytes_after=len(written), entry=entry)


def write_pieces(
    job: Job, settings: Settings, outcome: Outcome, pieces: Iterable[bytes | memoryview]
) -> None:
    """Write an output as its pieces come, whole or not at all."""
    if job.stem:
        files.make_folder(os.path.dirname(outcome.output))
    files.write_atomic(
        outcome.output,
        pieces,
        force=settings.force or (settings.skip_existing and _exists(outcome.output)),
        allowed=files.permissions(*(job.frames or (job.input,))),
        preserved=newest(job) if settings.preserve else None,
    )


def _holds(path: str, data: bytes) -> bool:
    return os.path.isfile(path) and files.read_bytes(path) == data


def ranks(parts: Parts, most: int | None = None) -> str:
    """Rank and store of a file in words; `most` terms of each matrix are used."""
    used = [k if most is None else min(k, most) for k in parts.ranks]
    return f"rank {targets.several(used)}, {parts.head.store}"


def _exists(path: str) -> bool:
    return files.regular(path) is not None


def newest(job: Job) -> os.stat_result | None:
    """Status of the input, of several of the one that was changed last; None of no file."""
    found = map(files.regular, job.frames or (job.input,))
    return max(filter(None, found), key=lambda status: status.st_mtime_ns, default=None)


def is_done(job: Job, output: str, settings: Settings) -> bool:
    """Whether the output is there, and not older than its source."""
    there, source = files.regular(output), newest(job)
    if not settings.skip_existing or there is None:
        return False
    return source is None or there.st_mtime_ns >= source.st_mtime_ns


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


def attempt(worker: Worker, job: Job, settings: Settings, *, repeated: bool = False) -> Outcome:
    """Run one job; an error of ours becomes its outcome."""
    try:
        return worker(job, settings, repeated=repeated)
    except LowrankError as error:
        return Outcome(job.input, job.output or "", error=error)
    except MemoryError:
        limit = LimitError(f"not enough memory for {job.input}; give a smaller image")
        return Outcome(job.input, job.output or "", error=limit)
