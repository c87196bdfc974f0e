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

from lowrank.picture import Picture

Bytes = NDArray[np.uint8]
COLOURS = {"L": 0, "RGB": 2, "LA": 4, "RGBA": 6}
"""The modes that are written here, with their codes."""
SIGNATURE = b"\x89PNG\r\n\x1a\n"
PIXELS = (b"IDAT", b"IEND")
_SLAB = 1 << 17
"""Bytes that are filtered at a time, about."""
_EVERY = 8
"""One row in so many is looked at to choose a filter."""
_FILTERS = range(5)
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
    coder = zlib.compressobj(1, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
    pixels = [coder.compress(slab.data) for slab in _filtered(rows, channels)]
    pixels.append(coder.flush())
    data = (part for piece in pixels if piece for part in _chunk(b"IDAT", piece))
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


def _filtered(rows: Bytes, channels: int) -> Iterator[Bytes]:
    """Some rows at a time, filtered, each after the number of its filter."""
    height, width = rows.shape
    step = max(_SLAB // width, 1)
    # Before the first row and before each of them stand zeros.
    padded = np.zeros((step + 1, width + channels), np.uint8)
    for top in range(0, height, step):
        part = rows[top : top + step]
        count = len(part)
        padded[0] = padded[step]
        padded[1 : count + 1, channels:] = part
        here = padded[: count + 1]
        out = np.empty((count, width + 1), np.uint8)
        some = np.arange(count // 2 % _EVERY, count, _EVERY)
        sizes = np.array(
            [_sizes(_differences(here[some], here[some + 1], channels, kind)) for kind in _FILTERS]
        )
        best = int(sizes.sum(1).argmin())
        if int(sizes[best].sum()) <= _ALIKE * int(sizes.min(0).sum()):
            out[:, 0] = best
            out[:, 1:] = _differences(here[:-1], here[1:], channels, best)
        else:
            every = [_differences(here[:-1], here[1:], channels, kind) for kind in _FILTERS]
            kinds = np.array([_sizes(x) for x in every]).argmin(0)
            out[:, 0] = kinds
            for kind, found in enumerate(every):
                chosen = kinds == kind
                out[chosen, 1:] = found[chosen]
        yield out


def _sizes(rows: Bytes) -> NDArray[np.int64]:
    """Of each row the sum of its differences: what is small either way is coded in few bits."""
    sums: NDArray[np.int64] = np.minimum(rows, np.negative(rows)).sum(1, np.int64)
    return sums


def _differences(above: Bytes, now: Bytes, channels: int, kind: int) -> Bytes:
    """What one filter makes of rows, after a pixel of zeros, and of those above them."""
    x, a, b, c = now[:, channels:], now[:, :-channels], above[:, channels:], above[:, :-channels]
    if kind == 0:
        return x
    if kind < 3:
        return x - (a if kind == 1 else b)
    if kind == 3:  # the mean, rounded down: the bits that both have, and half of the others
        mean = a ^ b
        mean >>= 1
        mean += a & b
        return _less(x, mean)
    # Paeth: of a, b, c the one nearest to a + b - c, in this order.
    from_a, from_b = np.maximum(b, c), np.maximum(a, c)
    from_a -= np.minimum(b, c)
    from_b -= np.minimum(a, c)
    # Where c lies between a and b the distance from c is the difference of these two, and
    # their sum elsewhere: then it is not less than either.
    from_c = np.maximum(from_a, from_b)
    from_c -= np.minimum(from_a, from_b)
    beside = np.greater_equal(a, c)
    beside ^= np.less(b, c)
    from_c |= _mask(beside)
    best = b ^ c
    best &= _mask(np.less_equal(from_b, from_c))
    best ^= c
    nearer = np.less_equal(from_a, from_b)
    nearer &= np.less_equal(from_a, from_c)
    change = a ^ best
    change &= _mask(nearer)
    best ^= change
    return _less(x, best)


def _less(x: Bytes, expected: Bytes) -> Bytes:
    """What is left of x; takes the place of what is expected."""
    np.subtract(x, expected, out=expected)
    return expected


def _mask(where: NDArray[np.bool_]) -> Bytes:
    """All bits of what is true."""
    mask = where.view(np.uint8)
    np.negative(mask, out=mask)
    return mask
