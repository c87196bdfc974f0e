"""PNG of 8-bit samples, by numpy and zlib: no library of images is loaded for it.

Each row is filtered, that is, told from what its neighbours let expect; then runs and single
bytes are coded (see `pillow.write` for why that is all). Pillow tries all filters on each row,
which takes longer than to code them. Here some rows tell which one suits those around them; on
photographs that is nearly always Paeth's. Where rows differ in that, each has its own.

References
----------
Portable Network Graphics (PNG) Specification, ISO/IEC 15948:2004, clause 9.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lowrank import threads
from lowrank.picture import Picture

Bytes = NDArray[np.uint8]
Sums = tuple[int, int]
COLOURS = {"L": 0, "RGB": 2, "LA": 4, "RGBA": 6}
"""The modes that are written here, with their codes."""
SIGNATURE = b"\x89PNG\r\n\x1a\n"
PIXELS = (b"IDAT", b"IEND")
_WINDOW = (1 << 16) - 262
"""Bytes that zlib takes before it moves what it keeps of them, and all its tables of matches."""
_SLAB = 2 * _WINDOW
"""Bytes that are filtered at a time, at most, but for a row that has more."""
_BAND = 4
"""So many times these are coded by themselves, in threads."""
_SMALLER = 4
"""How much smaller a picture is made for which a flush would make a difference."""
_EVERY = 5
"""One row in so many is looked at to choose a filter: odd, as rows may be alike by twos."""
_FILTERS = range(5)
_HEADER = b"\x78\x01"
"""Of a stream of zlib, coded fast, whose matches are as far away as any may be."""
_ADLER = 65521
_ALIKE = 1.01
"""As good as a filter for each row is one for all whose differences are so much larger."""


def write(picture: Picture, like: bytes = b"") -> bytes:
    """Encode a picture of a mode in COLOURS.

    Parameters
    ----------
    picture : Picture
    like : bytes
        A PNG whose chunks but for header and pixels are taken over.
    """
    samples: Bytes = picture.samples.astype(np.uint8, copy=False)
    height, width, channels = samples.shape
    header = struct.pack(">IIBBBBB", width, height, 8, COLOURS[picture.mode.name], 0, 0, 0)
    rows = np.ascontiguousarray(samples).reshape(height, width * channels)
    data = (part for piece in _coded(rows, channels) for part in _chunk(b"IDAT", piece))
    head, end = _chunk(b"IHDR", header), _chunk(b"IEND", b"")
    return b"".join((SIGNATURE, *head, *metadata_in(like), *data, *end))


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and bytes of each chunk of a sound PNG."""
    at = len(SIGNATURE)
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        yield kind, data[at : at + size + 12]
        at += size + 12


def metadata_in(data: bytes) -> list[bytes]:
    """The chunks of a sound PNG but for header and pixels; of nothing none."""
    return [chunk for kind, chunk in list(chunks(data))[1:] if kind not in PIXELS]


