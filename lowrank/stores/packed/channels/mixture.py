"""Binary symbols whose probability several contexts tell together, in integers.

Each context has counts of what was seen in it. Their probabilities are mixed in the
logistic domain: log odds, weighted, added; the weights learn from the errors. All in
integers, a whole pass of symbols at a time, so both sides and all machines agree.

Log odds are in units of 1/256, at most 2047; the tables hold logarithms rounded to
integers, none of them near enough to a half that a last bit of a logarithm matters.

References
----------
M. Mahoney, "Adaptive weighing of context models for lossless data compression",
Florida Tech. CS-2005-16 (2005).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.intp]
Counts = NDArray[np.int64]
TOTAL = 1 << 16
MOST = 2047
RATE = 22
"""Weights move by errors times log odds, divided by 2^RATE."""
WIDEST = 1 << 15
"""Bound of weights."""
_SEEN = np.int64(16)
LIMIT = 16 * 255
"""Counts of a context are halved above it."""
LEAST = 32
"""No symbol has a probability below LEAST/TOTAL."""


@cache
def _squash() -> NDArray[np.uint32]:
    """Probability of a one, of TOTAL, for log odds -MOST..MOST."""
    return np.array(
        [
            min(max(round(TOTAL / (1 + math.exp(-x / 256))), LEAST), TOTAL - LEAST)
            for x in range(-MOST, MOST + 1)
        ],
        np.uint32,
    )


@cache
def _stretch() -> NDArray[np.int64]:
    """Log odds of a probability (i + 1/2)/4096."""
    return np.array(
        [round(256 * math.log((i + 0.5) / (4095.5 - i))) for i in range(4096)], np.int64
    )


@cache
def costs() -> NDArray[np.float32]:
    """(2, 2 MOST + 1): bits of a zero and of a one, for log odds -MOST..MOST."""
    p = _squash().astype(np.float64) / TOTAL
    return -np.log2(np.stack([1 - p, p])).astype(np.float32)


@dataclass(frozen=True)
class Mixed:
    """A pass of symbols: rows of the contexts, sets of weights, what was mixed, the result.

    Attributes
    ----------
    rows, inputs : (contexts, symbols) ndarray
        Rows of the joint table, and the log odds there.
    sets : (symbols,) ndarray
    odds : (symbols,) ndarray
        Mixed log odds plus MOST.
    """

    rows: Index
    sets: Index
    inputs: Counts
    odds: Index

    @property
    def ones(self) -> NDArray[np.uint32]:
        """Probability of a one, of TOTAL."""
        return _squash()[self.odds]

    def take(self, chosen: Index) -> Mixed:
        """Some symbols of the pass."""
        return Mixed(
            self.rows[:, chosen], self.sets[chosen], self.inputs[:, chosen], self.odds[chosen]
        )


def _odds(ones: Counts, all_: Counts) -> Counts:
    """Log odds of counts."""
    odds: Counts = _stretch().take((ones << 12) // all_)
    return odds


class Mixture:
    """A binary model of several contexts, their rows in one joint table.

    Parameters
    ----------
    zeros, ones : (rows,) ndarray of int64
        Counts to start with, in sixteenths.
    weights : (contexts, sets) ndarray of int64
        In units of 1/4096.
    """

    def __init__(self, zeros: Counts, ones: Counts, weights: Counts) -> None:
        self._ones, self._all = ones.copy(), zeros + ones
        self._weights = weights.copy()
        self._offsets = weights.shape[1] * np.arange(len(weights))[:, None]
        self._odds = _odds(self._ones, self._all)

    def mix(self, rows: Index, sets: Index) -> Mixed:
        """Probabilities of a pass of symbols, given their context rows."""
        inputs = self._odds[rows]
        total = (inputs * self._weights[:, sets]).sum(0)
        total >>= 12
        np.maximum(total, -MOST, out=total)
        np.minimum(total, MOST, out=total)
        total += MOST
        return Mixed(rows, sets, inputs, total)

    def learn(self, mixed: Mixed, ones: NDArray[np.bool_]) -> None:
        """Move the weights towards what was seen, and count it."""
        error = ones * np.int64(TOTAL) - mixed.ones
        # Sums of integers below 2^53: exact in float64.
        weights = self._weights
        pull = np.bincount(
            (self._offsets + mixed.sets).ravel(),
            weights=(mixed.inputs * error).ravel(),
            minlength=weights.size,
        )
        weights += pull.astype(np.int64).reshape(weights.shape) >> RATE
        np.maximum(weights, -WIDEST, out=weights)
        np.minimum(weights, WIDEST, out=weights)
        # Of many rows a pass meets few: all else stays as it is.
        rows = mixed.rows.ravel()
        np.add.at(self._all, rows, _SEEN)
        np.add.at(self._ones, mixed.rows[:, ones].ravel(), _SEEN)
        over = rows[self._all.take(rows) > LIMIT]
        if len(over):
            over = np.unique(over)
        while len(over):
            zeros = (self._all[over] - self._ones[over] >> 1) + 1
            self._ones[over] = (self._ones[over] >> 1) + 1
            self._all[over] = zeros + self._ones[over]
            over = over[self._all[over] > LIMIT]
        self._odds[rows] = _odds(self._ones.take(rows), self._all.take(rows))
