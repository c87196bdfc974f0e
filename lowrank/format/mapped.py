"""A float file of a stack in mapped memory: its terms are views, and checked where they are used.

All TERM chunks have one size, so that any number of any term is found by arithmetic. Nothing
but the header and the singular values is read when a file is opened. A checksum stands before
every use: that of a term's chunk where most of it is used, and where little is, those of SUMS,
one for u and one for each `TERM_PIECE` bytes of v.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from lowrank import threads
from lowrank.format.fields import CHUNK_BYTES, CHUNK_START, TERM_PIECE, term_sums
from lowrank.format.header import bad
from lowrank.format.parts import Floats, Parts
from lowrank.format.reading import Reader

Spans = tuple[range, int]
"""Parts of a file, of one size: where they start, and the size."""
_CRC_BYTES = 4
_SOON = 1 << 20  # bytes that are asked for before they are used
_SMALL = 1 << 22  # bytes that are checked in less time than a thread takes
_DONE = struct.pack("<I4sI", 0, b"DONE", zlib.crc32(b"DONE"))


class Mapped:
    """A stack's parts, whose vectors lie in the file, and what of them has been checked.

    Attributes
    ----------
    parts : Parts
        U and Vt are views; `check` stands before their use.
    """

    def __init__(
        self, data: memoryview, parts: Parts, start: int, sums: int | None,
        advise: Callable[[bool, Sequence[Spans]], None],
    ) -> None:  # fmt: skip
        self.parts = parts
        self._data = data
        self._advise = advise
        (factors,) = parts.body.matrices
        m, n = parts.head.shape
        self._size = np.dtype(parts.head.store).itemsize
        self._u, self._v = m * self._size, n * self._size
        self._start, self._stride = start, CHUNK_BYTES + self._u + self._v
        self._sound = [False] * factors.k  # the whole term
        self._pieces: dict[int, int] = {}  # of how many terms each is sound; 0 is u
        self._sums_at, self._sums = sums or 0, None
        if sums is not None:
            each = 1 + -(-self._v // TERM_PIECE)
            self._sums = np.ndarray((factors.k, each), "<u4", data, sums)

    def begin(self) -> None:
        """Ask the disk for what any sample needs, u and its checksums, where that is little."""
        terms = range(len(self._sound))
        if self._sums is not None and len(terms) * self._u < _SOON:
            self._advise(True, [self._sum(0, terms), self._piece(0, terms)])

    def check(self, rank: int, runs: Iterable[tuple[int, int]] | None = None) -> None:
        """Check what is used of the first `rank` terms: u, and v in runs of columns, or all.

        Raises
        ------
        FormatError
            A checksum does not hold.
        """
        if all(self._sound[:rank]):
            return
        pieces = None if runs is None else self._touched(runs)
        if pieces is not None and self._sums is not None and self._few(len(pieces)):
            some = [i for i in sorted(pieces) if self._pieces.get(i, 0) < rank]
            if some:
                self._check_pieces(some, rank)
            return
        todo = [j for j in range(rank) if not self._sound[j]]
        self._advise(False, ())
        threads.each(self._check_chunk, todo, small=len(todo) * self._stride < _SMALL)

    def _few(self, pieces: int) -> bool:
        """Whether so many pieces of a term are less than half of it."""
        return 2 * pieces * TERM_PIECE <= self._v

    def _touched(self, runs: Iterable[tuple[int, int]]) -> set[int]:
        """Numbers of the checksums behind columns a to b - 1 of each run, and behind u."""
        found = {0}
        for a, b in runs:
            last = (b * self._size - 1) // TERM_PIECE
            found.update(range(1 + a * self._size // TERM_PIECE, 2 + last))
        return found

    def _check_chunk(self, j: int) -> None:
        at = self._start + j * self._stride
        size, kind = struct.unpack_from("<I4s", self._data, at)
        end = at + CHUNK_START + self._u + self._v
        (crc,) = struct.unpack_from("<I", self._data, end)
        whole = (size, kind) == (self._u + self._v, b"TERM")
        if not whole or zlib.crc32(self._data[at + 4 : end]) != crc:
            raise bad("damaged chunk TERM (its checksum does not hold)", self.parts.name)
        self._sound[j] = True

    def _piece(self, i: int, terms: range) -> Spans:
        """Where a piece of terms is: u, or one of v."""
        at, size = self._start + CHUNK_START, self._u
        if i:
            at += self._u + (i - 1) * TERM_PIECE
            size = min(TERM_PIECE, self._v - (i - 1) * TERM_PIECE)
        return _every(self._stride, at, terms), size

    def _sum(self, i: int, terms: range) -> Spans:
        """Where the checksums of a piece are."""
        row = _CRC_BYTES * (1 + -(-self._v // TERM_PIECE))
        return _every(row, self._sums_at + _CRC_BYTES * i, terms), _CRC_BYTES

    def _check_pieces(self, some: list[int], rank: int) -> None:
        sums, data, crc32 = self._sums, self._data, zlib.crc32
        if sums is None:
            raise TypeError("a file without SUMS")
        terms = {i: range(self._pieces.get(i, 0), rank) for i in some}
        parts = {i: self._piece(i, x) for i, x in terms.items()}
        # The checksums first, which lie side by side: the disk has the rest to do meanwhile.
        self._advise(True, [*(self._sum(i, x) for i, x in terms.items()), *parts.values()])
        for i, (starts, size) in parts.items():
            stated = sums[terms[i].start : rank, i].tolist()
            if [crc32(data[a : a + size]) for a in starts] != stated:
                raise bad("damaged chunk TERM or SUMS (a checksum does not hold)", self.parts.name)
            self._pieces[i] = rank


def _every(stride: int, at: int, terms: range) -> range:
    """Where something of each term is."""
    return range(at + terms.start * stride, at + terms.stop * stride, stride)


def of_stack(
    data: memoryview, *, name: str, max_pixels: int, advise: Callable[[bool, Sequence[Spans]], None]
) -> Mapped | None:
    """Read the header of a float file of a stack, and find its terms.

    Parameters
    ----------
    data : memoryview
        The whole file.
    name : str
        The file's name, for messages.
    max_pixels : int
    advise : callable
        Told before bytes are used whether they are few and far apart, and where.

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
    advise(True, ())
    reader = Reader(data, name, partial=False)
    parts = reader.head(max_pixels)
    body = parts.body
    if parts.head.frames is None or not isinstance(body, Floats):
        return None
    (s,) = reader.sigmas(parts, body)
    m, n = parts.head.shape
    dtype = np.dtype(parts.head.store).newbyteorder("<")
    sums = None
    if len(s) and reader.kind() == b"SUMS":
        size = 4 * len(s) * term_sums(m, n, dtype.itemsize)
        if not size or struct.unpack_from("<I", data, reader.at)[0] != size:
            return None
        sums = reader.at + CHUNK_START
        reader.at += CHUNK_BYTES + size
    start, stride = reader.at, CHUNK_BYTES + dtype.itemsize * (m + n)
    end = start + len(s) * stride
    if len(data) != end + len(_DONE) or bytes(data[end:]) != _DONE:
        return None
    u = start + CHUNK_START

    def views(offset: int, width: int) -> np.ndarray[tuple[int, int], np.dtype[np.floating]]:
        if not len(s):
            return np.empty((0, width), dtype)
        return np.ndarray((len(s), width), dtype, data, offset, (stride, dtype.itemsize))

    Ut, Vt = views(u, m), views(u + m * dtype.itemsize, n)
    factors = replace(body.factors[0], s=s, U=Ut.T, Vt=Vt)
    parts = replace(parts, body=replace(body, factors=(factors,)))
    made = Mapped(data, parts, start, sums, advise)
    made.begin()
    return made
