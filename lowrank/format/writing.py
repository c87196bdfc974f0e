"""Parts to the bytes of a `.lrk` file."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from lowrank.errors import FormatError, UsageError
from lowrank.format.fields import (
    CHUNK_BYTES,
    FRAMES,
    HEAD,
    MATRIX,
    MAX_NORM,
    METADATA,
    MODE_NAMES,
    ONE_PIECE,
    PACKED_MATRIX,
    RANGE,
    SAMPLES,
    SIGNATURE,
    VERSION,
    log_code,
    log_value,
    piece_sums,
    sums_of_term,
    term_sums,
)
from lowrank.format.parts import Factors, Head, Packed, Parts, term_order
from lowrank.names import LAYOUTS, STORES
from lowrank.picture import ARRAY, DTYPES

_LAST_CODE = 0xFFFF  # of the logarithms in a packed header


def float_file_size(head: Head, terms: int, *, turned: bool = False) -> int:
    """Bytes of a float file, known before anything is factorised.

    Parameters
    ----------
    head : Head
    terms : int
        Of all matrices together.
    turned : bool
        The file has a rotation of colours.
    """
    m, n = head.shape
    extra = [x for x in vars(head.metadata).values() if x]
    chunks = 3 + terms + len(extra)
    header = len(_start(head)) + 3 * turned + head.matrices * MATRIX.size
    size = np.dtype(head.store).itemsize
    each = 8 + size * (m + n)
    if head.frames is not None and terms and term_sums(m, n, size):
        chunks, each = chunks + 1, each + 4 * term_sums(m, n, size)
    before = len(SIGNATURE) + 1
    return before + header + chunks * CHUNK_BYTES + sum(map(len, extra)) + terms * each


def serialize(parts: Parts) -> bytes:
    """Write parts as the bytes of a `.lrk` file.

    Raises
    ------
    UsageError
        They are those of a packed file that was cut: what is there of its payload is none.
    FormatError
        They say what no reader would believe.
    """
    missing = parts.missing
    if isinstance(parts.body, Packed) and missing is not None and missing.count:
        raise UsageError(
            f"{parts.name} is a packed file that {missing.why}, of which no whole one can be "
            "made; decode what is there to an image"
        )
    check(parts)
    return b"".join(_pieces(parts))


def check(parts: Parts) -> None:
    """Refuse norms that no file can state: the tail of a shortened one may pass the limit."""
    packed = isinstance(parts.body, Packed)
    limit = log_value(_LAST_CODE) if packed else MAX_NORM
    for x in parts.body.matrices:
        rest = x.s[:1] if isinstance(x, Factors) else (x.error,)
        if not all(0 <= norm <= limit for norm in (x.norm, x.sigma_next, x.tail, *rest)):
            raise FormatError(  # of NaN, too
                f"norms beyond {limit:.3g} of {parts.name} cannot be stated; keep more terms"
            )


def file_size(parts: Parts) -> int:
    """Bytes of the file, or of what is there of one that was cut."""
    return sum(map(len, _pieces(parts)))


def same(a: Parts, b: Parts) -> bool:
    """Whether two files hold the same, byte for byte; also of what was cut."""
    return a.missing == b.missing and b"".join(_pieces(a)) == b"".join(_pieces(b))


def chunk(kind: bytes, *data: bytes) -> list[bytes]:
    """Pieces of a chunk: its length and type, its data, its checksum."""
    crc = zlib.crc32(kind)
    for piece in data:
        crc = zlib.crc32(piece, crc)
    return [struct.pack("<I4s", sum(map(len, data)), kind), *data, struct.pack("<I", crc)]


def before_terms(parts: Parts) -> list[bytes]:
    """Pieces of a file before its factors: of a float file, before SUMS and the terms."""
    out = [SIGNATURE, bytes([VERSION]), *chunk(b"HEAD", _header(parts))]
    for kind, name in METADATA.items():
        data = getattr(parts.head.metadata, name)
        if data:
            out += chunk(kind, data)
    if not isinstance(parts.body, Packed):
        out += chunk(b"SIGM", *(f.s.astype("<f8").tobytes() for f in parts.body.factors))
    return out


def _pieces(parts: Parts) -> list[bytes]:
    out = before_terms(parts)
    body = parts.body
    if isinstance(body, Packed):
        if len(body.payload) > ONE_PIECE:
            out += chunk(b"SUMS", piece_sums(body.payload))
        out += chunk(b"PACK", body.payload)
    else:
        dtype = np.dtype(parts.head.store).newbyteorder("<")
        factors = body.factors
        terms = [
            (factors[i].U[:, j].astype(dtype).tobytes(), factors[i].Vt[j].astype(dtype).tobytes())
            for i, j in term_order([f.s for f in factors])
        ]
        m, n = parts.head.shape
        if parts.head.frames is not None and terms and term_sums(m, n, dtype.itemsize):
            out += chunk(b"SUMS", *(sums_of_term(u, v) for u, v in terms))
        for term in terms:
            out += chunk(b"TERM", *term)
    return out + chunk(b"DONE")


def _start(head: Head) -> bytes:
    """The fields of the header before those of the matrices."""
    mode = head.mode
    start = HEAD.pack(
        head.width,
        head.height,
        MODE_NAMES.index(mode.name),
        LAYOUTS.index(head.layout),
        STORES.index(head.store),
        0,
    )
    if mode.name == ARRAY:
        start += SAMPLES.pack(DTYPES.index(mode.dtype), len(mode.channels))
    if head.frames is not None:
        start += FRAMES.pack(head.frames)
    return start


def _header(parts: Parts) -> bytes:
    head, body = _start(parts.head), parts.body
    if isinstance(body, Packed):
        if body.levels is not None:
            head += RANGE.pack(body.levels.low, body.levels.high)
        return head + b"".join(
            PACKED_MATRIX.pack(p.k, *map(log_code, (p.norm, p.sigma_next, p.tail, p.error)))
            for p in body.stated
        )
    turn = np.array(body.turn or (), np.int8).tobytes()
    return (
        head + turn + b"".join(MATRIX.pack(f.k, f.norm, f.sigma_next, f.tail) for f in body.factors)
    )
