"""A packed stack in tiles: what is decoded of a stack, whole or in tiles, any part of it.

A tile is what a box of pixels shows in all frames, a stack of its own with a payload as in
codec.py. A stack that is coded as a whole is such a payload itself; one in tiles is

    length    varint, as in codec.py
    header    range_coder.BitReader, fields in this order:
        version   6 bits of ones, and 4 bits: 4
        down      number: rows of patches of a tile, at least 1
        across    number: columns of patches of a tile, at least 1
        planes    number, of all tiles together
    tiles     row by row: the length of each as a varint of at most 4 bytes, and its payload

Tiles begin at multiples of their sides; the last ones in a row or a column are what is left.

A decoder must reject: tiles higher or wider than the frames are in patches; more than 4,096 of
them; tiles in a tile; more maps of them together than 64 for each byte up to there, and 4,096;
other planes than it says; bytes after the last tile. Of a payload that ends early the tiles that
are whole can be decoded.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank import pace
from lowrank.errors import FormatError, LimitError, TruncatedError, UsageError
from lowrank.layouts.lapped import SIDE, grid
from lowrank.limits import MAX_PRODUCTS, STACK, fits, give_back
from lowrank.picture.levels import Scale
from lowrank.stores.packed.coding.payload import Decoded, Outline
from lowrank.stores.packed.coding.range_coder import BitReader, BitWriter
from lowrank.stores.packed.frames import codec
from lowrank.stores.packed.frames.header import LATER, Shape
from lowrank.stores.packed.frames.samples import Synthesis
from lowrank.stores.packed.patches.header import leading, read_varint, with_length

VERSION = 4
MOST = 1 << 12
"""Tiles of a stack."""
LONGEST = 1 << 28
"""Bytes that no tile has."""
_START = 16  # bytes that a header has at most
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Box:
    """Rows and columns of the pixels of a tile."""

    rows: slice
    columns: slice

    def size(self, whole: Shape) -> Shape:
        """Frames, height, width and channels of the tile."""
        rows, columns = self.rows, self.columns
        return whole[0], rows.stop - rows.start, columns.stop - columns.start, whole[3]


def boxes(size: Shape, down: int, across: int) -> list[Box]:
    """The tiles of a stack, so many rows and columns of patches each, row by row."""
    _, height, width, _ = size

    def cut(length: int, patches: int) -> list[slice]:
        side = patches * SIDE
        return [slice(i, min(i + side, length)) for i in range(0, length, side)]

    return [Box(y, x) for y in cut(height, down) for x in cut(width, across)]


@dataclass(frozen=True, eq=False)
class Grid:
    """Tiles, and where their payloads are.

    Attributes
    ----------
    boxes : list of Box
    spans : list of slice
        Bytes of the payload, of the tiles that are there whole.
    outlines : list of Outline
        What these say first.
    """

    boxes: list[Box]
    spans: list[slice] = field(default_factory=list)
    outlines: list[Outline] = field(default_factory=list)


def write(down: int, across: int, planes: int, tiles: list[bytes]) -> bytes:
    """The payload of a stack in tiles; a UsageError where one is longer than decoders read."""
    out = BitWriter()
    out.bits(LATER, 6)
    out.bits(VERSION, 4)
    for value, name in ((down, "down"), (across, "across"), (planes, "planes")):
        out.number(value, name)
    pieces = [with_length(out.finish())]
    for tile in tiles:
        if len(tile) >= LONGEST:
            raise UsageError("a tile has too many bytes for a packed file; give a coarser step")
        pieces.append(with_length(tile))
    return b"".join(pieces)


def in_tiles(payload: bytes) -> bool:
    """Whether a payload is one of tiles."""
    try:
        _, start = read_varint(payload)
    except TruncatedError:
        return False
    read = BitReader(payload[start : start + _START])
    return read.bits(6) == LATER and read.bits(4) == VERSION


def outline(payload: bytes, size: Shape) -> Outline:
    """What a payload says first: its planes; of tiles, those of all that are there."""
    if not in_tiles(payload):
        return codec.outline(payload, size)
    head, start = leading(payload)
    read = BitReader(head)
    read.bits(10)
    down, across, planes = (read.number(name) for name in ("down", "across", "planes"))
    rows, columns = grid(size[1], size[2])
    if not (1 <= down <= rows and 1 <= across <= columns):
        raise FormatError(f"packed stream: tiles of {down}x{across} of {rows}x{columns} patches")
    count = -(-rows // down) * -(-columns // across)
    if count > MOST:
        raise LimitError(f"{count} tiles are more than the {MOST} of the limit")
    found = Grid(boxes(size, down, across))
    _find(payload, start, size, found)
    there = sum(x.components[0] for x in found.outlines)
    if there > planes or (there < planes and len(found.outlines) == count):
        raise FormatError(f"packed stream: tiles of {there} planes, where {planes} are said")
    return Outline(None, (planes,), (found, start))


def _find(payload: bytes, position: int, size: Shape, found: Grid) -> None:
    """Where the tiles are, and what each says first, until the payload ends."""
    maps = work = 0
    for box in found.boxes:
        try:
            length, before = read_varint(payload[position : position + 4])
        except TruncatedError:
            return
        span = slice(position + before, position + before + length)
        position = span.stop
        if position > len(payload):
            return
        found.spans.append(span)
        part = box.size(size)
        with _whole(len(found.outlines)):
            said = codec.outline(payload[span], part)
        found.outlines.append(said)
        maps += said.components[0] * part[3]
        if maps > 64 * (position + 64):
            raise FormatError(f"packed stream: {maps} maps in {position} bytes")
        work += part[0] * said.components[0] * part[1] * part[2] * part[3]
        if work > STACK * MAX_PRODUCTS:
            raise LimitError("the planes of all tiles are more work than the limit allows")
    if position < len(payload):
        raise FormatError("packed stream: bytes after its last tile")


def decode(
    payload: bytes, size: Shape, scale: Scale,
    *, rank: int | None = None, partial: bool = False, outline: Outline | None = None,
) -> Decoded:  # fmt: skip
    """Decode a stack, or what the first planes of each tile show of it; see codec.decode."""
    found = _grid(payload, size, outline)
    if found is None:
        return codec.decode(payload, size, scale, rank=rank, partial=partial, outline=outline)
    samples = np.zeros(size, scale.mode.dtype)
    done = 0
    for box, made in _made(payload, size, found, rank=rank, partial=partial):
        made.samples(scale, samples[:, box.rows, box.columns])
        done += 1
    return Decoded(samples, len(found.boxes), done, "tile")


def factors(
    payload: bytes, size: Shape, scale: Scale,
    *, partial: bool = False, outline: Outline | None = None,
) -> list[NDArray[np.float64]]:  # fmt: skip
    """The decoded (N, n) matrix, before rounding."""
    found = _grid(payload, size, outline)
    if found is None:
        return codec.factors(payload, size, scale, partial=partial, outline=outline)
    if not fits(8 * int(np.prod(size, dtype=object))):
        raise LimitError("no memory for the matrix of so many samples")
    matrix = np.zeros(size)
    for box, made in _made(payload, size, found, rank=None, partial=partial):
        part = matrix[:, box.rows, box.columns]
        part[:] = made.matrix().reshape(part.shape)
    return [matrix.reshape(len(matrix), -1)]


def _grid(payload: bytes, size: Shape, said: Outline | None) -> Grid | None:
    """The tiles of a payload; None of one without."""
    found = (said or outline(payload, size)).read[0]
    return found if isinstance(found, Grid) else None


def _made(
    payload: bytes, size: Shape, found: Grid, *, rank: int | None, partial: bool
) -> Iterator[tuple[Box, Synthesis]]:
    """Each tile that is there."""
    there, count = len(found.spans), len(found.boxes)
    if there < count and not (partial and there):
        raise TruncatedError(f"packed stream ends after {there} of {count} tiles", total=count)
    for i, box in enumerate(found.boxes[:there]):
        pace.inside(f"tile {i + 1} of {count}")
        yield box, _tile(payload, size, found, i, rank)
        give_back()


def _tile(payload: bytes, size: Shape, found: Grid, i: int, rank: int | None) -> Synthesis:
    with _whole(i):
        made, _, _ = codec.synthesis(
            payload[found.spans[i]], found.boxes[i].size(size), rank=rank, partial=False,
            outline=found.outlines[i],
        )  # fmt: skip
    return made


@contextmanager
def _whole(i: int) -> Iterator[None]:
    """A tile that is there and ends early was made like this."""
    try:
        yield
    except TruncatedError as error:
        raise FormatError(f"{error}, in tile {i + 1}") from error


class Reader:
    """Any part of a stack in tiles: those that it takes are decoded, once.

    Parameters
    ----------
    payload : bytes
        Of tiles.
    size : (frames, height, width, channels)
    scale : Scale
        What its levels stand for.
    said : Outline
        What `outline` gives.
    """

    def __init__(self, payload: bytes, size: Shape, scale: Scale, said: Outline) -> None:
        self._payload, self._size, self._scale = payload, size, scale
        self._grid: Grid = said.read[0]
        self._made: dict[int, Synthesis] = {}
        self._lock = threading.Lock()

    def block(
        self, frames: Indices, rows: Indices, columns: Indices, *, exact: bool = False
    ) -> NDArray[Any]:
        """(frames, rows, columns, channels) samples where these cross, before rounding if `exact`.

        Raises
        ------
        TruncatedError, FormatError
            A tile is not there, or damaged.
        """
        size = len(frames), len(rows), len(columns), self._size[3]
        out = np.empty(size, np.float64 if exact else self._scale.mode.dtype)
        for i, box in enumerate(self._grid.boxes):
            y = np.flatnonzero((rows >= box.rows.start) & (rows < box.rows.stop))
            x = np.flatnonzero((columns >= box.columns.start) & (columns < box.columns.stop))
            if not (len(frames) and len(y) and len(x)):
                continue
            some = self._of(i).block(
                frames, rows[y] - box.rows.start, columns[x] - box.columns.start,
                None if exact else self._scale,
            )  # fmt: skip
            out[:, y[0] : y[-1] + 1, x[0] : x[-1] + 1] = some
        return out

    def _of(self, i: int) -> Synthesis:
        with self._lock:
            if i not in self._made:
                if i >= len(self._grid.spans):
                    raise TruncatedError(f"packed stream ends before tile {i + 1}")
                self._made[i] = _tile(self._payload, self._size, self._grid, i, None)
                give_back()
        return self._made[i]
