"""A picture: samples, what they mean, and the metadata that travels with them.

The value that `io` reads and `codec` factorises, and the other way round, so that
neither needs to know the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Turn = tuple[int, int, int]
"""A rotation of colours: the quaternion (127, a, b, c), by its last three numbers."""


@dataclass(frozen=True)
class Mode:
    """What the samples of a picture are.

    Attributes
    ----------
    name : str
        The mode's name in Pillow.
    channels : tuple of str
        Name of each channel, in order.
    dtype : str
        numpy type of a sample.
    bits : int
        Bits of a sample of the source: 1, 8, 16 or 32 (float).
    """

    name: str
    channels: tuple[str, ...]
    dtype: str
    bits: int

    @property
    def colours(self) -> int:
        """Channels that carry colour: all but alpha."""
        return len(self.channels) - ("alpha" in self.channels)

    @property
    def peak(self) -> float | None:
        """Largest sample, the peak of PSNR; None for float samples."""
        return None if self.dtype == "float32" else float(2**self.bits - 1)


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


@dataclass(frozen=True)
class Metadata:
    """Metadata carried through unread: raw bytes, or None where there is none.

    `nodata` is the block of `gaps`, of a picture whose pixels without data are filled.
    """

    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    nodata: bytes | None = None


@dataclass(frozen=True, eq=False)
class Picture:
    """Samples with their mode and metadata.

    Attributes
    ----------
    samples : (height, width, channels) ndarray
        In the mode's dtype; mode `1` holds 0 and 1.
    mode : Mode
    metadata : Metadata
    """

    samples: NDArray[np.generic]
    mode: Mode
    metadata: Metadata = field(default_factory=Metadata)

    @property
    def height(self) -> int:
        """Rows of the picture."""
        return int(self.samples.shape[0])

    @property
    def width(self) -> int:
        """Columns of the picture."""
        return int(self.samples.shape[1])


@dataclass(frozen=True)
class Source:
    """Where a picture came from; `mode` and `bytes` are those of its file."""

    path: str
    format: str
    mode: str
    width: int
    height: int
    bytes: int


@dataclass(frozen=True, eq=False)
class Loaded:
    """A picture, its source, and one plain sentence for each thing that was lost."""

    picture: Picture
    source: Source
    notes: tuple[str, ...] = ()
