"""One file in, one file out."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

from lowrank import codec, files, targets
from lowrank import format as lrk
from lowrank.errors import LimitError, LowrankError, UsageError, called, naming, number_of
from lowrank.format.parts import Parts
from lowrank.io import formats, images, states
from lowrank.io.taking import several
from lowrank.limits import LARGE
from lowrank.picture import Loaded, Picture
from lowrank.runs import outputs
from lowrank.runs.plan import Job
from lowrank.runs.tasks import Compressing, Decompressing, Outcome, Settings, Worker
from lowrank.stores import Encoded

if TYPE_CHECKING:
    from lowrank.report import Report
    from lowrank.runs.proof import Proof


def compress(job: Job, settings: Compressing, *, repeated: bool = False) -> Outcome:
    """Compress one image, or shorten one `.lrk` file; write the result."""
    outputs.check_listed(job, settings)
    output = job.place(".lrk")
    if outputs.is_done(job, output, settings):
        return _there_already(job, output, settings)
    outputs.check_output(job, output, settings, repeated=repeated)
    began, before = time.monotonic(), states.of(job.sources)
    data, loaded = _read(job, settings)
    mapped = not (data or job.frames)
    if not mapped:  # what is in memory may change in its file from now on
        states.check(job.sources, before)
    if data.startswith(lrk.SIGNATURE):
        outcome, written = _shorten(job, output, data, settings)
        proof = _proof(outcome, settings, data, None, began)
        return outputs.write(job, settings, outcome, written, repeated=repeated, proof=proof)
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
    if mapped:
        states.check(job.sources, before)
    written = lrk.serialize(encoded.parts)
    size, after = loaded.source.bytes, len(written)
    error = codec.relative_error(encoded.parts)
    outcome = Outcome(
        job.input,
        output,
        bytes_before=size,
        summary=summary_of(job, output, size, after, encoded.parts, error),
        notes=loaded.notes + encoded.notes,
        report=_measured(loaded, encoded, output, after) if settings.measure else None,
        relative_error=error,
    )
    proof = _proof(outcome, settings, data, loaded.picture, began)
    return outputs.write(job, settings, outcome, written, repeated=repeated, proof=proof)


def compressor(jobs: list[Job], settings: Compressing, *, alone: bool = True) -> Worker:
    """Return `compress`, or what does the same in passes where a source may be large.

    Raises
    ------
    UsageError
        The file of passes has no name, or jobs that are not done `alone` would share it.
    """
    if settings.resume == "":
        raise UsageError("--resume is empty; give it a file, or leave it out")
    if settings.resume and len(jobs) > 1 and not alone:
        raise UsageError("--resume keeps passes over one source at a time; leave out -j and --dask")
    if any(_is_large(job, settings) for job in jobs):
        worker: Worker = import_module("lowrank.runs.large").compress
        return worker
    return compress


def spreads(jobs: list[Job], settings: Compressing) -> bool:
    """Whether one large source is to be spread over a cluster, and no jobs."""
    return settings.spread is not None and len(jobs) == 1 and _is_large(jobs[0], settings)


def _is_large(job: Job, settings: Compressing) -> bool:
    """Whether a source may be one to read in passes, by the sizes of its files."""
    if job.afar:
        return True
    if job.input.lower().endswith(formats.ZARR):
        return os.path.isdir(job.input)
    if settings.memory is not None or settings.resume is not None:
        return True
    status = [files.regular(name) for name in job.sources]
    if not all(status):
        return False
    # What is compressed in its file says nothing of its samples.
    small = job.frames or job.input.lower().endswith((".tif", ".tiff"))
    return sum(x.st_size for x in status if x) >= (LARGE // 32 if small else LARGE)


def _read(job: Job, settings: Compressing) -> tuple[bytes, Loaded | None]:
    """The bytes of the input; and what it was taken for, where it may be a stack.

    Several files, and an array that is mapped, are never one piece of memory: no bytes.
    """
    folder = job.input.lower().endswith(formats.ZARR) and os.path.isdir(job.input)
    array = folder or (job.input.lower().endswith(".npy") and files.regular(job.input) is not None)
    if settings.manifest is not None:
        array = False  # its SHA-256 is of the file
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
    if job.output and outputs.is_done(job, job.output, settings):
        return Outcome(job.input, job.output, skipped=True)
    if job.output:
        outputs.check_output(job, job.output, settings, repeated=repeated)
    data = files.read_bytes(job.input) if data is None else data
    parts = lrk.parse(
        data, name=job.input, max_pixels=settings.max_pixels, partial=settings.partial
    )
    head = parts.head
    output, form = outputs.named(job, settings.format, formats.default_suffix(head.mode), head.mode)
    if outputs.is_done(job, output, settings):
        return Outcome(job.input, output, skipped=True)
    outputs.check_output(job, output, settings, repeated=repeated)
    decoded = codec.decode(parts, rank=settings.rank)
    written = images.write(decoded.picture, format=form, png_level=settings.png_level)
    notes = images.write_notes(decoded.picture, format=form) + decoded.notes
    notes += beyond(settings.rank, parts.ranks, "decoded all")
    summary = (
        f"{job.input} -> {output}: {head.width}x{head.height} {head.mode.title}, "
        f"{ranks(parts, settings.rank)}, {len(written):,} bytes {form}"
    )
    outcome = Outcome(job.input, output, len(data), summary=summary, notes=notes)
    return outputs.write(job, settings, outcome, written, repeated=repeated)


def _shorten(job: Job, output: str, data: bytes, settings: Compressing) -> tuple[Outcome, bytes]:
    asked = settings.certify or settings.layout or settings.store or settings.taking.asked
    target = settings.target
    if asked or settings.nodata is not None or target.weights or target.tune == "eye":
        raise UsageError(
            f"{called(job.input)} is a .lrk file, which compress only shortens; --certify, "
            "--layout, --nodata, --store, --tune, --weights, --frames and --axis need the image"
        )
    longer = lrk.parse(data, name=job.input, max_pixels=settings.max_pixels)
    parts = codec.shorten(longer, target)
    written = lrk.serialize(parts)
    summary = f"{job.input} -> {output}: {ranks(parts)}, {len(written):,} bytes"
    most = target.value if target.kind == "rank" else None
    notes = beyond(most, longer.ranks, "kept all")
    report: Report | None = None
    if settings.measure:  # as of a file alone: what it states
        from lowrank.report import measure

        report = measure.stated(parts, file=measure.file_facts(output, parts, len(written)))
    outcome = Outcome(job.input, output, len(data), summary=summary, notes=notes, report=report)
    return outcome, written


def beyond(rank: float | None, there: Sequence[int], done: str) -> tuple[str, ...]:
    """What is said of a rank that is asked for and that no matrix of a file has."""
    if rank is None or rank <= max(there):
        return ()
    return (f"it has {number_of(max(there), 'term')} of a matrix at most: {done}",)


def summary_of(job: Job, output: str, before: int, after: int, parts: Parts, error: float) -> str:
    """What is said of a file that was made: its bytes beside the source's, ranks and error."""
    smaller = 0 < after <= before
    against = f"{before / after:.2f}x smaller" if smaller else f"{after / before:.2f}x larger"
    return (
        f"{job.input} -> {output}: {after:,} bytes ({against}), {ranks(parts)}, error {error:.3%}"
    )


def ranks(parts: Parts, most: int | None = None) -> str:
    """Rank and store of a file in words; `most` terms of each matrix are used."""
    used = [k if most is None else min(k, most) for k in parts.ranks]
    return f"rank {targets.several(used)}, {parts.head.store}"


def attempt(worker: Worker, job: Job, settings: Settings, *, repeated: bool = False) -> Outcome:
    """Run one job; an error of ours becomes its outcome."""
    try:
        return worker(job, settings, repeated=repeated)
    except LowrankError as error:
        return Outcome(job.input, job.output or "", error=naming(error, job.input))
    except MemoryError:
        limit = LimitError(f"not enough memory for {called(job.input)}; give a smaller image")
        return Outcome(job.input, job.output or "", error=limit)
