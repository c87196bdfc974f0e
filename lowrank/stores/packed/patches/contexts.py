"""What a coefficient's neighbours say about its size: contexts in exact integers.

A component's map has one quantised coefficient for each patch. It is coded in three
phases, (even, even), (odd, odd), and the rest, so that later phases know neighbours
in the map itself. The expected magnitude E of a coefficient is a weighted sum of
magnitudes already coded: in nearby components at the same patch and at the patches
around it, and in its own map. Magnitudes are at most CAP and weights are integers,
hence every sum is an integer below 2^24 and the float32 matrix products are exact in
any order: the contexts are the same on every machine.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

CAP = 200
UNIT = 1024
ROWS = 32
PAD = ROWS
"""Row of the positions beyond the map's edge, always zero."""
CORNERS = ((0, 0), (1, 1), (0, 1), (1, 0))
"""First row and column of each plane."""
PHASES = (0, 1, 2, 2)
"""Phase in which each plane is coded."""
BESIDE = (2, 3, 0, 1)
"""Plane of the horizontal neighbours of each plane."""
ABOVE = (3, 2, 1, 0)
"""Plane of the vertical neighbours."""

# Row of e = UNIT E: 2.5 to an octave of e + 10, along the straight lines that the
# mantissa draws between powers of two.
_ZERO = np.float32(10)
_BASE = int(_ZERO.view(np.int32))
_LARGEST = np.float32(10 * 2**12.7)


class Phase:
    """The positions coded in one phase: those of one plane, or of two."""

    def __init__(self, shape: Quarters, planes: tuple[int, ...]) -> None:
        self.planes = planes
        self.number = PHASES[planes[0]]
        self.count = len(planes) * shape.count
        self.places = np.concatenate([np.arange(shape.size)[shape.spans[p]] for p in planes])
        """Index in the planes of each position."""
        where = shape.where[self.places]
        self.pads = (where < 0).nonzero()[0]
        self.where = np.where(where < 0, shape.height * shape.width - 1, where)
        """Index in the map; a place beyond the edge, of a hostile file, is the last."""
        self._size = shape.size
        self._cells: dict[int, NDArray[np.intp]] = {}

    def cells(self, count: int) -> NDArray[np.intp]:
        """Index of each position of `count` maps, one after the other, in all their planes."""
        if count not in self._cells:
            starts = self._size * np.arange(count)[:, None]
            self._cells[count] = (starts + self.places).ravel()
        return self._cells[count]


class Quarters:
    """A map of height x width as four flat planes of every second row and column.

    Planes 0..3 hold the positions (even, even), (odd, odd), (even, odd), (odd, even).
    A row of a plane ends with one zero, and zeros stand before the first row and after
    the last: every neighbour of a position is at a fixed offset, in another plane.
    """

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        rows, columns = (height + 1) // 2, (width + 1) // 2
        self.pitch = columns + 1
        self.guard = self.pitch + 1
        self.count = rows * self.pitch
        self.plane = self.count + 2 * self.guard
        self.size = 4 * self.plane
        self.spans = tuple(self.span(p) for p in range(4))
        where = np.full(self.size, -1, np.intp)
        grid = np.arange(height * width, dtype=np.intp).reshape(height, width)
        for view, (y, x) in zip(self._views(where), CORNERS, strict=True):
            view[:] = grid[y::2, x::2]
        self.where = where
        """Index in the map of each element of the planes, -1 outside."""
        self.phases = tuple(
            Phase(self, planes)
            for planes in ((0,), (1,), (2, 3))
            if any((where[self.spans[p]] >= 0).any() for p in planes)
        )
        # Left and right, and upper and lower neighbours of each plane's positions.
        self.neighbours = tuple(
            (
                (self.span(BESIDE[p], x - 1), self.span(BESIDE[p], x)),
                (self.span(ABOVE[p], (y - 1) * self.pitch), self.span(ABOVE[p], y * self.pitch)),
            )
            for p, (y, x) in enumerate(CORNERS)
        )
        # The four plane-0 neighbours of plane 1's positions.
        self.diagonals = tuple(
            self.span(0, offset) for offset in (0, 1, self.pitch, self.pitch + 1)
        )

    def span(self, plane: int, offset: int = 0) -> slice:
        """The positions of a plane, moved by `offset`."""
        start = plane * self.plane + self.guard + offset
        return slice(start, start + self.count)

    def _views(self, flat: NDArray[Any]) -> list[NDArray[Any]]:
        views = []
        for plane, (y, x) in enumerate(CORNERS):
            grid = flat[self.span(plane)].reshape(-1, self.pitch)
            views.append(grid[: (self.height - y + 1) // 2, : (self.width - x + 1) // 2])
        return views

    def scatter(self, grid: NDArray[Any]) -> NDArray[Any]:
        """The four planes of a (height, width) map, in one flat array of zeros."""
        flat = np.zeros(self.size, grid.dtype)
        for view, (y, x) in zip(self._views(flat), CORNERS, strict=True):
            view[:] = grid[y::2, x::2]
        return flat

    def gather(self, flat: NDArray[Any], grid: NDArray[Any]) -> NDArray[Any]:
        """Write four planes into a (height, width) map, and return it."""
        for view, (y, x) in zip(self._views(flat), CORNERS, strict=True):
            grid[y::2, x::2] = view
        return grid


def rows_of(e: NDArray[np.float32]) -> NDArray[np.intp]:
    """Context row of each E in units of 1/UNIT; destroys its argument."""
    e += _ZERO
    np.minimum(e, _LARGEST, out=e)
    bits = e.view(np.int32)
    bits -= _BASE
    bits *= 5
    bits >>= 24
    return bits.astype(np.intp)


@cache
def _rows() -> NDArray[np.intp]:
    """Context row of each E that is a whole number; the last is that of all larger ones."""
    return rows_of(np.arange(int(_LARGEST) + 1, dtype=np.float32))


def expected(
    shape: Quarters,
    phase: Phase,
    sums: NDArray[np.float32],
    known: NDArray[np.float32],
    own: NDArray[np.float32],
) -> NDArray[np.intp]:
    """Context rows of one phase of some maps, (maps, positions).

    Parameters
    ----------
    sums : (maps, 3, size) ndarray
        Weighted sums of other maps: at the place, and those to be added from the
        horizontal and from the vertical neighbours.
    known : (maps, size) ndarray
        Capped magnitudes of these maps, as far as they are known.
    own : (3, maps, 1) ndarray
        Weights of the own map: of each diagonal in phase 1; of the horizontal and
        the vertical neighbours in phase 2.
    """
    result = np.empty((len(known), phase.count), np.float32)
    here, across, down = sums[:, 0], sums[:, 1], sums[:, 2]
    for i, plane in enumerate(phase.planes):
        e = result[:, i * shape.count : (i + 1) * shape.count]
        (left, right), (up, below) = shape.neighbours[plane]
        np.add(across[:, left], across[:, right], out=e)
        e += here[:, shape.spans[plane]]
        e += down[:, up]
        e += down[:, below]
        if phase.number == 1:
            first, second, third, fourth = shape.diagonals
            total = known[:, first] + known[:, second]
            total += known[:, third]
            total += known[:, fourth]
            total *= own[0]
            e += total
        elif phase.number == 2:
            beside = known[:, left] + known[:, right]
            beside *= own[1]
            e += beside
            np.add(known[:, up], known[:, below], out=beside)
            beside *= own[2]
            e += beside
    rows: NDArray[np.intp] = _rows().take(result.astype(np.intp), mode="clip")
    if len(phase.pads):
        rows[:, phase.pads] = PAD
    return rows