def _chunk(kind: bytes, data: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """The parts of a chunk, to be joined: data may be large."""
    check = zlib.crc32(data, zlib.crc32(kind))
    return struct.pack(">I", len(data)), kind, data, struct.pack(">I", check)


def _coded(rows: Bytes, channels: int) -> list[bytes]:
    """Rows filtered and coded: a stream of zlib, of bands that know nothing of each other."""
    height, width = rows.shape
    step = max(_SLAB // (width + 1), 1)
    tops = range(0, height, step * _BAND)

    def code(top: int) -> tuple[bytes, Sums, int]:
        span = range(top, min(top + tops.step, height), step)
        return _band(rows, span, channels, last=top == tops[-1])

    pieces, sums = [_HEADER], (1, 0)
    for piece, own, count in threads.each(code, tops):
        pieces.append(piece)
        sums = _joined(sums, own, count)
    pieces.append(struct.pack(">HH", sums[1], sums[0]))
    return pieces


def _joined(before: Sums, after: Sums, count: int) -> Sums:
    """Adler's sums of bytes, of those of their beginning and of so many after it."""
    (a, b), (c, d) = before, after
    return (a + c - 1) % _ADLER, (b + d + count * (a - 1)) % _ADLER


def _band(rows: Bytes, span: range, channels: int, *, last: bool) -> tuple[bytes, Sums, int]:
    """Some rows, a few at a time, filtered and coded; Adler's sums of what was coded; its bytes.

    Runs need but the byte before. Where zlib is flushed it forgets all of them, and moves nothing:
    a tenth of its time. That takes some twenty bytes.
    """
    coder = zlib.compressobj(1, zlib.DEFLATED, -15, 9, zlib.Z_RLE)
    coded: list[bytes] = []
    before = after = 0
    check = 1
    for slab in _filtered(rows, span, channels):
        flat = slab.reshape(-1)
        check = zlib.adler32(flat.data, check)
        for start in range(0, flat.size, _WINDOW):
            piece = flat[start : start + _WINDOW]
            coded.append(coder.compress(piece.data))
            before += piece.size
            after += len(coded[-1])
            if after * _SMALLER > before:
                coded.append(coder.flush(zlib.Z_FULL_FLUSH))
                after += len(coded[-1])
    coded.append(coder.flush(zlib.Z_FINISH if last else zlib.Z_FULL_FLUSH))
    return b"".join(coded), (check & 0xFFFF, check >> 16), before


def _filtered(rows: Bytes, span: range, channels: int) -> Iterator[Bytes]:
    """Some rows, a few at a time, filtered, each after the number of its filter.

    In the same memory: what is given is to be used before the next is asked for.
    """
    width = rows.shape[1]
    step = min(span.step, span.stop - span.start)
    # Before the first row and before each of them stand zeros.
    padded = np.zeros((step + 1, width + channels), np.uint8)
    if span.start:
        padded[step, channels:] = rows[span.start - 1]
    out, room = np.empty((step, width + 1), np.uint8), np.empty((4, step, width), np.uint8)
    for top in span:
        part = rows[top : min(top + step, span.stop)]
        count = len(part)
        padded[0] = padded[step]
        padded[1 : count + 1, channels:] = part
        above, now = padded[:count], padded[1 : count + 1]
        some = np.arange(count // 2 % _EVERY, count, _EVERY)
        sizes = _sizes(_all(above[some], now[some], channels, room))
        best = int(sizes.sum(1).argmin())
        slab = out[:count]
        if int(sizes[best].sum()) <= _ALIKE * int(sizes.min(0).sum()):
            slab[:, 0] = best
            _differences(above, now, channels, best, slab[:, 1:], room)
        else:
            every = _all(above, now, channels, room)
            slab[:, 0] = kinds = _sizes(every).argmin(0)
            slab[:, 1:] = every[kinds, np.arange(count)]
        yield slab


def _all(above: Bytes, now: Bytes, channels: int, room: Bytes) -> Bytes:
    """What each filter makes of rows."""
    every = np.empty((len(_FILTERS), len(now), room.shape[2]), np.uint8)
    for kind, out in zip(_FILTERS, every, strict=True):
        _differences(above, now, channels, kind, out, room)
    return every


def _sizes(rows: Bytes) -> NDArray[np.int64]:
    """Of each row the sum of its differences: what is small either way is coded in few bits."""
    # Numpy adds up half as large integers in half the time.
    sums: NDArray[np.int64] = (
        np.minimum(rows, np.negative(rows)).sum(-1, np.uint32).astype(np.int64)
    )
    return sums


def _differences(
    above: Bytes, now: Bytes, channels: int, kind: int, out: Bytes, room: Bytes
) -> None:
    """What one filter makes of rows, after a pixel of zeros, and of those above them.

    `room` is for four arrays of as many rows.
    """
    x, a, b, c = now[:, channels:], now[:, :-channels], above[:, channels:], above[:, :-channels]
    if kind == 0:
        out[:] = x
        return
    if kind < 3:
        np.subtract(x, a if kind == 1 else b, out=out)
        return
    low, high, mean, half = room[:, : len(x)]
    if kind == 3:  # the mean, rounded down: the bits that both have, and half of the others
        np.bitwise_xor(a, b, out=mean)
        mean >>= 1
        mean += np.bitwise_and(a, b, out=half)
        np.subtract(x, mean, out=out)
        return
    # Paeth: of a, b, c the one nearest to a + b - c. Where c, drawn to between a and b, is at most
    # half as far from the lower of these as from the higher, that is the higher one; the other
    # way round, the lower; and else c.
    middle = mean
    np.minimum(a, b, out=low)
    np.maximum(a, b, out=high)
    np.maximum(c, low, out=middle)
    np.minimum(middle, high, out=middle)
    np.subtract(x, middle, out=out)
    up, down = np.subtract(high, middle, out=high), np.subtract(middle, low, out=low)
    rises = np.less_equal(down, np.right_shift(up, 1, out=half), out=half.view(np.bool_))
    falls = np.less_equal(up, np.right_shift(down, 1, out=middle), out=middle.view(np.bool_))
    up *= rises.view(np.uint8)
    down *= falls.view(np.uint8)
    out -= up
    out += down
