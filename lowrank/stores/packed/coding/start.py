"""What the headers of both layouts say first: step, colours, alpha; and the coders."""

from __future__ import annotations

import math
from typing import NamedTuple

from lowrank.errors import FormatError
from lowrank.picture import Turn
from lowrank.stores.packed.coding.range_coder import BitReader, BitWriter

LANES = 1 << 14
"""Interleaved coders, at most."""


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
    write_turn(out, start.turn)
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
    turn = read_turn(read) if turned else None
    levels = (read.bits(16), read.bits(16)) if alpha and read.bits(1) else None
    return Start(step, turn, bool(alpha), levels)


def write_turn(out: BitWriter, turn: Turn | None) -> None:
    """The rotation of the colours, where there is one."""
    for value in turn or ():
        out.bits(value + 128, 8)


def read_turn(read: BitReader) -> Turn:
    """What write_turn wrote of one."""
    return read.bits(8) - 128, read.bits(8) - 128, read.bits(8) - 128


def read_lanes(read: BitReader) -> int:
    """Number of interleaved coders."""
    lanes = read.number("lanes")
    if not 1 <= lanes <= LANES:
        raise FormatError(f"packed stream: {lanes} interleaved coders, of 1 to {LANES}")
    return lanes
