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
        lanes = self._lanes
        result = np.empty(len(zero), np.bool_)
        whole = len(zero) // lanes * lanes
        state, (wide, mask, least) = self._state, self._fixed
        for f, one in zip(
            zero[:whole].reshape(-1, lanes), result[:whole].reshape(-1, lanes), strict=True
        ):
            state = self._flags(state, f, one, wide, mask, least)
        self._state = state
        rest = len(zero) - whole
        if rest:
            some = slice(rest)
            state[some] = self._flags(
                state[some], zero[whole:], result[whole:], wide[some], mask[some], least[some]
            )
        return result

    def _flags(
        self, x: State, f: State, one: NDArray[np.bool_], wide: State, mask: State, least: State
    ) -> State:
        """The states after one flag of each lane, written to `one`; all arrays of one length."""
        product = np.right_shift(x, wide)
        product *= f
        low = np.bitwise_and(x, mask)
        np.greater_equal(low, f, one)
        low += product
        product += f
        x = np.where(one, x - product, low)
        short = np.less(x, least).nonzero()[0]
        if len(short):
            some = x[short]
            some <<= wide[: len(some)]
            some |= self._take(len(short))
            x[short] = some
        return x

    def tokens(
        self,
        row: NDArray[np.intp],
        table: NDArray[np.uint16],
        start: NDArray[np.uint16],
        frequency: NDArray[np.int64],
    ) -> NDArray[np.intp]:
        """Tokens of 12-bit distributions, each as its number in the joint table.

        Parameters
        ----------
        row : (n,) ndarray
            Which distribution each token has.
        table : (rows x 4096,) ndarray
            Number of the token that each slot of each distribution belongs to.
        start, frequency : ndarray
            First slot of each token, and how many it has, by its number.
        """
        result = np.empty(len(row), np.intp)
        if not len(row):
            return result
        start = start.ravel()
        frequency = frequency.ravel().astype(np.uint32)
        first = row << 12
        lanes, (wide, _, least) = self._lanes, self._fixed
        for begin in range(0, len(row), lanes):
            r = first[begin : begin + lanes]
            x = self._state[: len(r)]
            slot = x & 0xFFF
            symbol = table.take(r + slot)
            result[begin : begin + lanes] = symbol
            x >>= 12
            x *= frequency.take(symbol)
            slot -= start.take(symbol)
            x += slot
            short = np.less(x, least[: len(r)]).nonzero()[0]
            if len(short):
                some = x[short]
                some <<= wide[: len(some)]
                some |= self._take(len(short))
                x[short] = some
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
