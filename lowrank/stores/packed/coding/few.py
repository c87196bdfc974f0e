"""A few interleaved coders, one symbol after the other, in Python's integers.

The same streams as `rans`: there a call of numpy takes a symbol of each lane, which pays
from some twenty lanes on. A small file has but one or two.
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray

LANES = 16
"""At most so many lanes are coded here."""
_LOW = 1 << 16
_Words = NDArray[np.uint16]


class Ended(Exception):  # noqa: N818 - a state of the stream, not a fault
    """A word is asked for that is not there."""


class Few:
    """The states of a few lanes, and the words that refill them.

    Attributes
    ----------
    states : list of int
    """

    def __init__(self, states: list[int], words: _Words) -> None:
        self.states, self._words = states, words

    def flags(self, zero: list[int], at: int) -> tuple[bytearray, int]:
        """Binary symbols by their probabilities of a zero; words from `at` on, and their end."""
        states, words = self.states, self._words
        lanes, lane = len(states), 0
        found = bytearray(len(zero))
        try:
            for i, f in enumerate(zero):
                x = states[lane]
                low = x & 65535
                if low < f:
                    x = (x >> 16) * f + low
                else:
                    x -= (x >> 16) * f + f
                    found[i] = 1
                if x < _LOW:
                    x = x << 16 | int(words[at])
                    at += 1
                states[lane] = x
                lane += 1
                if lane == lanes:
                    lane = 0
        except IndexError:
            raise Ended from None
        return found, at

    def tokens(self, first: list[int], ends: list[int], at: int) -> tuple[list[int], int]:
        """Tokens, by their numbers in a row of intervals that end at `ends`.

        `first` is where in that row the distribution of each starts.
        """
        states, words = self.states, self._words
        lanes, lane = len(states), 0
        found = []
        try:
            for start in first:
                x = states[lane]
                slot = start + (x & 4095)
                number = bisect_right(ends, slot)
                found.append(number)
                begin = ends[number - 1] if number else 0
                x = (x >> 12) * (ends[number] - begin) + slot - begin
                if x < _LOW:
                    x = x << 16 | int(words[at])
                    at += 1
                states[lane] = x
                lane += 1
                if lane == lanes:
                    lane = 0
        except IndexError:
            raise Ended from None
        return found, at


def backward(states: list[int], start: list[int], frequency: list[int], bits: int) -> _Words:
    """Code one pass of symbols, the last one first; give the words in the order of reading."""
    lanes, words = len(states), []
    lane = (len(frequency) - 1) % lanes
    for s, f in zip(reversed(start), reversed(frequency), strict=True):
        x = states[lane]
        if x >= f << 32 - bits:
            words.append(x & 65535)
            x >>= 16
        states[lane] = (x // f << bits) + x % f + s
        lane = lane - 1 if lane else lanes - 1
    return np.array(words[::-1], np.uint16)
