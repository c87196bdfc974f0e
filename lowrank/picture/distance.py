"""How far two pictures are apart, sample by sample."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lowrank.picture import Picture


@dataclass(frozen=True)
class Pixels:
    """The saved image, rounded and clipped; PSNR is None where the images are equal."""

    psnr_db: float | None
    rmse: float
    max_abs_error: float


def compare(original: Picture, result: Picture) -> Pixels:
    """PSNR (dB), root mean square error and largest error (levels) between two pictures.

    Pixels that the original has no data for are left out.
    """
    squares, largest = 0.0, 0.0
    empty = None
    if original.metadata.nodata is not None:
        from lowrank.picture import gaps

        empty = gaps.of(original)
    for c in range(len(original.mode.channels)):
        for top in range(0, original.height, 256):
            rows = slice(top, top + 256)
            a = original.samples[rows, :, c].astype(np.float64)
            a -= result.samples[rows, :, c].astype(np.float64)
            if empty is not None:
                a[empty[rows]] = 0
            squares += float(np.vdot(a, a))
            largest = max(largest, float(np.abs(a).max()))
    share = 1.0 if empty is None else 1 - float(empty.mean())
    mse = squares / (original.samples.size * share) if share else 0.0
    peak = full_scale(original)
    return Pixels(
        psnr_db=10 * math.log10(peak * peak / mse) if mse else None,
        rmse=math.sqrt(mse),
        max_abs_error=largest,
    )


def full_scale(picture: Picture) -> float:
    """Peak of a PSNR: the largest sample of the mode, or the range of float samples."""
    if picture.mode.peak is not None:
        return picture.mode.peak
    # As Python's floats: the range of float32 samples may be beyond float32.
    return float(np.max(picture.samples)) - float(np.min(picture.samples)) or 1.0
