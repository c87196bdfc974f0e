"""What the decoder knows of its own errors: a filter along the edges of the picture.

Quantisation zeroes most coefficients, and what it takes away looks alike in all
pictures: texture along edges, at a strength that goes with the step. So every sample
of the first (luma) plane gains a weighted sum of its differences to 12 neighbours.
The weights, least-squares fits on photographs, depend on the local activity in steps
and on its direction, by a fixed table; the stream tells only how strongly they are
applied. Elementwise IEEE arithmetic in a fixed order: the same bits on every machine.

References
----------
C.-Y. Tsai et al., "Adaptive loop filtering for video coding", IEEE J. Sel. Top.
Signal Process. 7 (2013): Wiener filters by class of activity and direction.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank.packed.lapped import Floats

EIGHTHS = 15
"""Largest strength, in eighths of the table's."""
TAPS = ((0, 1), (0, 2), (1, -1), (1, 0), (1, 1), (2, 0))
"""(down, across): each stands for itself and its opposite."""
LEVELS = 12
ORIENTED = 9
"""No direction; then across, down, falling and rising, first weak, then strong."""
_MARGIN = 3
_SLAB = 1 << 16
_FAINT = np.float32(0.0450)
_BASE = int(_FAINT.view(np.int32))

# Weights in 1/1024, by activity (half octaves, in steps) and kind of direction: none,
# across, falling, strongly across, strongly falling.
TABLE = (
    (
        (-102, 304, 52, -82, 97, 278),
        (-144, 174, 114, -115, 151, 351),
        (-52, 246, -81, -29, 310, 224),
        (-129, 56, 131, -167, 225, 502),
        (72, 87, -82, 58, 504, 85),
    ),
    (
        (-8, 118, 116, -26, 130, 114),
        (-16, 47, 130, -83, 150, 202),
        (79, 62, -2, 38, 313, 72),
        (42, -32, 101, -137, 165, 387),
        (175, -39, -13, 62, 533, -3),
    ),
    (
        (7, 78, 112, 7, 129, 71),
        (-6, 9, 137, -30, 153, 141),
        (91, 32, 3, 71, 274, 36),
        (53, -49, 82, -93, 146, 325),
        (132, -26, -79, 254, 442, -39),
    ),
    (
        (59, 40, 97, 36, 108, 41),
        (35, -10, 100, 7, 128, 110),
        (125, 4, 11, 106, 234, 7),
        (86, -60, 56, -28, 103, 265),
        (246, -62, -100, 179, 373, -11),
    ),
    (
        (84, 14, 83, 54, 94, 27),
        (55, -28, 92, 57, 101, 79),
        (174, -13, -11, 131, 182, -4),
        (62, -64, 61, 3, 87, 203),
        (208, -33, -118, 166, 281, -13),
    ),
    (
        (123, 0, 55, 100, 59, 10),
        (79, -40, 63, 93, 77, 57),
        (174, -20, -24, 155, 140, -14),
        (55, -56, 41, 65, 53, 154),
        (131, -33, -77, 56, 280, -1),
    ),
    (
        (146, -13, 32, 132, 37, -8),
        (101, -46, 37, 135, 47, 38),
        (173, -28, -24, 146, 114, -23),
        (36, -33, 15, 120, 22, 113),
        (35, -15, -52, 0, 295, -3),
    ),
    (
        (147, -22, 18, 136, 23, -19),
        (93, -42, 19, 169, 27, 13),
        (146, -28, -24, 127, 96, -23),
        (19, -14, -4, 176, -3, 72),
        (-17, -1, -39, -30, 256, 6),
    ),
    (
        (141, -29, 7, 134, 11, -26),
        (81, -34, 5, 177, 11, -6),
        (115, -27, -21, 105, 82, -24),
        (-11, -6, 1, 185, 3, 36),
        (-57, 19, -42, -35, 235, 10),
    ),
    (
        (113, -29, 0, 107, 5, -26),
        (51, -21, -1, 160, 6, -21),
        (84, -21, -20, 74, 66, -18),
        (-30, -3, 11, 180, 11, 6),
        (-59, 25, -46, -26, 196, 15),
    ),
    (
        (75, -22, -2, 70, 1, -19),
        (24, -10, -2, 131, 2, -27),
        (52, -14, -18, 45, 51, -12),
        (-33, -1, 12, 173, 12, -11),
        (-36, 18, -37, -32, 166, 14),
    ),
    (
        (3, -3, 0, 3, 1, -2),
        (-3, -1, 1, 18, 2, -7),
        (1, -1, -3, 1, 9, -1),
        (-12, -1, 5, 66, 5, -14),
        (-9, 6, -12, -8, 42, 5),
    ),
)


@cache
def _weights() -> NDArray[np.float32]:
    """(TAPS, LEVELS x ORIENTED) weights of the table: the other directions by symmetry."""
    T = np.array(TABLE, np.float32) / 1024
    down = [_index(dx, dy) for dy, dx in TAPS]
    rising = [_index(dy, -dx) for dy, dx in TAPS]
    across, falling, across2, falling2 = (T[:, kind] for kind in range(1, 5))
    every = np.stack([
        T[:, 0],
        across, across[:, down], falling, falling[:, rising],
        across2, across2[:, down], falling2, falling2[:, rising],
    ], axis=1)  # fmt: skip
    return np.ascontiguousarray(every.reshape(-1, len(TAPS)).T)


