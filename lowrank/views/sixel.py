"""Pixels as sixels, a graphics protocol of terminals: six rows at a time, a colour after the other.

The palette is the same for every picture: 6 x 7 x 6 steps of red, green and blue, between which
an ordered dither (Bayer 1973) decides, so that no colour has to be searched for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEPS = (6, 7, 6)
"""Of red, green and blue; 252 colours, of the 256 that terminals have."""
_ROWS = 6
_EMPTY = 63  # the character of six pixels that are left as they are
_SHORT = 4  # equal characters that a repeat is not shorter than


def _bayer(order: int) -> NDArray[np.float64]:
    """Thresholds in (0, 1), of a square of 2^order, as evenly spread as can be."""
    M = np.zeros((1, 1))
    for _ in range(order):
        M = np.block([[4 * M, 4 * M + 2], [4 * M + 3, 4 * M + 1]])
    thresholds: NDArray[np.float64] = (M + 0.5) / M.size
    return thresholds


def indices(colours: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Colours of the palette for (height, width, 3) pixels, dithered."""
    height, width = colours.shape[:2]
    M = _bayer(3)
    threshold = np.tile(M, (-(-height // 8), -(-width // 8)))[:height, :width, None]
    levels = np.array(STEPS) - 1
    found = np.floor(colours * (levels / 255) + threshold).astype(np.intp)
    found = np.minimum(found, levels)
    index: NDArray[np.intp] = (found[..., 0] * STEPS[1] + found[..., 1]) * STEPS[2] + found[..., 2]
    return index


def encode(pixels: NDArray[np.uint8]) -> str:
    """Return (height, width, 4) pixels as a command; where opacity is 0 nothing is drawn.

    References
    ----------
    Digital Equipment Corporation, "VT330/VT340 Programmer Reference Manual", volume 2,
    chapter 14.
    """
    height, width = pixels.shape[:2]
    index = np.where(pixels[..., 3] > 0, indices(pixels[..., :3]), -1)
    out = [f'\x1bP0;1q"1;1;{width};{height}']
    for colour in np.flatnonzero(np.bincount(index[index >= 0])).tolist():
        steps = colour // (STEPS[1] * STEPS[2]), colour // STEPS[2] % STEPS[1], colour % STEPS[2]
        shares = (round(100 * x / (n - 1)) for x, n in zip(steps, STEPS, strict=True))
        out.append(f"#{colour};2;" + ";".join(map(str, shares)))
    for top in range(0, height, _ROWS):
        band = index[top : top + _ROWS]
        weights = (1 << np.arange(len(band)))[:, None]
        used = sorted(set(band[band >= 0].tolist()))
        lines = (_line(((band == x) * weights).sum(axis=0) + _EMPTY) for x in used)
        out.append("$".join(f"#{x}{line}" for x, line in zip(used, lines, strict=True)) + "-")
    return "".join(out) + "\x1b\\"


def _line(codes: NDArray[np.intp]) -> str:
    """Characters, those that are repeated often by their number."""
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    lengths = np.diff(starts, append=len(codes))
    return "".join(
        f"!{n}{chr(c)}" if n > _SHORT - 1 else chr(c) * n
        for c, n in zip(codes[starts].tolist(), lengths.tolist(), strict=True)
    )
