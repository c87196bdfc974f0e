"""Interleaved rANS in numpy: many coders side by side, one stream of 16-bit words.

`lanes` states of 32 bits take the symbols in turn: symbol i of a pass belongs to
lane i mod lanes. A decoder reads the words forward: whenever states fall below 2^16,
the next words refill them in lane order. Probabilities have 16 bits. Raw bits (signs)
lie between the words of the coder, 16 to a word, most significant first. What writes such
a stream is ranswriter.py.

References
----------
J. Duda, "Asymmetric numeral systems", arXiv 1311.2540 (2013).
F. Giesen, "Interleaved entropy coders", arXiv 1402.3392 (2014).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import FormatError
from lowrank.stores.packed.coding import few
from lowrank.stores.packed.coding.tokens import TokenModel

Words = NDArray[np.uint16]
Bits = NDArray[np.uint8]
T = TypeVar("T")
LOW = 1 << 16
_SPARSE = 1 << 9  # lanes from which on the states of a 1 are set apart


class Cut(Exception):  # noqa: N818 - a state of the stream, not a fault
    """The stream ends before the symbol asked for: never leaves the packed codec."""


def _unless_cut(read: Callable[..., T], *arguments: Any) -> T:
    """What is read, as far as there are words for it."""
    try:
        return read(*arguments)
    except few.Ended:
        raise Cut from None


class RansReader:
    """Reads forward what RansWriter wrote; raises Cut where the bytes end."""

    def __init__(self, data: bytes | memoryview, lanes: int) -> None:
        if len(data) < 4 * lanes:
            raise Cut
        self._state = np.frombuffer(data, "<u4", lanes).astype(np.uint32)
        if lanes and int(self._state.min()) < LOW:
            raise FormatError("packed stream: a coder's state is out of range")
        self._words = np.frombuffer(data, "<u2", (len(data) - 4 * lanes) // 2, 4 * lanes)
        self._position = 0
        self._lanes = lanes
        self._few = few.Few(self._state.tolist(), self._words) if lanes <= few.LANES else None
        # Constants as arrays: numpy takes half the time for these.
        self._fixed = tuple(np.full(lanes, value, np.uint32) for value in (16, LOW - 1, LOW))
        self._room = (*np.empty((2, lanes), np.uint32), np.empty(lanes, np.bool_))
        self._spare = np.empty(0, np.uint8)

    def flags(self, zero: NDArray[np.uint32]) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
        """Binary symbols, and the places of 1; symbol 0 has probability zero/65536."""
        lanes, count = self._lanes, len(zero)
        if self._few:
            found, self._position = _unless_cut(self._few.flags, zero.tolist(), self._position)
            result = np.frombuffer(found, np.bool_)
            return result, result.nonzero()[0]
        result = np.empty(count, np.bool_)
        x, fixed, room = self._state, self._fixed, self._room
        words, at, end = self._words, self._position, len(self._words)
        many = lanes >= _SPARSE
        hits = []
        for begin in range(0, count, lanes):
            f, one = zero[begin : begin + lanes], result[begin : begin + lanes]
            if len(f) < lanes:
                some = slice(len(f))
                x = x[some]
                fixed = tuple([values[some] for values in fixed])
                room = tuple([values[some] for values in room])
            wide, mask, least = fixed
            product, low, short = room
            np.right_shift(x, wide, product)
            np.multiply(product, f, product)
            np.bitwise_and(x, mask, low)
            if many:
                # Those of a 1, which are few, are set apart.
                hit = np.greater_equal(low, f, one).nonzero()[0]
                apart = x.take(hit)
                apart -= product.take(hit)
                apart -= f.take(hit)
                np.add(low, product, x)
                x[hit] = apart
                hit += begin
                hits.append(hit)
            else:
                np.less(low, f, one)
                np.add(low, product, low)
                np.add(product, f, product)
                np.subtract(x, product, x)
                np.copyto(x, low, where=one)
            places = np.less(x, least, short).nonzero()[0]
            fresh = len(places)
            if fresh:
                start, at = at, at + fresh
                if at > end:
                    raise Cut
                filled = x.take(places)
                np.left_shift(filled, wide[:fresh], filled)
                np.bitwise_or(filled, words[start:at], filled)
                x[places] = filled
        self._position = at
        if many:
            return result, hits[0] if len(hits) == 1 else np.concatenate(hits)
        np.logical_not(result, result)
        return result, result.nonzero()[0]

    def tokens(self, row: NDArray[np.intp], model: TokenModel) -> NDArray[np.intp]:
        """Tokens, each of a distribution of a model, as their numbers: row x TOKENS + token."""
        count, lanes = len(row), self._lanes
        result = np.empty(count, np.intp)
        if not count:
            return result
        if self._few:
            first = (row << 12).tolist()
            numbers, self._position = _unless_cut(
                self._few.tokens, first, model.ends, self._position
            )
            return np.array(numbers, np.intp)
        find, (first, share) = model.finder(count), model.flat
        states, (wide, _, least) = self._state, self._fixed
        words, at, end = self._words, self._position, len(self._words)
        base = row << 12
        for begin in range(0, count, lanes):
            part = base[begin : begin + lanes]
            x = states[: len(part)]
            slot = x & 0xFFF
            symbol = result[begin : begin + lanes]
            symbol[:] = find(part + slot)
            x >>= 12
            x *= share.take(symbol)
            slot -= first.take(symbol)
            x += slot
            places = np.less(x, least[: len(part)]).nonzero()[0]
            fresh = len(places)
            if fresh:
                start, at = at, at + fresh
                if at > end:
                    raise Cut
                filled = x.take(places)
                np.left_shift(filled, wide[:fresh], filled)
                np.bitwise_or(filled, words[start:at], filled)
                x[places] = filled
        self._position = at
        return result

    def tail(self) -> Bits:
        """The bits that are left when everything has been read: 16 a lane."""
        if self._few:
            self._state = np.array(self._few.states, np.uint32)
        if int(self._state.max()) >= 2 * LOW:
            raise FormatError("packed stream: its coders do not end as they should")
        return np.unpackbits((self._state - LOW).astype(">u2").view(np.uint8))

    def raw(self, count: int) -> Bits:
        """The next `count` raw bits."""
        missing = count - len(self._spare)
        if missing > 0:
            begin = self._position
            self._position += -(-missing // 16)
            if self._position > len(self._words):
                raise Cut
            words = self._words[begin : self._position]
            fresh = np.unpackbits(words.astype(">u2").view(np.uint8))
            self._spare = np.concatenate([self._spare, fresh]) if len(self._spare) else fresh
        bits, self._spare = self._spare[:count], self._spare[count:]
        return bits
