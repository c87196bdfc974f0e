"""The bytes of a `.lrk` file to parts: whatever the bytes, one of our errors or parts that hold."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace

import numpy as np

from lowrank.errors import FormatError, LimitError, TruncatedError
from lowrank.format.fields import (
    CHUNK_BYTES,
    HEAD,
    MATRIX,
    MAX_ENTRY,
    MAX_NORM,
    MAX_SIDE,
    METADATA,
    MODE_NAMES,
    PACKED_MATRIX,
    SIGNATURE,
    VERSION,
    log_value,
)
from lowrank.format.parts import (
    PATCH,
    Factors,
    Floats,
    Head,
    Missing,
    Packed,
    PackedMatrix,
    Parts,
    term_order,
)
from lowrank.limits import PADDING, PATCHES
from lowrank.names import LAYOUTS, STORES
from lowrank.picture.value import MODES, Metadata


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
        Take a truncated file as far as it goes, `missing` telling what it lost.

    Raises
    ------
    FormatError
        The file is no `.lrk`, is damaged, or uses what version 1 does not know.
    TruncatedError
        The file ends early, and `partial` is false.
    LimitError
        The image has more than `max_pixels` pixels.
    """
    return _Reader(data, name, partial=partial).parts(max_pixels)


def parse_header(data: bytes, *, name: str, max_pixels: int) -> Parts:
    """Read the header and the metadata alone: vectors and payload stay empty.

    Raises as `parse` does; `data` may end anywhere after the metadata.
    """
    return _Reader(data, name, partial=True).head(max_pixels)


