"""The chunk HEAD of a `.lrk` file to parts without their factors: every number is checked."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from lowrank.errors import FormatError, LimitError, number_of
from lowrank.format.fields import (
    CHUNK_START,
    FRAMES,
    HEAD,
    MATRIX,
    MAX_NORM,
    MAX_SIDE,
    MODE_NAMES,
    PACKED_MATRIX,
    RANGE,
    SAMPLES,
    SIGNATURE,
    log_value,
)
from lowrank.format.parts import (
    PATCH,
    Factors,
    Floats,
    Head,
    Packed,
    PackedMatrix,
    Parts,
    contradiction,
    packed_contradiction,
)
from lowrank.limits import FRAME, PADDING, PATCHES, STACK, stack_fits
from lowrank.names import FLOAT_STORES, LAYOUTS, STORES
from lowrank.picture import ARRAY, DTYPES, MAX_CHANNELS, MODES, Mode, array_mode

if TYPE_CHECKING:
    from lowrank.picture.levels import Levels


def read(data: bytes, *, name: str, max_pixels: int) -> Parts:
    """Read the data of HEAD.

    Raises
    ------
    FormatError
        Unknown codes, impossible numbers, or another length than they demand.
    LimitError
        More than `max_pixels` pixels, or `limits.STACK` times as many of all frames together.
    """
    return _Header(data, name).parts(max_pixels)


def is_stack(data: bytes | memoryview, *, floats: bool = False) -> bool:
    """Whether a file's first bytes are those of a stack; or of a float file of one."""
    size = len(SIGNATURE) + 1 + CHUNK_START + HEAD.size
    start = bytes(data[:size])
    if not start.startswith(SIGNATURE) or len(start) < size:
        return False
    _, _, _, layout, store, _ = HEAD.unpack(start[-HEAD.size :])
    return layout == LAYOUTS.index("stack") and (store < len(FLOAT_STORES) or not floats)


def bad(what: str, name: str) -> FormatError:
    """The error of a damaged file."""
    return FormatError(f"{what}, in {name}; get the file again from its source")


