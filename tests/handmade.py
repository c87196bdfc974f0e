"""`.lrk` bytes made and taken apart by hand, from the specification and not from its code."""

from __future__ import annotations

import struct
import zlib

import numpy as np

SIGNATURE = bytes.fromhex("89 4C 52 4B 0D 0A 1A 0A")
MODES = {"1": 0, "L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 5, "I;16": 6, "F": 7}
STORES = {"float16": 0, "float32": 1, "float64": 2, "packed": 3}


def chunk(kind, data=b""):
    """One chunk with its checksum."""
    crc = zlib.crc32(kind + data)
    return struct.pack("<I", len(data)) + kind + data + struct.pack("<I", crc)


def head(width=1, height=1, mode=1, layout=0, store=0, flags=0, matrices=((0, 0.0, 0.0, 0.0),)):
    """The HEAD chunk of a float store; each matrix is k, norm, sigma_(k+1) and tail."""
    data = struct.pack("<IIBBBB", width, height, mode, layout, store, flags)
    return chunk(b"HEAD", data + b"".join(struct.pack("<Iddd", *m) for m in matrices))


def lrk(*chunks, version=1):
    """A file of these chunks."""
    return SIGNATURE + bytes([version]) + b"".join(chunks)


def sigm(*values):
    return chunk(b"SIGM", struct.pack(f"<{len(values)}d", *values))


def term(u, v, dtype="<f2"):
    return chunk(b"TERM", np.asarray(u, dtype).tobytes() + np.asarray(v, dtype).tobytes())


DONE = chunk(b"DONE")


def split(data):
    """The chunks of a whole file: (type, data) each."""
    found, at = [], 9
    while at < len(data):
        size, kind = struct.unpack_from("<I4s", data, at)
        found.append((kind, data[at + 8 : at + 8 + size]))
        at += size + 12
    return found


def join(chunks, version=1):
    """The file of these (type, data), with checksums that hold."""
    return lrk(*(chunk(kind, bytes(data)) for kind, data in chunks), version=version)


def one_pixel(**changes):
    """The file of one grey pixel of level 200, with some fields of its header changed."""
    fields = {"matrices": ((1, 200.0, 0.0, 0.0),), **changes}
    return lrk(head(**fields), sigm(200.0), term([1], [1]), DONE)
