"""The header of a packed payload: everything but the coefficients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import FormatError, TruncatedError
from lowrank.picture import Turn
from lowrank.stores.packed.coding import wavelet
from lowrank.stores.packed.coding.payload import ALPHA_FINER
from lowrank.stores.packed.coding.range_coder import BitReader, BitWriter
from lowrank.stores.packed.coding.start import LANES, Start, read_start, write_start
from lowrank.stores.packed.patches import means
from lowrank.stores.packed.patches.order import read_scales, write_scales
from lowrank.stores.packed.patches.rotations import MOST, Turns

WEIGHED = 1 << 15
"""What the number of coders is more than it is, where a picture is weighed for the eye."""
CROSSED = 1
"""The version of a payload in which luma tells of chroma; those of before have none."""
CUTTING = 2
"""That of payloads whose filter cuts differences (cutting.py), and which say how far from zero rare
values are, and whether luma tells of chroma."""
HIDING = 3
"""That of payloads in which magnitudes tell some signs (hiding.py)."""
SQUARED = 4
"""That of payloads whose first channel is weighed by squares of frequencies (eye.py)."""


def is_squared(version: int, channel: int) -> bool:
    """Whether a channel is weighed by squares of frequencies."""
    return version >= SQUARED and channel == 0


class Beginning(NamedTuple):
    """What a header says of its payload before all else of this layout."""

    version: int
    crossed: bool
    farther: int
    hidden: int
    weighed: bool
    lanes: int


def read_beginning(read: BitReader) -> Beginning:
    """The version, what belongs to it, and how many interleaved coders there are."""
    number = read.number("lanes")
    version, crossed, farther, hidden = 0, False, 0, 0
    if number == 0:
        # No coders at all: readers of before refuse that.
        version = read.bits(4)
        if not CROSSED <= version <= SQUARED:
            raise FormatError(
                f"packed stream: version {version} of patches, which is newer; update"
            )
        crossed = version == CROSSED or bool(read.bits(1))
        farther = read.bits(2) - 1 if version >= CUTTING else 0
        hidden = read.bits(4) if version >= HIDING else 0
        number = read.number("lanes")
    weighed, lanes = divmod(number, WEIGHED)
    if weighed > 1 or not 1 <= lanes <= LANES:
        raise FormatError(f"packed stream: {number} interleaved coders, of 1 to {LANES}")
    return Beginning(version, crossed, farther, hidden, bool(weighed), lanes)


@dataclass(frozen=True)
class Header:
    """What precedes the coefficients.

    `power` and `gains` are those of a picture that is weighed for the eye; where a picture is
    `crossed`, luma tells of chroma (chroma.py). Rare values are `farther` from zero than they say,
    in sixteenths. From version CUTTING on `smooth` is 16 times one strength and another
    (cutting.py). Of so many non-zeros as `hidden` says one sign is hidden (hiding.py); 0: none.
    """

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
    power: int = 0
    gains: NDArray[np.int64] | None = None
    crossed: bool = False
    version: int = HIDING
    farther: int = 0
    hidden: int = 0

    def is_alpha(self, channel: int) -> bool:
        """Whether a channel is opacity: the last one, if any."""
        return self.alpha and channel == len(self.scales) - 1

    def step_of(self, channel: int) -> float:
        """Quantiser step of a channel: alpha, the last, has a finer one."""
        return self.step / ALPHA_FINER if self.is_alpha(channel) else self.step


def write_header(header: Header, code: int, lanes: int) -> bytes:
    """Length and bytes of a header, of version HIDING or newer."""
    out = BitWriter()
    write_start(out, code, Start(header.step, header.turn, header.alpha, header.levels))
    out.number(0, "lanes")
    out.bits(header.version, 4)
    out.bits(header.crossed, 1)
    out.bits(header.farther + 1, 2)
    out.bits(header.hidden, 4)
    out.number(lanes if header.gains is None else lanes + WEIGHED, "lanes")
    out.number(header.late, "late")
    for value in header.smooth:
        out.bits(value, 8)
    if header.gains is not None:
        out.bits(header.power, 5)
        means.write_coarsest(out, header.gains)
    for c, scale in enumerate(header.scales):
        write_scales(out, scale, c)
        _write_turns(out, header.turns[c])
        means.write_coarsest(out, header.coarsest[c])
    return with_length(out.finish())


def _fields(data: bytes, shape: tuple[int, int], channels: int) -> Header:
    read = BitReader(data)
    start = read_start(read, channels)
    begun = read_beginning(read)
    if begun.crossed and start.turn is None:
        raise FormatError("packed stream: luma tells of colours that are not turned")
    late = read.number("late")
    digits = 8 if begun.version >= CUTTING else 4
    smooth = tuple(read.bits(digits) for _ in range(channels))
    low, _ = wavelet.band_shapes(*shape)
    power, gains = 0, None
    if begun.weighed:
        power, gains = read.bits(5), means.read_coarsest(read, low)
    scales, turns, coarsest = [], [], []
    for c in range(channels):
        scales.append(read_scales(read, c))
        turns.append(_read_turns(read))
        coarsest.append(means.read_coarsest(read, low))
    return Header(
        *start, begun.lanes, late, smooth, scales, turns, coarsest, power, gains,
        begun.crossed, begun.version, begun.farther, begun.hidden,
    )  # fmt: skip


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


def varint(value: int) -> bytes:
    """7 bits a byte, low first."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_header(payload: bytes, shape: tuple[int, int], channels: int) -> tuple[Header, int]:
    """The header of a payload, and where the coefficients start."""
    head, end = leading(payload)
    return _fields(head, shape, channels), end


def with_length(data: bytes) -> bytes:
    """Bytes after their number."""
    return varint(len(data)) + data


def leading(payload: bytes) -> tuple[bytes, int]:
    """The bytes of the header that a payload starts with, and where they end."""
    size, start = read_varint(payload)
    end = start + size
    if len(payload) < end:
        raise TruncatedError("packed stream ends in its header", terms=0, total=0)
    return payload[start:end], end


def read_varint(payload: bytes) -> tuple[int, int]:
    """What varint wrote at the start of a payload, at most 4 bytes, and where it ends."""
    value = 0
    for i in range(4):
        if i >= len(payload):
            raise TruncatedError("packed stream is empty", terms=0, total=0)
        value |= (payload[i] & 127) << 7 * i
        if payload[i] < 128:
            return value, i + 1
    raise FormatError("packed stream: the header's length is out of range")