def _index(dy: int, dx: int) -> int:
    return TAPS.index((dy, dx)) if (dy, dx) in TAPS else TAPS.index((-dy, -dx))


def _box(x: Floats) -> Floats:
    """Sums over 3 x 3 samples; the result is smaller by one sample all around."""
    rows = x[:-2] + x[1:-1]
    rows += x[2:]
    total: Floats = rows[:, :-2] + rows[:, 1:-1]
    total += rows[:, 2:]
    return total


def classes(padded: Floats, step: float) -> NDArray[np.intp]:
    """Class of each sample of a plane that has a margin of _MARGIN samples.

    Differences of second order across, down and along both diagonals, summed over
    3 x 3 samples: their size in steps is the activity, the smallest of them has the
    direction of the edge.
    """
    P = padded.astype(np.float32, copy=False)
    inner = P[1:-1, 1:-1]
    twice = inner + inner

    def bend(dy: int, dx: int) -> Floats:
        h, w = inner.shape
        d = twice - P[1 + dy : 1 + dy + h, 1 + dx : 1 + dx + w]
        d -= P[1 - dy : 1 - dy + h, 1 - dx : 1 - dx + w]
        return _box(np.abs(d, out=d))[1:-1, 1:-1]

    across, down, rising, falling = bend(0, 1), bend(1, 0), bend(1, -1), bend(1, 1)
    activity = across + down
    activity *= np.float32(1 / (9 * step))
    np.clip(activity, _FAINT, np.float32(2.0), out=activity)
    level = (activity.view(np.int32) - _BASE) >> 22
    np.minimum(level, LEVELS - 1, out=level)
    straight_high, straight_low = np.maximum(across, down), np.minimum(across, down)
    skew_high, skew_low = np.maximum(rising, falling), np.minimum(rising, falling)
    straight = straight_high * skew_low > skew_high * straight_low
    high = np.where(straight, straight_high, skew_high)
    low = np.where(straight, straight_low, skew_low)
    turned = np.where(straight, down > across, falling > rising)
    kind = np.where(straight, 1, 3).astype(np.int32)
    kind += turned
    kind += 4 * (high > np.float32(3.0) * low)
    kind[high <= np.float32(1.6) * low] = 0
    return (level * ORIENTED + kind).astype(np.intp)


def smooth(plane: Floats, step: float, eighths: int) -> None:
    """Filter a plane in place.

    Parameters
    ----------
    plane : (height, width) ndarray
    step : float
        Quantiser step, in the plane's units.
    eighths : int
        Strength, 0 to EIGHTHS.
    """
    if eighths:
        weights = _weights() * np.float32(eighths / 8)
        for top, change in _changes(plane, step, weights):
            plane[top : top + len(change)] += change


def best_strength(original: Floats, decoded: Floats, step: float) -> int:
    """Strength, in eighths, that brings the decoded plane nearest to the original.

    With c the change at full strength and e the error, |e - k c|^2 is least for
    k = <e, c>/<c, c>.
    """
    along = power = 0.0
    for top, change in _changes(decoded, step, _weights()):
        rows = slice(top, top + len(change))
        flat = change.ravel().astype(np.float64)
        along += float(flat @ (original[rows] - decoded[rows]).ravel())
        power += float(flat @ flat)
    return min(max(round(8 * along / power), 0), EIGHTHS) if power else 0


def _changes(
    plane: Floats, step: float, weights: NDArray[np.float32]
) -> Iterator[tuple[int, Floats]]:
    """What the filter adds, some rows at a time, from the plane as it was."""
    P = np.pad(plane, _MARGIN, mode="edge")
    rows = max(_SLAB // plane.shape[1], 8)
    for top in range(0, len(plane), rows):
        part = P[top : top + rows + 2 * _MARGIN]
        yield top, correction(part, classes(part, step), weights)


def differences(padded: Floats, tap: tuple[int, int]) -> Floats:
    """Sum of a sample's differences to the two neighbours of a tap."""
    m = _MARGIN
    h, w = padded.shape[0] - 2 * m, padded.shape[1] - 2 * m
    dy, dx = tap
    centre = padded[m:-m, m:-m]
    d: Floats = padded[m + dy : m + dy + h, m + dx : m + dx + w] - centre
    d += padded[m - dy : m - dy + h, m - dx : m - dx + w]
    d -= centre
    return d


def correction(padded: Floats, kinds: NDArray[np.intp], weights: NDArray[Any]) -> Floats:
    """What the filter adds to the samples inside the margin."""
    total = np.zeros(kinds.shape, padded.dtype)
    for tap, w in zip(TAPS, weights, strict=True):
        d = differences(padded, tap)
        d *= w.take(kinds)
        total += d
    return total
