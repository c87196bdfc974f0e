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

_SMALL = 1 << 22  # bytes that are checked in less time than a thread takes
_CRC = struct.Struct("<I")
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
        advise: Callable[[bool, Sequence[slice]], None],
    ) -> None:  # fmt: skip
        self.parts = parts
        self._data = data
        self._advise = advise
        (factors,) = parts.body.matrices
        m, n = parts.head.shape
        self._size = np.dtype(parts.head.store).itemsize
        self._u, self._v = m * self._size, n * self._size
        self._start, self._stride = start, CHUNK_BYTES + self._u + self._v
        self._sums = sums
        self._sound = [False] * factors.k  # the whole term
        self._pieces: list[set[int]] = [set() for _ in self._sound]  # 0 is u

    def check(self, rank: int, runs: Iterable[tuple[int, int]] | None = None) -> None:
        """Check what is used of the first `rank` terms: u, and v in runs of columns, or all.

        Raises
        ------
        FormatError
            A checksum does not hold.
        """
        pieces = None if runs is None else self._touched(runs)
        whole = pieces is None or self._sums is None
        whole = whole or 2 * len(pieces or ()) * TERM_PIECE > self._v
        todo = [j for j in range(rank) if not self._sound[j]]
        if whole:
            if todo:
                self._advise(False, ())
            threads.each(self._check_chunk, todo, small=len(todo) * self._stride < _SMALL)
            return
        few = [(j, i) for j in todo for i in sorted((pieces or set()) - self._pieces[j])]
        if few:
            # The checksums first, which lie side by side: the disk has the rest to do meanwhile.
            wanted = [self._sum(j, i) for j, i in few] + [self._piece(j, i) for j, i in few]
            self._advise(True, wanted)
            self._check_pieces(few)

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

    def _piece(self, j: int, i: int) -> slice:
        """Where a piece of a term is: u, or one of v."""
        u = self._start + j * self._stride + CHUNK_START
        v = u + self._u
        if not i:
            return slice(u, v)
        a = v + (i - 1) * TERM_PIECE
        return slice(a, min(a + TERM_PIECE, v + self._v))

    def _sum(self, j: int, i: int) -> slice:
        """Where its checksum is."""
        at = (self._sums or 0) + 4 * (j * (1 + -(-self._v // TERM_PIECE)) + i)
        return slice(at, at + 4)

    def _check_pieces(self, few: Iterable[tuple[int, int]]) -> None:
        data, sum_at = self._data, _CRC.unpack_from
        for j, i in few:
            if zlib.crc32(data[self._piece(j, i)]) != sum_at(data, self._sum(j, i).start)[0]:
                raise bad("damaged chunk TERM or SUMS (a checksum does not hold)", self.parts.name)
            self._pieces[j].add(i)


def of_stack(
    data: memoryview, *, name: str, max_pixels: int, advise: Callable[[bool, Sequence[slice]], None]
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
    return Mapped(data, replace(parts, body=replace(body, factors=(factors,))), start, sums, advise)
