"""Components to the matrices that they are: elementwise IEEE arithmetic, then exact."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank.stores.packed.channels import vectors
from lowrank.stores.packed.channels.header import Header
from lowrank.stores.packed.channels.sums import Outer
from lowrank.stores.packed.channels.symbols import Integers
from lowrank.stores.packed.coding.payload import ALPHA_FINER, FRACTION

Floats = NDArray[np.float64]


def sixteenths(q: NDArray[np.number[Any]], offsets: tuple[int, int]) -> Floats:
    """Coefficients in sixteenths of a step: magnitudes less the offsets."""
    size = np.abs(q).astype(np.int64)
    table = np.array([0, *offsets], np.int64)
    signed: NDArray[Any] = np.sign(q) * (size * FRACTION - table[np.minimum(size, 2)])
    return signed.astype(np.float64)


def matrix_of(rows: list[Integers], header: Header, channel: int, height: int, width: int) -> Outer:
    """The matrix of a channel's components: elementwise IEEE arithmetic, then exact."""
    places = vectors.coefficients(height)
    q = np.array(rows, np.int64).reshape(-1, places + vectors.coefficients(width)).T
    Y = sixteenths(q, header.offsets)
    u, v = (min(x, len(rows)) for x in header.switches[channel])
    U = directions(Y[:places], height, u) * (header.step / FRACTION)
    return Outer(U, vectors.inverse(Y[places:], width, v))


def directions(Y: Floats, length: int, switch: int) -> Floats:
    """The columns whose coefficients these are, divided by the coefficients' lengths."""
    size = np.sqrt(_squares(np.abs(Y).astype(np.int64)))
    return vectors.inverse(Y, length, switch) / np.where(size > 0, size, 1.0)


def _squares(size: Integers) -> Floats:
    """Sums of squares of each column, of integers below 2^30, the same on every machine."""
    high, low = size >> 15, size & 0x7FFF
    # Each sum is an integer below 2^62; then three roundings in a fixed order.
    parts = [(x * y).sum(0).astype(np.float64) for x, y in ((high, high), (high, low), (low, low))]
    total: Floats = parts[0] * 2.0**30 + parts[1] * 2.0**16 + parts[2]
    return total


def planes_of(header: Header, sums: list[Outer]) -> list[Floats]:
    """The decoded matrices of all channels, before the colours are turned back."""
    result = [x.whole() for x in sums]
    if header.alpha:
        result[-1] /= ALPHA_FINER
    return result
