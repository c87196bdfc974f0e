r"""The `.lrk` file format, version 1: bytes <-> parts.

A file is a signature, a version and chunks. All numbers are little-endian;
floats are IEEE 754.

===========  ====  ======================================================
offset       size  field
===========  ====  ======================================================
0            8     signature ``89 4C 52 4B 0D 0A 1A 0A`` (``\x89LRK\r\n\x1a\n``)
8            1     version, 1
9            ...   chunks, each: length of data (u32), type (4 ASCII
                   characters), data, CRC-32 of type and data (u32)
===========  ====  ======================================================

Chunks stand in this order, each once unless said otherwise::

    HEAD  [EXIF] [ICCP] [XMP_]  SIGM  TERM ...  DONE      float stores
    HEAD  [EXIF] [ICCP] [XMP_]  PACK  DONE                packed store

HEAD, the header:

======  ====  =======  ===================================================
offset  size  type     field
======  ====  =======  ===================================================
0       4     u32      width in pixels, 1 to 2^31 - 1
4       4     u32      height in pixels, 1 to 2^31 - 1
8       1     u8       mode: 0 `1`, 1 `L`, 2 `LA`, 3 `RGB`, 4 `RGBA`,
                       5 `CMYK`, 6 `I;16`, 7 `F`; it fixes channels and bits
9       1     u8       layout: 0 channels, 1 patches
10      1     u8       store: 0 float16, 1 float32, 2 float64, 3 packed
11      1     u8       flags, 0
12      3     3 x i8   layout patches with a float store and three colour
                       channels only: the colour rotation (see Layouts)
...     28 c           float stores, for each of the c matrices:
                       k (u32), ||A||_F (f64), sigma_(k+1) (f64),
                       tail sqrt(sum of sigma_i^2, i > k) (f64)
...     10 c           packed store, for each of the c matrices: k (u16),
                       ||A||_F, sigma_(k+1), tail and the Frobenius error of
                       the decoded factors, each of the four a u16 x that
                       stands for 2^(x/1024 - 24), rounded up; 0 stands for 0
======  ====  =======  ===================================================

Layout `channels`: each channel is a matrix, m = height and n = width, in the
order of the mode's channels. Layout `patches`: each (turned) channel is a
matrix of m = ceil(height/16) ceil(width/16) patches by n = 256 coefficients of a
lapped orthogonal transform, which the module `packed.lapped` specifies; the
rotation is that of the quaternion (127, a, b, c) of the header's three numbers.

EXIF, ICCP, XMP_: metadata, as it stood in the source; never empty.

SIGM: the singular values, f64, matrix after matrix, descending in each.

TERM: u (m floats), then v (n floats), in the store's type: one term
sigma_i u_i v_i^T. One chunk a term, in descending sigma over all matrices,
ties by matrix, then by index: so the order needs no field of its own, and
every prefix that ends after a term is the best image of that many terms.

PACK: the quantised, entropy-coded factors; the modules `packed.patches` and
`packed.channels` specify it, one for each layout.

DONE: empty; nothing follows it.

So a float file holds k(m+n+1) floats for each matrix. Beyond them: 21 bytes
before the header's fields, 12 + 28 c (+ 3) of header, 24 around SIGM and DONE,
12 for each term, and what sigma takes beyond the store's type (6, 4 or 0 bytes
a term).

A decoder must reject: another signature or version; a chunk of unknown type,
out of order, missing, or of another length than its place demands; a CRC that
does not hold; unknown mode, layout, store or flags; k > min(m, n); values of
the header or sigmas that are NaN, negative or above 2^160 (no float32 image has
such norms, and no product of them overflows); sigmas that ascend; a value of u
or v that is NaN or beyond -2 to 2 (they are unit vectors); bytes after DONE. It
must check every size against the bytes at hand before it takes memory, and the
pixels against a limit of its own: a file of one term is m + n floats and may
claim mn pixels.

A file that only ends too early is *truncated*. A decoder may, on request,
decode the terms before the cut.

The smallest file that holds a term, 109 bytes: one grey pixel of level 200. With
k = 0 and no TERM, 85 bytes are a legal file too, of a picture of zeros::

    89 4C 52 4B 0D 0A 1A 0A 01                    signature, version 1
    28 00 00 00 48 45 41 44                       HEAD, 40 bytes
      01 00 00 00 01 00 00 00                     width 1, height 1
      01 00 00 00                                 mode L, channels, float16, no flags
      01 00 00 00 00 00 00 00 00 00 69 40         k = 1, ||A||_F = 200
      00 00 00 00 00 00 00 00                     sigma_2 = 0
      00 00 00 00 00 00 00 00 53 D7 53 05         tail = 0; CRC-32
    08 00 00 00 53 49 47 4D                       SIGM, 8 bytes
      00 00 00 00 00 00 69 40 0E 00 6D 0C         sigma_1 = 200; CRC-32
    04 00 00 00 54 45 52 4D                       TERM, 4 bytes
      00 3C 00 3C FC 2D 46 41                     u = 1, v = 1; CRC-32
    00 00 00 00 44 4F 4E 45 1F 0D B8 26           DONE; CRC-32
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import replace

import numpy as np

from lowrank.errors import FormatError, LimitError, TruncatedError
from lowrank.parts import LAYOUTS, STORES, Factors, PackedMatrix, Parts, term_order
from lowrank.picture import MODES, Metadata

SIGNATURE = b"\x89LRK\r\n\x1a\n"
VERSION = 1
MAX_SIDE = 2**31 - 1  # as in PNG: a side fits a signed 32-bit integer anywhere
_MAX_NORM = 2.0**160  # above ||A||_F of any float32 matrix of MAX_SIDE x MAX_SIDE
_MAX_ENTRY = 2  # of unit vectors, with room for rounding

_MODE_NAMES = ("1", "L", "LA", "RGB", "RGBA", "CMYK", "I;16", "F")
_HEAD = struct.Struct("<IIBBBB")
_MATRIX = struct.Struct("<Iddd")
_PACKED_MATRIX = struct.Struct("<HHHHH")
_CHUNK_BYTES = 12
_METADATA = {b"EXIF": "exif", b"ICCP": "icc", b"XMP_": "xmp"}


def float_file_size(
    shape: tuple[int, int], matrices: int, terms: int, store: str, metadata: Metadata,
    *, turned: bool = False,
) -> int:  # fmt: skip
    """Bytes of a float file, known before anything is factorised."""
    m, n = shape
    itemsize = np.dtype(store).itemsize
    extra = [x for x in (metadata.exif, metadata.icc, metadata.xmp) if x]
    chunks = 3 + terms + len(extra)
    head = len(SIGNATURE) + 1 + _HEAD.size + 3 * turned + matrices * _MATRIX.size
    return head + chunks * _CHUNK_BYTES + sum(map(len, extra)) + terms * (8 + itemsize * (m + n))


# -- writing ---------------------------------------------------------------------------


def serialize(parts: Parts) -> bytes:
    """Write parts as the bytes of a `.lrk` file."""
    out = [SIGNATURE, bytes([VERSION])]

    def chunk(kind: bytes, *data: bytes) -> None:
        crc = zlib.crc32(kind)
        for piece in data:
            crc = zlib.crc32(piece, crc)
        out.append(struct.pack("<I4s", sum(map(len, data)), kind))
        out.extend(data)
        out.append(struct.pack("<I", crc))

    chunk(b"HEAD", _header(parts))
    for kind, name in _METADATA.items():
        data = getattr(parts.metadata, name)
        if data:
            chunk(kind, data)
    if parts.store == "packed":
        chunk(b"PACK", parts.payload)
    else:
        dtype = np.dtype(parts.store).newbyteorder("<")
        factors = parts.factors
        chunk(b"SIGM", *(f.s.astype("<f8").tobytes() for f in factors))
        for i, j in term_order([f.s for f in factors]):
            u, v = factors[i].U[:, j], factors[i].Vt[j]
            chunk(b"TERM", u.astype(dtype).tobytes(), v.astype(dtype).tobytes())
    chunk(b"DONE")
    return b"".join(out)


def _header(parts: Parts) -> bytes:
    head = _HEAD.pack(
        parts.width,
        parts.height,
        _MODE_NAMES.index(parts.mode.name),
        LAYOUTS.index(parts.layout),
        STORES.index(parts.store),
        0,
    )
    if parts.store == "packed":
        return head + b"".join(
            _PACKED_MATRIX.pack(p.k, *map(_log_code, (p.norm, p.sigma_next, p.tail, p.error)))
            for p in parts.packed
        )
    return (
        head
        + parts.turn
        + b"".join(_MATRIX.pack(f.k, f.norm, f.sigma_next, f.tail) for f in parts.factors)
    )


def _log_code(value: float) -> int:
    """Smallest u16 x with 2^(x/1024 - 24) >= value."""
    if value <= 0:
        return 0
    return min(max(math.ceil((math.log2(value) + 24) * 1024 - 1e-9), 1), 65535)


def _log_value(code: int) -> float:
    return 2.0 ** (code / 1024 - 24) if code else 0.0


# -- reading ---------------------------------------------------------------------------


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
    """Read the header and the metadata alone: `factors` and `payload` stay empty.

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
        return TruncatedError(
            f"file ends early, after {terms} of {total} terms, in {self.name}; "
            "decompress --partial decodes what is there",
            terms=terms,
            total=total,
        )

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
        if self.left() < _CHUNK_BYTES + size:
            return None
        data = self.data[self.at + 8 : self.at + 8 + size]
        (crc,) = struct.unpack_from("<I", self.data, self.at + 8 + size)
        if zlib.crc32(self.data[self.at + 4 : self.at + 8 + size]) != crc:
            raise self.bad(f"damaged chunk {kind.decode()} (its checksum does not hold)")
        self.at += _CHUNK_BYTES + size
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
        for kind, key in _METADATA.items():
            if bytes(data[self.at + 4 : self.at + 8]) == kind:
                value = self.chunk(kind)
                if value is None:
                    raise FormatError(
                        f"file ends inside its metadata, in {self.name}; get it again"
                    )
                if not len(value):
                    raise self.bad(f"empty chunk {kind.decode()}")
                metadata[key] = bytes(value)
        return replace(parts, metadata=Metadata(**metadata))

    def _head_fields(self, head: bytes, max_pixels: int) -> Parts:
        if len(head) < _HEAD.size:
            raise self.bad("header is too short")
        width, height, mode_code, layout_code, store_code, flags = _HEAD.unpack_from(head)
        for what, code, known in (
            ("mode", mode_code, _MODE_NAMES),
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
        mode, layout = MODES[_MODE_NAMES[mode_code]], LAYOUTS[layout_code]
        parts = Parts(width, height, mode, layout, STORES[store_code])
        matrices, at = len(mode.channels), _HEAD.size
        if parts.store == "packed":
            self._expect(head, at + matrices * _PACKED_MATRIX.size)
            packed = [
                PackedMatrix(k, *map(_log_value, codes))
                for k, *codes in _PACKED_MATRIX.iter_unpack(head[at:])
            ]
            if any(x.k > min(parts.shape) for x in packed):
                raise self.bad("impossible rank")
            return replace(parts, packed=tuple(packed))
        turned = 3 if layout == "patches" and mode.colours == 3 else 0
        self._expect(head, at + turned + matrices * _MATRIX.size)
        turn = head[at : at + turned]
        factors = tuple(self._matrix(parts, x) for x in _MATRIX.iter_unpack(head[at + turned :]))
        return replace(parts, turn=turn, factors=factors)

    def _expect(self, head: bytes, size: int) -> None:
        if len(head) != size:
            raise self.bad(f"header has {len(head)} bytes instead of {size}")

    def _matrix(self, parts: Parts, fields: tuple[int, float, float, float]) -> Factors:
        m, n = parts.shape
        k, norm, sigma_next, tail = fields
        if k > min(m, n):
            raise self.bad(f"rank {k} of a {m}x{n} matrix")
        if not all(0 <= x <= _MAX_NORM for x in (norm, sigma_next, tail)):  # refuses NaN too
            raise self.bad("impossible norm")
        # A view of one zero: a rank is only believed, and memory taken, when its chunks are there.
        s = np.broadcast_to(np.float64(0), (k,))
        U, Vt = np.empty((m, 0), parts.store), np.empty((0, n), parts.store)
        return Factors(m, n, norm, sigma_next, tail, s, U, Vt)

    def parts(self, max_pixels: int) -> Parts:
        head = self.head(max_pixels)
        parts = self._packed(head) if head.store == "packed" else self._terms(head)
        if not parts.missing:
            if self.chunk(b"DONE", 0) is None:
                if not self.partial:
                    raise self.cut(parts.terms, parts.terms)
            elif self.left():
                raise self.bad(f"{self.left()} bytes after the end")
        return parts

    def _packed(self, parts: Parts) -> Parts:
        payload = self.chunk(b"PACK")
        if payload is not None:
            return replace(parts, payload=bytes(payload))
        if not self.partial or self.left() < 8:
            raise TruncatedError(
                f"file ends early, in {self.name}; decompress --partial decodes what is there",
                terms=0,
                total=0,
            )
        (size,) = struct.unpack_from("<I", self.data, self.at)
        rest = self.data[self.at + 8 :][:size]
        return replace(parts, payload=bytes(rest), missing=max(size - len(rest), 1))

    def _terms(self, parts: Parts) -> Parts:
        ranks = [f.k for f in parts.factors]
        total = sum(ranks)
        data = self.chunk(b"SIGM", 8 * total)
        if data is None:
            raise self.cut(0, total)
        sigma = np.frombuffer(data, "<f8").astype(np.float64)
        sigmas = np.split(sigma, np.cumsum(ranks)[:-1])
        for s in sigmas:
            if not (((s >= 0) & (s <= _MAX_NORM)).all() and (np.diff(s) <= 0).all()):
                raise self.bad("singular values are not finite and descending")
        dtype = np.dtype(parts.store)
        m, n = parts.shape
        length = dtype.itemsize * (m + n)
        # What the bytes at hand can hold at most: a header's ranks alone take no memory.
        room = self.left() // (_CHUNK_BYTES + length)
        kept = [0] * len(ranks)
        order = term_order(sigmas)
        for i, _ in order[:room]:
            kept[i] += 1
        Ut = [np.empty((k, m), dtype) for k in kept]
        Vt = [np.empty((k, n), dtype) for k in kept]
        for whole, (i, j) in enumerate(order):
            data = self.chunk(b"TERM", length)
            if data is None:
                if not self.partial:
                    raise self.cut(whole, total)
                break
            term = np.frombuffer(data, dtype.newbyteorder("<"))
            if not np.abs(term).max() <= _MAX_ENTRY:  # refuses NaN too
                raise self.bad("factors are not unit vectors")
            Ut[i][j], Vt[i][j] = term[:m], term[m:]
        factors = tuple(
            replace(f, s=s, U=u.T, Vt=v).truncate(k)  # the lost terms join the tail
            for f, s, k, u, v in zip(parts.factors, sigmas, kept, Ut, Vt, strict=True)
        )
        return replace(parts, factors=factors, missing=total - sum(kept))
