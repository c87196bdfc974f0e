"""The header of a packed payload in layout `channels`: everything but the components."""

from __future__ import annotations

from dataclasses import dataclass

from lowrank.errors import FormatError, TruncatedError
from lowrank.packed.colour import Turn
from lowrank.packed.header import BitReader, BitWriter
from lowrank.packed.stream import LANES, fine_step

_LENGTH = 2


@dataclass(frozen=True)
class Header:
    """What precedes the components.

    Attributes
    ----------
    step : float
        Quantiser step in levels, as the code of 16 bits says it.
    switches : list of tuple of int
        For each channel, how many components have wavelets for u, and for v.
    smooth : tuple of int
        For each channel, the strength of the filter, in eighths.
    order : tuple of int
        The channel of each component.
    """

    step: float
    turn: Turn | None
    alpha: bool
    levels: tuple[int, int] | None
    offsets: tuple[int, int]
    lanes: int
    smooth: tuple[int, ...]
    switches: list[tuple[int, int]]
    order: tuple[int, ...]


def write(header: Header, code: int, channels: int) -> bytes:
    """Length and bytes of a header, given the step's code."""
    out = BitWriter()
    out.bits(code, 16)
    out.bits(int(header.turn is not None), 1)
    out.bits(int(header.alpha), 1)
    for value in header.turn or ():
        out.bits(value + 128, 8)
    if header.alpha:
        out.bits(int(header.levels is not None), 1)
        for value in header.levels or ():
            out.bits(value, 16)
    for value in header.offsets:
        out.bits(value, 3)
    out.number(header.lanes, "lanes")
    for value in header.smooth:
        out.bits(value, 4)
    for pair in header.switches:
        for value in pair:
            out.number(value, "switch")
    out.number(len(header.order), "terms")
    before = 0
    for c in header.order:
        for other in range(min(c + 1, channels - 1)):
            out.bit(int(other == c), "channel", before, other)
        before = c
    data = out.finish()
    return len(data).to_bytes(_LENGTH, "little") + data


def split(payload: bytes, height: int, width: int, channels: int) -> tuple[Header, int]:
    """The header of a payload, and where the coders' states start."""
    size = int.from_bytes(payload[:_LENGTH], "little")
    end = _LENGTH + size
    if len(payload) < end or len(payload) < _LENGTH:
        raise TruncatedError("packed stream ends in its header", terms=0, total=0)
    return _read(payload[_LENGTH:end], min(height, width), channels), end


def _read(data: bytes, most: int, channels: int) -> Header:
    read = BitReader(data)
    step = fine_step(read.bits(16))
    turned, alpha = read.bits(1), read.bits(1)
    if (turned and channels < 3) or (alpha and channels not in (2, 4)):
        raise FormatError("packed stream: a flag does not fit the number of channels")
    turn = (read.bits(8) - 128, read.bits(8) - 128, read.bits(8) - 128) if turned else None
    levels = (read.bits(16), read.bits(16)) if alpha and read.bits(1) else None
    offsets = (read.bits(3), read.bits(3))
    lanes = read.number("lanes")
    if not 1 <= lanes <= LANES:
        raise FormatError(f"packed stream: {lanes} interleaved coders, of 1 to {LANES}")
    smooth = tuple(read.bits(4) for _ in range(channels))
    switches = [(read.number("switch"), read.number("switch")) for _ in range(channels)]
    terms = read.number("terms")
    if terms > most * channels:
        raise FormatError("packed stream: more components than the image can have")
    order: list[int] = []
    left = [most] * channels
    before = 0
    for _ in range(terms):
        c = 0
        while c < channels - 1 and not read.bit("channel", before, c):
            c += 1
        left[c] -= 1
        if left[c] < 0:
            raise FormatError("packed stream: more components than the image can have")
        order.append(c)
        before = c
    return Header(step, turn, bool(alpha), levels, offsets, lanes, smooth, switches, tuple(order))
