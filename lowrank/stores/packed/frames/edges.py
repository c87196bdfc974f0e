"""Planes whose sides are no multiples of 16: patches at the far edges, of what is there.

A patch at an edge has r of 16 columns (or rows) of samples, and a cosine transform of r
frequencies: the transform of the plane is orthonormal as it stands, and codes no sample that
was made up. Frequency k of r has the place of frequency 16 k / r, rounded down, which is
about as fine a wave; the other places of such a patch are not coded. The lapped transform goes
across the last boundary where there are 8 samples behind it.

Where samples were repeated to fill patches, a plane of noise of 145 x 145 took 14% more bits.

And planes that no lapped transform suits. Where there is nothing beyond a sharp edge, as around
what was cut out of a picture or beside the head of a patient, wide smooth waves make something
of it: there the patches do not lap, or are of shorter waves, in the same places as the cosines.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from lowrank.layouts.lapped import HALF, SIDE, SIZE, Floats, cosines, grid, lap

LAPPED, COSINES, FOURS, STEPS = range(4)
"""Transforms of whole patches: cosines that lap, cosines, cosines of four samples and of the means
of these, and steps (A. Haar, Math. Ann. 69, 1910)."""
_TOGETHER = 1 << 17  # coefficients that are computed at once
_BLOCKS = 8  # patches along a side that are transformed at once
_PI = 3.141592653589793
_TERMS = 24  # of the series of a cosine, up to 2 pi


class Edges:
    """What the patches at the far edges of a plane have.

    Parameters
    ----------
    height, width : int
    filled : bool
        Whether patches are filled up, as in the first files: then all are whole.
    transform : int
        Of whole patches.

    Attributes
    ----------
    rows, columns : int
        Samples of the last row and the last column of patches.
    """

    def __init__(
        self, height: int, width: int, *, filled: bool = False, transform: int = LAPPED
    ) -> None:
        self.transform = transform
        rest = (SIDE, SIDE) if filled else tuple((n - 1) % SIDE + 1 for n in (height, width))
        self.rows, self.columns = rest

    @property
    def apart(self) -> tuple[bool, bool]:
        """Whether the lapped transform stops before the last row, and before the last column."""
        return self.rows < HALF, self.columns < HALF

    def kind(self, index: int) -> int:
        """Where a component is not coded: 1 in the last row of patches, 2 in the last column."""
        v, u = divmod(index, SIDE)
        return int(v not in places(self.rows)) + 2 * int(u not in places(self.columns))

    def unused(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """(4, rows, columns): of each kind, in which patches."""
        result = np.zeros((4, *shape), np.bool_)
        result[1::2, -1] = True
        result[2:, :, -1] = True
        return result

    def parts(
        self, indices: tuple[int, ...], rows: int, columns: int
    ) -> list[tuple[range, range, list[int]]]:
        """Rows and columns of patches that code the same ones of some components, and these."""
        return [
            (down, across, here)
            for down, v in _spans(rows, self.rows)
            for across, u in _spans(columns, self.columns)
            if (here := [i for i in indices if i // SIDE in places(v) and i % SIDE in places(u)])
        ]


def _spans(patches: int, rest: int) -> list[tuple[range, int]]:
    """Patches along a side that have as many samples, and how many."""
    if rest == SIDE:
        return [(range(patches), SIDE)]
    last = range(patches - 1, patches), rest
    return [(range(patches - 1), SIDE), last] if patches > 1 else [last]


@cache
def places(count: int) -> tuple[int, ...]:
    """Places of the frequencies of `count` samples among 16."""
    return tuple(k * SIDE // count for k in range(count))


@cache
def waves(count: int, transform: int = LAPPED) -> NDArray[np.float64]:
    """(16, 16) waves of `count` samples, a frequency a row, in its place; zeros elsewhere.

    Of 16 samples those of the transform; of less always cosines.
    """
    if count == SIDE:
        return (cosines, cosines, _fours, _steps)[transform]()
    D = np.zeros((SIDE, SIDE))
    for k, place in enumerate(places(count)):
        norm = math.sqrt((2 if k else 1) / count)
        D[place, :count] = [norm * _cosine((2 * j + 1) * k, count) for j in range(count)]
    return D


def _fours() -> NDArray[np.float64]:
    """Four times four cosines of four samples, those of one frequency together."""
    four = waves(4)[::4, :4]
    D: NDArray[np.float64] = np.zeros((4, 4, 4, 4))
    for i in range(4):
        D[:, i, i] = four
    D = D.reshape(SIDE, SIDE)
    # The means of the four: their cosines.
    D[:4] = np.kron(four, np.full(4, 0.5))
    return D


def _steps() -> NDArray[np.float64]:
    """One half of 2, 4, 8 and 16 samples against the other, the longest first."""
    D = np.zeros((SIDE, SIDE))
    D[0] = 1 / math.sqrt(SIDE)
    for k in range(1, SIDE):
        length = SIDE >> (k.bit_length() - 1)
        first = (k - (SIDE // length)) * length
        D[k, first : first + length] = 1 / math.sqrt(length)
        D[k, first + length // 2 : first + length] *= -1
    return D


def _cosine(number: int, count: int) -> float:
    """cos(pi number / (2 count)), by sums and products alone: the same bits everywhere."""
    x = number % (4 * count) * _PI / (2 * count)
    square, total = x * x, 1.0
    for i in range(_TERMS, 0, -1):
        total = 1.0 - square * total / (2 * i * (2 * i - 1))
    return total


@lru_cache(64)
def _matrices(length: int, transform: int) -> list[tuple[slice, slice, NDArray[np.float32]]]:
    """The transform along a side: of some patches, which samples they take, and their matrix."""
    patches = -(-length // SIDE)
    rest = (length - 1) % SIDE + 1
    result = []
    for first in range(0, patches, _BLOCKS):
        last = min(first + _BLOCKS, patches)
        a, b = max(SIDE * (first - 1), 0), min(SIDE * (last + 1), length)
        T = np.eye(b - a)
        for edge in range(max(first, 1), min(last, patches - 1) + 1):
            at = SIDE * edge - a
            if transform == LAPPED and length - SIDE * edge >= HALF:
                lap(T[at - HALF : at], T[at : at + HALF])
        out = np.zeros((last - first, SIDE, b - a))
        for i in range(first, last):
            count = rest if i == patches - 1 else SIDE
            at = SIDE * i - a
            out[i - first] = waves(count, transform)[:, :count] @ T[at : at + count]
        result.append((slice(first, last), slice(a, b), out.reshape(-1, b - a).astype(np.float32)))
    return result


def analyse(planes: Floats, out: Floats | None = None, *, transform: int = LAPPED) -> Floats:
    """Coefficients [frequency, row, plane, column of patches] of (height, width, planes) samples.

    Those of frequency 0 are 16 times the mean of a patch, at the edges, too. They are written to
    `out`, where that is given.
    """
    height, width, count = planes.shape
    rows, columns = grid(height, width)
    result = np.empty((SIZE, rows, count, columns), planes.dtype) if out is None else out
    grids = result.reshape(SIDE, SIDE, rows, count, columns)
    # Some rows of patches after the others: all at once they take as much memory again.
    step = max(_TOGETHER // (SIDE * width * count), 1)
    along = [
        (others, beside, across.astype(planes.dtype, copy=False))
        for others, beside, across in _matrices(width, transform)
    ]
    for some, part, down in _matrices(height, transform):
        flat = planes[part].reshape(part.stop - part.start, -1)
        down = down.astype(planes.dtype, copy=False)
        for top in range(some.start, some.stop, step):
            end = min(top + step, some.stop)
            first, last = ((i - some.start) * SIDE for i in (top, end))
            # Patches lap those beside them, and no others.
            near = slice(max((top - 1) * SIDE - part.start, 0), (end + 1) * SIDE - part.start)
            strip = (down[first:last, near] @ flat[near]).reshape(-1, width, count)
            for others, beside, across in along:
                block = np.matmul(across, strip[:, beside])
                here = block.reshape(-1, SIDE, others.stop - others.start, SIDE, count)
                grids[:, :, top:end, :, others] = here.transpose(1, 3, 0, 4, 2)
                del block, here  # before the next ones
            del strip
    edges = Edges(height, width)
    result[0, -1] *= math.sqrt(SIDE / edges.rows)
    result[0, :, :, -1] *= math.sqrt(SIDE / edges.columns)
    return result
