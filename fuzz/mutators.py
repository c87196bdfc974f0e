"""Mutants of `.lrk` files: damaged at random, half of them with checksums that hold."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

_WORDS = (0, 1, 2, 7, 255, 256, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1)
_FLOATS = (0.0, -0.0, -1.0, 1.0, 1e-320, 1e48, 1e49, 1e308, float("inf"), float("nan"))
_HEAD = 140  # bytes that hold the header, where every field means something


def mutants(seeds: list[bytes], rng: np.random.Generator) -> Iterator[bytes]:
    """Yield mutants of the seeds without end; in every other one the checksums hold."""
    mended = False
    while True:
        data = bytearray(seeds[rng.integers(len(seeds))])
        for _ in range(rng.integers(1, 4)):
            mutation = _MUTATIONS[rng.integers(len(_MUTATIONS))]
            data = mutation(data, seeds, rng)
        yield mend(data) if mended else bytes(data)
        mended = not mended


def mend(data: bytearray) -> bytes:
    """Make the checksum of every chunk hold, as far as chunks can be told apart."""
    for at, end in _spans(data):
        struct.pack_into("<I", data, end, zlib.crc32(data[at + 4 : end]))
    return bytes(data)


def _spans(data: bytearray) -> list[tuple[int, int]]:
    """Offsets of each whole chunk, and of the checksum at its end."""
    found, at = [], 9
    while at + 12 <= len(data):
        (size,) = struct.unpack_from("<I", data, at)
        if at + 12 + size > len(data):
            break
        found.append((at, at + 8 + size))
        at += 12 + size
    return found


def _at(data: bytearray, rng: np.random.Generator, size: int = 1) -> int:
    """Choose an offset; the header is hit as often as all that follows."""
    end = max(len(data) - size + 1, 1)
    return int(rng.integers(min(end, _HEAD) if rng.integers(2) else end))


def _flip(data: bytearray, seeds: list[bytes], rng: np.random.Generator) -> bytearray:
    for _ in range(rng.integers(1, 9) if data else 0):
        data[_at(data, rng)] ^= 1 << int(rng.integers(8))
    return data


def _word(data: bytearray, seeds: list[bytes], rng: np.random.Generator) -> bytearray:
    if len(data) >= 4:
        struct.pack_into("<I", data, _at(data, rng, 4), _WORDS[rng.integers(len(_WORDS))])
    return data


def _float(data: bytearray, seeds: list[bytes], rng: np.random.Generator) -> bytearray:
    if len(data) >= 8:
        struct.pack_into("<d", data, _at(data, rng, 8), _FLOATS[rng.integers(len(_FLOATS))])
    return data


def _content(data: bytearray, seeds: list[bytes], rng: np.random.Generator) -> bytearray:
    """Change a few bits inside a chunk: mended, most of these are read to the end."""
    spans = [(at + 8, end) for at, end in _spans(data) if end > at + 8]
    if spans:
        start, end = spans[rng.integers(len(spans))]
        for _ in range(rng.integers(1, 9)):
            data[rng.integers(start, end)] ^= 1 << int(rng.integers(8))
    return data


def _noise(data: bytearray, seeds: list[bytes], rng: np.random.Generator) -> bytearray:
    at = _at(data, rng)
    data[at : at + int(rng.integers(1, 40))] = rng.bytes(int(rng.integers(1, 40)))
    return data


def _cut(data: bytearray, seeds: list[bytes], rng: np.random.Generator) -> bytearray:
    return data[: _at(data, rng)]


def _splice(data: bytearray, seeds: list[bytes], rng: np.random.Generator) -> bytearray:
    other = seeds[rng.integers(len(seeds))]
    at = _at(data, rng)
    return data[:at] + other[at if rng.integers(2) else int(rng.integers(len(other) + 1)) :]


def _chunks(data: bytearray, seeds: list[bytes], rng: np.random.Generator) -> bytearray:
    """Drop, double, swap, shorten, lengthen or empty a chunk."""
    spans = _spans(data)
    if not spans:
        return data
    found = [(data[at + 4 : at + 8], data[at + 8 : end]) for at, end in spans]
    i, j = (int(rng.integers(len(found))) for _ in range(2))
    kind, content = found[i]
    match int(rng.integers(6)):
        case 0:
            del found[i]
        case 1:
            found.insert(j, found[i])
        case 2:
            found[i], found[j] = found[j], found[i]
        case 3:
            found[i] = kind, content[: int(rng.integers(len(content) + 1))]
        case 4:
            found[i] = kind, content + rng.bytes(int(rng.integers(1, 20)))
        case 5:
            found[i] = kind, bytearray()
    out = data[:9]
    for kind, content in found:
        body = kind + content
        out += struct.pack("<I", len(content)) + body + struct.pack("<I", zlib.crc32(body))
    return out + data[spans[-1][1] + 4 :]


_MUTATIONS = (
    _flip, _word, _float, _noise, _cut, _splice, _chunks, _content, _content, _content,
)  # fmt: skip
