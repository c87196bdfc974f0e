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

from lowrank.layouts.lapped import Floats

EIGHTHS = 15
"""Largest strength, in eighths of the table's."""
Taps = tuple[tuple[int, int], ...]
TAPS: Taps = ((0, 1), (0, 2), (1, -1), (1, 0), (1, 1), (2, 0))
"""(down, across): each stands for itself and its opposite."""
LEVELS = 12
ORIENTED = 9
"""No direction; then across, down, falling and rising, first weak, then strong."""
MARGIN = 3
_SLAB = 1 << 15
_THIN = 32  # samples in a row, below which margins count
_FAINT = np.float32(0.0450)
_BASE = int(_FAINT.view(np.int32))

# Weights in 1/1024, by activity (half octaves, in steps) and kind of direction: none,
# across, falling, strongly across, strongly falling.
TABLE = (
    (
        (-92, 291, 74, -92, 74, 291),
        (-144, 174, 132, -115, 132, 351),
        (-40, 235, -81, -40, 310, 235),
        (-128, 56, 178, -167, 178, 502),
        (65, 86, -83, 65, 504, 86),
    ),
    (
        (-17, 116, 123, -17, 123, 116),
        (-16, 47, 140, -83, 140, 202),
        (59, 67, -2, 59, 313, 67),
        (43, -32, 133, -137, 133, 387),
        (118, -21, -14, 118, 533, -21),
    ),
    (
        (8, 75, 120, 8, 120, 75),
        (-6, 9, 145, -30, 145, 141),
        (81, 34, 3, 81, 274, 34),
        (54, -50, 114, -93, 114, 325),
        (192, -33, -77, 192, 444, -33),
    ),
    (
        (47, 41, 102, 47, 102, 41),
        (36, -10, 114, 7, 114, 110),
        (115, 6, 10, 115, 233, 6),
        (87, -61, 79, -28, 79, 265),
        (214, -37, -101, 214, 373, -37),
    ),
    (
        (69, 21, 88, 69, 88, 21),
        (55, -29, 96, 57, 96, 79),
        (152, -8, -12, 152, 181, -8),
        (63, -64, 74, 3, 74, 203),
        (187, -23, -118, 187, 280, -23),
    ),
    (
        (111, 5, 57, 111, 57, 5),
        (79, -40, 70, 93, 70, 57),
        (165, -17, -25, 165, 140, -17),
        (55, -56, 47, 65, 47, 154),
        (94, -17, -78, 94, 279, -17),
    ),
    (
        (139, -11, 34, 139, 34, -11),
        (101, -46, 42, 136, 42, 38),
        (160, -25, -25, 160, 113, -25),
        (36, -33, 18, 120, 18, 113),
        (18, -8, -53, 18, 294, -8),
    ),
    (
        (141, -20, 21, 141, 21, -20),
        (93, -42, 23, 169, 23, 13),
        (136, -25, -24, 136, 95, -25),
        (19, -14, -3, 176, -3, 72),
        (-24, 2, -39, -24, 256, 2),
    ),
    (
        (137, -27, 9, 137, 9, -27),
        (81, -34, 8, 177, 8, -6),
        (110, -25, -21, 110, 82, -25),
        (-11, -6, 2, 185, 2, 36),
        (-46, 14, -41, -46, 235, 14),
    ),
    (
        (110, -27, 3, 110, 3, -27),
        (51, -21, 3, 160, 3, -21),
        (78, -19, -20, 78, 66, -19),
        (-30, -3, 11, 180, 11, 6),
        (-43, 20, -46, -43, 196, 20),
    ),
    (
        (73, -20, -1, 73, -1, -20),
        (24, -10, 0, 131, 0, -27),
        (48, -13, -18, 48, 51, -13),
        (-33, -1, 12, 173, 12, -11),
        (-34, 16, -37, -34, 166, 16),
    ),
    (
        (3, -2, 0, 3, 0, -2),
        (-3, -1, 1, 18, 1, -7),
        (1, -1, -3, 1, 9, -1),
        (-12, -1, 5, 66, 5, -14),
        (-9, 5, -12, -9, 42, 5),
    ),
)


@cache
def _weights() -> NDArray[np.float32]:
    return oriented(np.array(TABLE, np.float32) / 1024, TAPS)


