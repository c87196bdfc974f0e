"""Interleaved rANS in numpy: many coders side by side, one stream of 16-bit words.

`lanes` states of 32 bits take the symbols in turn: symbol i of a pass belongs to
lane i mod lanes. A decoder reads the words forward: whenever states fall below 2^16,
the next words refill them in lane order. The encoder therefore works backward, and
needs all symbols first. Probabilities have 16 bits. Raw bits (signs) lie between the
words of the coder, 16 to a word, most significant first.

References
----------
J. Duda, "Asymmetric numeral systems", arXiv 1311.2540 (2013).
F. Giesen, "Interleaved entropy coders", arXiv 1402.3392 (2014).
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import FormatError
from lowrank.stores.packed.coding.tokens import TokenModel

Words = NDArray[np.uint16]
Bits = NDArray[np.uint8]
State = NDArray[np.uint32]
Places = NDArray[np.int32]
LOW = 1 << 16


class Cut(Exception):  # noqa: N818 - a state of the stream, not a fault
    """The stream ends before the symbol asked for: never leaves the packed codec."""


class RansWriter:
    """Collects passes of symbols and raw bits, then codes them all backward."""

    def __init__(self) -> None:
        self._passes: list[tuple[Words, Words, int] | tuple[Words, Places] | Bits] = []
        self.bits = 0.0

    def symbols(self, start: Words, frequency: Words, bits: int) -> None:
        """Add one pass: each symbol is the interval [start, start + frequency)/2^bits."""
        if len(start):
            self._passes.append((start, frequency, bits))
            self.bits -= float(np.log2(frequency.astype(np.float32) / (1 << bits)).sum())

    def flags(self, zero: Words, ones: Places) -> None:
        """Add one pass of binary symbols.

        Parameters
        ----------
        zero : ndarray
            Probability of a 0, of 65536.
        ones : ndarray
            Places of the 1s.
        """
        self._passes.append((zero, ones))
        p = zero.astype(np.float32) / LOW
        self.bits -= float(np.log2(p).sum())
        self.bits -= float((np.log2(1 - p[ones]) - np.log2(p[ones])).sum())

    def raw(self, bits: Bits) -> int:
        """Add raw bits (0 or 1), as the reader will ask for them; return their pass."""
        self._passes.append(bits)
        self.bits += len(bits)
        return len(self._passes) - 1

    def length(self, number: int) -> int:
        """Bits of a pass of raw bits."""
        return len(self._passes[number])

    def withdraw(self, number: int) -> Bits:
        """Take a pass of raw bits out again."""
        bits = cast("Bits", self._passes[number])
        self._passes[number] = bits[:0]
        return bits

    def _raw_words(self) -> list[Words]:
        """The words of each pass of raw bits.

        The reader takes as many words as it needs for a pass: they must stand there,
        filled up with the bits that are asked for later.
        """
        passes = [item for item in self._passes if isinstance(item, np.ndarray)]
        packed = np.packbits(np.concatenate([*passes, np.zeros(16, np.uint8)]))
        words = packed[: len(packed) // 2 * 2].view(">u2").astype(np.uint16)
        ends = -(-np.cumsum([len(item) for item in passes], dtype=np.int64) // 16)
        return np.split(words[: ends[-1]] if len(ends) else words[:0], ends[:-1])

    def finish(self, lanes: int, tail: Bits) -> bytes:
        """Code everything; states (lanes x 4 bytes, little-endian), then the words.

        Parameters
        ----------
        lanes : int
        tail : ndarray of bits
            At most 16 a lane: what the reader has left when it has read all.
        """
        filled = np.zeros(16 * lanes, np.uint8)
        filled[: len(tail)] = tail
        state = np.packbits(filled).view(">u2").astype(np.uint32) + LOW
        raw = self._raw_words()
        blocks: list[Words] = []
        for item in reversed(self._passes):
            if isinstance(item, np.ndarray):
                blocks.append(raw.pop())
                continue
            start, frequency, bits = item if len(item) == 3 else _intervals(*item)
            f = frequency.astype(np.uint32)
            gap, limit = np.uint32(1 << bits) - f, f << np.uint32(32 - bits)
            for begin in range((len(f) - 1) // lanes * lanes, -1, -lanes):
                here = slice(begin, begin + lanes)
                part = f[here]
                x = state[: len(part)]
                full = (x >= limit[here]).nonzero()[0]
                if len(full):
                    low = x[full]
                    blocks.append(low.astype(np.uint16))
                    x[full] = low >> 16
                x += x // part * gap[here] + start[here]
        words = np.concatenate(blocks[::-1]) if blocks else np.empty(0, np.uint16)
        return state.astype("<u4").tobytes() + words.astype("<u2").tobytes()


def _intervals(zero: Words, ones: Places) -> tuple[Words, Words, int]:
    """Start and length of the interval of each binary symbol."""
    start, frequency = np.zeros_like(zero), zero.copy()
    start[ones] = zero[ones]
    frequency[ones] = LOW - zero[ones].astype(np.uint32)
    return start, frequency, 16


class RansReader:
    """Reads forward what RansWriter wrote; raises Cut where the bytes end."""

    def __init__(self, data: bytes, lanes: int) -> None:
        if len(data) < 4 * lanes:
            raise Cut
        self._state = np.frombuffer(data, "<u4", lanes).astype(np.uint32)
        if lanes and int(self._state.min()) < LOW:
            raise FormatError("packed stream: a coder's state is out of range")
        rest = data[4 * lanes :]
        words = np.frombuffer(rest, "<u2", len(rest) // 2)
        self._words, self._bytes = words.astype(np.uint32), words.astype(">u2").view(np.uint8)
        self._position = 0
        self._lanes = lanes
        # Constants as arrays: numpy takes half the time for these.
        self._fixed = tuple(np.full(lanes, value, np.uint32) for value in (16, LOW - 1, LOW))
        self._room = (*np.empty((2, lanes), np.uint32), np.empty(lanes, np.bool_))
        self._spare = np.empty(0, np.uint8)

    def _take(self, count: int) -> NDArray[np.uint32]:
        end = self._position + count
        if end > len(self._words):
            raise Cut
        words = self._words[self._position : end]
        self._position = end
        return words

    def flags(self, zero: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Binary symbols; symbol 0 has probability zero/65536."""
        lanes, count = self._lanes, len(zero)
        result = np.empty(count, np.bool_)
        x, fixed, room = self._state, self._fixed, self._room
        words, at, end = self._words, self._position, len(self._words)
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
            np.greater_equal(low, f, one)
            np.add(low, product, low)
            np.add(product, f, product)
            np.subtract(x, product, x)
            np.logical_not(one, short)
            np.copyto(x, low, where=short)
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
        return result

    def tokens(self, row: NDArray[np.intp], model: TokenModel) -> NDArray[np.intp]:
        """Tokens, each of a distribution of a model, as their numbers: row x TOKENS + token."""
        count, lanes = len(row), self._lanes
        result = np.empty(count, np.intp)
        if not count:
            return result
        find, (first, share) = model.finder(count), model.flat
        states, (wide, _, least) = self._state, self._fixed
        words, at, end = self._words, self._position, len(self._words)
        base = row << 12
        for begin in range(0, count, lanes):
            part = base[begin : begin + lanes]
            x = states[: len(part)]
            slot = x & 0xFFF
            symbol = find(part + slot)
            result[begin : begin + lanes] = symbol
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
        if int(self._state.max()) >= 2 * LOW:
            raise FormatError("packed stream: its coders do not end as they should")
        return np.unpackbits((self._state - LOW).astype(">u2").view(np.uint8))

    def raw(self, count: int) -> Bits:
        """The next `count` raw bits."""
        missing = count - len(self._spare)
        if missing > 0:
            begin = self._position
            end = begin + len(self._take(-(-missing // 16)))
            fresh = np.unpackbits(self._bytes[2 * begin : 2 * end])
            self._spare = np.concatenate([self._spare, fresh]) if len(self._spare) else fresh
        bits, self._spare = self._spare[:count], self._spare[count:]
        return bits
