"""Magnitudes and signs of singular vectors, to and from the stream.

A magnitude is a flag (not zero), a second flag (not one), then a token of what is
above two: its low bits, as many as the context says, are raw; token 15 is followed by
five raw bits, the length of a longer remainder, and the remainder. Raw bits of several
numbers come plane by plane, the highest first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import FormatError
from lowrank.stores.packed.channels.mixture import TOTAL, Index, Mixed, Mixture, costs
from lowrank.stores.packed.channels.rows import shifts
from lowrank.stores.packed.coding.rans import RansReader
from lowrank.stores.packed.coding.ranswriter import RansWriter
from lowrank.stores.packed.coding.tokens import ESCAPE, LENGTH, TOKENS, TokenModel

Integers = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]
FLAG_BITS, TOKEN_BITS = 16, 12
LARGEST = 1 << 26
"""Bound of magnitudes: sixteenths of them still fit 32 bits."""


class Models:
    """What both sides learn of magnitudes."""

    def __init__(self, nonzero: Mixture, above: Mixture, tokens: TokenModel) -> None:
        self.nonzero, self.above, self.tokens = nonzero, above, tokens


class Reader:
    """Decodes magnitudes and signs."""

    def __init__(self, rans: RansReader) -> None:
        self._rans = rans

    def _flags(self, model: Mixture, rows: Index, sets: Index) -> NDArray[np.bool_]:
        mixed = model.mix(rows, sets)
        flags, _ = self._rans.flags(np.uint32(TOTAL) - mixed.ones)
        model.learn(mixed, flags)
        return flags

    def _numbers(self, lengths: Integers) -> Integers:
        values = np.zeros(len(lengths), np.int64)
        for plane in range(int(lengths.max(initial=0)) - 1, -1, -1):
            chosen = (lengths > plane).nonzero()[0]
            values[chosen] |= self._rans.raw(len(chosen)).astype(np.int64) << plane
        return values

    def magnitudes(self, models: Models, rows: Index, sets: Index, place: Index) -> Integers:
        """Decode one phase, of the given context rows."""
        flags = self._flags(models.nonzero, rows, sets)
        q = flags.astype(np.int64)
        hit = flags.nonzero()[0]
        if not len(hit):
            return q
        above = self._flags(models.above, rows[:, hit], sets[hit])
        q[hit] += above
        hit = hit[above.nonzero()[0]]
        if not len(hit):
            return q
        row = rows[0][hit]
        model = models.tokens
        coded = self._rans.tokens(row, model)
        model.update([coded])
        rest = (coded % TOKENS).astype(np.int64)
        escaped = (rest == ESCAPE).nonzero()[0]
        if len(escaped):
            lengths = self._numbers(np.full(len(escaped), LENGTH))
            if int(lengths.max()) > LARGEST.bit_length():
                raise FormatError("packed stream: a coefficient is out of range")
            rest[escaped] += self._numbers(lengths) + (np.int64(1) << lengths) - 1
        shift = shifts()[row]
        q[hit] += (rest << shift) + self._numbers(shift)
        if int(q.max()) >= LARGEST:
            raise FormatError("packed stream: a coefficient is out of range")
        return q

    def signs(self, magnitudes: Integers) -> Integers:
        """Signed values of a component."""
        hit = magnitudes.nonzero()[0]
        negative = hit[self._rans.raw(len(hit)).nonzero()[0]]
        result = magnitudes.copy()
        result[negative] = -result[negative]
        return result


class Writer:
    """Quantises and collects magnitudes and signs.

    Parameters
    ----------
    multiplier : float
        What one bit is worth, in squared quantiser steps.

    Attributes
    ----------
    target : (m + n,) ndarray of float64
        Coefficients of the component to come, in steps.
    exact : int
        So many of them, from the first, are integers already and stay as they are.
    """

    def __init__(self, rans: RansWriter, *, multiplier: float) -> None:
        self._rans = rans
        self._multiplier = multiplier
        self.target = np.empty(0)
        self.exact = 0

    def _flags(self, model: Mixture, mixed: Mixed, flags: NDArray[np.bool_]) -> None:
        zero = np.uint32(TOTAL) - mixed.ones
        self._rans.symbols(
            np.where(flags, zero, 0).astype(np.uint16),
            np.where(flags, mixed.ones, zero).astype(np.uint16),
            FLAG_BITS,
        )
        model.learn(mixed, flags)

    def _numbers(self, values: Integers, lengths: Integers) -> None:
        for plane in range(int(lengths.max(initial=0)) - 1, -1, -1):
            self._rans.raw((values[lengths > plane] >> plane & 1).astype(np.uint8))

    @staticmethod
    def _two(models: Models) -> Floats:
        """Bits of token 0, by row: what a magnitude of two costs beyond its flags."""
        bits: Floats = -np.log2(models.tokens.frequency[:, 0] / TokenModel.total)
        return bits

    def _quantise(self, place: Index, nonzero: Mixed, above: Mixed, two: Floats) -> Integers:
        """Nearest integers, or less where a bit saved is worth the error.

        `two` is what a magnitude of two costs beyond its flags.
        """
        x = np.abs(self.target[place])
        first, second = costs()[:, nonzero.odds], costs()[:, above.odds]
        half = self._multiplier / 2
        q = np.maximum(np.floor(x + (0.5 - half)), 2).astype(np.int64)
        q[x < 1.5 + half * (second[1] - second[0] + two)] = 1
        q[x < 0.5 + half * (first[1] - first[0] + 1 + second[0])] = 0
        kept = place < self.exact
        q[kept] = x[kept].astype(np.int64)
        return q

    def magnitudes(self, models: Models, rows: Index, sets: Index, place: Index) -> Integers:
        """Quantise and collect one phase, at the given places of the target."""
        nonzero, above = models.nonzero.mix(rows, sets), models.above.mix(rows, sets)
        q = self._quantise(place, nonzero, above, self._two(models)[rows[0]])
        flags = q > 0
        self._flags(models.nonzero, nonzero, flags)
        hit = flags.nonzero()[0]
        if not len(hit):
            return q
        more = q[hit] > 1
        self._flags(models.above, above.take(hit), more)
        hit = hit[more.nonzero()[0]]
        if not len(hit):
            return q
        row = rows[0][hit]
        rest = q[hit] - 2
        shift = shifts()[row]
        coded = rest >> shift
        tokens = np.minimum(coded, ESCAPE)
        model = models.tokens
        self._rans.symbols(
            model.start[row, tokens], model.frequency[row, tokens].astype(np.uint16), TOKEN_BITS
        )
        model.update([row * TOKENS + tokens])
        escaped = (tokens == ESCAPE).nonzero()[0]
        if len(escaped):
            remainder = coded[escaped] - ESCAPE + 1
            lengths = np.frexp(remainder.astype(np.float64))[1].astype(np.int64) - 1
            self._numbers(lengths, np.full(len(escaped), LENGTH))
            self._numbers(remainder, lengths)
        self._numbers(rest, shift)
        return q

    def signs(self, magnitudes: Integers) -> Integers:
        """Signed values of the target, their signs collected."""
        negative = self.target < 0
        self._rans.raw(negative[magnitudes > 0].astype(np.uint8))
        return np.where(negative, -magnitudes, magnitudes)
