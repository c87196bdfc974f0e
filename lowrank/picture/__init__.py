"""A picture: samples, what they mean, and the metadata that travels with them.

The value that `io` reads and `codec` factorises, and the other way round, so that
neither needs to know the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Turn = tuple[int, int, int]
"""A rotation of colours: the quaternion (127, a, b, c), by its last three numbers."""


class Mode(NamedTuple):
    """What the samples of a picture are.

    Attributes
    ----------
    name : str
        The mode's name in Pillow, or `array`: any channels of one numpy type.
    channels : tuple of str
        Name of each channel, in order.
    dtype : str
        numpy type of a sample.
    bits : int
        Bits of a sample of the source: 1, 8, 16, 32 or 64.
    """

    name: str
    channels: tuple[str, ...]
    dtype: str
    bits: int

    @property
    def title(self) -> str:
        """What people read of it: its name, or how many channels of which type."""
        if self.name != ARRAY:
            return self.name
        return self.dtype if len(self.channels) == 1 else f"{len(self.channels)} x {self.dtype}"

    @property
    def own_dtype(self) -> np.dtype[Any]:
        """Type of a sample in arrays that are handed out: bool of black and white."""
        return np.dtype(np.bool_ if self.name == "1" else self.dtype)

    @property
    def colours(self) -> int:
        """Channels that carry colour: all but alpha."""
        return len(self.channels) - ("alpha" in self.channels)

    @property
    def limits(self) -> tuple[int, int] | None:
        """Smallest and largest sample; None for float samples."""
        kind = np.dtype(self.dtype).kind
        if kind == "f":
            return None
        if kind == "u":
            return 0, 2**self.bits - 1
        return -(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1

    def rounded(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Round and clip values to samples of the mode, in place; floats are clipped only."""
        if self.limits is None:
            most = float(np.finfo(self.dtype).max)
            return np.clip(values, -most, most, out=values)
        np.rint(values, out=values)
        return np.clip(values, *self.limits, out=values)

    def ranged(self, *, stacked: bool) -> bool:
        """Whether a packed file of the mode says which range its levels are of.

        The integers of a stack are kept as they are, with their signs.
        """
        return self.limits is None or (self.name == ARRAY and not stacked)

    @property
    def peak(self) -> float | None:
        """Peak of PSNR where the mode fixes it; None where it is the range of the data.

        That is so of float samples, and of an `array` of more than 8 bits: such data seldom
        fill their type, whose range would flatter them.
        """
        if self.limits is None or (self.name == ARRAY and self.bits > 8):
            return None
        return float(2**self.bits - 1)


MODES = {
    mode.name: mode
    for mode in (
        Mode("1", ("bilevel",), "uint8", 1),
        Mode("L", ("grey",), "uint8", 8),
        Mode("LA", ("grey", "alpha"), "uint8", 8),
        Mode("RGB", ("red", "green", "blue"), "uint8", 8),
        Mode("RGBA", ("red", "green", "blue", "alpha"), "uint8", 8),
        Mode("CMYK", ("cyan", "magenta", "yellow", "black"), "uint8", 8),
        Mode("I;16", ("grey",), "uint16", 16),
        Mode("F", ("grey",), "float32", 32),
    )
}


ARRAY = "array"
"""Name of the modes that are no mode of Pillow's: a numpy type and a number of channels."""
DTYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64")
"""Types of samples that such a mode may have, in the order of their codes in the format."""
MAX_CHANNELS = 4096


@cache
def array_mode(dtype: str, channels: int) -> Mode:
    """Mode `array` of a numpy type, one of `DTYPES`, and 1 to `MAX_CHANNELS` channels."""
    names = tuple(f"channel {i}" for i in range(1, channels + 1))
    return Mode(ARRAY, names, dtype, 8 * np.dtype(dtype).itemsize)


def mode_in(mode: Mode, store: str) -> Mode:
    """The mode that a store keeps a picture of a mode in."""
    if mode.dtype != "float64" or store == "float64":
        return mode
    channels = len(mode.channels)
    return MODES["F"] if channels == 1 else array_mode("float32", channels)


def may_hold(kept: Mode, mode: Mode) -> bool:
    """Whether a file of one mode may be that of a picture of another.

    Samples of float64 may have become float32 in any store: `auto` takes factors of float64 where
    float32 would round them too coarsely, and the samples are float32 all the same.
    """
    return kept in (mode, mode_in(mode, "float32"))


@dataclass(frozen=True)
class Metadata:
    """Metadata carried through unread: raw bytes, or None where there is none.

    `nodata` is the block of `gaps`, of a picture whose pixels without data are filled; `axis`
    that of `axis`, of a stack whose frames have labels.
    """

    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    nodata: bytes | None = None
    axis: bytes | None = None


@dataclass(frozen=True, eq=False)
class Picture:
    """Samples with their mode and metadata: of one picture, or of a stack of registered ones.

    Attributes
    ----------
    samples : (height, width, channels) or (frames, height, width, channels) ndarray
        In the mode's dtype; mode `1` holds 0 and 1.
    mode : Mode
    metadata : Metadata
    """

    samples: NDArray[np.generic]
    mode: Mode
    metadata: Metadata = field(default_factory=Metadata)

    @property
    def height(self) -> int:
        """Rows of a frame."""
        return int(self.samples.shape[-3])

    @property
    def width(self) -> int:
        """Columns of a frame."""
        return int(self.samples.shape[-2])

    @property
    def frames(self) -> int | None:
        """Frames of a stack; None of one picture."""
        return int(self.samples.shape[0]) if self.samples.ndim == 4 else None

    @property
    def peak(self) -> float:
        """Peak of a PSNR: the largest sample of the mode, or the range of the data.

        The range is that of float samples, and of stacks of more than 8 bits.
        """
        peak = self.mode.peak
        if peak is not None and (self.frames is None or self.mode.bits <= 8):
            return peak
        # As Python's floats: the range of float32 samples may be beyond float32.
        return float(np.max(self.samples)) - float(np.min(self.samples)) or 1.0

    def each(self, samples: NDArray[np.generic] | None = None) -> Iterator[NDArray[np.generic]]:
        """(height, width, channels) samples of each frame, or of the one picture; or of others."""
        samples = self.samples if samples is None else samples
        return iter([samples] if self.frames is None else samples)


@dataclass(frozen=True)
class Source:
    """Where a picture came from; `mode` and `bytes` are those of its file.

    Of mode `array`, `dtype` and `channels` say what the samples are.
    """

    path: str
    format: str
    mode: str
    width: int
    height: int
    bytes: int
    dtype: str | None = None
    channels: int | None = None

    @classmethod
    def of(cls, path: str, format: str, mode: Mode, width: int, height: int, size: int) -> Source:
        """That of one picture whose samples are as the file has them."""
        kind = (mode.dtype, len(mode.channels)) if mode.name == ARRAY else ()
        return cls(path, format, mode.name, width, height, size, *kind)

    @property
    def title(self) -> str:
        """What people read of the mode."""
        return self.mode if self.dtype is None else f"{self.channels} x {self.dtype}"


@dataclass(frozen=True, eq=False)
class Loaded:
    """A picture, its source, and one plain sentence for each thing that was lost."""

    picture: Picture
    source: Source
    notes: tuple[str, ...] = ()
