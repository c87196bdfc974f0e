"""The basis across the frames: one column for each plane, quantised and entropy-coded.

An entry of u_k, times sigma_k, is a coefficient of an orthonormal expansion of A like any
sample of a plane: it has a quantiser as fine, 2^-e with e the least that makes it so. A
column is coded as it is or as differences from frame to frame, its low bits raw; where the
rest of it is large, neighbours in time are large, too.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import FormatError
from lowrank.stores.packed.coding.range_coder import BitReader, BitWriter
from lowrank.stores.packed.coding.rans import RansReader
from lowrank.stores.packed.coding.ranswriter import RansWriter
from lowrank.stores.packed.patches.contexts import CAP, UNIT, rows_of
from lowrank.stores.packed.patches.phases import Reader, Writer, collapse, expand

Integers = NDArray[np.int64]
SHARE = 0.9
"""Quantiser of a column's entry, in steps over sigma."""
FINEST = 36
"""Largest exponent."""
_SMALL = 2
"""Octaves of the mean magnitude that are not raw bits."""


class Column:
    """How a column is coded.

    Attributes
    ----------
    exponent : int
        Entries are in units of 2^-exponent.
    differences : bool
    shift : int
        Low bits sent raw.
    size : int
        Mean magnitude of what is left, in quarters.
    """

    def __init__(self, exponent: int, differences: bool, shift: int, size: int) -> None:
        self.exponent, self.differences = exponent, differences
        self.shift, self.size = shift, size


def unit_of(columns: list[Column] | None) -> float:
    """A power of two of which all entries are multiples; 1 of no basis."""
    return math.ldexp(1.0, -max(x.exponent for x in columns)) if columns else 1.0


def exponent_of(step: float, sigma: float) -> int:
    """The exponent of a column's quantiser."""
    return min(max(int(np.ceil(np.log2(max(sigma, 1e-300) / (SHARE * step)))), 0), FINEST)


def plan(entries: Integers, exponents: list[int]) -> list[Column]:
    """How each column of (N, K) integers is best coded."""
    columns = []
    for k, exponent in enumerate(exponents):
        u = entries[:, k]
        d = np.diff(u, prepend=0)
        differences = bool(np.log2(1.0 + np.abs(d)).sum() < np.log2(1.0 + np.abs(u)).sum())
        size = np.abs(d if differences else u)
        mean, most = float(size.mean()), int(size.max())
        shift = max(int(np.floor(np.log2(mean))) - _SMALL, most.bit_length() - 19, 0) if mean else 0
        level = min(round(4 * mean / (1 << shift)), 63)
        columns.append(Column(exponent, differences, shift, level))
    return columns


def write_columns(out: BitWriter, columns: list[Column]) -> None:
    """The columns' own fields, in the header."""
    exponent = size = 0
    for x in columns:
        out.signed(x.exponent - exponent, "exponent")
        out.bit(int(x.differences), "differences")
        out.number(x.shift, "shift")
        out.signed(x.size - size, "size")
        exponent, size = x.exponent, x.size


def read_columns(read: BitReader, count: int) -> list[Column]:
    """What write_columns wrote."""
    columns = []
    exponent = size = 0
    for _ in range(count):
        exponent += read.signed("exponent")
        differences = bool(read.bit("differences"))
        shift = read.number("shift")
        size += read.signed("size")
        if not (0 <= exponent <= FINEST and shift <= FINEST and 0 <= size < 64):
            raise FormatError("packed stream: impossible column of the basis")
        columns.append(Column(exponent, differences, shift, size))
    return columns


def _rows(column: Column, count: int, known: NDArray[np.float32] | None) -> NDArray[np.intp]:
    """Context rows of every second entry, the others being unknown or `known`."""
    e = np.full(count, column.size / 4, np.float32)
    if known is not None:
        before, after = known[:count], known[1 : count + 1]
        if len(after) < count:
            after = np.append(after, before[-1:])
        e = e * np.float32(0.5) + (before + after) * np.float32(0.25)
    e *= np.float32(UNIT)
    return rows_of(np.rint(e)).astype(np.intp)


def write_entries(
    rans: RansWriter, coder: Writer, entries: Integers, columns: list[Column]
) -> None:
    """The entries of all columns."""
    for k, column in enumerate(columns):
        v = np.diff(entries[:, k], prepend=0) if column.differences else entries[:, k]
        size = np.abs(v)
        high = size >> column.shift
        known = None
        for start in (0, 1):
            part = high[start::2]
            rows = _rows(column, len(part), known)
            values = np.where(v[start::2] < 0, -part, part)
            hit = part.nonzero()[0]
            coder.collect(rows, part > 0, hit, values[hit].astype(np.int32))
            known = np.minimum(part, CAP).astype(np.float32)
        coder.models.learn()
        if column.shift:
            rans.raw(expand(size, np.full(len(size), column.shift, np.int64)))
            small = (high == 0) & (size > 0)
            rans.raw((v[small] < 0).astype(np.uint8))


def _check(v: Integers, most: int) -> None:
    if int(np.abs(v).max()) > most:
        raise FormatError("packed stream: an entry of the basis is out of range")


def read_entries(rans: RansReader, coder: Reader, count: int, columns: list[Column]) -> Integers:
    """What write_entries wrote: (count, K)."""
    entries = np.zeros((count, len(columns)), np.int64)
    for k, column in enumerate(columns):
        v = np.zeros(count, np.int64)
        known = None
        for start in (0, 1):
            part = v[start::2]
            rows = _rows(column, len(part), known)
            hit, values = coder.phase(rows, None, signs=True)
            part[hit] = values
            known = np.minimum(np.abs(part), CAP).astype(np.float32)
        coder.models.learn()
        if column.shift:
            low = collapse(rans.raw(count * column.shift), np.full(count, column.shift, np.int64))
            small = ((v == 0) & (low > 0)).nonzero()[0]
            negative = v < 0
            negative[small] = rans.raw(len(small)).astype(bool)
            v = (np.abs(v) << column.shift) + low
            np.negative(v, where=negative, out=v)
        _check(v, 4 << column.exponent)
        if column.differences:
            v = np.cumsum(v)
            _check(v, 2 << column.exponent)
        entries[:, k] = v
    return entries
