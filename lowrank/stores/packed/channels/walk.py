"""The walk over the components of all channels, which both sides take alike.

How large a coefficient is expected to be follows from magnitudes already coded: at its
place and beside it in the components of its channel before, and in the
component itself beside it and at its kin (vectors.py). Sums of integers with
integer weights choose the rows of three contexts, which a mixture weighs (mixture.py).
"""

from __future__ import annotations

from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lowrank.stores.packed.channels.mixture import Counts, Index, Mixture
from lowrank.stores.packed.channels.rows import ROWS, TOP, row_table, tokens
from lowrank.stores.packed.channels.symbols import Integers, Models
from lowrank.stores.packed.channels.vectors import (
    BLOCKS,
    KINDS,
    MOST_LEVELS,
    PHASES,
    WAVELET,
    Places,
)

Magnitudes = NDArray[np.int32]
CAP = 1000
UNIT = 64
"""Contexts count magnitudes in units of 1/64."""
_START = (16, 32, 64, 160, 400, 800, 1600)
"""Mean magnitudes expected of a first component, by depth of the band."""
_FORGET = 3
"""Sixteenths of the mean that the next component replaces."""
_SETS = PHASES * len(KINDS)
_COARSE = 10
"""Rows of the contexts of two values: 4/3 octaves each."""

# By set of places, in units of 1/1024, of: the four components before, latest first; the
# two latest at both neighbours; the mean; the mean at both neighbours; both neighbours in
# the component itself; its kin.
_WEIGHTS = np.array(
    [
        (36, 6, 0, 0, 16, 422, 190, 0, 0),
        (107, 76, 67, 57, 48, 70, 0, 235, 46),
        (12, 23, 26, 25, 30, 486, 136, 0, 33),
        (55, 48, 45, 42, 27, 214, 27, 225, 19),
        (0, 6, 13, 19, 0, 424, 293, 0, 0),
        (0, 4, 10, 17, 0, 401, 252, 60, 0),
        (0, 9, 11, 17, 0, 365, 254, 0, 72),
        (0, 9, 11, 12, 0, 360, 219, 51, 62),
    ],
    np.int32,
)


class Coder(Protocol):
    """What codes a phase of magnitudes, and the signs of a component."""

    def magnitudes(self, models: Models, rows: Index, sets: Index, place: Index) -> Integers:
        """Magnitudes at these places, given their context rows."""

    def signs(self, magnitudes: Integers) -> Integers:
        """Signed values of a component."""


class Walk:
    """What is known so far, and how the next component is coded.

    Parameters
    ----------
    m, n : int
        Shape of each channel.
    switches : list of (int, int)
        For each channel: how many components have wavelets for u, and for v.
    """

    def __init__(self, m: int, n: int, switches: list[tuple[int, int]]) -> None:
        self._shape = m, n
        self._switches = switches
        channels = len(switches)
        # Not kept beyond the walk: a file chooses their shape.
        self._known: dict[tuple[int, int], Places] = {}
        self._places = [self._places_of((WAVELET, WAVELET))] * channels
        first = self._places[0]
        # One more place than there are: it stands for missing neighbours.
        # Magnitudes up to CAP in units of 1/64, times the weights, stay below 2^31.
        self._last = np.zeros((channels, 4, first.size + 1), np.int32)
        self._mean = np.zeros((channels, first.size + 1), np.int32)
        self._mean[:, :-1] = np.array(_START)[first.depth]
        self._count = [0] * channels
        self._models = models()

    def component(self, coder: Coder, channel: int) -> Integers:
        """Code the next component of a channel: signed integers, those of u, then of v."""
        here = self._settle(channel)
        history = self._history(channel, here)
        own = np.zeros(here.size + 1, np.int32)
        result = np.zeros(here.size, np.int64)
        for phase, (place, sets) in enumerate(zip(here.phases, here.sets, strict=True)):
            if not len(place):
                continue
            beside = own[here.left[place]] + own[here.right[place]]
            kin = own[here.kin[0][place]] + own[here.kin[1][place]]
            X = np.concatenate([history[:, place], UNIT * np.array((beside, kin))])
            q = coder.magnitudes(self._models, _rows(here, phase, X), sets, place)
            own[place] = np.minimum(q, CAP)
            result[place] = q
        self._remember(channel, own)
        return coder.signs(result)

    def _places_of(self, kinds: tuple[int, int]) -> Places:
        """The places for a transform of u and one of v; nothing in them changes."""
        if kinds not in self._known:
            self._known[kinds] = Places(*self._shape, kinds)
        return self._known[kinds]

    def _settle(self, channel: int) -> Places:
        """The places of the next component; where a transform changes, history moves."""
        j, before = self._count[channel], self._places[channel]
        u, v = (WAVELET if j < switch else BLOCKS for switch in self._switches[channel])
        here = self._places_of((u, v))
        if here is not before:
            moved = np.where(here.octave == before.octave, np.arange(here.size), here.octave)
            mean = self._mean[channel]
            mean[:-1] = mean[moved]
            self._last[channel, :, :-1] = np.where(
                moved == np.arange(here.size), self._last[channel, :, :-1], mean[:-1] // UNIT
            )
            self._places[channel] = here
        return here

    def _history(self, channel: int, here: Places) -> Magnitudes:
        """The first seven of what the weights weigh, at all places, in units of 1/64."""
        last, mean = self._last[channel], self._mean[channel]
        two = UNIT * (last[0] + last[1])
        return np.concatenate(
            [
                UNIT * last[:, :-1],
                np.array(
                    (
                        two[here.left] + two[here.right],
                        mean[:-1],
                        mean[here.left] + mean[here.right],
                    )
                ),
            ]
        )

    def _remember(self, channel: int, own: Magnitudes) -> None:
        last, mean = self._last[channel], self._mean[channel]
        last[1:] = last[:-1].copy()
        last[0] = own
        news = UNIT * own - mean
        mean += news * _FORGET >> 4 if self._count[channel] else news
        self._count[channel] += 1


