"""Which planes are worth their bits, and from that what a step will cost and lose.

A plain quantiser on some of the coefficients: its error and its bits differ from the coder's
by an amount that hardly changes from step to step, so that one encoding tells how the others
come out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowrank.layouts.lapped import SIDE
from lowrank.stores.packed.frames import select
from lowrank.stores.packed.frames.klt import Stack
from lowrank.stores.packed.frames.rates import BIT

_LEAST = 0.12  # planes below this share of the step have nothing to tell
_SPARSE = 1 << 19  # coefficients that tell how a step will do
_OCTAVE = 4  # steps to an octave that are forecast
_TRELLIS = 1.05  # squared error of the trellis, to that of a plain quantiser


@dataclass(frozen=True, eq=False)
class Worth:
    """What the leading planes are worth with a step.

    Attributes
    ----------
    net : (planes,) ndarray
        What each gains beyond its price, in squared steps; the first is always kept.
    choice : Choice
        Of the components of their maps.
    every : float
        What was looked at stands for so many times as much.
    """

    net: NDArray[np.float64]
    choice: select.Choice
    every: float


def worth(stack: Stack, step: float, *, sparse: bool = False) -> Worth:
    """Weigh the planes that may be kept; of a large stack some rows of patches are enough."""
    s = stack.spectrum[0]
    count = max(int((s > _LEAST * step * select.FINER * math.sqrt(stack.pixels)).sum()), 1)
    channels = stack.channels
    C = stack.coefficients(count)
    rows = C.shape[1]
    part = slice(None, None, max(1, min(rows // 4, C.size // _SPARSE)) if sparse else 1)
    C = C[:, part, : count * channels]
    # The last row of patches has less samples than the others.
    every = stack.height / sum(min(stack.height - SIDE * row, SIDE) for row in range(rows)[part])
    choice = select.Choice(C, step)
    net = every * choice.worth().reshape(count, channels).sum(1)
    net -= BIT * select.column_bits(stack.frames, s[:count], step)
    net[0] = np.inf
    return Worth(net, choice, every)


class Forecast:
    """Error and bits of a stack by step."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._size = stack.frames * stack.pixels
        self._known: dict[tuple[int, int], tuple[float, float]] = {}

    def squared_error(self, step: float) -> float:
        """Mean squared error of a sample, in squared levels."""
        return math.exp(self._of(step)[0])

    def log_bits(self, step: float) -> float:
        """Logarithm of the bits of a sample."""
        return self._of(step)[1]

    def _of(self, step: float) -> tuple[float, float]:
        """Logarithms of both: a line between two steps not far apart."""
        place = _OCTAVE * math.log2(step)
        low = math.floor(place)
        (error, bits), (more, less) = self._told(low), self._told(low + 1)
        share = place - low
        return error + share * (more - error), bits + share * (less - bits)

    def _told(self, place: int) -> tuple[float, float]:
        # A cache of bound methods would be a cycle, in which the stack outlives its encoding.
        key = place, self._stack.transform
        if key not in self._known:
            self._known[key] = self._tell(place)
        return self._known[key]

    def _tell(self, place: int) -> tuple[float, float]:
        """Both of a step; all else that is known of it is large, and forgotten."""
        stack = self._stack
        step = stack.scale * 2.0 ** (place / _OCTAVE)
        s, found = stack.spectrum[0], worth(stack, step, sparse=True)
        count = len(found.net)
        maps = found.choice.error.reshape(count, -1).sum(1) * found.every * step**2
        coded = np.minimum(_TRELLIS * maps, s[:count] ** 2)
        error = np.where(found.net > 0, coded, s[:count] ** 2).sum() + np.sum(s[count:] ** 2)
        each = np.where(found.choice.kept, found.choice.bits, 0).sum(0)
        bits = each.reshape(count, -1).sum(1) * found.every
        bits += select.column_bits(stack.frames, s[:count], step)
        return (
            math.log(max(float(error / self._size) / stack.scale**2, 1e-30)),
            math.log((float(bits[found.net > 0].sum()) + 800) / self._size),
        )