def oriented(T: NDArray[Any], taps: Taps) -> NDArray[np.float32]:
    """(taps, LEVELS x ORIENTED) weights of a table: the other directions by symmetry."""

    def index(dy: int, dx: int) -> int:
        return taps.index((dy, dx)) if (dy, dx) in taps else taps.index((-dy, -dx))

    down = [index(dx, dy) for dy, dx in taps]
    rising = [index(dy, -dx) for dy, dx in taps]
    across, falling, across2, falling2 = (T[:, kind] for kind in range(1, 5))
    every = np.stack([
        T[:, 0],
        across, across[:, down], falling, falling[:, rising],
        across2, across2[:, down], falling2, falling2[:, rising],
    ], axis=1)  # fmt: skip
    return np.ascontiguousarray(every.reshape(-1, len(taps)).T)


class Room:
    """Arrays that all slabs of a plane share: fresh ones would take fresh pages of memory.

    Rows stand one after the other with their margins, `pitch` apart: so each operation is one
    loop over them all. What it makes of the margins means nothing.
    """

    def __init__(self, rows: int, pitch: int, kind: np.dtype[Any]) -> None:
        self.pitch = pitch
        size = rows * pitch
        self.bends = np.empty((5, size + 2 * pitch + 2), np.float32)
        self.rows = np.empty((4, size + 2), np.float32)
        self.sums, self.pairs = np.empty((2, 4, size), np.float32)
        self.scaled = np.empty((2, size), np.float32)
        self.turned, self.strong, self.clear = np.empty((3, 2, size), np.bool_)
        self.straight = np.empty(size, np.bool_)
        self.kinds = np.empty(size, np.intp)
        self.change, self.part = np.empty((2, size), kind)
        self.longer = np.empty(size + 2 * pitch + 2, kind)


def classes(padded: Floats, step: float, room: Room) -> NDArray[np.intp]:
    """Class of each sample of some rows that have a margin of MARGIN samples.

    Differences of second order across, down and along both diagonals, summed over
    3 x 3 samples: their size in steps is the activity, the smallest of them has the
    direction of the edge.
    """
    W = room.pitch
    size = len(padded) - 2 * MARGIN * W
    many = size + 2 * W + 2
    x = padded.astype(np.float32, copy=False)[W - 2 :]
    centre = x[W + 1 : W + 1 + many]
    twice = np.add(centre, centre, out=room.bends[4, :many])
    bends = room.bends[:4, :many]
    for bend, o in zip(bends, (1, W, W - 1, W + 1), strict=True):
        np.subtract(twice, x[W + 1 + o :][:many], out=bend)
        bend -= x[W + 1 - o :][:many]
    np.abs(bends, out=bends)
    rows = np.add(bends[:, : -2 * W], bends[:, W:-W], out=room.rows[:, : size + 2])
    rows += bends[:, 2 * W :]
    sums = np.add(rows[:, :-2], rows[:, 1:-1], out=room.sums[:, :size])
    sums += rows[:, 2:]

    # Across and down, rising and falling: the pair that tells more of the direction has it.
    first, second = sums[0::2], sums[1::2]
    high = np.maximum(first, second, out=room.pairs[:2, :size])
    low = np.minimum(first, second, out=room.pairs[2:, :size])
    kinds = np.greater(second, first, out=room.turned[:, :size]).view(np.uint8)
    activity = np.add(sums[0], sums[1], out=sums[0])
    a, b = sums[1], sums[2]
    scaled = room.scaled[:, :size]
    with np.errstate(over="ignore"):  # of a hostile file: infinity is the same everywhere
        np.multiply(high[0], low[1], out=a)
        np.multiply(high[1], low[0], out=b)
        straight = np.greater(a, b, out=room.straight[:size]).view(np.uint8)
        np.multiply(low, np.float32(3.0), out=scaled)
        strong = np.greater(high, scaled, out=room.strong[:, :size]).view(np.uint8)
        np.multiply(low, np.float32(1.6), out=scaled)
        clear = np.greater(high, scaled, out=room.clear[:, :size]).view(np.uint8)
    strong *= 4
    kinds += strong
    kinds[0] += 1
    kinds[1] += 3
    kinds *= clear
    # The first of both where it is straight, else the second.
    kind = kinds[0]
    kind ^= kinds[1]
    kind &= np.negative(straight, out=straight)
    kind ^= kinds[1]

    activity *= np.float32(1 / (9 * step))
    np.clip(activity, _FAINT, np.float32(2.0), out=activity)
    level = activity.view(np.int32)
    level -= _BASE
    level >>= 22
    np.clip(level, 0, LEVELS - 1, out=level)
    level *= ORIENTED
    found = room.kinds[:size]
    np.add(level, kind, out=found)
    return found


