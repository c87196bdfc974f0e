"""What is measured of a stack beside its one matrix: its frames, its noise, what low rank pays.

The signal of the SNR is the variance of the samples about their mean: a level that all samples
share is no signal.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank import codec, linalg
from lowrank import format as lrk
from lowrank.errors import LowrankError
from lowrank.format.parts import Floats, Parts
from lowrank.picture import MODES, Picture, gaps
from lowrank.picture.axis import unpack
from lowrank.picture.distance import OfFrame
from lowrank.targets import Target, spectrum

_WHITE = 0.05
"""Correlation of neighbours in a residual that passes for none."""
_SAMPLE = 6  # frames that are compressed alone
_LARGEST = 1 << 20  # samples of a frame that is
_WORK = 2e10  # multiplications that a whole spectrum may take for a line of a report


@dataclass(frozen=True)
class Frames:
    """PSNR of single frames in dB, but for those without data; None where one is exact.

    `worst_frame` counts from 0.
    """

    min: float | None
    median: float | None
    max: float | None
    worst_frame: int


@dataclass(frozen=True)
class Residual:
    """Correlation of the residual with its neighbours, and what that says.

    Attributes
    ----------
    along_frames, along_rows, along_columns : float
        Mean product of neighbours over mean square, -1 to 1.
    white : bool
        None of the three shows structure: what was left out looks like noise.
    gavish_donoho_rank : int or None
        Terms above the noise, by the optimal threshold; None where that would take long.
    """

    along_frames: float
    along_rows: float
    along_columns: float
    white: bool
    gavish_donoho_rank: int | None


@dataclass(frozen=True)
class Kept:
    """Bytes of the file: curves of the frames (U), eigenimages (V), all else.

    In a packed file both are one stream: `planes_bytes` is that, and `basis_bytes` None.
    """

    basis_bytes: int | None
    planes_bytes: int
    header_bytes: int


@dataclass(frozen=True)
class Alone:
    """The frames compressed one by one, packed, at the PSNR of the stack.

    `bytes` is of all frames, from `sampled` of them; `ratio` that over the stack's own.
    """

    bytes: int
    sampled: int
    ratio: float


@dataclass(frozen=True)
class OfStack:
    """What a report says of a stack; what needs the original is None without it.

    `peak` is that of every PSNR: 255 of 8-bit samples, else the range of the data; `floats` says
    that the file holds factors as floats.
    """

    frames: int
    height: int
    width: int
    colours: int
    dtype: str
    snr_db: float | None = None
    frame_psnr_db: Frames | None = None
    worst_label: str = ""
    peak: float | None = None
    residual: Residual | None = None
    kept: Kept | None = None
    frame_by_frame: Alone | None = None
    floats: bool = False


def stated(parts: Parts, size: int) -> OfStack | None:
    """What a file says of itself; None of one picture."""
    head = parts.head
    if head.frames is None:
        return None
    kept = None
    if isinstance(parts.body, Floats):
        (f,) = parts.body.factors
        each = np.dtype(head.store).itemsize * f.k
        kept = Kept(each * f.m, each * f.n, size - each * (f.m + f.n))
    else:
        payload = len(parts.body.payload)
        kept = Kept(None, payload, size - payload)
    return OfStack(
        head.frames, head.height, head.width, len(head.mode.channels), head.mode.dtype, kept=kept,
        floats=isinstance(parts.body, Floats),
    )  # fmt: skip


def planned(picture: Picture) -> OfStack | None:
    """What is known of a stack that is in no file; None of one picture."""
    p = picture
    if p.frames is None:
        return None
    return OfStack(p.frames, p.height, p.width, len(p.mode.channels), p.mode.dtype, peak=p.peak)


def measured(
    picture: Picture, decoded: Picture, of: list[OfFrame], parts: Parts, size: int
) -> OfStack | None:
    """What a file is beside the stack that it was made from; None of one picture."""
    said = stated(parts, size)
    if said is None:
        return None
    peak = picture.peak
    psnrs = [psnr(x, peak) for x in of]
    finite = [x for x in psnrs if math.isfinite(x)]
    # A frame without any data is not exact: there is nothing to be near to.
    known = [x for x, frame in zip(psnrs, of, strict=True) if frame.samples] or psnrs
    worst = int(np.argmin(psnrs))
    mse = sum(x.squares for x in of) / max(sum(x.samples for x in of), 1)
    variance = _variance(picture)
    snr = 10 * math.log10(variance / mse) if mse and variance else None
    return OfStack(
        said.frames, said.height, said.width, said.colours, said.dtype,
        snr_db=snr,
        frame_psnr_db=Frames(
            min(finite, default=None), _finite(statistics.median(known)), _finite(max(known)), worst
        ),
        worst_label=unpack(parts.head.metadata.axis, said.frames).name(worst),
        peak=peak,
        residual=_residual(picture, decoded, parts.ranks[0]) if mse else None,
        kept=said.kept,
        floats=said.floats,
    )  # fmt: skip


def psnr(x: OfFrame, peak: float) -> float:
    """PSNR of a frame in dB."""
    return 10 * math.log10(peak**2 * x.samples / x.squares) if x.squares else math.inf


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _variance(picture: Picture) -> float:
    """Variance of all samples that are data, frame by frame, so that the stack is not copied.

    The mean counts from a sample: of samples that are all alike it is that one to the last bit.
    """
    size = sum(x.size for x in _data(picture)) or 1
    first = next((float(x.flat[0]) for x in _data(picture) if x.size), 0.0)
    mean = first + sum(float(np.sum(x.astype(np.float64) - first)) for x in _data(picture)) / size
    return sum(float(np.sum((x.astype(np.float64) - mean) ** 2)) for x in _data(picture)) / size


def _data(picture: Picture) -> Iterator[NDArray[Any]]:
    """Samples of each frame, but for pixels without data."""
    empty = gaps.of(picture)
    for i, frame in enumerate(picture.each()):
        yield frame if empty is None else frame[~empty[i]]


def _errors(
    picture: Picture, decoded: Picture
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.bool_]]]:
    """Errors of each frame, 0 where there is no data, and which pixels have some."""
    empty = gaps.of(picture)
    for i, (a, b) in enumerate(zip(picture.each(), decoded.each(), strict=True)):
        e = np.subtract(a, b, dtype=np.float64)
        known = np.ones(e.shape[:2], np.bool_) if empty is None else ~empty[i]
        if empty is not None:
            e[empty[i]] = 0.0
        yield e, known


def _residual(picture: Picture, decoded: Picture, k: int) -> Residual:
    squares, before = 0.0, None
    sums, counts = [0.0, 0.0, 0.0], [0, 0, 0]
    size = 0
    for e, known in _errors(picture, decoded):
        channels = e.shape[2]
        squares += float(np.vdot(e, e))
        size += channels * int(np.count_nonzero(known))
        pairs = [
            ((e[1:], known[1:]), (e[:-1], known[:-1])),
            ((e[:, 1:], known[:, 1:]), (e[:, :-1], known[:, :-1])),
        ]
        if before is not None:
            pairs.append(((e, known), before))
        for i, ((x, p), (y, q)) in enumerate(pairs):
            sums[i] += float(np.vdot(x, y))
            counts[i] += channels * int(np.count_nonzero(p & q))
        before = e, known
    rows, columns, frames = (
        s / c / (squares / size) if c and squares else 0.0
        for s, c in zip(sums, counts, strict=True)
    )
    # To take k directions out of the curves of N frames makes white noise follow itself by up to
    # -k / (N - k), the trace of the projection along a shift.
    made = k / max((picture.frames or 1) - k, 1)
    white = max(abs(rows), abs(columns), frames, -frames - made) < _WHITE
    return Residual(frames, rows, columns, white, gavish_donoho_rank(picture))


def gavish_donoho_rank(picture: Picture) -> int | None:
    """Rank by the optimal threshold; None where the whole spectrum would take long."""
    A = picture.samples.reshape(len(picture.samples), -1)
    m, n = A.shape
    if min(m, n) ** 2 * max(m, n) > _WORK:
        return None
    least = linalg.rounding(min(m, n))
    return int(spectrum.gavish_donoho_rank(linalg.spectrum(A), m, n, rounding=least))


def apart(picture: Picture, rmse: float, size: int) -> Alone | None:
    """Compress some frames alone at the same error, and take them for all.

    Parameters
    ----------
    picture : Picture
        The stack.
    rmse : float
        Root mean square error, in levels.
    size : int
        Bytes of the stack's own file.

    Returns
    -------
    Alone or None
        None where frames cannot be packed, or would take long.
    """
    one, mse = next(picture.each()), rmse**2
    if not mse or picture.mode.dtype not in ("uint8", "uint16", "int16") or one.size > _LARGEST:
        return None
    N = picture.frames or 1
    some = sampled(N)
    total = 0
    try:
        for i in some:
            total += _frame_bytes(picture, i, mse)
    except LowrankError:  # a PSNR beyond the packed store
        return None
    whole = round(total / len(some) * N)
    return Alone(whole, len(some), whole / size)


def sampled(frames: int) -> list[int]:
    """Numbers of the frames that stand for all of them, evenly spread."""
    return [int(i) for i in np.unique(np.linspace(0, frames - 1, min(frames, _SAMPLE)).round())]


def alone(picture: Picture, i: int) -> list[Picture]:
    """A frame as a picture, or as one for each channel where no mode of pictures holds it.

    Integers of 16 bits with a sign count from their least on.
    """
    frame, mode = picture.samples[i], picture.mode
    if mode.name in MODES:
        return [Picture(frame, mode)]
    wide = (frame.astype(np.int64) - int(frame.min())).astype(np.uint16)
    return [Picture(wide[:, :, c : c + 1], MODES["I;16"]) for c in range(frame.shape[2])]


def _frame_bytes(picture: Picture, i: int, mse: float) -> int:
    pictures = alone(picture, i)
    peak = pictures[0].mode.peak or 255.0
    target = Target("psnr", 10 * math.log10(peak**2 / mse))
    return sum(
        len(lrk.serialize(codec.encode(p, target, layout="patches", store=None).parts))
        for p in pictures
    )
