"""The header of a packed payload: everything but the coefficients."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import FormatError, TruncatedError
from lowrank.packed import first, wavelet
from lowrank.packed.colour import Turn
from lowrank.packed.components import read_scales, write_scales
from lowrank.packed.header import BitReader, BitWriter
from lowrank.packed.rotations import MOST, Turns

LANES = 1 << 14
ALPHA_FINER = 2


@dataclass(frozen=True)
class Header:
    """What precedes the coefficients."""

    step: float
    turn: Turn | None
    alpha: bool
    levels: tuple[int, int] | None
    lanes: int
    late: int
    smooth: tuple[int, ...]
    scales: list[NDArray[np.int64]]
    turns: list[Turns]
    coarsest: list[NDArray[np.int64]]

    def step_of(self, channel: int) -> float:
        """Quantiser step of a channel: alpha, the last, has a finer one."""
        last = channel == len(self.scales) - 1
        return self.step / ALPHA_FINER if self.alpha and last else self.step


def coarse_step(step: float) -> tuple[int, float]:
    """Code of 16 bits of the nearest step not below 2^-16: exponent and 10 bits."""
    mantissa, exponent = math.frexp(max(step, 2.0**-16))
    m = round((2 * mantissa - 1) * 1024)
    code = min(max((exponent + 15) * 1024 + m, 0), (1 << 16) - 1)
    return code, fine_step(code)


def fine_step(code: int) -> float:
    """The step of a code."""
    exponent, m = divmod(code, 1024)
    return math.ldexp(1 + m / 1024, exponent - 16)


class Start(NamedTuple):
    """What both layouts say first: the step, the colour rotation, and of alpha."""

    step: float
    turn: Turn | None
    alpha: bool
    levels: tuple[int, int] | None


def write_start(out: BitWriter, code: int, start: Start) -> None:
    """Write the first fields, the step as its code."""
    out.bits(code, 16)
    out.bits(int(start.turn is not None), 1)
    out.bits(int(start.alpha), 1)
    for value in start.turn or ():
        out.bits(value + 128, 8)
    if start.alpha:
        out.bits(int(start.levels is not None), 1)
        for value in start.levels or ():
            out.bits(value, 16)


def read_start(read: BitReader, channels: int) -> Start:
    """What write_start wrote."""
    step = fine_step(read.bits(16))
    turned, alpha = read.bits(1), read.bits(1)
    if (turned and channels < 3) or (alpha and channels not in (2, 4)):
        raise FormatError("packed stream: a flag does not fit the number of channels")
    turn = (read.bits(8) - 128, read.bits(8) - 128, read.bits(8) - 128) if turned else None
    levels = (read.bits(16), read.bits(16)) if alpha and read.bits(1) else None
    return Start(step, turn, bool(alpha), levels)


def read_lanes(read: BitReader) -> int:
    """Number of interleaved coders."""
    lanes = read.number("lanes")
    if not 1 <= lanes <= LANES:
        raise FormatError(f"packed stream: {lanes} interleaved coders, of 1 to {LANES}")
    return lanes


def write(header: Header, code: int, lanes: int) -> bytes:
    """Length and bytes of a header."""
    out = BitWriter()
    write_start(out, code, Start(header.step, header.turn, header.alpha, header.levels))
    out.number(lanes, "lanes")
    out.number(header.late, "late")
    for value in header.smooth:
        out.bits(value, 4)
    for c, scale in enumerate(header.scales):
        write_scales(out, scale, c)
        _write_turns(out, header.turns[c])
        first.write_coarsest(out, header.coarsest[c])
    data = out.finish()
    return _varint(len(data)) + data


def _read_header(data: bytes, shape: tuple[int, int], channels: int) -> Header:
    read = BitReader(data)
    start = read_start(read, channels)
    lanes = read_lanes(read)
    late = read.number("late")
    smooth = tuple(read.bits(4) for _ in range(channels))
    low, _ = wavelet.band_shapes(*shape)
    scales, turns, coarsest = [], [], []
    for c in range(channels):
        scales.append(read_scales(read, c))
        turns.append(_read_turns(read))
        coarsest.append(first.read_coarsest(read, low))
        if int(np.abs(coarsest[-1]).max()) >= 1 << 30:
            raise FormatError("packed stream: a coefficient is out of range")
    return Header(*start, lanes, late, smooth, scales, turns, coarsest)


def _write_turns(out: BitWriter, turns: Turns) -> None:
    out.number(len(turns), "turns")
    for i, j, angle in turns:
        out.bits(i, 8)
        out.bits(j, 8)
        out.bits(angle + 64, 8)


def _read_turns(read: BitReader) -> Turns:
    count = read.number("turns")
    if count > MOST:
        raise FormatError(f"packed stream: {count} rotations of the basis, of at most {MOST}")
    turns = tuple((read.bits(8), read.bits(8), read.bits(8) - 64) for _ in range(count))
    if any(not 1 <= i < j or abs(angle) > 64 for i, j, angle in turns):
        raise FormatError("packed stream: impossible rotation of the basis")
    return turns


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def split(payload: bytes, shape: tuple[int, int], channels: int) -> tuple[Header, int]:
    """The header of a payload, and where the coefficients start."""
    size, position = _read_varint(payload)
    head = payload[position : position + size]
    if len(head) < size:
        raise TruncatedError("packed stream ends in its header", terms=0, total=0)
    return _read_header(head, shape, channels), position + size


def _read_varint(payload: bytes) -> tuple[int, int]:
    value = 0
    for i in range(4):
        if i >= len(payload):
            raise TruncatedError("packed stream is empty", terms=0, total=0)
        value |= (payload[i] & 127) << 7 * i
        if payload[i] < 128:
            return value, i + 1
    raise FormatError("packed stream: the header's length is out of range")
