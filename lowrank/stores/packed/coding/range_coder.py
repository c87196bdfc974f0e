"""Adaptive binary coder for the few numbers that precede the coefficients.

A carry-less range coder in plain Python integers, with 12-bit probabilities that
adapt by 1/16: some hundred small numbers (scales, rotations), about one byte a
microsecond, and none of the overhead of a vectorised coder.

References
----------
G. Martin, "Range encoding" (1979); the carry is avoided as in binary coders with a
cache byte.
"""

from __future__ import annotations

from lowrank.errors import FormatError

_TOP = 1 << 24
_MASK = (1 << 32) - 1


class BitWriter:
    """Range encoder."""

    def __init__(self) -> None:
        self._low, self._range = 0, _MASK
        self._out = bytearray()
        self._models: dict[tuple[int | str, ...], int] = {}

    def _normalise(self) -> None:
        while self._range < _TOP:
            self._range <<= 8
            self._shift()

    def _shift(self) -> None:
        if self._low > _MASK:
            # Carry into the bytes already written.
            i = len(self._out) - 1
            while self._out[i] == 255:
                self._out[i] = 0
                i -= 1
            self._out[i] += 1
            self._low &= _MASK
        self._out.append(self._low >> 24)
        self._low = self._low << 8 & _MASK

    def bit(self, value: int, *context: int | str) -> None:
        """Code one bit with the adaptive probability of its context."""
        p = self._models.get(context, 2048)
        bound = (self._range >> 12) * p
        if value:
            self._low += bound
            self._range -= bound
            self._models[context] = p - (p >> 4)
        else:
            self._range = bound
            self._models[context] = p + ((4096 - p) >> 4)
        self._normalise()

    def bits(self, value: int, count: int) -> None:
        """Code `count` equiprobable bits, most significant first."""
        for i in range(count - 1, -1, -1):
            self._range >>= 1
            if value >> i & 1:
                self._low += self._range
            self._normalise()

    def number(self, value: int, *context: int | str) -> None:
        """Code an integer >= 0: adaptive Elias gamma of value + 1."""
        length = (value + 1).bit_length()
        for i in range(1, length):
            self.bit(1, *context, i)
        self.bit(0, *context, length)
        self.bits(value + 1 - (1 << (length - 1)), length - 1)

    def signed(self, value: int, *context: int | str) -> None:
        """Code an integer as the number 2|v| - (v < 0)."""
        self.number(2 * value if value >= 0 else -2 * value - 1, *context)

    def finish(self) -> bytes:
        """The shortest bytes that decode to what was coded; the reader adds zeros."""
        # Any number in [low, low + range) will do: take the one with most zeros.
        for shift in range(32, -1, -1):
            candidate = (self._low + (1 << shift) - 1) >> shift << shift
            if candidate < self._low + self._range:
                self._low = candidate
                break
        for _ in range(4):
            self._shift()
        return bytes(self._out).rstrip(b"\0")


class BitReader:
    """Range decoder; past the end of its data it reads zeros."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 4
        self._range = _MASK
        self._code = int.from_bytes(data[:4].ljust(4, b"\0"), "big")
        self._models: dict[tuple[int | str, ...], int] = {}

    def _normalise(self) -> None:
        while self._range < _TOP:
            self._range <<= 8
            p = self._position
            byte = self._data[p] if p < len(self._data) else 0
            self._position = p + 1
            self._code = (self._code << 8 | byte) & _MASK

    def bit(self, *context: int | str) -> int:
        """One bit of the context's adaptive probability."""
        p = self._models.get(context, 2048)
        bound = (self._range >> 12) * p
        if self._code >= bound:
            self._code -= bound
            self._range -= bound
            self._models[context] = p - (p >> 4)
            value = 1
        else:
            self._range = bound
            self._models[context] = p + ((4096 - p) >> 4)
            value = 0
        self._normalise()
        return value

    def bits(self, count: int) -> int:
        """`count` equiprobable bits."""
        value = 0
        for _ in range(count):
            self._range >>= 1
            bit = self._code >= self._range
            if bit:
                self._code -= self._range
            value = value << 1 | bit
            self._normalise()
        return value

    def number(self, *context: int | str) -> int:
        """An integer >= 0, at most 2^32 - 2."""
        length = 1
        while self.bit(*context, length):
            length += 1
            if length > 32:
                raise FormatError("packed stream: a number in the header is too large")
        return (1 << (length - 1)) - 1 + self.bits(length - 1)

    def signed(self, *context: int | str) -> int:
        """An integer of either sign."""
        value = self.number(*context)
        return -(value + 1 >> 1) if value & 1 else value >> 1
