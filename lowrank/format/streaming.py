"""A float file of one matrix, written while its long vectors come: nothing of it is held."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import FormatError
from lowrank.format.fields import CHUNK_BYTES, CHUNK_START, TERM_PIECE, term_sums
from lowrank.format.parts import Factors, Parts
from lowrank.format.writing import before_terms, check, chunk, float_file_size


def write(
    stream: BinaryIO,
    parts: Parts,
    slabs: Iterable[tuple[slice, NDArray[np.floating]]],
    *,
    transposed: bool,
) -> int:
    """Write the very bytes that `serialize` would.

    Parameters
    ----------
    stream : binary file
        Empty, and seekable: checksums stand before what they are of.
    parts : Parts
        With the vectors of one side, and none of the other.
    slabs : iterable of (slice, (k, w) ndarray)
        Those, as rows, from left to right.
    transposed : bool
        They are U, not V.

    Returns
    -------
    int
        Bytes of the file.

    Raises
    ------
    FormatError
        Norms that no reader would believe.
    """
    check(parts)
    (f,) = parts.body.matrices
    if not isinstance(f, Factors):
        raise FormatError("a packed file is not written by slabs; write it whole")
    m, n = parts.head.shape
    dtype = np.dtype(parts.head.store).newbyteorder("<")
    size = dtype.itemsize
    stream.write(b"".join(before_terms(parts)))
    each = term_sums(m, n, size) if parts.head.frames is not None else 0
    sums_at = stream.tell()
    start = sums_at + (CHUNK_BYTES + 4 * f.k * each if each and f.k else 0)
    stride = CHUNK_BYTES + size * (m + n)
    terms = [
        _Term(start + j * stride, size * m, size * (m + n), transposed=transposed)
        for j in range(f.k)
    ]
    short = f.Vt if transposed else f.U.T
    for term, row in zip(terms, short, strict=True):
        term.short(stream, row.astype(dtype).tobytes())
    for _, rows in slabs:
        for term, row in zip(terms, rows, strict=True):
            term.long(stream, row.astype(dtype).tobytes())
    for term in terms:
        term.end(stream)
    if each and f.k:
        stream.seek(sums_at)
        stream.write(b"".join(chunk(b"SUMS", *(term.sums() for term in terms))))
    stream.seek(start + f.k * stride)
    stream.write(b"".join(chunk(b"DONE")))
    return float_file_size(parts.head, f.k)


class _Term:
    """A chunk TERM at its place, and its checksums so far."""

    def __init__(self, at: int, u: int, length: int, *, transposed: bool) -> None:
        self._at, self._u, self._length = at, u, length
        self._transposed = transposed
        self._next = at + CHUNK_START + (0 if transposed else u)
        self._crc = zlib.crc32(b"TERM")
        self._u_crc = 0
        self._short = b""
        self._pieces: list[int] = []
        self._left = b""

    def short(self, stream: BinaryIO, data: bytes) -> None:
        """Write the vector that is known beforehand."""
        stream.seek(self._at)
        stream.write(struct.pack("<I4s", self._length, b"TERM"))
        if self._transposed:  # it stands behind the long one
            stream.seek(self._at + CHUNK_START + self._u)
            self._short = data
        else:
            self._crc = zlib.crc32(data, self._crc)
            self._u_crc = zlib.crc32(data)
        stream.write(data)

    def long(self, stream: BinaryIO, data: bytes) -> None:
        """Write the next piece of the other."""
        stream.seek(self._next)
        stream.write(data)
        self._next += len(data)
        self._crc = zlib.crc32(data, self._crc)
        if self._transposed:
            self._u_crc = zlib.crc32(data, self._u_crc)
        else:
            self._summed(data)

    def _summed(self, data: bytes) -> None:
        data = self._left + data
        whole = len(data) // TERM_PIECE * TERM_PIECE
        for i in range(0, whole, TERM_PIECE):
            self._pieces.append(zlib.crc32(data[i : i + TERM_PIECE]))
        self._left = data[whole:]

    def end(self, stream: BinaryIO) -> None:
        """Write the checksum of the chunk."""
        if self._transposed:
            self._crc = zlib.crc32(self._short, self._crc)
            self._summed(self._short)
        if self._left:
            self._pieces.append(zlib.crc32(self._left))
        stream.seek(self._at + CHUNK_START + self._length)
        stream.write(struct.pack("<I", self._crc))

    def sums(self) -> bytes:
        """Its part of SUMS."""
        return struct.pack(f"<{1 + len(self._pieces)}I", self._u_crc, *self._pieces)
