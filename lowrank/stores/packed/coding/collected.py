"""Passes of symbols, kept small until they are all there, and taken out again from the last.

Small maps have passes of a hundred symbols or two, and an object and a table for each would take
more memory than the symbols. Only the last passes stand as they came; those before are in blocks,
of which each has one object for what all of its passes have of a kind, and of a table no more than
what is not as in the one before: models learn little from pass to pass.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lowrank.stores.packed.coding.rans import Bits, Words
from lowrank.stores.packed.coding.tokens import TOKENS

_MANY = 1 << 9  # passes of a block


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
    """One pass of intervals as they are."""

    start: Words
    frequency: Words
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
        # Tokens are in the block of their flags.
        if not isinstance(one, Tokens) and len(self._last) >= _MANY:
            self._blocks.append(_folded(self._last))
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
            some = _unfolded(self._blocks.pop())
            self._before -= len(some)
            self._last[:0] = some


_FLAGS, _TOKENS, _AMONG, _SYMBOLS, _RAW = range(5)


class _Block(NamedTuple):
    """Some passes.

    Attributes
    ----------
    kinds : bytes
        Of the passes.
    sizes : array
        Their symbols, or raw bits.
    which : array
        The table of each, or the bits of its intervals.
    flags, tokens, others : bytes
        Their symbols, one after the other, and two tokens to a byte.
    tables : _Tables
    """

    kinds: bytes
    sizes: array[int]
    which: array[int]
    flags: bytes
    tokens: bytes
    others: bytes
    tables: _Tables


def _folded(passes: list[Pass]) -> _Block:
    kinds, sizes, which = bytearray(), array("I"), array("H")
    flags: list[bytes] = []
    tokens: list[bytes] = []
    others: list[bytes] = []
    tables: list[Words] = []
    known: dict[int, int] = {}

    def add(kind: int, size: int, table: Words | None, bits: int = 0) -> None:
        kinds.append(kind)
        sizes.append(size)
        if table is not None:
            bits = known.setdefault(id(table), len(tables))
            if bits == len(tables):
                tables.append(table)
        which.append(bits)

    for one in passes:
        if isinstance(one, Flags):
            add(_FLAGS, one.size, one.zero)
            flags.append(one.kept)
        elif isinstance(one, Tokens | Among):
            kind = _TOKENS if isinstance(one, Tokens) else _AMONG
            add(kind, len(one.token), one.frequency)
            tokens.append(one.token)
        elif isinstance(one, Raw):
            add(_RAW, one.size, None)
            others.append(one.packed)
        else:
            add(_SYMBOLS, len(one.start), None, one.bits)
            others += [one.start.tobytes(), one.frequency.tobytes()]
    return _Block(
        bytes(kinds), sizes, which, b"".join(flags), _halved(b"".join(tokens)),
        b"".join(others), _Tables.of(tables),
    )  # fmt: skip


def _unfolded(block: _Block) -> list[Pass]:
    tables, tokens = block.tables.made(), _doubled(block.tokens)
    passes: list[Pass] = []
    flag = token = other = 0
    behind: Flags | None = None
    for kind, size, which in zip(block.kinds, block.sizes, block.which, strict=True):
        if kind == _FLAGS:
            end = flag + size * type_of(tables[which])().itemsize
            behind = Flags(block.flags[flag:end], tables[which])
            passes.append(behind)
            flag = end
        elif kind == _TOKENS and behind is not None:
            passes.append(Tokens(tokens[token : token + size], behind, tables[which]))
            token += size
        elif kind == _AMONG:
            passes.append(Among(tokens[token : token + size], tables[which]))
            token += size
        elif kind == _RAW:
            end = other + (size + 7) // 8
            passes.append(Raw(block.others[other:end], size))
            other = end
        else:
            both = np.frombuffer(block.others, np.uint16, 2 * size, other)
            passes.append(Symbols(both[:size], both[size:], which))
            other += both.nbytes
    return passes


class _Tables(NamedTuple):
    """Some tables: their shapes, which rows are not as in the last one of a shape, and these."""

    shapes: list[tuple[int, ...]]
    changed: bytes
    rows: Words

    @classmethod
    def of(cls, tables: list[Words]) -> _Tables:
        last: dict[tuple[int, ...], NDArray[Any]] = {}
        shapes: dict[tuple[int, ...], tuple[int, ...]] = {}
        changed, rows = [np.empty(0, np.bool_)], [np.empty(0, np.uint16)]
        for table in tables:
            now = table.reshape(len(table), -1)
            before = last.get(shapes.setdefault(table.shape, table.shape))
            new = np.ones(len(now), np.bool_) if before is None else (now != before).any(1)
            changed.append(new)
            rows.append(now[new].ravel())
            last[table.shape] = now
        bits = np.packbits(np.concatenate(changed)).tobytes()
        return cls([shapes[table.shape] for table in tables], bits, np.concatenate(rows))

    def made(self) -> Sequence[Words]:
        """The tables."""
        last: dict[tuple[int, ...], NDArray[Any]] = {}
        changed = np.unpackbits(np.frombuffer(self.changed, np.uint8)).view(np.bool_)
        at = row = 0
        tables: list[Words] = []
        for shape in self.shapes:
            now = last[shape].copy() if shape in last else np.empty(shape, np.uint16)
            new = changed[at : at + len(now)]
            at += len(now)
            some = now[new]
            now[new] = self.rows[row : row + some.size].reshape(some.shape)
            row += some.size
            last[shape] = now
            tables.append(now)
        return tables


def _halved(tokens: bytes) -> bytes:
    """Two tokens to a byte."""
    both = np.frombuffer(tokens + bytes(len(tokens) % 2), np.uint8).reshape(-1, 2)
    return (both[:, 0] * np.uint8(TOKENS) | both[:, 1]).tobytes()


def _doubled(halved: bytes) -> bytes:
    """A token to a byte; one more at the end, where their number is odd."""
    one = np.frombuffer(halved, np.uint8)
    return np.stack([one // TOKENS, one % TOKENS], 1, dtype=np.uint8).tobytes()
