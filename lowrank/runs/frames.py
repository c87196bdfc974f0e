"""Stacks back to files: all frames or some, as one file or as pictures in a folder; and traces."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lowrank import files
from lowrank import format as lrk
from lowrank.errors import UsageError, called, number_of
from lowrank.format import header
from lowrank.io import formats, images
from lowrank.picture import Metadata, Picture
from lowrank.runs import outputs, tasks, work
from lowrank.runs.plan import Job

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lowrank.objects.stack import LowRankStack

_START = 64  # bytes that tell a stack from a picture, and more


def decompress(job: Job, settings: tasks.Decompressing, *, repeated: bool = False) -> tasks.Outcome:
    """Rebuild what is in one `.lrk` file, a picture or a stack, and write it."""
    if job.afar:
        from lowrank.runs import afar

        writes = settings.pixel is None or job.output is not None
        return afar.done(decompress, job, settings, writes=writes)
    asked = settings.frames is not None or settings.pixel is not None
    start = files.start(job.input, _START) if files.regular(job.input) else None
    data = None
    if start is None:
        data = files.read_bytes(job.input)
        start = data[:_START]
    if not header.is_stack(start):
        if asked:
            raise UsageError(
                f"{called(job.input)} holds one picture, and --frames and --pixel are of a stack; "
                "leave them out"
            )
        return work.decompress(job, settings, repeated=repeated, data=data)
    if job.output and _is_done(job, job.output, settings):
        return tasks.Outcome(job.input, job.output, skipped=True)
    if job.output:
        _check_output(job, job.output, settings, repeated=repeated)
    stack = _opened(job, settings, data)
    if settings.rank is not None:
        stack = _leading(stack, settings.rank, job.input)
    size = os.path.getsize(job.input) if data is None else len(data)
    if settings.pixel is not None:
        return _trace(job, settings, stack, size, repeated=repeated)
    if isinstance(settings.frames, int):
        return _one(job, settings, stack, settings.frames, size, repeated=repeated)
    return _all(job, settings, stack, size, repeated=repeated)


def _is_done(job: Job, output: str, settings: tasks.Decompressing) -> bool:
    if _is_zarr(output):
        from lowrank.io import zarr

        output = os.path.join(output, zarr.INDEX)
    return outputs.is_done(job, output, settings)


def _check_output(job: Job, output: str, settings: tasks.Decompressing, *, repeated: bool) -> None:
    if _is_zarr(output):
        from lowrank.io import zarr

        if os.path.realpath(job.input).startswith(os.path.join(os.path.realpath(output), "")):
            raise UsageError(f"{output} holds the input; give another output with -o")
        zarr.check_output(output, force=settings.force or settings.skip_existing or repeated)
    else:
        outputs.check_output(job, output, settings, repeated=repeated)


def _is_zarr(output: str) -> bool:
    return output.lower().endswith(formats.ZARR)


def _opened(job: Job, settings: tasks.Decompressing, data: bytes | None) -> LowRankStack:
    from lowrank.objects import stack as stacks

    if data is None and not settings.partial:
        found = stacks.opened(job.input, max_pixels=settings.max_pixels)
        if found is not None:
            return found
    data = files.read_bytes(job.input) if data is None else data
    parts = lrk.parse(
        data, name=job.input, max_pixels=settings.max_pixels, partial=settings.partial
    )
    return stacks.LowRankStack(parts, parts.notes)


def _leading(stack: LowRankStack, rank: int, name: str) -> LowRankStack:
    """The first terms of a stack; all of them, with a note, where it has no more than that.

    Raises
    ------
    UsageError
        It is packed: its terms are decoded together.
    """
    if rank >= max(stack.ranks):
        stack.notes += work.beyond(rank, stack.ranks, "decoded all")
        return stack
    try:
        return stack.leading(rank)
    except UsageError as error:
        raise UsageError(
            f"{called(name)} is packed, and no packed stack is decoded with fewer terms; "
            "leave out -k"
        ) from error


def _trace(
    job: Job, settings: tasks.Decompressing, stack: LowRankStack, size: int, *, repeated: bool
) -> tasks.Outcome:
    y, x = settings.pixel or (0, 0)
    stem, suffix = os.path.splitext(job.output or "")
    if suffix.lower() in (*formats.WRITTEN, formats.ZARR):
        raise UsageError(f"--pixel writes a trace as CSV, not {job.output}; give -o {stem}.csv")
    if settings.format and settings.format.lower().lstrip(".") != "csv":
        raise UsageError(f"--pixel writes a trace as CSV; leave out --format {settings.format}")
    _, height, width = stack.shape[:3]
    if not (-height <= y < height and -width <= x < width):
        raise UsageError(
            f"--pixel {y},{x} is outside the frames of {width}x{height}; give a row and a column"
        )
    numbers = _numbers(settings, stack)
    trace = np.asarray(stack[list(numbers), y, x], stack.head.mode.dtype).reshape(len(numbers), -1)
    channels = stack.head.mode.channels
    names = ("frame", *(("value",) if len(channels) == 1 else channels))
    rows = [(i, *values) for i, values in zip(numbers, trace.tolist(), strict=True)]
    lines = [",".join(map(str, row)) for row in (names, *rows)]
    written = ("\n".join(lines) + "\n").encode()
    output = job.output or (f"{job.stem}.csv" if job.stem else "")
    frames = number_of(len(numbers), "frame")
    summary = f"{job.input} -> {output}: the trace of pixel {y},{x} over {frames}"
    facts = {} if output else {"trace": [dict(zip(names, row, strict=True)) for row in rows]}
    outcome = tasks.Outcome(
        job.input, output or "-", size, summary=summary, notes=stack.notes, facts=facts
    )
    return outputs.write(job, settings, outcome, written, repeated=repeated)


def _numbers(settings: tasks.Decompressing, stack: LowRankStack) -> range:
    from lowrank.io.taking import Taking

    return Taking(frames=settings.frames).chosen(len(stack))


def _one(
    job: Job, settings: tasks.Decompressing, stack: LowRankStack, i: int, size: int, *,
    repeated: bool,
) -> tasks.Outcome:  # fmt: skip
    (number,) = _numbers(settings, stack)
    head = stack.head
    samples = np.asarray(stack[number], head.mode.dtype).reshape(head.samples_shape[1:])
    metadata = head.metadata
    picture = Picture(samples, head.mode, Metadata(metadata.exif, metadata.icc, metadata.xmp))
    output, form = outputs.named(job, settings.format, formats.default_suffix(head.mode), head.mode)
    if outputs.is_done(job, output, settings):
        return tasks.Outcome(job.input, output, skipped=True)
    outputs.check_output(job, output, settings, repeated=repeated)
    written = images.write(picture, format=form, png_level=settings.png_level)
    summary = (
        f"{job.input} -> {output}: frame {number} of {len(stack)}, {head.width}x{head.height} "
        f"{head.mode.title}, {len(written):,} bytes {form}"
    )
    notes = images.write_notes(picture, format=form) + stack.notes
    outcome = tasks.Outcome(job.input, output, size, summary=summary, notes=notes)
    return outputs.write(job, settings, outcome, written, repeated=repeated)


def _all(
    job: Job, settings: tasks.Decompressing, stack: LowRankStack, size: int, *, repeated: bool
) -> tasks.Outcome:
    from lowrank.io import framewriter  # a stack is written

    head = stack.head
    if job.folder is not None:
        return _folder(job, job.folder, settings, stack, size, repeated=repeated)
    count = len(_numbers(settings, stack))
    suffix = framewriter.default_suffix(head.mode)
    if settings.format:
        suffix = f".{settings.format.lower().lstrip('.')}"
    output = job.place(suffix)
    if output == "-" and suffix == formats.ZARR:
        raise UsageError("an array of zarr is a folder, not one stream; give --format npy")
    if _is_zarr(output):
        if settings.format and suffix != formats.ZARR:
            raise UsageError(f"--format {settings.format} contradicts -o {output}; leave out one")
        return _zarr(job, settings, stack, size, output, repeated=repeated)
    is_named = job.output not in (None, "-") and os.path.splitext(output)[1] != ""
    form = framewriter.format_for(output if is_named else suffix, head.mode, count)
    if settings.format and form != framewriter.format_for(suffix, head.mode, count):
        raise UsageError(f"--format {settings.format} contradicts -o {output}; leave out one")
    if outputs.is_done(job, output, settings):
        return tasks.Outcome(job.input, output, skipped=True)
    outputs.check_output(job, output, settings, repeated=repeated)
    if form != "GIF" and output != "-" and stack.in_parts and not repeated:
        return _by_parts(job, settings, stack, size, output, form)
    written, notes = framewriter.write(_picture(stack, settings), format=form)
    outcome = tasks.Outcome(job.input, output, size, notes=_said(stack, settings, form) + notes)
    outcome = replace(outcome, summary=_summary(outcome, stack, count, len(written), form))
    return outputs.write(job, settings, outcome, written, repeated=repeated)


_AT_A_TIME = 1 << 25  # samples that are decoded before they are written


def _decoded(settings: tasks.Decompressing, stack: LowRankStack) -> Iterator[NDArray[Any]]:
    """Frames as they are decoded: no more than some of them are held, where that can be."""
    from lowrank import pace

    if not stack.in_parts:
        yield _picture(stack, settings).samples
        return
    head, numbers = stack.head, _numbers(settings, stack)
    shape = head.samples_shape[1:]
    at_once = max(_AT_A_TIME // math.prod(shape), 1)
    for a in range(0, len(numbers), at_once):
        some = numbers[a : a + at_once]
        pace.at("decoding", a, len(numbers))
        yield np.asarray(stack[list(some)], head.mode.dtype).reshape(len(some), *shape)


def _by_parts(
    job: Job, settings: tasks.Decompressing, stack: LowRankStack, size: int, output: str, form: str
) -> tasks.Outcome:
    """Write a stack as its frames are decoded."""
    from lowrank.io import framewriter

    head, numbers = stack.head, _numbers(settings, stack)
    shape = (len(numbers), *head.samples_shape[1:])
    total = 0

    def pieces() -> Iterator[bytes | memoryview]:
        nonlocal total
        frames = _decoded(settings, stack)
        for piece in framewriter.pieces(shape, head.mode, head.metadata, frames, format=form):
            total += len(piece)
            yield piece

    outcome = tasks.Outcome(job.input, output, size, notes=_said(stack, settings, form))
    outputs.put(job, settings, output, pieces())
    return replace(
        outcome, summary=_summary(outcome, stack, len(numbers), total, form), bytes_after=total
    )


def _zarr(
    job: Job, settings: tasks.Decompressing, stack: LowRankStack, size: int, output: str, *,
    repeated: bool,
) -> tasks.Outcome:  # fmt: skip
    """Write a stack as an array of zarr, a chunk a frame."""
    from lowrank.io import zarr

    if _is_done(job, output, settings):
        return tasks.Outcome(job.input, output, skipped=True)
    if settings.preserve:
        raise UsageError("-p keeps times and mode of a file, and zarr makes a folder; leave it out")
    head, numbers = stack.head, _numbers(settings, stack)
    if job.stem:
        files.make_folder(os.path.dirname(output))
    total = zarr.write(
        output, (len(numbers), *head.samples_shape[1:]), head.mode.own_dtype,
        _decoded(settings, stack), force=settings.force or settings.skip_existing or repeated,
        allowed=files.permissions(job.input),
    )  # fmt: skip
    outcome = tasks.Outcome(job.input, output, size, total, notes=_said(stack, settings, "ZARR"))
    return replace(outcome, summary=_summary(outcome, stack, len(numbers), total, "zarr"))


def _said(stack: LowRankStack, settings: tasks.Decompressing, form: str) -> tuple[str, ...]:
    from lowrank.io import framewriter

    shape = (len(_numbers(settings, stack)), *stack.head.samples_shape[1:])
    return stack.notes + framewriter.notes(stack.head.metadata, len(stack), shape, format=form)


def _summary(outcome: tasks.Outcome, stack: LowRankStack, count: int, total: int, form: str) -> str:
    head = stack.head
    return (
        f"{outcome.input} -> {outcome.output}: {number_of(count, 'frame')} of "
        f"{head.width}x{head.height} {head.mode.title}, {total:,} bytes {form}"
    )


def _picture(stack: LowRankStack, settings: tasks.Decompressing) -> Picture:
    """All frames, or those that are asked for, with their labels."""
    head = stack.head
    numbers = _numbers(settings, stack)
    some = len(numbers) < len(stack) or numbers != range(len(stack))
    samples = np.asarray(stack[list(numbers)] if some else stack.to_array(), head.mode.dtype)
    metadata = replace(head.metadata, nodata=None)
    if some:
        metadata = replace(metadata, axis=stack.axis.some(numbers).pack())
    return Picture(samples.reshape(len(numbers), *head.samples_shape[1:]), head.mode, metadata)


def _folder(
    job: Job, folder: str, settings: tasks.Decompressing, stack: LowRankStack, size: int, *,
    repeated: bool,
) -> tasks.Outcome:  # fmt: skip
    """A file for each frame, named by its number; none is written where one may not be."""
    from lowrank.io import framewriter  # a stack is written

    mode = stack.head.mode
    suffix = formats.default_suffix(mode)
    if settings.format:
        suffix = f".{settings.format.lower().lstrip('.')}"
    form = formats.format_for(suffix, mode)
    numbers = _numbers(settings, stack)
    digits = max(len(str(len(stack) - 1)), 3)
    paths = [os.path.join(folder, f"{i:0{digits}d}{suffix}") for i in numbers]
    if all(outputs.is_done(job, path, settings) for path in paths):
        return tasks.Outcome(job.input, folder, skipped=True)
    for path in paths:
        outputs.check_output(job, path, settings, repeated=repeated)
    picture = _picture(stack, settings)
    total = 0
    notes: tuple[str, ...] = ()
    for i, path in enumerate(paths):
        frame = framewriter.frame(picture, i)
        written = images.write(frame, format=form, png_level=settings.png_level)
        notes = images.write_notes(frame, format=form)
        outputs.write(job, settings, tasks.Outcome(job.input, path), written, repeated=repeated)
        total += len(written)
    summary = f"{job.input} -> {folder}: {number_of(len(paths), 'frame')}, {total:,} bytes {form}"
    notes = stack.notes + notes + framewriter.of_labels(stack.axis)
    return tasks.Outcome(job.input, folder, size, total, summary=summary, notes=notes)
