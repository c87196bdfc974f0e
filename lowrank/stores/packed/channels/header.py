"""The header of a packed payload in layout `channels`: everything but the components."""

from __future__ import annotations

from dataclasses import dataclass

from lowrank.errors import FormatError, TruncatedError, UsageError
from lowrank.picture import Turn
from lowrank.stores.packed.coding.range_coder import BitReader, BitWriter
from lowrank.stores.packed.coding.start import Start, read_lanes, read_start, write_start

_LENGTH = 2
_FEW = 4  # channels: beyond, a channel is told by its digits


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


def write_header(header: Header, code: int, channels: int) -> bytes:
    """Length and bytes of a header, given the step's code."""
    out = BitWriter()
    write_start(out, code, Start(header.step, header.turn, header.alpha, header.levels))
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
        if channels > _FEW:
            _write_digits(out, c, channels)
        else:
            for other in range(min(c + 1, channels - 1)):
                out.bit(int(other == c), "channel", before, other)
        before = c
    data = out.finish()
    if len(data) >= 1 << 8 * _LENGTH:
        raise UsageError(
            f"{len(header.order):,} components of {channels} channels are more than packed "
            "channels list; give --layout patches, or fewer"
        )
    return len(data).to_bytes(_LENGTH, "little") + data


def read_header(payload: bytes, height: int, width: int, channels: int) -> tuple[Header, int]:
    """The header of a payload, and where the coders' states start."""
    size = int.from_bytes(payload[:_LENGTH], "little")
    end = _LENGTH + size
    if len(payload) < end or len(payload) < _LENGTH:
        raise TruncatedError("packed stream ends in its header", terms=0, total=0)
    return _fields(payload[_LENGTH:end], min(height, width), channels), end


def _fields(data: bytes, most: int, channels: int) -> Header:
    read = BitReader(data)
    start = read_start(read, channels)
    offsets = (read.bits(3), read.bits(3))
    lanes = read_lanes(read)
    smooth = tuple(read.bits(4) for _ in range(channels))
    switches = [(read.number("switch"), read.number("switch")) for _ in range(channels)]
    terms = read.number("terms")
    if terms > most * channels:
        raise FormatError("packed stream: more components than the image can have")
    order: list[int] = []
    left = [most] * channels
    before = 0
    for _ in range(terms):
        if channels > _FEW:
            c = _read_digits(read, channels)
        else:
            c = 0
            while c < channels - 1 and not read.bit("channel", before, c):
                c += 1
        left[c] -= 1
        if left[c] < 0:
            raise FormatError("packed stream: more components than the image can have")
        order.append(c)
        before = c
    return Header(*start, offsets, lanes, smooth, switches, tuple(order))


def _write_digits(out: BitWriter, c: int, channels: int) -> None:
    """The binary digits of a channel, the highest first, each in the context of those before."""
    known = 1
    for i in reversed(range((channels - 1).bit_length())):
        digit = c >> i & 1
        out.bit(digit, "digit", known)
        known = 2 * known + digit


def _read_digits(read: BitReader, channels: int) -> int:
    digits = (channels - 1).bit_length()
    known = 1
    for _ in range(digits):
        known = 2 * known + read.bit("digit", known)
    c = known - (1 << digits)
    if c >= channels:
        raise FormatError("packed stream: a component of no channel")
    return c