@cache
def _coarse() -> Index:
    """Coarse row of each value below TOP, in units of 1/64."""
    return np.minimum(row_table()[np.minimum(np.arange(TOP) + 1, TOP - 1)] // 4, _COARSE - 1)


# Rows of the joint table: by what is expected; by mean, surroundings and set of places;
# by the two components before, depth, their neighbours and the kind of transform.
_AROUND = ROWS
_BEFORE = _AROUND + _COARSE * _COARSE * _SETS
_ALL_ROWS = _BEFORE + _COARSE * (MOST_LEVELS + 1) * 4 * len(KINDS)


def _rows(here: Places, phase: int, X: Magnitudes) -> Index:
    """Rows of the three contexts of a phase's places."""
    sets, head = here.sets[phase], here.heads[phase]
    expected = np.empty(len(sets), np.int64)
    for part in (slice(head), slice(head, None)):
        if len(sets[part]):
            np.matmul(_WEIGHTS[sets[part][0]], X[:, part], out=expected[part])
    expected >>= 10
    around = X[7] >> 1 if phase & 1 else X[8]
    values = np.array((X[5], around, X[0] + X[1] >> 1, X[4] >> 2))
    mean, around, before, beside = _coarse().take(np.minimum(values, TOP - 1))
    depth = here.depth[here.phases[phase]]
    expected += 1
    return np.array(
        (
            row_table().take(np.minimum(expected, TOP - 1)),
            (mean * _COARSE + around) * _SETS + sets + _AROUND,
            ((before * (MOST_LEVELS + 1) + depth) * 4 + beside // 3) * len(KINDS)
            + sets // PHASES
            + _BEFORE,
        )
    )


@cache
def _priors() -> tuple[tuple[Counts, Counts], tuple[Counts, Counts]]:
    """Counts to start with of both mixtures: by the row of what is expected, else even."""
    table = row_table()
    result = []
    for scale in (UNIT, 2 * UNIT):
        zeros, ones = np.full(_ALL_ROWS, 6, np.int64), np.full(_ALL_ROWS, 6, np.int64)
        for row in range(ROWS):
            values = (table == row).nonzero()[0]
            middle = int(values[len(values) // 2]) if len(values) else 1
            ones[row] = 192 * middle // (scale + middle) + 1
            zeros[row] = 194 - ones[row]
        result.append((zeros, ones))
    return result[0], result[1]


def models() -> Models:
    """Models that have seen nothing."""
    weights = np.repeat(np.array([[2600], [1300], [1300]], np.int64), _SETS, axis=1)
    nonzero, above = _priors()
    return Models(Mixture(*nonzero, weights), Mixture(*above, weights), tokens())
