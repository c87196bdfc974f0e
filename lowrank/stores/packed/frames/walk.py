"""The walk over the components of a group of planes, which encoder and decoder take alike."""

from __future__ import annotations

from array import array
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import FormatError
from lowrank.layouts.lapped import Floats
from lowrank.stores.packed.coding import wavelet
from lowrank.stores.packed.frames import trellis
from lowrank.stores.packed.frames.edges import Edges
from lowrank.stores.packed.frames.models import SECOND
from lowrank.stores.packed.frames.order import BEFORE, WIDTH, Predictors
from lowrank.stores.packed.patches import means
from lowrank.stores.packed.patches.contexts import CAP, PAD, Board, Phase, Quarters
from lowrank.stores.packed.patches.order import Component
from lowrank.stores.packed.patches.phases import Reader, Writer

T = TypeVar("T", bound=np.generic)
_NEXT = trellis.NEXT.reshape(-1)
_EXPECTED = 24  # maps of which others are looked at at once: each takes ten times as much
_FIRST = np.float32(2)  # gradients of means are in steps, all other magnitudes in half steps


class Carried:
    """What a group of planes leaves to the next: magnitudes of its last planes, and means."""

    def __init__(self) -> None:
        self.known: NDArray[np.uint8] | None = None
        self.rows: list[array[int]] = []
        self.bands: means.Bands | None = None


