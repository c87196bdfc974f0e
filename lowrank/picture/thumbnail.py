"""A picture made smaller, and turned upright, for people to look at."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lowrank.picture import ARRAY, MODES, Picture

# EXIF orientations: rows reversed, columns reversed; but transposed before either.
_ORIENTATIONS = {
    2: (False, True, False),
    3: (True, True, False),
    4: (True, False, False),
    5: (False, False, True),
    6: (False, True, True),
    7: (True, True, True),
    8: (True, False, True),
}


def reduced(picture: Picture, side: int) -> Picture:
    """Return a picture whose longest side is at most `side` pixels, by averaging.

    One that fits is returned itself; of black and white become greys.
    """
    longest = max(picture.height, picture.width)
    if longest <= side:
        return picture
    height, width = (max(round(x * side / longest), 1) for x in (picture.height, picture.width))
    samples, mode = picture.samples, picture.mode
    if mode.name == "1":
        samples, mode = np.asarray(samples, np.uint8) * np.uint8(255), MODES["L"]
    averages = _averaged(samples, height, width)
    if mode.limits is not None:
        averages = np.rint(averages)
    return replace(picture, samples=averages.astype(mode.dtype), mode=mode)


def upright(picture: Picture) -> Picture:
    """Return a picture turned as its EXIF data say; itself where they say nothing."""
    turn = _ORIENTATIONS.get(orientation(picture.metadata.exif))
    if turn is None:
        return picture
    rows, columns, transposed = turn
    samples = picture.samples
    if transposed:
        samples = samples.transpose(1, 0, 2)
    samples = samples[:: -1 if rows else 1, :: -1 if columns else 1]
    return replace(picture, samples=np.ascontiguousarray(samples))


def shades(picture: Picture) -> tuple[float, float]:
    """Return the samples to show as black and as white.

    Those of the mode; of 16 bits and of floats the smallest and the largest that are there,
    for such pictures seldom fill their range.
    """
    if picture.mode.name not in ("I;16", "F", ARRAY):
        return 0.0, float(picture.mode.peak or 1)
    low, high = float(picture.samples.min()), float(picture.samples.max())
    return low, high if high > low else low + 1


def orientation(exif: bytes | None) -> int:
    """Return the orientation, 1 to 8, that a block of EXIF data states; 1 where it says none."""
    if exif is None or exif[:4] not in (b"II*\0", b"MM\0*"):
        return 1
    order: Literal["little", "big"] = "little" if exif[:1] == b"I" else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(exif[at : at + size], order)

    directory = number(4, 4)
    for at in range(directory + 2, directory + 2 + 12 * number(directory, 2), 12):
        if number(at, 2) == 0x0112:
            found = number(at + 8, 2)
            return found if 1 <= found <= 8 else 1
    return 1


def _averaged(samples: NDArray[np.generic], height: int, width: int) -> NDArray[np.float64]:
    """Average samples over the cells of a coarser grid, fractions of samples included."""
    out = np.empty((height, width, samples.shape[2]))
    for c in range(samples.shape[2]):
        rows = _cell_means(samples[:, :, c], height)
        out[:, :, c] = _cell_means(np.ascontiguousarray(rows.T), width).T
    return out


def _cell_means(A: NDArray[np.generic], cells: int) -> NDArray[np.float64]:
    """Means of the rows of A over `cells` intervals of equal length."""
    edges = np.linspace(0, len(A), cells + 1)
    whole = np.minimum(edges.astype(int), len(A) - 1)
    sums = np.empty((cells + 1, A.shape[1]))
    total, row = np.zeros(A.shape[1]), 0
    for i, (edge, last) in enumerate(zip(edges, whole, strict=True)):
        total += A[row:last].sum(axis=0, dtype=np.float64)
        row = last
        sums[i] = total + (edge - last) * A[last].astype(np.float64)
    means: NDArray[np.float64] = np.diff(sums, axis=0) * (cells / len(A))
    return means
