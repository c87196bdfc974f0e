"""How large a plane's components are, about: three numbers that stand for 255.

Planes of a transform across the frames are small pictures, and there are many: a size for
each component would be a tenth of a file. Sizes fall with frequency as a power, the same for
all planes; all components of a plane up to some frequency are coded. The order of coding
follows from that, and what is small costs little where its neighbours are small.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import FormatError
from lowrank.layouts.lapped import SIDE, SIZE
from lowrank.stores.packed.coding.range_coder import BitReader, BitWriter

# round(256 log2(1 + i)), of the sums i of two frequencies.
_LOG = tuple(int(x) for x in np.rint(256 * np.log2(np.arange(1, 2 * SIDE))))
_HIGHEST = 96


@cache
def scan() -> NDArray[np.intp]:
    """All frequencies, the lowest sums of two first."""
    return np.array(sorted(range(SIZE), key=lambda i: (sum(divmod(i, SIDE)), i)), np.intp)


@cache
def _logs() -> NDArray[np.int64]:
    v, u = np.divmod(np.arange(SIZE), SIDE)
    logs: NDArray[np.int64] = np.array(_LOG, np.int64)[v + u]
    return logs


@dataclass(frozen=True)
class Profile:
    """Size and extent of a plane's components.

    Attributes
    ----------
    level : int
        Half octaves of the size that frequency 1 would have, in 1/4096 step.
    last : int
        Components that are coded after the first, in the order of `scan`.
    """

    level: int
    last: int

    def scales(self, slope: int) -> NDArray[np.int64]:
        """(SIZE,) size of each component, at least 1; 0 of those that are not coded."""
        size = np.maximum(self.level - (slope * _logs() >> 10), 1)
        kept = np.zeros(SIZE, np.int64)
        kept[scan()[1 : self.last + 1]] = 1
        return np.asarray(size * kept, np.int64)


def fit(square: NDArray[np.float64], kept: NDArray[np.bool_]) -> tuple[list[Profile], int]:
    """Profiles of some planes, and the slope that they share, in eighths of an octave an octave.

    Parameters
    ----------
    square : (SIZE, planes) ndarray
        Mean square of each component, in steps.
    kept : (SIZE, planes) ndarray
        Which are worth coding.
    """
    order = scan()
    logs = _logs()[order[1:]] / 256.0
    size = np.log2(np.maximum(square[order[1:]], 2.0**-11)) + 12
    weight = kept[order[1:]].astype(float)
    total = np.maximum(weight.sum(0), 1)
    x = logs[:, None] - (weight * logs[:, None]).sum(0) / total
    y = size - (weight * size).sum(0) / total
    power = float((weight * x * x).sum())
    slope = -float((weight * x * y).sum()) / power if power else 0.0
    eighths = min(max(round(slope * 4), 0), 31)
    profiles = []
    for c in range(square.shape[1]):
        places = np.flatnonzero(weight[:, c])
        last = int(places[-1]) + 1 if len(places) else 0
        level = float((weight[:, c] * (size[:, c] + eighths / 4 * logs)).sum() / total[c])
        profiles.append(Profile(min(max(round(level), 1), _HIGHEST), last))
    return profiles, eighths


def write(out: BitWriter, profiles: list[Profile]) -> None:
    """The profiles of all maps."""
    level, last = 0, 0
    for x in profiles:
        out.signed(x.level - level, "level")
        out.bit(int(x.last == SIZE - 1), "all")
        if x.last < SIZE - 1:
            out.signed(x.last - last, "last")
            last = x.last
        level = x.level


def read(data: BitReader, count: int) -> list[Profile]:
    """What write wrote."""
    profiles = []
    level, last = 0, 0
    for _ in range(count):
        level += data.signed("level")
        full = data.bit("all")
        if not full:
            last += data.signed("last")
        one = Profile(level, SIZE - 1 if full else last)
        if not (1 <= one.level <= _HIGHEST and 0 <= one.last < SIZE):
            raise FormatError("packed stream: impossible profile of a plane")
        profiles.append(one)
    return profiles