class Walk:
    """The order of coding, the contexts and the reconstruction of one group.

    Parameters
    ----------
    shape : (rows, columns)
        Of patches.
    scales : list of (SIZE,) ndarray
        Of each plane; 0 where a component is dropped.
    coarsest : list of ndarray
        Of each plane, the coarsest map of its first component.
    coder : Reader or Writer
    edges : Edges
    carried : Carried
        What the group before left; changed to what this one leaves by `leave`.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        scales: list[NDArray[np.int64]],
        coarsest: list[NDArray[np.int64]],
        coder: Reader | Writer,
        edges: Edges,
        carried: Carried,
    ) -> None:
        self.shape, self.coder, self.edges, self.carried = shape, coder, edges, carried
        self._coarsest = coarsest
        planes = self.planes = len(scales)
        self.quarters = Quarters(*shape)
        self._unused = np.array([self.quarters.scatter(x) for x in edges.unused(shape)])
        before = 0 if carried.known is None else len(carried.known)
        self._first = before
        self._patches = shape[0] * shape[1]
        self._components = sum(int((x[1:] > 0).sum()) for x in scales)
        self.symbols = (before + planes + self._components) * self.quarters.size
        self._room = np.zeros((0, WIDTH, self.quarters.size), np.float32)
        self._edged: list[NDArray[np.uint8]] = []
        self._known: NDArray[np.uint8] | None = None
        self._count = before + planes
        self._predictors = Predictors(list(carried.rows), planes)
        self.states = np.zeros((planes, self.quarters.size), np.uint8)
        self.firsts: list[Floats] = []
        self._board: Board | None = None
        self._laid: tuple[int, list[tuple[Phase, NDArray[np.intp], NDArray[np.intp]]]] = (0, [])
        self._unsigned: list[tuple[NDArray[Any], list[NDArray[np.int32]]]] = []

    def first(self, plane: int, target: list[dict[str, NDArray[np.float32]]] | None = None) -> None:
        """Code the first component of a plane."""
        bands = means.code(self.shape, self.coder, self.carried.bands, target)
        self.carried.bands = bands
        self._mean(plane, [{k: v.astype(np.float64) for k, v in b.items()} for b in bands])

    def empty_first(self, plane: int) -> None:
        """Take the first component's coarsest map alone, its bands as zeros."""
        _, levels = wavelet.band_shapes(*self.shape)
        self._mean(plane, [{k: np.zeros(s) for k, s in level.items()} for level in levels])

    def _mean(self, plane: int, bands: list[dict[str, Floats]]) -> None:
        mean = wavelet.inverse(self._coarsest[plane].astype(np.float64), bands)
        self.firsts.append(mean)
        edges = means.gradient(mean.astype(np.float32)) * _FIRST
        np.minimum(edges, np.float32(CAP), out=edges)
        self._edged.append(self._bare(self.quarters.scatter(edges.astype(np.uint8))))
        self._predictors.add(Component(plane, 0), self._first + plane)

    @property
    def known(self) -> NDArray[np.uint8]:
        """Magnitudes of all maps, of the planes before, of first components and of others.

        They are many, so that they are made where the first components are all there, and without
        the zeros that stand around quarters.
        """
        if self._known is None:
            before = self.carried.known
            count = self._first + self.planes + self._components
            self._known = np.zeros((count, 4, self.quarters.count), np.uint8)
            if before is not None:
                self._known[: len(before)] = before
            for row, edged in enumerate(self._edged, self._first):
                self._known[row] = edged
            self._edged = []
        return self._known

    def next(
        self, batch: list[Component], levels: NDArray[Any] | None = None, *, signs: bool = True
    ) -> NDArray[Any]:
        """Code a batch of components after the first ones.

        Parameters
        ----------
        batch : list of Component
            Of different planes.
        levels : (components, patches) ndarray, optional
            What to write, in half steps.
        signs : bool
            Whether the signs stand with the magnitudes; if not, `sign` gives them.

        Returns
        -------
        (components, patches) ndarray
            What was written, or what was read: in 8 bits, where these hold it.
        """
        shape, count = self.quarters, len(batch)
        board, own = self._expect(batch)
        known, states = board.known.reshape(-1), self.states.reshape(-1)
        starts = np.array([[x.channel * shape.size] for x in batch])
        kinds = np.array([self.edges.kind(x.index) for x in batch])
        unused = self._unused[kinds] if kinds.any() else None
        found: NDArray[Any] = np.zeros((count, self._patches), np.int8)
        unsigned: list[NDArray[np.int32]] = []
        for phase, cells, places in self._cells(count):
            rows = board.rows(phase, own)
            where = starts + phase.places
            before = states.take(where)
            second = trellis.SECOND.take(before)
            if unused is not None:
                beyond = unused[:, phase.places]
                rows[beyond] = PAD
            rows += np.multiply(second, SECOND, dtype=np.intp)
            flat = rows.ravel()
            if isinstance(self.coder, Reader):
                hit, q = self.coder.phase(flat, None, signs=signs)
            elif levels is not None:
                part = levels.reshape(-1).take(places)
                part.reshape(count, -1)[:, phase.pads] = 0
                hit, q = _written(self.coder, flat, part)
            half, magnitude = second.take(hit), np.abs(q)
            parity = np.zeros(before.shape, np.uint8)
            parity.reshape(-1)[hit] = q & 1
            following = _NEXT.take(2 * before + parity)
            if unused is not None:
                following[beyond] = before[beyond]
            states[where] = following
            known[cells.take(hit)] = np.minimum(2 * magnitude - half, CAP)
            if levels is not None:
                continue
            here = places.take(hit)
            found = widened(found, 2 * int(magnitude.max(initial=0)))
            found.reshape(-1)[here] = trellis.values_of(q, half)
            if not signs:
                unsigned.append(here.astype(np.int32))
        self.coder.models.learn()
        self.known[self._count : self._count + count] = self._bare(board.known)
        for i, x in enumerate(batch):
            self._predictors.add(x, self._count + i)
        self._count += count
        if not signs:
            self._unsigned.append((found, unsigned))
        return found if levels is None else levels

    def _bare(self, flat: NDArray[T]) -> NDArray[T]:
        """Four planes of some maps, without the zeros around them: a view."""
        shape = self.quarters
        planes = flat.reshape(*flat.shape[:-1], 4, shape.plane)
        return planes[..., shape.guard : shape.guard + shape.count]

    def _cells(self, count: int) -> list[tuple[Phase, NDArray[np.intp], NDArray[np.intp]]]:
        """Of each phase where each place of so many maps stands in their planes, and in them."""
        if count != self._laid[0]:
            rows = np.arange(count)[:, None]
            found = []
            for phase in self.quarters.phases:
                cells = rows * self.quarters.size + phase.places
                places = rows * self._patches + phase.where
                found.append((phase, cells.ravel(), places.ravel()))
            self._laid = count, found
        return self._laid[1]

    def sign(self, bits: NDArray[np.uint8]) -> None:
        """Give the components that were read without them their signs."""
        if sum(len(places) for _, phases in self._unsigned for places in phases) > len(bits):
            raise FormatError("packed stream: more late signs than room for them")
        at = 0
        for found, phases in self._unsigned:
            flat = found.reshape(-1)
            for places in phases:
                negative = places[bits[at : at + len(places)].nonzero()[0]]
                flat[negative] = -flat[negative]
                at += len(places)
        self._unsigned = []

    def _expect(self, batch: list[Component]) -> tuple[Board, NDArray[np.int32]]:
        """What these maps are written on, with what others let expect; weights of their own."""
        shape, count = self.quarters, len(batch)
        board = self._board
        if board is None or len(board.known) != count:
            board = self._board = Board(shape, count)
        rows, weights, own = self._predictors.of(batch)
        sums = np.empty((count, 3, shape.size), np.float32)
        if len(self._room) < min(count, _EXPECTED):
            self._room = np.zeros((min(count, _EXPECTED), WIDTH, shape.size), np.float32)
        for first in range(0, count, _EXPECTED):
            some = slice(first, min(first + _EXPECTED, count))
            known = self._room[: some.stop - first]
            self._bare(known)[:] = self.known[rows[some]]
            for plane, part in enumerate(shape.parts):
                sums[some, :, part] = weights[plane, some] @ known[:, :, part]
        board.expect(sums)
        return board, own.astype(np.int32)

    def leave(self) -> None:
        """Keep for the next group what predicts it: the maps of the last planes.

        Nothing is coded after this.
        """
        rows = self._predictors.rows[-len(BEFORE) :]
        kept: list[int] = []
        new = []
        for one in rows:
            renumbered = array("i", one)
            for index, row in enumerate(one):
                if row >= 0:
                    renumbered[index] = len(kept)
                    kept.append(row)
            new.append(renumbered)
        self.carried.known, self.carried.rows = self.known[kept], new
        self._known, self.states, self._board = self.known[:0].copy(), self.states[:0].copy(), None
        self._predictors, self._laid, self._room = Predictors([], 0), (0, []), self._room[:0].copy()


def firsts(
    C: NDArray[np.float32],
) -> tuple[list[NDArray[np.int64]], list[list[dict[str, NDArray[np.float32]]]]]:
    """Of each map the coarsest map of its first component, and the bands of it."""
    lows, bands = [], []
    for c in range(C.shape[2]):
        low, levels = wavelet.forward(C[0, :, c].copy())
        lows.append(np.rint(low).astype(np.int64))
        bands.append(levels)
    return lows, bands


def widened(halves: NDArray[Any], most: int) -> NDArray[Any]:
    """Half steps in a type that holds up to so many of them."""
    kind = np.int8 if most < 1 << 7 else np.int16 if most < 1 << 15 else np.int32
    return halves if halves.itemsize >= kind().itemsize else halves.astype(kind)


def _written(
    coder: Writer, rows: NDArray[np.intp], halves: NDArray[Any]
) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """Collect what stands for so many half steps; places and levels of the non-zeros."""
    flags = halves != 0
    hit = flags.nonzero()[0]
    levels = halves.take(hit).astype(np.int32)
    levels += levels > 0  # away from zero: that of an odd number is of the second quantiser
    levels >>= 1
    coder.collect(rows, flags, hit, levels)
    return hit, levels
