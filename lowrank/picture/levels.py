"""Samples of any type as levels from 0 on, in 16 bits at most, as the packed store keeps them.

Integers are counted from the lowest sample, or from 0 where none is below it, so that they are
kept exactly; floats become 65,536 levels from the lowest to the highest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lowrank.picture import Mode, Picture, array_mode

_MOST = 65535
_TOGETHER = 1 << 16


class Levels(NamedTuple):
    """The range of samples that levels stand for.

    Attributes
    ----------
    low, high : float
        The sample of level 0, and the highest; all samples are between them.
    whole : bool
        The samples are integers.
    """

    low: float
    high: float
    whole: bool

    @property
    def unit(self) -> float:
        """What one level is, in units of the samples."""
        span = self.high / _MOST - self.low / _MOST  # of float32 samples the span is no float32
        return 1.0 if self.whole or not span else span

    @property
    def bits(self) -> int:
        """Bits of a level: 8, or 16."""
        return 8 if self.whole and self.high - self.low < 256 else 16

    @property
    def span(self) -> float:
        """The highest level; that of a picture of one value is 1."""
        return (self.high - self.low if self.whole else float(_MOST)) or 1.0

    def mode(self, channels: int) -> Mode:
        """The mode of a picture of levels."""
        return array_mode(f"uint{self.bits}", channels)

    def of_samples(self, samples: NDArray[np.generic]) -> NDArray[np.generic]:
        """The levels of samples."""
        levels: NDArray[np.generic] = np.empty(
            samples.shape, np.uint8 if self.bits == 8 else np.uint16
        )
        for part in _some(samples):
            values = np.subtract(samples[part], self.low, dtype=np.float64)
            if not self.whole:
                values /= self.unit
                np.rint(values, out=values)
            levels[part] = values
        return levels

    def to_samples(self, levels: NDArray[np.generic], mode: Mode) -> NDArray[np.generic]:
        """The samples of levels."""
        samples: NDArray[np.generic] = np.empty(levels.shape, mode.dtype)
        for part in _some(levels):
            samples[part] = self.valued(levels[part].astype(np.float64))
        return samples

    def valued(self, levels: NDArray[np.float64]) -> NDArray[np.float64]:
        """What levels stand for, before it is of the samples' type; in place."""
        levels *= self.unit
        levels += self.low
        return np.clip(levels, self.low, self.high, out=levels)


class Scale(NamedTuple):
    """What the samples of a stack are: levels themselves, or what these stand for.

    Attributes
    ----------
    mode : Mode
        Of the samples.
    levels : Levels or None
        The range that they are counted in.
    """

    mode: Mode
    levels: Levels | None = None

    @property
    def limits(self) -> tuple[int, int] | None:
        """Smallest and largest level."""
        counted = self.levels and self.levels.mode(len(self.mode.channels))
        return (counted or self.mode).limits

    def valued(self, levels: NDArray[np.float64]) -> NDArray[np.float64]:
        """What levels stand for; in place."""
        return levels if self.levels is None else self.levels.valued(levels)


def _some(samples: NDArray[np.generic]) -> Iterator[slice]:
    """Rows or frames, some at a time: in float64 they take more than all of them as they are."""
    step = max(_TOGETHER * len(samples) // max(samples.size, 1), 1)
    return (slice(i, i + step) for i in range(0, len(samples), step))


def of(picture: Picture) -> Levels:
    """The range of the samples of a picture whose mode is ranged."""
    low, high = float(picture.samples.min()), float(picture.samples.max())
    whole = picture.mode.limits is not None
    return Levels(min(low, 0.0) if whole else low, max(high, 0.0) if whole else high, whole)


def impossible(levels: Levels, mode: Mode) -> bool:
    """Whether no picture of a mode has such a range."""
    low, high = levels.low, levels.high
    if not low <= high:  # refuses NaN too
        return True
    if mode.limits is None:
        most = float(np.finfo(mode.dtype).max)  # not as float32, which would warn of an overflow
        return not -most <= low <= high <= most
    least, most = mode.limits
    whole = low == int(low) and high == int(high) if np.isfinite([low, high]).all() else False
    return not (whole and least <= low <= high <= most and high - low <= _MOST)
