"""The chunks of a `.lrk` file, one after the other; every size is checked before it is used."""

from __future__ import annotations

import struct
import zlib

from lowrank.errors import FormatError, TruncatedError, number_of, printable
from lowrank.format import header
from lowrank.format.fields import CHUNK_BYTES, METADATA


class Chunks:
    """Bytes of a file, and how far they are read.

    Parameters
    ----------
    data : bytes-like
    name : str
        The file's name, for messages.
    partial : bool
        A file that is cut or damaged is taken as far as it is whole.
    """

    def __init__(self, data: bytes | memoryview, name: str, *, partial: bool) -> None:
        self.data = memoryview(data)
        self.name = printable(name)
        self.partial = partial
        self.at = 0

    def bad(self, what: str, *, salvage: bool = False) -> FormatError:
        """The error of a damaged file."""
        if not salvage:
            return header.bad(what, self.name)
        return FormatError(
            f"{what}, in {self.name}; decompress --partial decodes what is whole of it"
        )

    def cut(self, there: bool, *, terms: int = 0, total: int = 0) -> TruncatedError:
        """The error of a file that ends early."""
        after = f", after {terms} of {number_of(total, 'term')}" if total else ""
        what = f"file ends early{after}, in {self.name}"
        advice = "decompress --partial decodes what is there"
        if self.partial or not there:
            advice = "nothing of the picture is there; get the file again from its source"
        return TruncatedError(f"{what}; {advice}", terms=terms, total=total)

    def left(self) -> int:
        """Bytes that are left."""
        return len(self.data) - self.at

    def kind(self, at: int | None = None) -> bytes:
        """Type of the chunk that starts here."""
        at = self.at if at is None else at
        return bytes(self.data[at + 4 : at + 8])

    def chunk(
        self, kind: bytes, length: int | None = None, *, salvage: bool = False
    ) -> memoryview | None:
        """Data of the next chunk, which must be of this kind; None where the file ends first.

        `salvage` says that a partial reader could do without it.
        """
        if self.left() < 8:
            # The bytes that are there must still be the start of the right chunk.
            start = bytes(self.data[self.at + 4 :])
            if not kind.startswith(start):
                raise self.bad("damaged chunk", salvage=salvage)
            return None
        size, found = struct.unpack_from("<I4s", self.data, self.at)
        if found != kind:
            raise self.bad(
                f"chunk {found.decode('ascii', 'backslashreplace')!r} "
                f"where {kind.decode()!r} belongs",
                salvage=salvage,
            )
        if length is not None and size != length:
            what = f"chunk {kind.decode()} has {size} bytes instead of {length}"
            raise self.bad(what, salvage=salvage)
        if self.left() < CHUNK_BYTES + size:
            return None
        data = self.data[self.at + 8 : self.at + 8 + size]
        (crc,) = struct.unpack_from("<I", self.data, self.at + 8 + size)
        if zlib.crc32(self.data[self.at + 4 : self.at + 8 + size]) != crc:
            what = f"damaged chunk {kind.decode()} (its checksum does not hold)"
            raise self.bad(what, salvage=salvage)
        self.at += CHUNK_BYTES + size
        return data

    def optional(self, kind: bytes) -> tuple[memoryview | None, bool]:
        """A chunk that a picture can do without, and whether it was damaged and passed over.

        It is, where its length can be believed: it leads to a chunk that may follow.
        """
        (size,) = struct.unpack_from("<I", self.data, self.at)
        after = self.at + CHUNK_BYTES + size
        known = self.kind(after) in (*METADATA, b"SIGM", b"SUMS", b"PACK", b"TERM")
        try:
            return self.chunk(kind, salvage=known), False
        except FormatError:
            if not (self.partial and known):
                raise
        self.at = after
        return None, True
