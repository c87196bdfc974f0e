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
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)

CAP = 200
UNIT = 1024
ROWS = 32
PAD = ROWS
"""Row of the positions beyond the map's edge, always zero."""

# Row r holds E with EDGES[r] <= 256 E < EDGES[r + 1]: 256 * .01 * 2^(.4 r).
_EDGES = (
    *(0, 3, 4, 5, 6, 8, 10, 13, 17, 23, 31, 41, 54, 71, 94, 124, 164, 216, 285, 376),
    *(496, 655, 864, 1141, 1505, 1986, 2621, 3458, 4563, 6021, 7946, 10485),
)
TOP = 1 << 14


@cache
def row_table() -> NDArray[np.intp]:
    """Row of each E in units of 1/256, E < 64."""
    table = np.zeros(TOP, np.intp)
    for edge in _EDGES[1:]:
        table[edge:] += 1
    return table


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
        self.corners = ((0, 0), (1, 1), (0, 1), (1, 0))
        inside = self.scatter(np.ones((height, width), np.bool_))
        self.phases = tuple(
            (planes, np.concatenate([~inside[self.span(p)] for p in planes]).nonzero()[0])
            for planes in ((0,), (1,), (2, 3))
            if any(inside[self.span(p)].any() for p in planes)
        )
        self.spans = tuple(self.span(p) for p in range(4))
        # Left and right, and upper and lower neighbours of each plane's positions.
        self.neighbours = tuple(
            (
                (self.span(beside, x - 1), self.span(beside, x)),
                (self.span(above, (y - 1) * self.pitch), self.span(above, y * self.pitch)),
            )
            for y, x in self.corners
            for beside, above in [(self.corners.index((y, 1 - x)), self.corners.index((1 - y, x)))]
        )
        # The four plane-0 neighbours of plane 1's positions.
        self.diagonals = tuple(
            self.span(0, offset) for offset in (0, 1, self.pitch, self.pitch + 1)
        )

    def span(self, plane: int, offset: int = 0) -> slice:
        """The positions of a plane, moved by `offset`."""
        start = plane * self.plane + self.guard + offset
        return slice(start, start + self.count)

    def _views(self, flat: NDArray[T]) -> list[NDArray[T]]:
        views = []
        for plane, (y, x) in enumerate(self.corners):
            grid = flat[self.span(plane)].reshape(-1, self.pitch)
            views.append(grid[: (self.height - y + 1) // 2, : (self.width - x + 1) // 2])
        return views

    def scatter(self, grid: NDArray[T]) -> NDArray[T]:
        """The four planes of a (height, width) map, in one flat array of zeros."""
        flat = np.zeros(self.size, grid.dtype)
        for view, (y, x) in zip(self._views(flat), self.corners, strict=True):
            view[:] = grid[y::2, x::2]
        return flat

    def gather(self, flat: NDArray[T]) -> NDArray[T]:
        """The (height, width) map of four planes."""
        grid = np.empty((self.height, self.width), flat.dtype)
        for view, (y, x) in zip(self._views(flat), self.corners, strict=True):
            grid[y::2, x::2] = view
        return grid


def expected(
    shape: Quarters,
    sums: NDArray[np.float32],
    own: NDArray[np.float32],
    weights: NDArray[np.float32],
    phase: int,
    planes: tuple[int, ...],
) -> NDArray[np.intp]:
    """Context rows of one phase of some maps, (maps, positions).

    Parameters
    ----------
    sums : (maps, 9, size) ndarray
        For each phase, weighted sums of other maps: at the place, and those to be
        added from the horizontal and from the vertical neighbours.
    own : (maps, size) ndarray
        Capped magnitudes of these maps, as far as they are known.
    weights : (3, maps, 1) ndarray
        Of the own map: each diagonal in phase 1; horizontal and vertical neighbours in
        phase 2.
    """
    result = np.empty((len(own), len(planes) * shape.count), np.float32)
    here, across, down = (sums[:, 3 * phase + i] for i in range(3))
    for i, plane in enumerate(planes):
        e = result[:, i * shape.count : (i + 1) * shape.count]
        (left, right), (up, below) = shape.neighbours[plane]
        np.add(across[:, left], across[:, right], out=e)
        e += here[:, shape.spans[plane]]
        e += down[:, up]
        e += down[:, below]
        if phase == 1:
            first, second, third, fourth = shape.diagonals
            total = own[:, first] + own[:, second]
            total += own[:, third]
            total += own[:, fourth]
            total *= weights[0]
            e += total
        elif phase == 2:
            beside = own[:, left] + own[:, right]
            beside *= weights[1]
            e += beside
            np.add(own[:, up], own[:, below], out=beside)
            beside *= weights[2]
            e += beside
    result *= np.float32(256 / UNIT)
    np.minimum(result, np.float32(TOP - 1), out=result)
    return row_table()[result.astype(np.int32)]