class _Header:
    """The fields, in their order; every number is checked before it is used."""

    def __init__(self, data: bytes, name: str) -> None:
        self.data = data
        self.name = name
        self.at = 0

    def bad(self, what: str) -> FormatError:
        return bad(what, self.name)

    def unknown(self, what: str, code: int) -> FormatError:
        return FormatError(f"unknown {what} {code}, in {self.name}; a newer lowrank may read it")

    def next(self, fields: struct.Struct) -> tuple[int, ...]:
        start, self.at = self.at, self.at + fields.size
        if len(self.data) < self.at:
            raise self.bad("header is too short")
        return fields.unpack_from(self.data, start)

    def rest(self, size: int) -> bytes:
        """The fields of the matrices, which end the header."""
        if len(self.data) != self.at + size:
            raise self.bad(f"header has {len(self.data)} bytes instead of {self.at + size}")
        return self.data[self.at :]

    def parts(self, max_pixels: int) -> Parts:
        width, height, mode_code, layout_code, store_code, flags = self.next(HEAD)
        for what, code, known in (
            ("mode", mode_code, MODE_NAMES),
            ("layout", layout_code, LAYOUTS),
            ("store", store_code, STORES),
            ("flags", flags, (0,)),
        ):
            if code >= len(known):
                raise self.unknown(what, code)
        if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
            raise self.bad(f"impossible size {width}x{height}")
        name, layout = MODE_NAMES[mode_code], LAYOUTS[layout_code]
        mode = self.array() if name == ARRAY else MODES[name]
        frames = self.frames() if layout == "stack" else None
        head = Head(width, height, mode, layout, STORES[store_code], frames=frames)
        self.check_pixels(head, max_pixels)
        if head.store == "packed":
            return Parts(head, self.packed(head), name=self.name)
        return Parts(head, self.floats(head), name=self.name)

    def array(self) -> Mode:
        """The mode `array`, of its type and channels."""
        code, channels = self.next(SAMPLES)
        if code >= len(DTYPES):
            raise self.unknown("type of samples", code)
        if not 1 <= channels <= MAX_CHANNELS:
            raise self.bad(f"impossible number of channels {channels}")
        return array_mode(DTYPES[code], channels)

    def frames(self) -> int:
        (frames,) = self.next(FRAMES)
        if not 1 <= frames <= MAX_SIDE:
            raise self.bad(f"impossible number of frames {frames}")
        return frames

    def check_pixels(self, head: Head, max_pixels: int) -> None:
        width, height = head.width, head.height
        claims = f"{self.name} claims {width}x{height} pixels"
        limit = f"more than the limit of {max_pixels}; --max-pixels raises it"
        if head.frames is not None:
            frames = number_of(head.frames, "frame")
            claims = f"{self.name} claims {frames} of {width}x{height} pixels"
        if width * height > max_pixels:
            raise LimitError(f"{claims}, {limit}")
        if not stack_fits(head.frames or 0, width * height, max_pixels):
            limit = (
                f"more than {STACK} times the limit of {max_pixels}, where a frame counts as "
                f"{FRAME} at least; --max-pixels raises it"
            )
            raise LimitError(f"{claims}, {limit}")
        stack = head.layout == "stack" and head.store == "packed"
        padded = (width + -width % PATCH) * (height + -height % PATCH)
        whole = padded * (head.frames or 1)
        most = max_pixels + max_pixels // PADDING + PATCHES
        too_many = padded > most or whole > STACK * most
        if (head.layout == "patches" or stack) and too_many:
            raise LimitError(f"{claims}, which are {whole} in whole patches, {limit}")

    def levels(self, head: Head) -> Levels | None:
        """The range of the samples, of a packed file that states one."""
        if not head.mode.ranged(stacked=head.frames is not None):
            return None
        from lowrank.picture.levels import Levels, impossible

        start, self.at = self.at, self.at + RANGE.size
        if len(self.data) < self.at:
            raise self.bad("header is too short")
        low, high = RANGE.unpack_from(self.data, start)
        found = Levels(low, high, head.mode.limits is not None)
        if impossible(found, head.mode):
            raise self.bad(f"impossible range of samples {low:g} to {high:g}")
        return found

    def packed(self, head: Head) -> Packed:
        levels = self.levels(head)
        stated = tuple(
            PackedMatrix(k, *map(log_value, codes))
            for k, *codes in PACKED_MATRIX.iter_unpack(
                self.rest(head.matrices * PACKED_MATRIX.size)
            )
        )
        if any(x.k > min(head.shape) for x in stated):
            raise self.bad("impossible rank")
        for x in stated:
            self.refuse(packed_contradiction(x))
        return Packed(stated, levels=levels)

    def floats(self, head: Head) -> Floats:
        turned = 3 if head.layout == "patches" and head.mode.colours == 3 else 0
        rest = self.rest(turned + head.matrices * MATRIX.size)
        turn = struct.unpack_from("bbb", rest) if turned else None
        factors = tuple(self.matrix(head, x) for x in MATRIX.iter_unpack(rest[turned:]))
        return Floats(factors, turn)

    def matrix(self, head: Head, fields: tuple[int, float, float, float]) -> Factors:
        m, n = head.shape
        k, norm, sigma_next, tail = fields
        if k > min(m, n):
            raise self.bad(f"rank {k} of a {m}x{n} matrix")
        if not all(0 <= x <= MAX_NORM for x in (norm, sigma_next, tail)):  # refuses NaN too
            raise self.bad("impossible norm")
        self.refuse(contradiction(k, min(m, n), norm, sigma_next, tail))
        # A view of one zero: a rank is only believed, and memory taken, when its chunks are there.
        s = np.broadcast_to(np.float64(0), (k,))
        U, Vt = np.empty((m, 0), head.store), np.empty((0, n), head.store)
        return Factors(m, n, norm, sigma_next, tail, s, U, Vt)

    def refuse(self, what: str) -> None:
        if what:
            raise self.bad(f"the header contradicts itself ({what})")
