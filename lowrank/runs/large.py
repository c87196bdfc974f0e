"""Compression of what is larger than memory: the source in passes, the file as factors come."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from io import BytesIO
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, BinaryIO

from lowrank import files, limits
from lowrank import format as lrk
from lowrank.errors import UsageError
from lowrank.format import mapped, streaming
from lowrank.io import cloud
from lowrank.names import AUTO
from lowrank.picture.lazy import LazyLoaded
from lowrank.runs import afar, work
from lowrank.runs.journal import Journal
from lowrank.runs.plan import Job
from lowrank.stores import passes as store_passes
from lowrank.stores import spread
from lowrank.stores.passes import Streamed

if TYPE_CHECKING:
    from lowrank.report import Report


def compress(job: Job, settings: work.Compressing, *, repeated: bool = False) -> work.Outcome:
    """Compress one source in passes; as ever, where it is small, or passes cannot do it."""
    if settings.spread is not None:  # a worker has a folder of its own
        here = job.input if cloud.is_url(job.input) else os.path.abspath(job.input)
        job = replace(job, input=here, output=job.place(".lrk"))
    far = afar.asks(job)
    if far:
        job = afar.placed(job)
        if settings.manifest is not None:
            raise UsageError("--manifest lists files here; leave it out, or copy the input first")
        if cloud.is_url(job.input) and not _by_ranges(job.input, settings):
            return afar.done(compress, job, settings)
    loaded = source(job, settings)
    if loaded is None:
        if far:
            return afar.done(work.compress, job, settings)
        return work.compress(job, settings, repeated=repeated)
    output = job.place(".lrk")
    far = cloud.is_url(output)
    if far:
        cloud.check_output(output, force=settings.force)
    if work.is_done(job, output, settings):
        return work.Outcome(job.input, output, skipped=True)
    if not far:
        work.check_output(job, output, settings, repeated=repeated)
    kept = None
    if settings.resume is not None:
        if files.same_file(settings.resume, output):
            raise UsageError("--resume names the output; give it another name")
        kept = Journal(settings.resume, _key(loaded, settings))
    memory = limits.half() if settings.memory is None else settings.memory
    with spread.made(settings.spread, memory, kept) as made:
        encoded = store_passes.encode(
            loaded.picture, settings.target, store=settings.store or AUTO, passes=made,
            certify=settings.certify, measure=settings.measure,
        )  # fmt: skip
        outcome = written(job, settings, output, loaded, encoded)
    if settings.measure and output != "-" and not far:
        outcome = replace(outcome, report=_report(loaded, outcome, encoded, memory))
    if kept is not None:
        kept.done()
    return outcome


def _by_ranges(url: str, settings: work.Compressing) -> bool:
    """Whether a source elsewhere is read in passes where it is; else it is brought here."""
    can = store_passes.suits(settings.target, settings.layout, settings.store) is not None
    return can and url.lower().endswith(".npy") and cloud.gives_ranges(url)


def _report(loaded: LazyLoaded, outcome: work.Outcome, encoded: Streamed, memory: int) -> Report:
    from lowrank.report import measure, passes

    name, size = outcome.output, outcome.bytes_after
    there = files.mapped(name)
    found = (
        None
        if there is None
        else mapped.of_stack(there[0], name=name, max_pixels=sys.maxsize, advise=there[1])
    )
    if found is None:
        parts = lrk.parse(files.read_bytes(name), name=name, max_pixels=sys.maxsize)
    else:
        found.check(encoded.k)
        parts = found.parts
    return passes.measured(
        loaded, parts, file=measure.file_facts(name, parts, size), file_bytes=size,
        memory=memory, found=encoded.found,
    )  # fmt: skip


def _key(loaded: LazyLoaded, settings: work.Compressing) -> str:
    """What a file of passes is told from those of other jobs by."""
    p, target = loaded.picture, settings.target
    return repr(
        (
            os.path.basename(loaded.source.path), p.matrix.identity, p.samples_shape, p.mode.title,
            target.kind, target.value, settings.store, settings.certify, settings.measure,
        )
    )  # fmt: skip


def source(job: Job, settings: work.Compressing) -> LazyLoaded | None:
    """What is to be read in passes: large, or of whatever size where --memory bounds it."""
    can = store_passes.suits(settings.target, settings.layout, settings.store) is not None
    if not can or settings.check or settings.nodata is not None:
        return None
    from lowrank.io import lazy

    asked = settings.memory or settings.resume or cloud.is_url(job.input)
    least = 0 if asked else limits.LARGE
    if job.frames:
        loaded = lazy.of_files(
            job.frames, files.read_bytes, settings.taking, least=least,
            max_pixels=settings.max_pixels,
        )  # fmt: skip
    else:
        loaded = lazy.of_path(job.input, settings.taking, least=least)
    if loaded is None or (settings.layout == "stack") > (loaded.picture.frames is not None):
        return None
    if loaded.picture.frames is not None and settings.layout == "channels":
        raise UsageError("layout stack is that of a stack, and its only one")
    return loaded


def written(
    job: Job, settings: work.Compressing, output: str, loaded: LazyLoaded, encoded: Streamed
) -> work.Outcome:
    """Write a file while its long vectors are made."""

    def fill(stream: BinaryIO) -> None:
        streaming.write(stream, encoded.parts, encoded.slabs(), transposed=encoded.transposed)

    data = None
    if output == "-":
        memory = BytesIO()
        fill(memory)
        data = memory.getvalue()
        after = len(data)
    elif cloud.is_url(output):
        with TemporaryFile() as stream:
            fill(stream)
            after = stream.seek(0, 2)
            stream.seek(0)
            cloud.put(output, stream)
    else:
        if job.stem:
            files.make_folder(os.path.dirname(output))
        names = job.frames or (job.input,)
        files.write_atomic(
            output, fill,
            force=settings.force or (settings.skip_existing and files.regular(output) is not None),
            allowed=files.permissions(*names),
            preserved=files.regular(job.input) if settings.preserve else None,
        )  # fmt: skip
        there = files.regular(output)
        after = there.st_size if there else 0
    found, before = encoded.found, loaded.source.bytes
    error = found.tail / found.norm if found.norm else 0.0
    against = (
        f"{before / after:.2f}x smaller" if 0 < after <= before else f"{after / before:.2f}x larger"
    )
    return work.Outcome(
        job.input, output, before, after,
        summary=f"{job.input} -> {output}: {after:,} bytes ({against}), "
        f"{work.ranks(encoded.parts)}, error {error:.3%}",
        notes=loaded.notes + encoded.notes, relative_error=error, data=data,
    )  # fmt: skip
