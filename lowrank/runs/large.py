"""Compression of what is larger than memory: the source in passes, the file as factors come."""

from __future__ import annotations

import math
import os
import time
from dataclasses import replace
from io import BytesIO
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from lowrank import files, limits
from lowrank.errors import LimitError, UsageError
from lowrank.format import float_file_size
from lowrank.io import cloud, states, urls
from lowrank.names import AUTO
from lowrank.picture.lazy import LazyLoaded
from lowrank.runs import afar, outputs, tasks, work
from lowrank.runs.journal import Journal
from lowrank.runs.plan import Job
from lowrank.runs.reread import Reread, parts_of
from lowrank.stores import passes as store_passes
from lowrank.stores import spread
from lowrank.stores.passes import Streamed

if TYPE_CHECKING:
    from typing import BinaryIO

    from lowrank.report import Report


def compress(job: Job, settings: tasks.Compressing, *, repeated: bool = False) -> tasks.Outcome:
    """Compress one source in passes; as ever, where it is small, or passes cannot do it."""
    if settings.spread is not None:  # a worker has a folder of its own
        here = job.input if urls.is_url(job.input) else os.path.abspath(job.input)
        job = replace(job, input=here, output=job.place(".lrk"))
    began = time.monotonic()
    outputs.check_listed(job, settings)
    if job.afar:
        job = afar.placed(job)
        if settings.check or (urls.is_url(job.input) and not _by_ranges(job.input, settings)):
            return afar.done(compress, job, settings)
    before = states.of(job.sources)
    loaded = source(job, settings)
    if loaded is None:
        return _whole(job, settings, repeated=repeated)
    proof = None
    if (settings.check or settings.manifest) and job.output != "-":
        proof = Reread(loaded, job.place(".lrk"), began)
    output = job.place(".lrk")
    far = urls.is_url(output)
    if far:
        cloud.check_output(output, force=settings.force)
    if outputs.is_done(job, output, settings):
        outcome = tasks.Outcome(job.input, output, skipped=True)
        if proof is None or settings.manifest is None:
            return outcome
        there = replace(proof, began=None)
        there.examine(output)
        return replace(outcome, entry=there.entry(job.input))
    if not far:
        outputs.check_output(job, output, settings, repeated=repeated)
    kept = None
    if settings.resume is not None:
        if files.same_file(settings.resume, output):
            raise UsageError("--resume names the output; give it another name")
        allowed = files.permissions(*job.sources)
        kept = Journal(settings.resume, _key(loaded, settings, before), allowed)
    memory = limits.half() if settings.memory is None else settings.memory
    with spread.made(settings.spread, memory, kept) as made:
        encoded = store_passes.encode(
            loaded.picture, settings.target, store=settings.store or AUTO, passes=made,
            certify=settings.certify, measure=settings.measure,
        )  # fmt: skip
        outcome = written(job, settings, output, loaded, encoded, before, proof)
    if settings.measure and files.regular(output) is not None:
        outcome = replace(outcome, report=_report(loaded, outcome, encoded, memory))
    if proof is not None and settings.manifest is not None:
        outcome = replace(outcome, entry=proof.entry(job.input))
    if outcome.report or outcome.entry:  # it was read for them once more
        states.check(job.sources, before)
    if kept is not None:
        kept.done()
    return outcome


def _whole(job: Job, settings: tasks.Compressing, *, repeated: bool) -> tasks.Outcome:
    """Compress a source that is read whole, and say so where passes were asked for.

    Raises
    ------
    LimitError
        It does not fit into memory.
    """
    if job.afar:
        return afar.done(work.compress, job, settings)
    kind = settings.target.kind
    wish = "--nodata" if settings.nodata is not None else f"--{kind.replace('_', '-')}"
    floats = settings.nodata is not None or kind == "max_error"
    there = files.regular(job.input)
    if floats and there and there.st_size >= limits.LARGE and not limits.fits(2 * there.st_size):
        raise LimitError(
            f"{job.input}: {wish} is not done in passes, and {there.st_size / 1e9:.1f} GB do not "
            "fit into memory; leave it out"
        )
    outcome = _measured_later(job, settings, repeated=repeated)
    if outcome.skipped or (settings.memory is None and settings.resume is None):
        return outcome
    asked = "--resume" if settings.memory is None else "--memory"
    return replace(
        outcome,
        notes=(
            *outcome.notes,
            f"It was read whole or in tiles, not in passes: {asked} did nothing.",
        ),
    )


