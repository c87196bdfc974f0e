"""Image files made by hand, from the specifications of their formats and not with Pillow."""

from __future__ import annotations

import struct
import zlib

import numpy as np

_LETTERS = {1: "B", 2: "B", 3: "H", 4: "I", 5: "I", 7: "B", 12: "d", 16: "Q"}
_FORMATS = {"u": 1, "i": 2, "f": 3}


def tiff(
    samples,
    *,
    order="<",
    photometric=1,
    extra=(),
    planar=1,
    compression=1,
    big=False,
    raw=None,
    more=None,
):
    """A TIFF of (height, width, bands) samples in strips of one band or of all.

    `raw` replaces the encoded samples; `more` holds further tags, each a type and values.
    """
    height, width, bands = samples.shape
    stored = samples.astype(samples.dtype.newbyteorder(order))
    planes = [stored[:, :, i] for i in range(bands)] if planar == 2 else [stored]
    strips = [plane.tobytes() for plane in planes] if raw is None else [raw]
    if compression == 8:
        strips = [zlib.compress(strip) for strip in strips]
    pointer = 16 if big else 4
    tags = {
        256: (4, (width,)),
        257: (4, (height,)),
        258: (3, (8 * samples.itemsize,) * bands),
        259: (3, (compression,)),
        262: (3, (photometric,)),
        273: (pointer, (0,) * len(strips)),
        277: (3, (bands,)),
        278: (4, (height,)),
        279: (pointer, tuple(map(len, strips))),
        284: (3, (planar,)),
        339: (3, (_FORMATS[samples.dtype.kind],) * bands),
        **(more or {}),
    }
    if extra:
        tags[338] = (3, extra)
    slot, count = ("Q", "Q") if big else ("I", "H")
    entry = struct.calcsize(f"{order}HH{slot}{slot}")
    at = 16 if big else 8
    heap_at = at + struct.calcsize(count) + entry * len(tags) + struct.calcsize(slot)
    # The samples stand last, so that their places are known once the values are laid out.
    sizes = {tag: struct.calcsize(_LETTERS[kind]) * len(v) for tag, (kind, v) in tags.items()}
    outside = sum(size + size % 2 for size in sizes.values() if size > struct.calcsize(slot))
    starts = np.cumsum([heap_at + outside, *map(len, strips)])[:-1]
    tags[273] = (pointer, tuple(map(int, starts)))
    entries, heap = b"", b""
    for tag, (kind, values) in sorted(tags.items()):
        body = struct.pack(f"{order}{len(values)}{_LETTERS[kind]}", *values)
        numbers = len(values) // 2 if kind == 5 else len(values)
        if len(body) > struct.calcsize(slot):
            place = heap_at + len(heap)
            heap += body + bytes(len(body) % 2)
            body = struct.pack(order + slot, place)
        entries += struct.pack(f"{order}HH{slot}", tag, kind, numbers)
        entries += body.ljust(struct.calcsize(slot), b"\0")
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}H", 43 if big else 42)
    head += struct.pack(f"{order}HHQ", 8, 0, at) if big else struct.pack(f"{order}I", at)
    directory = struct.pack(order + count, len(tags)) + entries + bytes(struct.calcsize(slot))
    return head + directory + heap + b"".join(strips)


def png(samples, *chunks):
    """A PNG of (height, width, 1) bytes of grey, with chunks before the samples."""
    height, width, _ = samples.shape
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in samples)
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", head), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        data += struct.pack(">I", len(body)) + kind + body
        data += struct.pack(">I", zlib.crc32(kind + body))
    return data


def box(kind, body):
    """One box of a JP2."""
    return struct.pack(">I4s", len(body) + 8, kind) + body


def jp2_boxes(data):
    """The boxes of a JP2, as kind and body."""
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        size = size or len(data) - at
        yield kind, data[at + 8 : at + size]
        at += size
