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

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import FormatError

Words = NDArray[np.uint16]
LOW = 1 << 16


class Cut(Exception):  # noqa: N818 - a state of the stream, not a fault
    """The stream ends before the symbol asked for: never leaves the packed codec."""


class RansWriter:
    """Collects passes of symbols, then codes them all backward."""

    def __init__(self) -> None:
        self._passes: list[tuple[Words, Words] | Words] = []
        self._pending: list[NDArray[np.uint8]] = []
        self._waiting = 0
        self.bits = 0.0

    def symbols(self, start: Words, frequency: Words) -> None:
        """Add one pass: each symbol is the interval [start, start + frequency)/65536."""
        if len(start):
            self._passes.append((start, frequency))
            self.bits -= float(np.log2(frequency.astype(np.float32) / LOW).sum())

    def raw(self, bits: NDArray[np.uint8]) -> None:
        """Add raw bits (0 or 1), as the reader will ask for them."""
        if not len(bits):
            return
        self._pending.append(bits)
        self.bits += len(bits)
        self._waiting += len(bits)
        if self._waiting > 0:
            # The reader takes as many words as it needs for these bits: they must
            # stand here, filled with the bits that are asked for later.
            words = -(-self._waiting // 16)
            self._passes.append(np.empty(words, np.uint16))
            self._waiting -= 16 * words

    def _fill(self) -> None:
        bits = np.concatenate([*self._pending, np.zeros(16, np.uint8)])
        packed = np.packbits(bits)
        words = packed[: len(packed) // 2 * 2].view(">u2").astype(np.uint16)
        position = 0
        for item in self._passes:
            if isinstance(item, np.ndarray):
                item[:] = words[position : position + len(item)]
                position += len(item)

    def finish(self, lanes: int) -> bytes:
        """Code everything; states (lanes x 4 bytes, little-endian), then the words."""
        if self._pending:
            self._fill()
        state = np.full(lanes, LOW, np.uint32)
        blocks: list[Words] = []
        for item in reversed(self._passes):
            if isinstance(item, np.ndarray):
                blocks.append(item)
                continue
            start, frequency = item
            for begin in range((len(start) - 1) // lanes * lanes, -1, -lanes):
                f = frequency[begin : begin + lanes].astype(np.uint32)
                x = state[: len(f)]
                full = ((x >> 16) >= f).nonzero()[0]
                if len(full):
                    blocks.append(x[full].astype(np.uint16))
                    x[full] >>= 16
                # Exact: 32 bits by 16 bits fits the 53 bits of a double.
                quotient = (x / f.astype(np.float64)).astype(np.uint32)
                x += quotient * (LOW - f) + start[begin : begin + lanes]
        words = np.concatenate(blocks[::-1]) if blocks else np.empty(0, np.uint16)
        return state.astype("<u4").tobytes() + words.astype("<u2").tobytes()


class RansReader:
    """Reads forward what RansWriter wrote; raises Cut where the bytes end."""

    def __init__(self, data: bytes, lanes: int) -> None:
        if len(data) < 4 * lanes:
            raise Cut
        self._state = np.frombuffer(data, "<u4", lanes).astype(np.uint32)
        if lanes and int(self._state.min()) < LOW:
            raise FormatError("packed stream: a coder's state is out of range")
        rest = data[4 * lanes :]
        self._words = np.frombuffer(rest, "<u2", len(rest) // 2).astype(np.uint32)
        self._position = 0
        self._lanes = lanes
        self._spare = np.empty(0, np.uint8)

    def _take(self, count: int) -> NDArray[np.uint32]:
        end = self._position + count
        if end > len(self._words):
            raise Cut
        words = self._words[self._position : end]
        self._position = end
        return words

    def _refill(self, x: NDArray[np.uint32]) -> None:
        low = (x < LOW).nonzero()[0]
        if len(low):
            x[low] = (x[low] << 16) | self._take(len(low))

    def flags(self, zero: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Binary symbols; symbol 0 has probability zero/65536."""
        result = np.empty(len(zero), np.bool_)
        for begin in range(0, len(zero), self._lanes):
            f = zero[begin : begin + self._lanes]
            x = self._state[: len(f)]
            product = (x >> 16) * f
            low = x & 0xFFFF
            one = np.greater_equal(low, f, out=result[begin : begin + self._lanes])
            low += product
            hit = one.nonzero()[0]
            low[hit] = x[hit] - product[hit] - f[hit]
            x[:] = low
            self._refill(x)
        return result

    def tokens(self, row: NDArray[np.intp], cumulative: NDArray[np.uint32]) -> NDArray[np.intp]:
        """Symbols with the distribution cumulative[row]: (rows, symbols + 1), 0..65536."""
        result = np.empty(len(row), np.intp)
        inner = cumulative[:, 1:-1]
        inner = np.ascontiguousarray(inner)
        for begin in range(0, len(row), self._lanes):
            r = row[begin : begin + self._lanes]
            x = self._state[: len(r)]
            low = x & 0xFFFF
            symbol = (low[:, None] >= inner[r]).sum(1)
            start = cumulative[r, symbol]
            f = cumulative[r, symbol + 1] - start
            x[:] = (x >> 16) * f + low - start
            self._refill(x)
            result[begin : begin + self._lanes] = symbol
        return result

    def raw(self, count: int) -> NDArray[np.uint8]:
        """The next `count` raw bits."""
        missing = count - len(self._spare)
        if missing > 0:
            words = self._take(-(-missing // 16)).astype(">u2")
            self._spare = np.concatenate([self._spare, np.unpackbits(words.view(np.uint8))])
        bits, self._spare = self._spare[:count], self._spare[count:]
        return bits
