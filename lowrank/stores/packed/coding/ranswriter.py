"""What writes interleaved rANS: it collects all symbols, and codes them backward.

A decoder (rans.py) reads the words forward, so that the encoder works from the last symbol to
the first, and needs all of them before.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lowrank.stores.packed.coding import few
from lowrank.stores.packed.coding.collected import (
    Among,
    Flags,
    Pass,
    Passes,
    Raw,
    Symbols,
    Tokens,
    type_of,
)
from lowrank.stores.packed.coding.rans import LOW, Bits, Words
from lowrank.stores.packed.coding.tokens import TOKENS

State = NDArray[np.uint32]
T = TypeVar("T")
_BLOCKS = 1 << 9  # pieces of the stream that are joined to one
_ALIKE = 1 << 15  # bytes of flags with the same table, whose intervals are looked up at once


class _Made:
    """What follows from a table, made once for all passes that have it one after the other."""

    def __init__(self) -> None:
        self._last: dict[Callable[..., Any], tuple[Words, Any]] = {}

    def __call__(self, make: Callable[[Words], T], table: Words) -> T:
        last = self._last.get(make)
        if last is None or last[0] is not table:
            last = self._last[make] = table, make(table)
        made: T = last[1]
        return made


def _flag_intervals(zero: Words) -> tuple[State, State]:
    """Start and length of the interval of a 0 and of a 1, by row."""
    starts, lengths = np.zeros((2, len(zero), 2), np.uint32)
    starts[:, 1] = lengths[:, 0] = zero
    np.subtract(LOW, lengths[:, 0], out=lengths[:, 1])
    return starts, lengths


def _flag_bits(zero: Words) -> NDArray[np.float32]:
    """Logarithm of the probability of a 0 and of a 1, by row."""
    bits = np.empty((len(zero), 2), np.float32)
    p = zero.astype(np.float32) / LOW
    np.log2(p, out=bits[:, 0])
    np.log2(1 - p, out=bits[:, 1])
    return bits


def _token_intervals(frequency: Words) -> tuple[State, State]:
    """Start and length of the interval of each token, by pair."""
    f = frequency.astype(np.uint32)
    return f.cumsum(-1, dtype=np.uint32) - f, f


def _token_bits(frequency: Words) -> NDArray[np.float32]:
    """Logarithm of the probability of each token, by pair."""
    bits: NDArray[np.float32] = np.log2(frequency.astype(np.float32) / (1 << 12))
    return bits


def _intervals(
    start: NDArray[Any], length: NDArray[Any], index: NDArray[np.intp] | None, bits: int
) -> State:
    """(4, symbols): length of each interval, limit of the states, what is beside it, start.

    Of the intervals of a table, if an index says which.
    """
    K = np.empty((4, len(start) if index is None else len(index)), np.uint32)
    if index is None:
        K[0], K[3] = length, start
    else:
        length.take(index, out=K[0], mode="clip")
        start.take(index, out=K[3], mode="clip")
    np.left_shift(K[0], np.uint32(32 - bits), out=K[1])
    np.subtract(np.uint32(1 << bits), K[0], out=K[2])
    return K


class _RawWords:
    """The words of passes of raw bits, of so many in all, from the last to the first.

    The reader takes as many words as it needs for a pass: they must stand there, filled up with
    the bits that are asked for later.
    """

    def __init__(self, bits: int) -> None:
        self._start = bits
        self._later = np.zeros(-bits % 16, np.uint8)

    def of(self, one: Raw) -> Words:
        """Those of the pass before the last one."""
        self._start -= one.size
        bits = np.concatenate([one.bits(), self._later])
        first = -self._start % 16  # what the words of the passes before are filled up with
        self._later = bits[:first]
        return np.packbits(bits[first:]).view(">u2").astype(np.uint16)


class RansWriter:
    """Collects passes of symbols and raw bits, then codes them all backward.

    What is collected is kept small, a byte or two a symbol: of a picture that can hardly be
    compressed there is a symbol for every sample, until the end.
    """

    def __init__(self) -> None:
        self._passes = Passes()
        self._raw_bits = 0
        self._made = _Made()
        self.bits = 0.0

    def symbols(self, start: Words, frequency: Words, bits: int) -> None:
        """Add one pass: each symbol is the interval [start, start + frequency)/2^bits."""
        if len(start):
            self._passes.add(Symbols(start.tobytes(), frequency.tobytes(), bits))
            self.bits -= float(np.log2(frequency.astype(np.float32) / (1 << bits)).sum())

    def flags(self, rows: NDArray[np.intp], flags: NDArray[np.bool_], zero: Words) -> Flags:
        """Add one pass of binary symbols, and return it.

        Parameters
        ----------
        rows : ndarray
            Which distribution each has.
        flags : ndarray
            The symbols.
        zero : ndarray
            Probability of a 0, of 65536, by row; kept, and not to be changed.
        """
        number = rows << 1
        number |= flags
        self.bits -= float(np.add.reduce(self._made(_flag_bits, zero).take(number)))
        one = Flags(number.astype(type_of(zero)).tobytes(), zero)
        self._passes.add(one)
        return one

    def tokens(self, index: NDArray[np.intp], behind: Flags, frequency: Words) -> None:
        """Add one pass of tokens, one behind each 1 of a pass of flags.

        Parameters
        ----------
        index : ndarray
            Half the row of each 1 times TOKENS, and the token.
        behind : Flags
            What `flags` returned: two rows of flags have one distribution of tokens.
        frequency : (pairs, TOKENS) ndarray
            Length of each token's interval, of 4096, one after the other; kept, and not to be
            changed.
        """
        if len(index):
            token = index.astype(np.uint8) & (TOKENS - 1)
            self._passes.add(Tokens(token.tobytes(), behind, frequency))
            self.bits -= float(np.add.reduce(self._made(_token_bits, frequency).take(index)))

    def among(self, tokens: NDArray[np.integer[Any]], frequency: Words) -> None:
        """Add one pass of tokens of one distribution.

        Parameters
        ----------
        tokens : ndarray
        frequency : (TOKENS,) ndarray
            Length of each one's interval, of 4096, one after the other; kept, and not to be
            changed.
        """
        if len(tokens):
            self._passes.add(Among(tokens.astype(np.uint8).tobytes(), frequency))
            bits = np.log2(frequency.take(tokens).astype(np.float32) / (1 << 12))
            self.bits -= float(bits.sum())

    def raw(self, bits: Bits) -> int:
        """Add raw bits (0 or 1), as the reader will ask for them; return their pass."""
        self.bits += len(bits)
        self._raw_bits += len(bits)
        return self._passes.add(Raw(np.packbits(bits).tobytes(), len(bits)))

    def late(self, groups: list[list[int]], lanes: int) -> tuple[int, Bits]:
        """Take the last groups of passes of raw bits out again, as many as coders' ends hold.

        Parameters
        ----------
        groups : list of list of int
            Passes that stand in the stream together, or not at all.
        lanes : int
            Coders, of which each is left with a state that holds 16 bits.

        Returns
        -------
        count : int
            Groups that were taken.
        bits : ndarray
            Of these, in their order.
        """
        taken: list[Bits] = []
        room, count = 16 * lanes, 0
        for passes in reversed(groups):
            found = [self._raw(number) for number in passes]
            room -= sum(one.size for one in found)
            if room < 0:
                break
            taken = [one.bits() for one in found] + taken
            for number, one in zip(passes, found, strict=True):
                self._passes[number] = Raw(b"", 0)
                self._raw_bits -= one.size
            count += 1
        return count, np.concatenate(taken) if taken else np.empty(0, np.uint8)

    def _raw(self, number: int) -> Raw:
        one = self._passes[number]
        if not isinstance(one, Raw):
            raise TypeError("a pass of symbols, not of raw bits")
        return one

    def _last(self) -> list[Pass]:
        """Take the last passes out: some that have the same tables."""
        some: list[Pass] = []
        zero = frequency = None
        symbols = 0
        while self._passes and symbols < _ALIKE:
            one = self._passes.last()
            if isinstance(one, Flags):
                if zero is not None and one.zero is not zero:
                    break
                zero = one.zero
                symbols += len(one.kept)
            elif isinstance(one, Tokens):
                if frequency is not None and one.frequency is not frequency:
                    break
                if zero is not None and one.behind.zero is not zero:
                    break
                zero, frequency = one.behind.zero, one.frequency
            some.append(self._passes.pop())
        return some[::-1]

    def _symbols(self, some: list[Pass]) -> list[tuple[State, int] | Raw]:
        """What `_intervals` has of each of some passes, and bits of the whole; raw bits as are."""
        flags = [one for one in some if isinstance(one, Flags)]
        tokens = [one for one in some if isinstance(one, Tokens)]
        F = T = np.empty((4, 0), np.uint32)
        if flags:
            number = _numbers(flags)
            F = _intervals(*self._made(_flag_intervals, flags[0].zero), number.astype(np.intp), 16)
        if tokens:
            number = _numbers([one.behind for one in tokens])
            ones = ((number & 1) != 0).nonzero()[0]
            index = (number.take(ones) >> 2).astype(np.intp)
            index *= TOKENS
            index += np.frombuffer(b"".join([one.token for one in tokens]), np.uint8)
            T = _intervals(*self._made(_token_intervals, tokens[0].frequency), index, 12)
        found: list[tuple[State, int] | Raw] = []
        for one in some:
            if isinstance(one, Flags):
                found.append((F[:, : one.size], 16))
                F = F[:, one.size :]
            elif isinstance(one, Tokens):
                found.append((T[:, : len(one.token)], 12))
                T = T[:, len(one.token) :]
            elif isinstance(one, Among):
                index = np.frombuffer(one.token, np.uint8).astype(np.intp)
                found.append((_intervals(*_token_intervals(one.frequency), index, 12), 12))
            elif isinstance(one, Symbols):
                start = np.frombuffer(one.start, np.uint16)
                frequency = np.frombuffer(one.frequency, np.uint16)
                found.append((_intervals(start, frequency, None, one.bits), one.bits))
            else:
                found.append(one)
        return found

    def finish(self, lanes: int, tail: Bits) -> bytes:
        """Code everything, and forget it; states (lanes x 4 bytes, little-endian), then the words.

        Parameters
        ----------
        lanes : int
        tail : ndarray of bits
            At most 16 a lane: what the reader has left when it has read all.
        """
        filled = np.zeros(16 * lanes, np.uint8)
        filled[: len(tail)] = tail
        state = np.packbits(filled).view(">u2").astype(np.uint32) + LOW
        raw = _RawWords(self._raw_bits)
        done: list[Words] = []
        blocks: list[NDArray[np.unsignedinteger[Any]]] = []
        while self._passes:
            for item in reversed(self._symbols(self._last())):
                if isinstance(item, Raw):
                    blocks.append(raw.of(item))
                    continue
                K, bits = item
                if lanes <= few.LANES:
                    states = state.tolist()
                    blocks.append(few.backward(states, K[3].tolist(), K[0].tolist(), bits))
                    state = np.array(states, np.uint32)
                    continue
                rest = K.shape[1] % lanes
                whole = K.shape[1] - rest
                rows = K[:, :whole].reshape(4, -1, lanes).swapaxes(0, 1)[::-1]
                for part, limit, gap, first in itertools.chain([K[:, whole:]][: rest > 0], rows):
                    x = state[: len(part)]
                    full = (x >= limit).nonzero()[0]
                    if len(full):
                        low = x.take(full)
                        blocks.append(low)
                        x[full] = low >> 16
                    moved = x // part
                    moved *= gap
                    moved += first
                    x += moved
            if len(blocks) > _BLOCKS:
                done.append(_joined(blocks))
                blocks = []
        done.append(_joined(blocks))
        words = (x.astype("<u2", copy=False).data for x in reversed(done))
        return b"".join([state.astype("<u4").tobytes(), *words])


def _joined(blocks: list[NDArray[np.unsignedinteger[Any]]]) -> Words:
    """Words that were written backward, the low halves of larger ones, in the order of reading."""
    blocks.append(np.empty(0, np.uint16))
    return np.concatenate(blocks[::-1], dtype=np.uint16, casting="unsafe")


def _numbers(passes: list[Flags]) -> NDArray[np.unsignedinteger[Any]]:
    """Twice the row, and the symbol, of all flags of some passes."""
    return np.frombuffer(b"".join([one.kept for one in passes]), type_of(passes[0].zero))
