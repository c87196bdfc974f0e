"""What reading and writing share: the signature, the fields of the header, its codes."""

from __future__ import annotations

import math
import struct
import zlib

Buffer = bytes | memoryview

SIGNATURE = b"\x89LRK\r\n\x1a\n"
VERSION = 1
MAX_SIDE = 2**31 - 1  # as in PNG: a side fits a signed 32-bit integer anywhere
MAX_NORM = 2.0**160  # above ||A||_F of any float32 matrix of MAX_SIDE x MAX_SIDE
MAX_ENTRY = 2  # of unit vectors, with room for rounding

MODE_NAMES = ("1", "L", "LA", "RGB", "RGBA", "CMYK", "I;16", "F", "array")
HEAD = struct.Struct("<IIBBBB")
FRAMES = struct.Struct("<I")  # of layout `stack`
SAMPLES = struct.Struct("<BH")  # of mode `array`: the code of its type, and its channels
RANGE = struct.Struct("<dd")  # of a packed file of floats, or of mode `array`
MATRIX = struct.Struct("<Iddd")
PACKED_MATRIX = struct.Struct("<HHHHH")
CHUNK_BYTES = 12
CHUNK_START = 8
"""Bytes of a chunk around its data, and of these before it."""
PIECE = 4096
"""Bytes of a payload that one checksum of SUMS covers."""
ONE_PIECE = 8192
"""Bytes of the largest payload that is written without SUMS: its own checksum will do."""
TERM_PIECE = 1024
"""Bytes of v that one checksum of SUMS covers in a float file: a pixel needs no more of a term."""
METADATA = {b"EXIF": "exif", b"ICCP": "icc", b"XMP_": "xmp", b"NODT": "nodata", b"AXIS": "axis"}


def log_code(value: float) -> int:
    """Smallest u16 x with 2^(x/1024 - 24) >= value."""
    if value <= 0:
        return 0
    return min(max(math.ceil((math.log2(value) + 24) * 1024 - 1e-9), 1), 65535)


def log_value(code: int) -> float:
    """What a code stands for."""
    return 2.0 ** (code / 1024 - 24) if code else 0.0


def term_sums(m: int, n: int, itemsize: int) -> int:
    """Checksums of a term of m + n floats in SUMS; 0 where its chunk's own will do."""
    if itemsize * (m + n) <= ONE_PIECE:
        return 0
    return 1 + -(-n * itemsize // TERM_PIECE)


def piece_sums(payload: bytes) -> bytes:
    """CRC-32 of each piece of a payload, as SUMS holds them."""
    return _sums(payload, PIECE)


def sums_of_term(u: Buffer, v: Buffer) -> bytes:
    """CRC-32 of u, and of each piece of v, as SUMS holds them."""
    return struct.pack("<I", zlib.crc32(u)) + _sums(v, TERM_PIECE)


def _sums(data: Buffer, size: int) -> bytes:
    found = [zlib.crc32(data[i : i + size]) for i in range(0, len(data), size)]
    return struct.pack(f"<{len(found)}I", *found)
