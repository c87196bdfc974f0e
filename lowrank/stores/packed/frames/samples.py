"""From planes to samples, the same bits on every machine.

Planes are whole numbers of sixteenths of a step, the basis one of whole numbers of powers
of two: as long as no sum of their products can reach 2^53, float64 gives it exactly, in
any order. All that follows is elementwise arithmetic.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank import threads
from lowrank.errors import FormatError
from lowrank.layouts.lapped import SIDE, SIZE, Floats
from lowrank.layouts.turn import axes
from lowrank.picture import Turn
from lowrank.picture.levels import Scale
from lowrank.stores.packed.coding.payload import FRACTION
from lowrank.stores.packed.frames.edges import LAPPED, Edges, waves
from lowrank.stores.packed.patches.synthesis import Channel, render

Plane = NDArray[np.signedinteger[Any]]
Indices = NDArray[np.intp]

_PRECISION = 24
_LARGEST = 2.0**31
EXACT = 2.0**53
_SLAB = 1 << 16
_PARTS = 64
_GROWTH = 16  # steps in which memory grows


class _Bases:
    """Patches of all components, whole ones and those at the edges."""

    def __init__(self, edges: Edges) -> None:
        self.whole = _basis((SIDE, SIDE), edges.transform)
        self.edges = [(at, n, _basis(n, edges.transform)) for at, n in _at_edges(edges)]


class _Edged(Channel):
    """A plane whose patches at the far edges have less than 16 rows or columns of samples."""

    def __init__(
        self, first: Floats, indices: list[int], maps: Floats, scale: float, bases: _Bases
    ) -> None:
        super().__init__(first, bases.whole[indices].T, maps, scale)
        self._indices = indices
        self._edges = bases.edges if indices else []

    def patches(self, rows: slice, out: Floats) -> None:
        super().patches(rows, out)
        height = self.first.shape[0]
        for (below, beside), (y, x), matrix in self._edges:
            some = slice(height - 1, height) if below else slice(rows.start, rows.stop)
            if some.stop > rows.stop:
                continue
            here = slice(some.start - rows.start, some.stop - rows.start)
            columns = slice(-1, None) if beside else slice(None)
            Q = self.maps[:, some, columns]
            chosen = matrix[self._indices].T.astype(np.float64)
            product = chosen @ Q.reshape(len(Q), -1).astype(np.float64)
            product *= self.scale
            mean = self.first[some, columns]
            patches = out[:, :, here, columns]
            patches[:] = mean
            patches[:y, :x] += product.reshape(y, x, *mean.shape)


def _at_edges(edges: Edges) -> list[tuple[tuple[bool, bool], tuple[int, int]]]:
    """The last column, row and corner of patches, where they are short, and their samples."""
    short = edges.columns < SIDE, edges.rows < SIDE
    every = [
        ((False, True), (SIDE, edges.columns), short[0]),
        ((True, False), (edges.rows, SIDE), short[1]),
        ((True, True), (edges.rows, edges.columns), all(short)),
    ]
    return [(at, count) for at, count, there in every if there]


def _basis(count: tuple[int, int], transform: int) -> NDArray[np.float32]:
    """(components, samples) patches of each, of so many rows and columns, times 2^24.

    Whole numbers of at most that: half as wide they are the same.
    """
    down, across = (waves(n, transform)[:, :n] for n in count)
    patches = (down[:, None, :, None] * across[None, :, None, :]).reshape(SIZE, -1)
    patches *= float(1 << _PRECISION)
    return np.rint(patches, out=patches).astype(np.float32)


class Maps:
    """Some maps as they will be decoded.

    Parameters
    ----------
    shape : (rows, columns)
        Of patches.
    edges : Edges
    indices : list of list of int
        Components of each map.
    firsts : list of ndarray
        Their first ones, in steps.
    levels : callable
        Gives the (components, ...) levels of a map, in half steps, by its number.
    """

    def __init__(
        self, shape: tuple[int, int], edges: Edges, indices: list[list[int]],
        firsts: list[Floats], levels: Callable[[int], NDArray[Any]],
    ) -> None:  # fmt: skip
        self.shape, self.edges, self.indices, self.firsts = shape, edges, indices, firsts
        self._levels = levels

    def of(self, c: int) -> NDArray[np.float32]:
        """(components, patches) coefficients of a map, in sixteenths of a step."""
        values: NDArray[np.float32] = self._levels(c).astype(np.float32)
        values *= np.float32(FRACTION // 2)
        return values.reshape(len(values), self.shape[0] * self.shape[1])


def planes_of(maps: Maps, size: tuple[int, int]) -> list[Plane]:
    """The planes of a group, each of (height, width), in sixteenths of a step."""
    edges = maps.edges
    rows, columns = maps.shape
    whole = np.empty((rows * SIDE, columns * SIDE), np.int32)
    bases = _Bases(edges)

    def emit(top: int, block: Floats) -> None:
        _, y, x, rows, columns = block.shape
        np.rint(block, out=block)
        if not max(float(block.max()), -float(block.min())) < _LARGEST:
            raise FormatError("packed stream: a plane is out of range")
        levels = block[0].transpose(2, 0, 3, 1)
        part = whole[top * SIDE : (top + rows) * SIDE]
        part.reshape(rows, y, columns, x)[:] = levels

    def plane(c: int) -> Plane:
        first = maps.firsts[c] * (FRACTION / SIDE)
        others = maps.of(c).reshape(-1, *maps.shape)
        channel = _Edged(first, maps.indices[c], others, 2.0**-_PRECISION, bases)
        lapped = edges.transform == LAPPED
        render([channel], emit, np.dtype(np.float64), edges.apart, lapped=lapped)
        return narrowed(whole[: size[0], : size[1]])

    return [plane(c) for c in range(len(maps.firsts))]


def narrowed(plane: NDArray[np.int32]) -> Plane:
    """A copy in 16 bits, where they hold it: all but the first few planes of most stacks."""
    small = max(int(plane.max()), -int(plane.min())) < 1 << 15
    return plane.astype(np.int16 if small else np.int32)


def gathered(planes: list[Plane], count: int, channels: int) -> NDArray[np.int32]:
    """(count, ..., channels) planes in 32 bits, and zeros; each is forgotten where it came from.

    In memory that grows, so that there is little more at a time than in the end.
    """
    room = np.empty((0, *planes[0].shape, channels), np.int32)
    planes.reverse()
    step = -(-count // _GROWTH)
    for first in range(0, count, step):
        last = min(first + step, count)
        room.resize((last, *room.shape[1:]), refcheck=False)
        for place in itertools.product(range(first, last), range(channels)):
            if planes:
                room[place[0], ..., place[1]] = planes.pop()
    return room


class Synthesis:
    """Planes and the basis, ready to give samples.

    Parameters
    ----------
    planes : list of (height, width) ndarray of int16 or int32
        Each channel of each plane, in sixteenths of a step.
    shape : (frames, height, width, channels)
    B : (frames, K) ndarray or None
        The basis; None where the planes are the frames.
    unit : float
        Of the basis.
    step : float
    turn : Turn or None

    Raises
    ------
    FormatError
        The product would not be exact.
    """

    def __init__(
        self, planes: list[Plane], shape: tuple[int, int, int, int],
        B: NDArray[np.float64] | None, unit: float, step: float, turn: Turn | None,
    ) -> None:  # fmt: skip
        self.planes, self.shape, self.B, self.scale = planes, shape, B, step / FRACTION
        R = axes(turn)
        self._R = None if R is None else R.tolist()
        if B is None or not B.size:
            return
        each = [float(max(int(p.max()), -int(p.min()))) for p in planes]
        most = np.array(each).reshape(-1, shape[3]).max(1)
        if not float((np.abs(B).max(0) * most).sum()) / unit < EXACT:
            raise FormatError("packed stream: samples beyond exact arithmetic")

    def slabs(self, size: int = _SLAB) -> list[slice]:
        """Rows of the frames, some at a time, of so many samples."""
        frames, height, width, channels = self.shape
        step = max(size // (frames * width * channels), 1)
        return [slice(top, min(top + step, height)) for top in range(0, height, step)]

    def turned(
        self, part: slice | Indices, frames: Indices | None = None,
        columns: slice | Indices = slice(None),
    ) -> NDArray[np.float64]:  # fmt: skip
        """(channels, frames, rows, width) levels of some rows, colours turned: exact.

        Of all frames and columns, or of some.
        """
        channels = self.shape[3]
        B, count = self.B, self.shape[0] if frames is None else len(frames)
        if B is not None and frames is not None:
            B = B[frames]
        rows, width = _count(part, self.shape[1]), _count(columns, self.shape[2])
        out = np.empty((channels, count, rows, width))
        for c in range(channels):
            planes = self.planes[c::channels]
            if B is None and frames is not None:
                planes = [planes[i] for i in frames]
            Y = out[c] if B is None else np.empty((len(planes), rows, width))
            for k, plane in enumerate(planes):
                Y[k] = plane[part][:, columns]
            if B is not None:
                np.matmul(B, Y.reshape(len(Y), rows * width), out=out[c].reshape(count, -1))
            out[c] *= self.scale
        return out

    def levels(self, turned: NDArray[np.float64]) -> NDArray[np.float64]:
        """The same, with the colours turned back, in place."""
        if self._R is None:
            return turned
        first, second, third = turned[0].copy(), turned[1].copy(), turned[2].copy()
        for c in range(3):
            turned[c] = first * self._R[0][c] + second * self._R[1][c] + third * self._R[2][c]
        return turned

    def spent(self, scale: Scale) -> NDArray[Any]:
        """The samples that `samples` gives; the planes are not kept.

        Samples of 32 bits take the place of the planes: those of some rows need nothing but these.
        """
        kind = np.dtype(scale.mode.dtype)
        if kind.itemsize != np.dtype(np.int32).itemsize:
            return self.samples(scale)
        frames, channels = self.shape[0], self.shape[3]
        kept = len(self.planes) // channels
        room = gathered(self.planes, frames, channels)
        self.planes = [one[..., c] for one in room[:kept] for c in range(channels)]
        return self.samples(scale, room.view(kind))

    def samples(self, scale: Scale, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """All (frames, height, width, channels) samples, of levels rounded half up and clipped."""
        found = np.empty(self.shape, scale.mode.dtype) if out is None else out

        def slab(part: slice) -> None:
            found[:, part] = self._samples(self.turned(part), scale).transpose(1, 2, 3, 0)

        # Of each sample that is worked on there are more bytes than of all others.
        parts = self.slabs(min(_SLAB, found.size // _PARTS))
        threads.each(slab, parts, small=found.size < threads.SMALL)
        return found

    def block(self, frames: Indices, y: Indices, x: Indices, scale: Scale | None) -> NDArray[Any]:
        """(frames, rows, columns, channels) of them where these cross; levels without a scale."""
        out = np.empty((len(frames), len(y), len(x), self.shape[3]), scale and scale.mode.dtype)
        step = max(_SLAB // (max(len(frames), len(self.planes)) * len(x)), 1)
        parts = [slice(top, top + step) for top in range(0, len(y), step)]
        whole = len(x) == self.shape[2]

        def slab(part: slice) -> None:
            turned = self.turned(y[part], frames, slice(None) if whole else x)
            levels = self._samples(turned, scale) if scale else self.levels(turned)
            out[:, part] = levels.transpose(1, 2, 3, 0)

        threads.each(slab, parts, small=out.size < threads.SMALL)
        return out

    def _samples(self, turned: NDArray[np.float64], scale: Scale) -> NDArray[np.float64]:
        """The same levels as samples, in place."""
        if scale.limits is None:
            raise FormatError("packed stream: samples that are no integers")
        levels = self.levels(turned)
        levels += 0.5
        np.floor(levels, out=levels)
        return scale.valued(np.clip(levels, *scale.limits, out=levels))

    def matrix(self) -> NDArray[np.float64]:
        """(N, n) levels before rounding."""
        out = np.empty(self.shape)
        for part in self.slabs():
            out[:, part] = self.levels(self.turned(part)).transpose(1, 2, 3, 0)
        return out.reshape(len(out), -1)


def _count(some: slice | Indices, length: int) -> int:
    return len(range(length)[some]) if isinstance(some, slice) else len(some)


def power(exponents: Iterator[int]) -> NDArray[np.float64]:
    """2^-e of each exponent."""
    return np.array([math.ldexp(1.0, -e) for e in exponents])
