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
STANDS = (0, 3, 2, 1)
"""Where each plane stands: two of them at a time then have their neighbours alike."""

_FEW = 1 << 13
"""Positions of a map up to which it is had from its planes by indices sooner than by strides."""

# Row of e = UNIT E: 2.5 to an octave of e + 10, along the straight lines that the
# mantissa draws between powers of two.
_ZERO = np.float32(10)
_BASE = int(_ZERO.view(np.int32))
_LARGEST = np.float32(10 * 2**12.7)
_BEYOND = np.float32(-(2.0**30))
"""What is expected beyond the edge: whatever is added, it stays below zero."""


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
        starts = [shape.spans[p].start for p in planes]
        self._views = (len(planes), shape.count), starts[0], starts[-1] - starts[0]
        self._cells: dict[int, NDArray[np.intp]] = {}

    def cut(self, flat: NDArray[Any]) -> NDArray[Any]:
        """The positions in planes that stand one after the other, (planes, positions): a view."""
        size = flat.itemsize
        return np.ndarray(
            self._views[0], flat.dtype, flat, self._views[1] * size, (self._views[2] * size, size)
        )

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
        self.parts = tuple(slice(x * self.plane, (x + 1) * self.plane) for x in STANDS)
        """Each plane with the zeros around it."""
        self.spans = tuple(self.span(p) for p in range(4))
        where = np.full(self.size, -1, np.intp)
        grid = np.arange(height * width, dtype=np.intp).reshape(height, width)
        for view, (y, x) in zip(self._views(where), CORNERS, strict=True):
            view[:] = grid[y::2, x::2]
        self.where = where
        """Index in the map of each element of the planes, -1 outside."""
        self._few = height * width <= _FEW
        if self._few:
            self._outside = (where < 0).nonzero()[0]
            self._from = np.maximum(where, 0)
            self._to = np.empty((height, width), np.intp)
            for view, (y, x) in zip(self._views(np.arange(self.size)), CORNERS, strict=True):
                self._to[y::2, x::2] = view
        self.bias = np.where(where < 0, _BEYOND, np.float32(1))
        """What is added to what is expected: the table of rows starts with that of PAD."""
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

    def span(self, plane: int, offset: int = 0) -> slice:
        """The positions of a plane, moved by `offset`."""
        start = STANDS[plane] * self.plane + self.guard + offset
        return slice(start, start + self.count)

    def _views(self, flat: NDArray[Any]) -> list[NDArray[Any]]:
        views = []
        for plane, (y, x) in enumerate(CORNERS):
            grid = flat[self.span(plane)].reshape(-1, self.pitch)
            views.append(grid[: (self.height - y + 1) // 2, : (self.width - x + 1) // 2])
        return views

    def scatter(self, grid: NDArray[Any]) -> NDArray[Any]:
        """The four planes of a (height, width) map, in one flat array of zeros."""
        if self._few:
            flat: NDArray[Any] = grid.take(self._from)
            flat[self._outside] = 0
            return flat
        flat = np.zeros(self.size, grid.dtype)
        for view, (y, x) in zip(self._views(flat), CORNERS, strict=True):
            view[:] = grid[y::2, x::2]
        return flat

    def gather(self, flat: NDArray[Any], grid: NDArray[Any]) -> NDArray[Any]:
        """Write four planes into a (height, width) map, and return it."""
        if self._few:
            grid[:] = flat.take(self._to)
            return grid
        for view, (y, x) in zip(self._views(flat), CORNERS, strict=True):
            grid[y::2, x::2] = view
        return grid


def rows_of(e: NDArray[np.float32]) -> NDArray[np.int32]:
    """Context row of each E in units of 1/UNIT, in the memory of its argument."""
    e += _ZERO
    np.minimum(e, _LARGEST, out=e)
    bits = e.view(np.int32)
    bits -= _BASE
    bits *= 5
    bits >>= 24
    return bits


@cache
def _rows() -> NDArray[np.intp]:
    """PAD, and the context row of each E that is a whole number; the last of all larger ones."""
    rows = rows_of(np.arange(int(_LARGEST) + 1, dtype=np.float32))
    return np.concatenate([[PAD], rows]).astype(np.intp)


class Board:
    """Some maps while they are coded: what is known of them, and what is expected.

    Attributes
    ----------
    known : (maps, size) ndarray of int32
        Capped magnitudes, as far as they are known.
    """

    def __init__(self, shape: Quarters, count: int) -> None:
        self._shape = shape
        self.known, self._expected = np.zeros((2, count, shape.size), np.int32)
        plane, pitch, number = shape.plane, shape.pitch, shape.count

        def strided(flat: NDArray[np.int32], first: int, step: int) -> NDArray[np.int32]:
            """Positions from one on, and others `step` after them, of each map."""
            bytes_ = flat.itemsize
            return np.ndarray(
                (count, 2, number), flat.dtype, flat, (first + shape.guard) * bytes_,
                (flat.strides[0], step * bytes_, bytes_),
            )  # fmt: skip

        e, known = self._expected, self.known
        # Of the last phase the planes stand in the middle, the second one first; their
        # neighbours stand at the ends.
        end = 3 * plane
        self._targets = (
            e[:, shape.spans[0]], e[:, shape.spans[1]], strided(e, 2 * plane, -plane)
        )  # fmt: skip
        self._diagonals = [known[:, shape.span(0, offset)] for offset in (0, 1, pitch, pitch + 1)]
        self._beside = strided(known, 0, end - 1), strided(known, 1, end - 1)
        self._above = strided(known, end - pitch, pitch - end), strided(known, end, pitch - end)
        self._room = np.empty((count, 2, number), np.int32)
        self._first = self._room[:, 0]

    def expect(self, sums: NDArray[np.float32]) -> None:
        """Begin: nothing is known of the maps themselves, and this of others.

        Parameters
        ----------
        sums : (maps, 3, size) ndarray, which changes
            Weighted sums of other maps: at the place, and those to be added from the
            horizontal and from the vertical neighbours.
        """
        self.known.fill(0)
        here, across, down = sums[:, 0], sums[:, 1], sums[:, 2]
        plane, pitch = self._shape.plane, self._shape.pitch
        half = 2 * plane
        # The horizontal neighbours of a plane are two after it or before, on its own side.
        one, other = here[:, 1:half], here[:, half:-1]
        one += across[:, half:-1]
        one += across[:, half + 1 :]
        other += across[:, : half - 1]
        other += across[:, 1:half]
        # The vertical ones are in the other plane of a pair.
        pairs, down = here.reshape(-1, 2, half), down.reshape(-1, 2, half)
        one, other = pairs[:, :, pitch:plane], pairs[:, :, plane:-pitch]
        one += down[:, :, plane:-pitch]
        one += down[:, :, plane + pitch :]
        other += down[:, :, : plane - pitch]
        other += down[:, :, pitch:plane]
        here += self._shape.bias
        np.copyto(self._expected, here, casting="unsafe")

    def rows(self, phase: Phase, own: NDArray[np.int32]) -> NDArray[np.intp]:
        """Context rows of one phase, (maps, positions).

        Parameters
        ----------
        own : (3, maps, 1) ndarray
            Weights of the own map: of each diagonal in phase 1; of the horizontal and
            the vertical neighbours in phase 2.
        """
        target = self._targets[phase.number]
        if phase.number == 1:
            first, second, third, fourth = self._diagonals
            total = np.add(first, second, out=self._first)
            total += third
            total += fourth
            total *= own[0]
            target += total
        elif phase.number == 2:
            for (a, b), weight in ((self._beside, own[1]), (self._above, own[2])):
                total = np.add(a, b, out=self._room)
                total *= weight[:, :, None]
                target += total
        rows: NDArray[np.intp] = _rows().take(target, mode="clip")
        return rows.reshape(len(rows), phase.count)
