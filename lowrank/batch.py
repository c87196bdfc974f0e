"""One file in, one file out; and many of them, in as many processes as asked for."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context

from lowrank import api, bounds, codec, files, images, signals, threads, truncation
from lowrank import format as lrk
from lowrank.bounds import File, Report
from lowrank.errors import FileError, LowrankError, UsageError
from lowrank.parts import Parts
from lowrank.rank import Target

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".pbm"}
    | {".pnm", ".jp2", ".avif", ".qoi"}
)


@dataclass(frozen=True)
class Settings:
    """What `compress` or `decompress` was asked to do with each file."""

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


@dataclass(frozen=True)
class Job:
    """One input and where its output goes.

    Attributes
    ----------
    input : str
        A path, or `-`.
    output : str or None
        A path, or `-`; None leaves the suffix to the content.
    stem : str or None
        Path of the output but for its suffix, below a folder that is made when needed;
        None puts the output beside the input.
    """

    input: str
    output: str | None = None
    stem: str | None = None

    def place(self, suffix: str) -> str:
        """Return the output's path, given what its suffix would be."""
        return self.output or (self.stem or os.path.splitext(self.input)[0]) + suffix


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
    error: LowrankError | None = None
    skipped: bool = False
    data: bytes | None = None


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
    summary = (
        f"{job.input} -> {output}: {after:,} bytes ({against}), {_ranks(encoded.parts)}, "
        f"error {_relative_error(encoded.parts):.3%}"
    )
    notes = loaded.notes + encoded.notes
    return _write(job, output, written, len(data), summary, notes, settings, report)


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
        notes.append(
            f"{job.input} ends early: decoded {parts.terms} of {parts.terms + parts.missing} terms"
        )
    summary = (
        f"{job.input} -> {output}: {parts.width}x{parts.height} {parts.mode.name}, "
        f"{_ranks(parts, settings.rank)}, {len(written):,} bytes {form}"
    )
    return _write(job, output, written, len(data), summary, tuple(notes), settings)


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
    return _write(job, output, written, len(data), summary, (), settings)


def file_facts(path: str, parts: Parts, size: int) -> File:
    """What a report says of a file."""
    bits = 8 * size / (parts.width * parts.height)
    return File(path, size, parts.layout, parts.store, bits)


def _write(
    job: Job,
    output: str,
    written: bytes,
    before: int,
    summary: str,
    notes: tuple[str, ...],
    settings: Settings,
    report: Report | None = None,
) -> Outcome:
    if output != "-":
        if job.stem:
            _make_folder(os.path.dirname(output))
        files.write_atomic(output, written, force=settings.force)
    return Outcome(
        job.input,
        output,
        before,
        len(written),
        summary,
        notes,
        report,
        data=written if output == "-" else None,
    )


def _make_folder(path: str) -> None:
    try:
        os.makedirs(path or ".", exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot make folder {path}: {error.strerror}; check the path") from error


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
    if os.path.lexists(output) and not settings.force:
        raise FileError(f"{output} exists; -f replaces it")


# -- many ------------------------------------------------------------------------------


def plan(
    inputs: list[str], output: str | None, *, recursive: bool, suffixes: frozenset[str]
) -> list[Job]:
    """Pair every input with its output.

    Parameters
    ----------
    inputs : list of str
        Files, folders, or `-` for standard input.
    output : str or None
        A file for one file, a folder for more; `-` is standard output.
    recursive : bool
        Descend into folders, whose tree is kept below `output`.
    suffixes : frozenset of str
        Which files of a folder to take.

    Raises
    ------
    UsageError
        The request is ambiguous, or two inputs claim one output.
    FileError
        A folder holds nothing to do.
    """
    folders = {name for name in inputs if name != "-" and os.path.isdir(name)}
    many = len(inputs) > 1 or bool(folders)
    if many and output == "-":
        raise UsageError("several inputs cannot share standard output; give -o a folder")
    if many and output and os.path.exists(output) and not os.path.isdir(output):
        raise UsageError(f"several inputs need a folder, and {output} is a file")
    is_folder = many or (output and (os.path.isdir(output) or output.endswith(os.sep)))
    into = output if output and is_folder else None
    jobs: list[Job] = []
    for name in inputs:
        if name == "-":
            if many:
                raise UsageError("standard input goes alone; leave out the other inputs")
            jobs.append(Job("-", output or "-"))
        elif name in folders:
            for path in _found(name, recursive=recursive, suffixes=suffixes):
                jobs.append(_placed(path, into, os.path.relpath(path, name)))
        elif into:
            jobs.append(_placed(name, into, os.path.basename(name)))
        else:
            jobs.append(Job(name, output))
    claimed: dict[str, str] = {}
    for job in jobs if many else ():
        stem = job.place("")
        if claimed.setdefault(stem, job.input) != job.input:
            raise UsageError(
                f"{claimed[stem]} and {job.input} would get the same output; do them apart"
            )
    return jobs


def _placed(path: str, into: str | None, below: str) -> Job:
    return Job(path, stem=os.path.join(into, os.path.splitext(below)[0]) if into else None)


def _found(folder: str, *, recursive: bool, suffixes: frozenset[str]) -> list[str]:
    found = sorted(_walk(folder, recursive=recursive, suffixes=suffixes))
    if not found:
        hint = "" if recursive else "; -r descends into its folders"
        raise FileError(f"nothing to do in folder {folder}{hint}")
    return found


def _walk(folder: str, *, recursive: bool, suffixes: frozenset[str]) -> Iterator[str]:
    for base, below, names in os.walk(folder):
        if not recursive:
            below.clear()
        for name in names:
            if os.path.splitext(name)[1].lower() in suffixes:
                yield os.path.join(base, name)


def attempt(worker: Worker, job: Job, settings: Settings) -> Outcome:
    """Run one job; an error of ours becomes its outcome."""
    try:
        return worker(job, settings)
    except LowrankError as error:
        return Outcome(job.input, job.output or "", error=error)


def run(
    worker: Worker, jobs: list[Job], settings: Settings, *, processes: int
) -> Iterator[Outcome]:
    """Run jobs and yield their outcomes as they come, holding few of them at a time."""
    if processes <= 1 or len(jobs) <= 1:
        for job in jobs:
            yield attempt(worker, job, settings)
        return
    pool = ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=_start_worker
    )
    try:
        waiting = iter(jobs)
        running: dict[Future[Outcome], Job] = {}
        while True:
            for job in islice(waiting, 2 * processes - len(running)):
                running[pool.submit(attempt, worker, job, settings)] = job
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield _result(future, running.pop(future))
    finally:
        # An interruption lets the files under way be finished; the rest is not begun.
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and the other processors to the other workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signals.unwind()
    threads.limit(1)


def _result(future: Future[Outcome], job: Job) -> Outcome:
    try:
        return future.result()
    except BrokenProcessPool:
        error = FileError(f"a worker process died, perhaps for want of memory, with {job.input}")
        return Outcome(job.input, job.output or "", error=error)
