"""Passes of symbols, kept small until they are all there, and taken out again from the last.

Small maps have passes of a hundred symbols or two, and an object and a table for each would take
more memory than the symbols. Only the last passes stand as they came; those before are in blocks,
pickled. Their tables, which most of them share, are deflated, too: models learn little from pass to
pass, so that most of a table is as in the one before.
"""

from __future__ import annotations

import pickle
import zlib
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np

from lowrank.stores.packed.coding.rans import Bits, Words

_MANY = 1 << 8  # passes of a block


class Flags(NamedTuple):
    """One pass of binary symbols: twice the row of each, and the symbol; zeros by row."""

    kept: bytes
    zero: Words

    @property
    def size(self) -> int:
        """How many symbols there are."""
        return len(self.kept) // type_of(self.zero)().itemsize


class Tokens(NamedTuple):
    """One pass of tokens, each behind a 1 of a pass of flags, the last one before it."""

    token: bytes
    behind: Flags
    frequency: Words


class Among(NamedTuple):
    """One pass of tokens, all of one distribution."""

    token: bytes
    frequency: Words


class Symbols(NamedTuple):
    """One pass of intervals as they are, each of two numbers of 16 bits."""

    start: bytes
    frequency: bytes
    bits: int


class Raw(NamedTuple):
    """One pass of raw bits, eight to a byte."""

    packed: bytes
    size: int

    def bits(self) -> Bits:
        """One bit a number."""
        return np.unpackbits(np.frombuffer(self.packed, np.uint8), count=self.size)


Pass = Flags | Tokens | Among | Symbols | Raw


def type_of(zero: Words) -> type[np.unsignedinteger[Any]]:
    """The type of twice a row and a flag, of so many rows."""
    return np.uint8 if len(zero) <= 1 << 7 else np.uint16


class Passes:
    """Passes in their order, the last of them at hand."""

    def __init__(self) -> None:
        self._blocks: list[_Block] = []
        self._before = 0
        self._last: list[Pass] = []

    def __len__(self) -> int:
        return self._before + len(self._last)

    def add(self, one: Pass) -> int:
        """Put a pass behind the others; its number."""
        if len(self._last) >= _MANY:
            self._blocks.append(_Block.of(self._last))
            self._before += len(self._last)
            self._last = []
        self._last.append(one)
        return len(self) - 1

    def __getitem__(self, number: int) -> Pass:
        self._reach(number)
        return self._last[number - self._before]

    def __setitem__(self, number: int, one: Pass) -> None:
        self._reach(number)
        self._last[number - self._before] = one

    def last(self) -> Pass:
        """The last pass."""
        return self[len(self) - 1]

    def pop(self) -> Pass:
        """Take the last pass out."""
        one = self.last()
        del self._last[-1]
        return one

    def _reach(self, number: int) -> None:
        """Have passes from one on as they came."""
        while number < self._before:
            some = self._blocks.pop().made()
            self._before -= len(some)
            self._last[:0] = some


class _Block(NamedTuple):
    """Some passes.

    Attributes
    ----------
    passes : bytes
        Pickled, but for their tables.
    sizes : list of int
        Bytes of each table, one of which several passes may have.
    tables : bytes
        All of them, deflated.
    """

    passes: bytes
    sizes: list[int]
    tables: bytes

    @classmethod
    def of(cls, passes: list[Pass]) -> _Block:
        tables: list[pickle.PickleBuffer] = []
        data = pickle.dumps(passes, protocol=5, buffer_callback=tables.append)
        raw = [table.raw() for table in tables]
        return cls(data, [x.nbytes for x in raw], zlib.compress(b"".join(raw), zlib.Z_BEST_SPEED))

    def made(self) -> list[Pass]:
        """The passes."""
        tables, at = zlib.decompress(self.tables), accumulate(self.sizes, initial=0)
        each = [tables[start:end] for start, end in pairwise(at)]
        passes: list[Pass] = pickle.loads(self.passes, buffers=each)  # noqa: S301 - of our own
        return passes