class _Reader:
    """One pass over the chunks; every size is checked before it is used."""

    def __init__(self, data: bytes, name: str, *, partial: bool) -> None:
        self.data = memoryview(data)
        self.name = name
        self.partial = partial
        self.at = 0

    def bad(self, what: str) -> FormatError:
        return FormatError(f"{what}, in {self.name}; get the file again from its source")

    def cut(self, terms: int, total: int) -> TruncatedError:
        what = f"file ends early, after {terms} of {total} terms, in {self.name}"
        advice = "decompress --partial decodes what is there"
        if self.partial or not terms:
            advice = "nothing of the picture is there; get the file again from its source"
        return TruncatedError(f"{what}; {advice}", terms=terms, total=total)

    def left(self) -> int:
        return len(self.data) - self.at

    def chunk(self, kind: bytes, length: int | None = None) -> memoryview | None:
        """Data of the next chunk, which must be of this kind; None where the file ends first."""
        if self.left() < 8:
            # The bytes that are there must still be the start of the right chunk.
            start = bytes(self.data[self.at + 4 :])
            if not kind.startswith(start):
                raise self.bad("damaged chunk")
            return None
        size, found = struct.unpack_from("<I4s", self.data, self.at)
        if found != kind:
            raise self.bad(
                f"chunk {found.decode('ascii', 'backslashreplace')!r} "
                f"where {kind.decode()!r} belongs"
            )
        if length is not None and size != length:
            raise self.bad(f"chunk {kind.decode()} has {size} bytes instead of {length}")
        if self.left() < CHUNK_BYTES + size:
            return None
        data = self.data[self.at + 8 : self.at + 8 + size]
        (crc,) = struct.unpack_from("<I", self.data, self.at + 8 + size)
        if zlib.crc32(self.data[self.at + 4 : self.at + 8 + size]) != crc:
            raise self.bad(f"damaged chunk {kind.decode()} (its checksum does not hold)")
        self.at += CHUNK_BYTES + size
        return data

    def head(self, max_pixels: int) -> Parts:
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
        parts = self._head_fields(bytes(chunk), max_pixels)
        metadata: dict[str, bytes] = {}
        for kind, key in METADATA.items():
            if bytes(data[self.at + 4 : self.at + 8]) == kind:
                value = self.chunk(kind)
                if value is None:
                    raise FormatError(
                        f"file ends inside its metadata, in {self.name}; get it again"
                    )
                if not len(value):
                    raise self.bad(f"empty chunk {kind.decode()}")
                metadata[key] = bytes(value)
        head = replace(parts.head, metadata=Metadata(**metadata))
        return replace(parts, head=head)

    def _head_fields(self, head: bytes, max_pixels: int) -> Parts:
        if len(head) < HEAD.size:
            raise self.bad("header is too short")
        width, height, mode_code, layout_code, store_code, flags = HEAD.unpack_from(head)
        for what, code, known in (
            ("mode", mode_code, MODE_NAMES),
            ("layout", layout_code, LAYOUTS),
            ("store", store_code, STORES),
            ("flags", flags, (0,)),
        ):
            if code >= len(known):
                raise FormatError(
                    f"unknown {what} {code}, in {self.name}; a newer lowrank may read it"
                )
        if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
            raise self.bad(f"impossible size {width}x{height}")
        if width * height > max_pixels:
            raise LimitError(
                f"{self.name} claims {width}x{height} pixels, more than the limit of "
                f"{max_pixels}; --max-pixels raises it"
            )
        mode, layout = MODES[MODE_NAMES[mode_code]], LAYOUTS[layout_code]
        padded = (width + -width % PATCH) * (height + -height % PATCH)
        if layout == "patches" and padded > max_pixels + max_pixels // PADDING + PATCHES:
            raise LimitError(
                f"{self.name} claims {width}x{height} pixels, which are {padded} in whole patches, "
                f"more than the limit of {max_pixels}; --max-pixels raises it"
            )
        said = Head(width, height, mode, layout, STORES[store_code])
        matrices, at = len(mode.channels), HEAD.size
        if said.store == "packed":
            self._expect(head, at + matrices * PACKED_MATRIX.size)
            stated = tuple(
                PackedMatrix(k, *map(log_value, codes))
                for k, *codes in PACKED_MATRIX.iter_unpack(head[at:])
            )
            if any(x.k > min(said.shape) for x in stated):
                raise self.bad("impossible rank")
            return Parts(said, Packed(stated), name=self.name)
        turned = 3 if layout == "patches" and mode.colours == 3 else 0
        self._expect(head, at + turned + matrices * MATRIX.size)
        turn = struct.unpack_from("bbb", head, at) if turned else None
        factors = tuple(self._matrix(said, x) for x in MATRIX.iter_unpack(head[at + turned :]))
        return Parts(said, Floats(factors, turn), name=self.name)

    def _expect(self, head: bytes, size: int) -> None:
        if len(head) != size:
            raise self.bad(f"header has {len(head)} bytes instead of {size}")

    def _matrix(self, said: Head, fields: tuple[int, float, float, float]) -> Factors:
        m, n = said.shape
        k, norm, sigma_next, tail = fields
        if k > min(m, n):
            raise self.bad(f"rank {k} of a {m}x{n} matrix")
        if not all(0 <= x <= MAX_NORM for x in (norm, sigma_next, tail)):  # refuses NaN too
            raise self.bad("impossible norm")
        # A view of one zero: a rank is only believed, and memory taken, when its chunks are there.
        s = np.broadcast_to(np.float64(0), (k,))
        U, Vt = np.empty((m, 0), said.store), np.empty((0, n), said.store)
        return Factors(m, n, norm, sigma_next, tail, s, U, Vt)

    def parts(self, max_pixels: int) -> Parts:
        head = self.head(max_pixels)
        body = head.body
        parts = self._packed(head, body) if isinstance(body, Packed) else self._terms(head, body)
        if parts.missing is None:
            if self.chunk(b"DONE", 0) is None:
                if not self.partial:
                    raise self.cut(sum(parts.ranks), sum(parts.ranks))
            elif self.left():
                raise self.bad(f"{self.left()} bytes after the end")
        return parts

    def _packed(self, parts: Parts, body: Packed) -> Parts:
        payload = self.chunk(b"PACK")
        if payload is not None:
            return replace(parts, body=replace(body, payload=bytes(payload)))
        if not self.partial or self.left() < 8:
            # Of less than a chunk's own head nothing can be decoded.
            advice = "decompress --partial decodes what is there"
            if self.left() < 8:
                advice = "nothing of the picture is there; get the file again from its source"
            raise TruncatedError(f"file ends early, in {self.name}; {advice}", terms=0, total=0)
        (size,) = struct.unpack_from("<I", self.data, self.at)
        rest = self.data[self.at + 8 :][:size]
        missing = Missing("bytes", max(size - len(rest), 1))
        return replace(parts, body=replace(body, payload=bytes(rest)), missing=missing)

    def _terms(self, parts: Parts, body: Floats) -> Parts:
        ranks = [f.k for f in body.factors]
        total = sum(ranks)
        data = self.chunk(b"SIGM", 8 * total)
        if data is None:
            raise self.cut(0, total)
        sigma = np.frombuffer(data, "<f8").astype(np.float64)
        sigmas = np.split(sigma, np.cumsum(ranks)[:-1])
        for s in sigmas:
            if not (((s >= 0) & (s <= MAX_NORM)).all() and (np.diff(s) <= 0).all()):
                raise self.bad("singular values are not finite and descending")
        dtype = np.dtype(parts.head.store)
        m, n = parts.head.shape
        length = dtype.itemsize * (m + n)
        # What the bytes at hand can hold at most: a header's ranks alone take no memory.
        room = self.left() // (CHUNK_BYTES + length)
        kept = [0] * len(ranks)
        order = term_order(sigmas)
        for i, _ in order[:room]:
            kept[i] += 1
        Ut = [np.empty((k, m), dtype) for k in kept]
        Vt = [np.empty((k, n), dtype) for k in kept]
        for whole, (i, j) in enumerate(order):
            data = self.chunk(b"TERM", length)
            if data is None:
                if not self.partial or not whole:
                    raise self.cut(whole, total)
                break
            term = np.frombuffer(data, dtype.newbyteorder("<"))
            if not np.abs(term).max() <= MAX_ENTRY:  # refuses NaN too
                raise self.bad("factors are not unit vectors")
            Ut[i][j], Vt[i][j] = term[:m], term[m:]
        factors = tuple(
            replace(f, s=s, U=u.T, Vt=v).truncate(k)  # the lost terms join the tail
            for f, s, k, u, v in zip(body.factors, sigmas, kept, Ut, Vt, strict=True)
        )
        lost = total - sum(kept)
        return replace(
            parts,
            body=replace(body, factors=factors),
            missing=Missing("terms", lost) if lost else None,
        )