def correction(
    padded: Floats, kinds: NDArray[np.intp], weights: NDArray[Any], room: Room
) -> Floats:
    """What the filter adds to the samples inside the margin, (rows, width)."""
    W, size = room.pitch, len(kinds)
    total, d, factor = room.change[:size], room.part[:size], room.scaled[0, :size]
    centre = padded[MARGIN * W :][:size]
    for (dy, dx), weight in zip(TAPS, weights, strict=True):
        # The sum of a sample's differences to both neighbours of a tap.
        o = dy * W + dx
        np.subtract(padded[MARGIN * W + o :][:size], centre, out=d)
        d += padded[MARGIN * W - o :][:size]
        d -= centre
        weight.take(kinds, out=factor, mode="wrap")
        if (dy, dx) == TAPS[0]:
            np.multiply(d, factor, out=total)
        else:
            d *= factor
            total += d
    inner: Floats = total.reshape(-1, W)[:, MARGIN:-MARGIN]
    return inner


class Filter:
    """The filter of one plane; an encoder asks for its best strength before it is applied.

    Parameters
    ----------
    plane : (height, width) ndarray
        Decoded samples, which `apply` changes.
    step : float
        Quantiser step, in the plane's units.
    """

    def __init__(self, plane: Floats, step: float) -> None:
        self.plane, self._step = plane, step
        self._kinds: list[NDArray[np.uint8]] = []

    def weights(self, strength: int) -> NDArray[np.float32]:
        """Weights by class at a strength: a row for each thing that `change` weighs."""
        return _weights() * np.float32(strength / 8)

    def change(
        self, part: Floats, kinds: NDArray[np.intp], weights: NDArray[Any], room: Room
    ) -> Floats:
        """What the filter adds to the samples inside the margin of some rows."""
        return correction(part, kinds, weights, room)

    def kinds(self) -> list[NDArray[np.uint8]]:
        """Classes of the plane's samples, as it was before it was filtered, slab by slab."""
        if not self._kinds:
            self._kinds = [
                classes(part, self._step, room).astype(np.uint8) for _, part, room in self._slabs()
            ]
        return self._kinds

    def best_strength(self, original: Floats) -> int:
        """Strength, in eighths, that brings the plane nearest to the original.

        With c the change at full strength and e the error, |e - k c|^2 is least for
        k = <e, c>/<c, c>.
        """
        along = power = 0.0
        plane = self.plane
        for kinds, (top, part, room) in zip(self.kinds(), self._slabs(), strict=True):
            change = self.change(part, kinds.astype(np.intp), _weights(), room)
            rows = slice(top, top + len(change))
            flat = change.astype(np.float64).ravel()
            along += float(flat @ (original[rows] - plane[rows]).ravel())
            power += float(flat @ flat)
        return min(max(round(8 * along / power), 0), EIGHTHS) if power else 0

    def apply(self, strength: int) -> None:
        """Filter the plane in place, at a strength that `best_strength` may give."""
        if not strength:
            return
        weights = self.weights(strength)
        for kinds, (top, part, room) in zip(self.kinds(), self._slabs(), strict=True):
            change = self.change(part, kinds.astype(np.intp), weights, room)
            self.plane[top : top + len(change)] += change

    def _slabs(self) -> Iterator[tuple[int, Floats, Room]]:
        """Some rows at a time, with a margin, of the plane as it was."""
        P = np.pad(self.plane, MARGIN, mode="edge")
        height, width = self.plane.shape
        # Of thin planes the margins are what there is most of.
        rows = min(max(_SLAB // (width if width >= _THIN else P.shape[1]), 8), height)
        room = Room(rows, P.shape[1], P.dtype)
        for top in range(0, height, rows):
            yield top, P[top : top + rows + 2 * MARGIN].reshape(-1), room
