"""A float file of a stack in mapped memory: its terms are views, and checked where they are used.

All TERM chunks have one size, so that any number of any term is found by arithmetic. Nothing
but the header and the singular values is used when a file is opened, and u, which every sample
needs, where that is little. A checksum stands before every use: that of a term's chunk where most
of it is used, and where little is, those of SUMS, one for u and one for each `TERM_PIECE` bytes
of v.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lowrank import threads
from lowrank.format.fields import CHUNK_BYTES, CHUNK_START, TERM_PIECE, term_sums
from lowrank.format.header import bad
from lowrank.format.parts import Floats, Parts
from lowrank.format.reading import DONE, Reader

Spans = tuple[range, int]
"""Parts of a file, of one size: where they start, and the size."""
Advise = Callable[[bool, Sequence[Spans]], None]
"""Told before bytes are used whether they are few and far apart, and where."""
_U = range(1)  # the first piece of a term
_CRC_BYTES = 4
_SOON = 1 << 20  # bytes of u that are read before they are used
_SMALL = 1 << 22  # bytes that are checked in less time than a thread takes
_WARM = 1 << 21  # bytes that stay in cache from their check to their use
_TOGETHER = 3  # terms: a product of fewer takes more time for each


class Places(NamedTuple):
    """Where things are in a file of k terms, in bytes.

    Attributes
    ----------
    k : int
    u, v : int
        Bytes of the vectors of a term.
    start : int
        Where the first TERM starts.
    sums, pieces : int
        Where the checksums of pieces start, and how many a term has; none of a file without.
    """

    k: int
    u: int
    v: int
    start: int
    sums: int = 0
    pieces: int = 0

    @property
    def stride(self) -> int:
        """From one TERM to the next."""
        return CHUNK_BYTES + self.u + self.v

    @property
    def end(self) -> int:
        """Where DONE is."""
        return self.start + self.k * self.stride

    @property
    def little(self) -> bool:
        """Whether u of all terms is so little that it is read when the file is opened."""
        return bool(self.pieces) and self.k * self.u < _SOON

    def of_terms(self, pieces: range, terms: range) -> Spans:
        """Pieces side by side: u, which is the first, and those of v."""
        a, b = map(self._edge, (pieces.start, pieces.stop))
        return _every(self.stride, self.start + CHUNK_START + a, terms), b - a

    def of_sums(self, pieces: range, terms: range) -> Spans:
        """The checksums of these."""
        at = self.sums + _CRC_BYTES * pieces.start
        return _every(_CRC_BYTES * self.pieces, at, terms), _CRC_BYTES * len(pieces)

    def _edge(self, i: int) -> int:
        """Where a piece starts in a term, and the one before it ends."""
        return self.u + min((i - 1) * TERM_PIECE, self.v) if i else 0


class Mapped:
    """A stack's parts, whose vectors lie in the file, and what of them has been checked.

    Attributes
    ----------
    parts : Parts
        U and Vt are views; `check` stands before their use.
    """

    def __init__(self, data: memoryview, parts: Parts, places: Places, advise: Advise) -> None:
        self.parts = parts
        self._data = data
        self._advise = advise
        self._places = places
        self._size = np.dtype(parts.head.store).itemsize
        self._sound = [False] * places.k  # the whole term
        self._pieces: dict[int, int] = {}  # of how many terms each is sound; 0 is u
        self._sums = None
        if places.pieces:
            self._sums = np.ndarray((places.k, places.pieces), "<u4", data, places.sums)
            if places.little:  # what is damaged is an error where it is used
                self._pieces[0] = self._sound_ones(self._sums, 0, range(places.k))

    def is_sound(self, rank: int) -> bool:
        """Whether the whole of the first `rank` terms has been checked."""
        return all(self._sound[:rank])

    def check(
        self, rank: int, runs: Iterable[tuple[int, int]] | None = None,
        meanwhile: Callable[[], object] | None = None,
    ) -> None:  # fmt: skip
        """Check what is used of the first `rank` terms: u, and v in runs of columns, or all.

        Parameters
        ----------
        rank : int
        runs : iterable of (int, int), optional
        meanwhile : callable, optional
            What can be done once u is sound, while the disk looks for v; done where it has to.

        Raises
        ------
        FormatError
            A checksum does not hold, or the file has become shorter.
        """
        self._check_length()
        if self.is_sound(rank):
            return
        pieces = None if runs is None else self._touched(runs)
        if pieces is not None and self._sums is not None and self._few(len(pieces)):
            groups = self._unsound(sorted(pieces), rank)
            if groups:
                self._check_pieces(self._sums, groups, meanwhile)
            return
        self.each(rank)

    def each(self, rank: int, use: Callable[[slice], object] | None = None) -> None:
        """Check the whole of the first `rank` terms, some at a time, and use those that are sound.

        `use` is told which; several threads call it, while the terms are still in cache.

        Raises
        ------
        FormatError
            A checksum does not hold.
        """
        self._check_length()
        stride = self._places.stride
        count = 1 if use is None else max(_WARM // stride, _TOGETHER)

        def some(first: int) -> None:
            last = min(first + count, rank)
            for j in range(first, last):
                if not self._sound[j]:
                    self._check_chunk(j)
            if use is not None:
                use(slice(first, last))

        self._advise(False, ())
        small = rank * stride < _SMALL
        threads.each(some, range(0, rank, count), small=small, waits=True)

    def _check_length(self) -> None:
        """Refuse a file that was shortened in place: to touch what is gone ends the process."""
        size = getattr(self._data.obj, "size", None)  # of the file now, as what maps it knows
        if size is not None and size() < len(self._data):
            raise bad("a file that became shorter while it was open", self.parts.name)

    def _few(self, pieces: int) -> bool:
        """Whether so many pieces of a term are less than half of it."""
        return 2 * pieces * TERM_PIECE <= self._places.v

    def _touched(self, runs: Iterable[tuple[int, int]]) -> set[int]:
        """Numbers of the checksums behind columns a to b - 1 of each run, and behind u."""
        found = {0}
        for a, b in runs:
            last = (b * self._size - 1) // TERM_PIECE
            found.update(range(1 + a * self._size // TERM_PIECE, 2 + last))
        return found

    def _check_chunk(self, j: int) -> None:
        x = self._places
        at = x.start + j * x.stride
        end = at + CHUNK_START + x.u + x.v
        # First of all, and in order: whatever else touches a page waits for the disk, and all
        # other threads with it.
        found = zlib.crc32(self._data[at + 4 : end])
        size, kind = struct.unpack_from("<I4s", self._data, at)
        (crc,) = struct.unpack_from("<I", self._data, end)
        if (size, kind, crc) != (x.u + x.v, b"TERM", found):
            raise bad("damaged chunk TERM (its checksum does not hold)", self.parts.name)
        self._sound[j] = True

    def _unsound(self, pieces: list[int], rank: int) -> list[tuple[range, range]]:
        """Pieces, and in which terms they are still to be checked; those side by side as one."""
        groups: list[tuple[range, range]] = []
        for i in pieces:
            first = self._pieces.get(i, 0)
            if groups and groups[-1] == (range(groups[-1][0].start, i), range(first, rank)):
                groups[-1] = range(groups[-1][0].start, i + 1), range(first, rank)
            elif first < rank:
                groups.append((range(i, i + 1), range(first, rank)))
        return groups

    def _check_pieces(
        self, sums: NDArray[np.uint32], groups: list[tuple[range, range]],
        meanwhile: Callable[[], object] | None,
    ) -> None:  # fmt: skip
        x = self._places
        # The checksums first, which lie side by side: the disk has the rest to do meanwhile.
        self._advise(True, [f(*group) for f in (x.of_sums, x.of_terms) for group in groups])
        for i, terms in [(i, terms) for pieces, terms in groups for i in pieces]:
            if i and meanwhile is not None:
                meanwhile()
                meanwhile = None
            self._pieces[i] = terms.start + self._sound_ones(sums, i, terms)
            if self._pieces[i] < terms.stop:
                what = "damaged chunk TERM or SUMS (a checksum does not hold)"
                raise bad(what, self.parts.name)

    def _sound_ones(self, sums: NDArray[np.uint32], piece: int, terms: range) -> int:
        """How many of some terms come before the first whose piece is not sound."""
        data, crc32 = self._data, zlib.crc32
        starts, size = self._places.of_terms(range(piece, piece + 1), terms)
        stated = sums[terms.start : terms.stop, piece].tolist()
        found = [crc32(data[a : a + size]) for a in starts]
        if found == stated:
            return len(terms)
        return next(i for i, (a, b) in enumerate(zip(found, stated, strict=True)) if a != b)


def _every(stride: int, at: int, terms: range) -> range:
    """Where something of each term is."""
    return range(at + terms.start * stride, at + terms.stop * stride, stride)


def of_stack(data: memoryview, *, name: str, max_pixels: int, advise: Advise) -> Mapped | None:
    """Read the header of a float file of a stack, and find its terms.

    Parameters
    ----------
    data : memoryview
        The whole file.
    name : str
        The file's name, for messages.
    max_pixels : int
    advise : callable

    Returns
    -------
    Mapped or None
        None of another file, and of one whose length is not what it should be: `parse` says
        what that is.

    Raises
    ------
    FormatError, LimitError
        As `parse` does.
    """
    reader = Reader(data, name, partial=False)
    parts = reader.head(max_pixels)
    body = parts.body
    if parts.head.frames is None or not isinstance(body, Floats):
        return None
    m, n = parts.head.shape
    (f,) = body.factors
    dtype = np.dtype(parts.head.store).newbyteorder("<")
    x = _places(reader, f.k, m, n, dtype.itemsize)
    if x is None or len(data) != x.end + len(DONE):
        return None
    _begin(x, advise)
    (s,) = reader.sigmas(parts, body)
    if bytes(data[x.end :]) != DONE:
        return None

    def views(offset: int, width: int) -> np.ndarray[tuple[int, int], np.dtype[np.floating]]:
        if not x.k:
            return np.empty((0, width), dtype)
        at = x.start + CHUNK_START + offset
        return np.ndarray((x.k, width), dtype, data, at, (x.stride, dtype.itemsize))

    factors = replace(f, s=s, U=views(0, m).T, Vt=views(x.u, n))
    return Mapped(data, replace(parts, body=replace(body, factors=(factors,))), x, advise)


def _places(reader: Reader, k: int, m: int, n: int, itemsize: int) -> Places | None:
    """Where things are behind the header; None where SUMS has another length than it should."""
    at = reader.at + CHUNK_BYTES + 8 * k  # behind SIGM
    u, v = m * itemsize, n * itemsize
    if not k or reader.kind(at) != b"SUMS":
        return Places(k, u, v, at)
    pieces = term_sums(m, n, itemsize)
    size = _CRC_BYTES * k * pieces
    if not size or struct.unpack_from("<I", reader.data, at)[0] != size:
        return None
    return Places(k, u, v, at + CHUNK_BYTES + size, at + CHUNK_START, pieces)


def _begin(x: Places, advise: Advise) -> None:
    """Ask the disk for DONE, and what any sample needs, u and its checksums, where it is little."""
    terms = range(x.k)
    needed = [x.of_sums(_U, terms), x.of_terms(_U, terms)] if x.little else []
    advise(True, [(range(x.end, x.end + 1), len(DONE)), *needed])
