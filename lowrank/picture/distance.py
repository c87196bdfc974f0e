"""How far two pictures are apart, sample by sample."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lowrank.picture import Picture

if TYPE_CHECKING:
    from lowrank.picture.gaps import Mask, Samples

_ROWS = 256  # at a time
_PIECE = 1 << 20  # samples at a time


@dataclass(frozen=True)
class Pixels:
    """The saved image, rounded and clipped; PSNR is None where the images are equal.

    `peak` is that of the PSNR: the largest sample of the type, 1, 255 or 65,535 (of one grey
    picture in uint16), or the range of the data; see `Picture.peak`.
    """

    psnr_db: float | None
    rmse: float
    max_abs_error: float
    peak: float


class OfFrame(NamedTuple):
    """Sums over the samples of a frame: of squared errors, and how many samples they are of."""

    squares: float
    samples: float
    largest: float


def compare(original: Picture, result: Picture) -> Pixels:
    """PSNR (dB), root mean square error and largest error (levels) between two pictures.

    Pixels that the original has no data for are left out.
    """
    return total(frames(original, result.each()), original.peak)


def relative(original: Picture, rmse: float) -> float:
    """||A - B||_F / ||A||_F of all samples, by their root mean square error; 0 where ||A||_F is."""
    flat = original.samples.reshape(-1)
    square = sum(
        float(np.sum(flat[i : i + _PIECE].astype(np.float64) ** 2))
        for i in range(0, flat.size, _PIECE)
    )
    return rmse / math.sqrt(square / flat.size) if square else 0.0


def frames(
    original: Picture, result: Iterable[Samples], empty: Mask | None = None
) -> list[OfFrame]:
    """The same for each frame of a stack; one picture is one frame.

    `empty` says which pixels are left out, where the picture does not say it itself.
    """
    if original.metadata.nodata is not None:
        from lowrank.picture import gaps

        empty = gaps.of(original)
    gap = None if empty is None else iter(empty if original.frames else [empty])
    return [
        _frame(a, b, None if gap is None else next(gap))
        for a, b in zip(original.each(), result, strict=True)
    ]


def _frame(a: Samples, b: Samples, empty: Mask | None) -> OfFrame:
    squares, largest = 0.0, 0.0
    for c in range(a.shape[2]):
        for top in range(0, len(a), _ROWS):
            rows = slice(top, top + _ROWS)
            error = a[rows, :, c].astype(np.float64)
            error -= b[rows, :, c].astype(np.float64)
            if empty is not None:
                error[empty[rows]] = 0
            squares += float(np.vdot(error, error))
            largest = max(largest, float(np.abs(error).max()))
    share = 1.0 if empty is None else 1 - float(empty.mean())
    return OfFrame(squares, a.size * share, largest)


def total(of: list[OfFrame], peak: float) -> Pixels:
    """What the sums of some frames together say."""
    samples = sum(x.samples for x in of)
    mse = sum(x.squares for x in of) / samples if samples else 0.0
    return Pixels(
        psnr_db=10 * math.log10(peak * peak / mse) if mse else None,
        rmse=math.sqrt(mse),
        max_abs_error=max(x.largest for x in of),
        peak=peak,
    )
