"""What a report says of a stack beside its one matrix, as a row and in plain sentences."""

from __future__ import annotations

from lowrank.errors import printable
from lowrank.report.stacks import Alone, OfStack, Residual
from lowrank.views import words

_AS_GOOD = 1.05  # a stack that takes as many bytes as its frames alone, but for this


HEADERS = ("frames", "SNR dB", "worst dB", "median dB", "best dB")


def cells(s: OfStack) -> list[str]:
    """Return the one row below `HEADERS`; none where the frames were not measured."""
    f = s.frame_psnr_db
    if f is None:
        return []
    size = f"{s.frames:,} of {s.width}x{s.height} {s.dtype}"
    return [size, *map(_decibels, (s.snr_db, f.min, f.median, f.max))]


def sentences(s: OfStack, size: int) -> list[str]:
    """Return what else is said of a stack whose file has `size` bytes."""
    found = []
    if s.frame_psnr_db is not None:
        label = f" ({printable(s.worst_label)})" if s.worst_label else ""
        found.append(
            f"The worst frame is {s.frame_psnr_db.worst_frame}{label}; {words.peak(s.peak or 1)}"
        )
    if s.residual is not None:
        found.append(noise(s.residual))
    if s.kept is not None:
        k = s.kept
        curves = "the curves of the frames"
        held = f"{k.planes_bytes:,} hold {curves} and the eigenimages"
        if k.basis_bytes is not None:
            held = f"{k.basis_bytes:,} hold {curves}, {k.planes_bytes:,} the eigenimages"
        found.append(f"Of {size:,} bytes, {held}, {k.header_bytes:,} all else.")
    if s.frame_by_frame is not None:
        found.append(verdict(s.frame_by_frame, size, floats=s.floats))
    return found


def _decibels(value: float | None) -> str:
    return "exact" if value is None else f"{value:.2f}"


def noise(r: Residual) -> str:
    """Whether what was left out looks like noise, in a sentence or two."""
    pairs = f"{r.along_frames:+.2f} along frames, {r.along_rows:+.2f} and {r.along_columns:+.2f}"
    said = "white: it looks like noise" if r.white else "not white: it has structure"
    found = f"The residual is {said} (neighbours correlate by {pairs} along rows and columns)."
    if r.gavish_donoho_rank is None:
        return found
    return f"{found} {signal(r.gavish_donoho_rank)}"


def signal(rank: int) -> str:
    """How many terms are no noise, in a sentence."""
    terms = "1 term stands" if rank == 1 else f"{rank} terms stand"
    return f"{terms} above the noise (Gavish-Donoho)."


def verdict(alone: Alone, size: int, *, floats: bool) -> str:
    """What a stack gains over its frames apart, in a sentence; or what to do instead."""
    apart = f"one by one its frames take about {alone.bytes:,} bytes at the same error, packed"
    if alone.ratio > _AS_GOOD:
        took = f"As one matrix the stack takes {size:,} bytes"
        return f"{took}; {apart}: {alone.ratio:.2f} times as many."
    times = f"{alone.ratio:.2f} times the {size:,} of the stack"
    if floats:
        return (
            f"Floats are for access and proof, not for size: {apart}, {times}; --psnr packs the "
            "stack itself."
        )
    return (
        f"Low rank does not pay here: {apart}, {times}. Compress the frames each for itself, or, "
        "where they move, by a video codec."
    )
