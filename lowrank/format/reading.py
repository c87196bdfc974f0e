"""The bytes of a `.lrk` file to parts: whatever the bytes, one of our errors or parts that hold."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import FormatError, called, number_of
from lowrank.format import header
from lowrank.format.chunks import Chunks
from lowrank.format.fields import (
    CHUNK_BYTES,
    MAX_ENTRY,
    MAX_NORM,
    METADATA,
    PIECE,
    SIGNATURE,
    VERSION,
    sums_of_term,
    term_sums,
)
from lowrank.format.parts import (
    Floats,
    Head,
    Missing,
    Packed,
    Parts,
    contradiction,
    term_order,
)
from lowrank.picture import Metadata

_NAMES = {"exif": "EXIF block", "icc": "colour profile", "xmp": "XMP block"}
_NAMES |= {"axis": "block of frames' labels"}
_MARK = b"Exif\0\0"
DONE = struct.pack("<I4sI", 0, b"DONE", zlib.crc32(b"DONE"))
_SUMS_DAMAGED = "its table of checksums is damaged and was left out"


def parse(data: bytes, *, name: str, max_pixels: int, partial: bool = False) -> Parts:
    """Read the bytes of a `.lrk` file.

    Parameters
    ----------
    data : bytes
    name : str
        The file's name, for messages.
    max_pixels : int
        An image of more pixels is refused.
    partial : bool
        Take a file that is cut or damaged as far as it is whole: `missing` tells what it
        lost, `damage` what else was left out. A damaged byte is never part of what is taken.

    Raises
    ------
    FormatError
        The file is no `.lrk`, is damaged, or uses what version 1 does not know.
    TruncatedError
        The file ends early, and `partial` is false.
    LimitError
        The image has more than `max_pixels` pixels.
    """
    return Reader(data, called(name), partial=partial).parts(max_pixels)


def parse_header(data: bytes, *, name: str, max_pixels: int, partial: bool = False) -> Parts:
    """Read the header and the metadata alone: vectors and payload stay empty.

    Raises as `parse` does; `data` may end anywhere after the first eight bytes that follow
    the metadata.
    """
    return Reader(data, called(name), partial=partial).head(max_pixels)


class Reader(Chunks):
    """One pass over the chunks, from which parts come.

    `mapped` takes the first steps of it, and leaves the terms where they are.
    """

    def head(self, max_pixels: int) -> Parts:
        """The header and the metadata."""
        data = self.data
        if bytes(data[:8]) != SIGNATURE[: len(data)] or not len(data):
            raise FormatError(
                f"not a .lrk file: {self.name}; lowrank compress makes one from an image"
            )
        if len(data) > 8 and data[8] != VERSION:
            raise FormatError(
                f"unknown .lrk version {data[8]}, in {self.name}; a newer lowrank may read it"
            )
        self.at = 9
        chunk = self.chunk(b"HEAD") if len(data) > 9 else None
        if chunk is None:
            raise FormatError(f"file ends inside its header, in {self.name}; get it again")
        parts = header.read(bytes(chunk), name=self.name, max_pixels=max_pixels)
        blocks, damage = self._blocks(parts.head)
        self._check(blocks, parts.head)
        head = replace(parts.head, metadata=Metadata(**blocks))
        return replace(parts, head=head, damage=damage)

    def _blocks(self, head: Head) -> tuple[dict[str, bytes], tuple[str, ...]]:
        """The blocks of metadata by their names, and which were damaged and left out."""
        blocks: dict[str, bytes] = {}
        damage = []
        for kind, key in METADATA.items():
            if self.kind() != kind or (key == "axis" and head.frames is None):
                continue
            # Without NODT what was filled would pass for data: that is not left out.
            value, skipped = (self.chunk(kind), False) if key == "nodata" else self.optional(kind)
            if skipped:
                damage.append(f"its {_NAMES[key]} is damaged and was left out")
                continue
            if value is None:
                raise FormatError(f"file ends inside its metadata, in {self.name}; get it again")
            if not len(value):
                raise self.bad(f"empty chunk {kind.decode()}")
            blocks[key] = bytes(value)
        # What was made of TIFFs beyond Pillow has the mark that JPEGs put before a block: no reader
        # of the block itself knows it, so that the way up and the resolution were lost.
        if "exif" in blocks:
            blocks["exif"] = blocks["exif"].removeprefix(_MARK) or blocks["exif"]
        return blocks, tuple(damage)

    def _check(self, blocks: dict[str, bytes], head: Head) -> None:
        """Refuse gaps that do not fit the samples, and labels that do not fit the frames."""
        if "nodata" in blocks:
            from lowrank.picture import gaps

            size = head.width, head.height * (head.frames or 1)
            try:
                gaps.check(blocks["nodata"], size, head.mode.dtype)
            except ValueError as error:
                raise self.bad(f"chunk NODT is {error}") from error
        if "axis" in blocks:
            from lowrank.picture import axis

            try:
                axis.unpack(blocks["axis"], head.frames or 1)
            except ValueError as error:
                raise self.bad(f"chunk AXIS is {error}") from error

    def parts(self, max_pixels: int) -> Parts:
        """The whole file."""
        head = self.head(max_pixels)
        body = head.body
        parts = self._packed(head, body) if isinstance(body, Packed) else self._terms(head, body)
        if parts.missing is not None:
            return parts
        what: Literal["terms", "bytes"] = "bytes" if isinstance(body, Packed) else "terms"
        try:
            done = self.chunk(b"DONE", 0, salvage=True)
        except FormatError:
            if not self.partial:
                raise
            return replace(parts, missing=Missing(what, 0, "is damaged"))
        if done is None:
            if not self.partial:
                total = sum(parts.ranks)
                raise self.cut(True, terms=total, total=total)
            return replace(parts, missing=Missing(what, 0))
        if self.left():
            more = f"{number_of(self.left(), 'byte')} after the end"
            if not self.partial:
                raise self.bad(more, salvage=True)
            return replace(parts, damage=(*parts.damage, f"left out: {more}"))
        return parts

    def _packed(self, parts: Parts, body: Packed) -> Parts:
        sums, damaged = None, False
        if self.kind() == b"SUMS":
            sums, damaged = self.optional(b"SUMS")
            if damaged:
                parts = replace(parts, damage=(*parts.damage, _SUMS_DAMAGED))
            elif sums is None:
                raise self.cut(False)
            elif not len(sums) or len(sums) % 4:
                raise self.bad(f"chunk SUMS has {len(sums)} bytes")
        start = self.at + 8
        whole = self._whole_pieces(sums) if sums is not None else 0
        try:
            payload = self.chunk(b"PACK", salvage=whole > 0)
        except FormatError:
            if not (self.partial and whole):
                raise
            missing = Missing("bytes", self._lost(sums, whole), "is damaged")
        else:
            if payload is not None:
                pieces = -(-len(payload) // PIECE)
                if sums is not None and (whole, 4 * pieces) != (len(payload), len(sums)):
                    raise self.bad("the checksums of the payload contradict each other")
                return replace(parts, body=replace(body, payload=bytes(payload)))
            if sums is None and bytes(self.data[-len(DONE) :]) == DONE:
                return self._of_another_length(parts, body)
            there = self.left() > 8 and not damaged if sums is None else whole > 0
            if not (self.partial and there):
                raise self.cut(there)
            if sums is None:  # as far as it goes, though nothing can say whether it is sound
                whole = self.left() - 8
            missing = Missing("bytes", self._lost(sums, whole), checked=sums is not None)
        payload = self.data[start : start + whole]
        return replace(parts, body=replace(body, payload=bytes(payload)), missing=missing)

    def _sums(self, parts: Parts, terms: int) -> tuple[Parts, list[memoryview]]:
        """Checksums of the pieces of each term: a whole reading only looks whether they agree.

        None of a file without, and where they are damaged.
        """
        if parts.head.frames is None or self.kind() != b"SUMS":
            return parts, []
        sums, damaged = self.optional(b"SUMS")
        if damaged:
            return replace(parts, damage=(*parts.damage, _SUMS_DAMAGED)), []
        if sums is None:
            raise self.cut(False, total=terms)
        each = 4 * term_sums(*parts.head.shape, np.dtype(parts.head.store).itemsize)
        if not len(sums) or len(sums) != terms * each:
            raise self.bad(f"chunk SUMS has {len(sums)} bytes")
        return parts, [sums[at : at + each] for at in range(0, len(sums), each)]

    def _of_another_length(self, parts: Parts, body: Packed) -> Parts:
        """A payload that seems to be cut, in a file that has its end: its length is wrong."""
        payload = self.data[self.at + 8 : -len(DONE) - 4]
        (crc,) = struct.unpack_from("<I", self.data, len(self.data) - len(DONE) - 4)
        sound = zlib.crc32(payload, zlib.crc32(b"PACK")) == crc
        if not (self.partial and sound):
            raise self.bad("damaged chunk PACK (its length is wrong)", salvage=sound)
        missing = Missing("bytes", 0, "is damaged")
        return replace(parts, body=replace(body, payload=bytes(payload)), missing=missing)

    def _size(self, sums: memoryview | None) -> int:
        """Bytes of the payload that starts here, the most that fit its checksums."""
        size = struct.unpack_from("<I", self.data, self.at)[0] if self.left() >= 4 else 0
        if sums is None or -(-size // PIECE) == len(sums) // 4:
            return int(size)
        return len(sums) // 4 * PIECE

    def _lost(self, sums: memoryview | None, whole: int) -> int:
        return max(self._size(sums) - whole, int(sums is None))

    def _whole_pieces(self, sums: memoryview) -> int:
        """Bytes of the payload before the first piece that is not as its checksum says.

        Whatever its chunk's own head says, which may itself be damaged.
        """
        payload = self.data[self.at + 8 :][: self._size(sums)]
        whole = 0
        for (crc,) in struct.iter_unpack("<I", sums):
            piece = payload[whole : whole + PIECE]
            if not len(piece) or zlib.crc32(piece) != crc:
                break
            whole += len(piece)
        return whole

    def sigmas(self, parts: Parts, body: Floats) -> list[NDArray[np.float64]]:
        """Singular values of each matrix."""
        ranks = [f.k for f in body.factors]
        total = sum(ranks)
        data = self.chunk(b"SIGM", 8 * total)
        if data is None:
            raise self.cut(False, total=total)
        sigma = np.frombuffer(data, "<f8").astype(np.float64)
        sigmas = np.split(sigma, np.cumsum(ranks)[:-1])
        for s in sigmas:
            if not (((s >= 0) & (s <= MAX_NORM)).all() and (np.diff(s) <= 0).all()):
                raise self.bad("singular values are not finite and descending")
        m, n = parts.head.shape
        for f, s in zip(body.factors, sigmas, strict=True):
            what = contradiction(f.k, min(m, n), f.norm, f.sigma_next, f.tail, s)
            if what:
                raise self.bad(f"the file contradicts itself ({what})")
        return sigmas

    def _terms(self, parts: Parts, body: Floats) -> Parts:
        sigmas = self.sigmas(parts, body)
        total = sum(map(len, sigmas))
        m, n = parts.head.shape
        parts, sums = self._sums(parts, total)
        dtype = np.dtype(parts.head.store)
        size, length = m * dtype.itemsize, (m + n) * dtype.itemsize
        order = term_order(sigmas)
        # What the bytes at hand can hold at most: a header's ranks alone take no memory.
        room = Counter(i for i, _ in order[: self.left() // (CHUNK_BYTES + length)])
        Ut = [np.empty((room[i], m), dtype) for i in range(len(sigmas))]
        Vt = [np.empty((room[i], n), dtype) for i in range(len(sigmas))]
        why: Literal["ends early", "is damaged"] = "ends early"
        whole = 0
        for i, j in order:
            try:
                data = self.chunk(b"TERM", length, salvage=whole > 0)
            except FormatError:
                if not (self.partial and whole):
                    raise
                why = "is damaged"
                break
            if data is None:
                if not self.partial or not whole:
                    raise self.cut(whole > 0, terms=whole, total=total)
                break
            if sums and sums_of_term(data[:size], data[size:]) != sums[whole]:
                raise self.bad("the checksums of the terms contradict each other")
            term = np.frombuffer(data, dtype.newbyteorder("<"))
            if not _are_bounded(term):
                raise self.bad("factors are not unit vectors")
            Ut[i][j], Vt[i][j] = term[:m], term[m:]
            whole += 1
        kept = Counter(i for i, _ in order[:whole])
        factors = tuple(
            replace(f, s=s, U=u.T, Vt=v).truncate(kept[i])  # the lost terms join the tail
            for i, (f, s, u, v) in enumerate(zip(body.factors, sigmas, Ut, Vt, strict=True))
        )
        body = replace(body, factors=factors)
        missing = Missing("terms", total - whole, why) if whole < total else None
        return replace(parts, body=body, missing=missing)


def _are_bounded(term: NDArray[np.floating]) -> bool:
    """Whether entries of unit vectors are such: none is beyond the bound, and none is no number.

    Without its sign a larger float has larger bits, and NaN has the largest; integers take a
    tenth of the time of float16.
    """
    bits = term.view(f"<u{term.itemsize}")
    most = np.array(MAX_ENTRY, term.dtype).view(bits.dtype)
    return bool(np.left_shift(bits, 1).max() <= most << 1)