def _measured_later(job: Job, settings: tasks.Compressing, *, repeated: bool) -> tasks.Outcome:
    """Compress a source, and measure in passes what was coded in tiles of it."""
    output = job.place(".lrk")
    if not settings.measure or output == "-" or job.frames or settings.nodata is not None:
        return work.compress(job, settings, repeated=repeated)
    from lowrank.io import lazy
    from lowrank.report import measure, passes
    from lowrank.stores.packed.frames import tiled

    loaded = lazy.of_path(
        job.input, settings.taking, least=limits.LARGE, max_pixels=settings.max_pixels
    )
    whole = loaded is None or math.prod(loaded.picture.samples_shape) <= tiled.LARGEST
    if loaded is None or whole or not loaded.picture.frames or not loaded.picture.mode.limits:
        return work.compress(job, settings, repeated=repeated)
    outcome = work.compress(job, replace(settings, measure=False), repeated=repeated)
    parts = None if outcome.skipped else parts_of(output, name=output)
    if parts is None or not passes.can(parts):
        return outcome
    memory = limits.half() if settings.memory is None else settings.memory
    with states.unchanged(*job.sources):
        found = passes.measured(
            loaded, parts, file=measure.file_facts(output, parts, outcome.bytes_after),
            file_bytes=outcome.bytes_after, memory=memory,
        )  # fmt: skip
    return replace(outcome, report=found)


def _by_ranges(url: str, settings: tasks.Compressing) -> bool:
    """Whether a source elsewhere is read in passes where it is; else it is brought here."""
    can = store_passes.suits(settings.target, settings.layout, settings.store) is not None
    return can and url.lower().endswith(".npy") and cloud.gives_ranges(url)


def _report(loaded: LazyLoaded, outcome: tasks.Outcome, encoded: Streamed, memory: int) -> Report:
    from lowrank.report import measure, passes

    name, size = outcome.output, outcome.bytes_after
    parts = parts_of(name, name=name)
    return passes.measured(
        loaded, parts, file=measure.file_facts(name, parts, size), file_bytes=size,
        memory=memory, found=encoded.found,
    )  # fmt: skip


def _key(loaded: LazyLoaded, settings: tasks.Compressing, state: states.State) -> str:
    """What a file of passes is told from those of other jobs by."""
    p, target = loaded.picture, settings.target
    return repr(
        (
            os.path.basename(loaded.source.path), state, settings.taking, p.samples_shape,
            p.mode.title, target.kind, target.value, settings.store, settings.certify,
            settings.measure,
        )
    )  # fmt: skip


def source(job: Job, settings: tasks.Compressing) -> LazyLoaded | None:
    """What is to be read in passes: large, or of whatever size where --memory bounds it."""
    can = store_passes.suits(settings.target, settings.layout, settings.store) is not None
    if not can or settings.nodata is not None or (settings.check and job.output == "-"):
        return None
    from lowrank.io import lazy

    if not (job.frames or urls.is_url(job.input) or os.path.exists(job.input)):
        return None  # standard input
    asked = settings.memory or settings.resume or urls.is_url(job.input)
    least = 0 if asked else limits.LARGE
    if job.frames:
        loaded = lazy.of_files(
            job.frames, files.read_bytes, settings.taking, least=least,
            max_pixels=settings.max_pixels,
        )  # fmt: skip
    else:
        loaded = lazy.of_path(
            job.input, settings.taking, least=least, max_pixels=settings.max_pixels
        )
    if loaded is None or not store_passes.can(loaded.picture, settings.target, settings.layout):
        return None
    return loaded


def written(
    job: Job, settings: tasks.Compressing, output: str, loaded: LazyLoaded, encoded: Streamed,
    state: states.State, proof: Reread | None = None,
) -> tasks.Outcome:  # fmt: skip
    """Write a file while its long vectors are made; `state` is what its source was before."""

    def write(stream: BinaryIO) -> None:
        encoded.write(stream)
        states.check(job.sources, state)

    data = None
    if output == "-":
        memory = BytesIO()
        write(memory)
        data = memory.getvalue()
        after = len(data)
    elif urls.is_url(output):
        with TemporaryFile() as stream:
            write(stream)
            after = stream.seek(0, 2)
            stream.seek(0)
            cloud.put(output, stream)
    else:
        inspect = proof.examine if proof else None
        outputs.put(job, settings, output, write, inspect=inspect)
        there = files.regular(output)
        parts = encoded.parts
        after = there.st_size if there else float_file_size(parts.head, sum(parts.ranks))
    error, before = encoded.error, loaded.source.bytes
    return tasks.Outcome(
        job.input, output, before, after,
        summary=work.summary_of(job, output, before, after, encoded.parts, error),
        notes=loaded.seen() + loaded.notes + encoded.notes, relative_error=error, data=data,
    )  # fmt: skip
