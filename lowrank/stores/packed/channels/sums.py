"""Sums of outer products, the same bits on every machine.

The vectors come from elementwise IEEE arithmetic in a fixed order. Each is rounded to
integers, as finely as keeps every partial sum of the product below 2^53: then the
product of matrices is exact in float64, whatever the order of its sums.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_BITS = 52
_SLAB = 1 << 18
"""Entries of a product that are made at a time."""


class Outer:
    """The matrix U V^T of columns U (m, k) and V (n, k), k >= 0.

    Attributes
    ----------
    rank : int
        Columns, k.
    unit : float
        A power of two: the matrix is `unit` times an integer one.
    """

    def __init__(self, U: Floats, V: Floats) -> None:
        largest = [np.abs(X).max(axis=0, initial=0.0) for X in (U, V)]
        bound = sum((largest[0] * largest[1]).tolist())
        exponents = [np.frexp(x)[1] for x in largest]
        room = _BITS - math.frexp(bound)[1]
        # Of `room` bits below the unit each vector gets half, more where it is smaller.
        left = (room + exponents[1] - exponents[0]) // 2
        self.unit = math.ldexp(1.0, -room)
        self.rank = U.shape[1]
        self._U = np.rint(np.ldexp(U, left))
        self._Vt = np.ascontiguousarray(np.rint(np.ldexp(V, room - left)).T)

    def slabs(self) -> Iterator[tuple[slice, Floats]]:
        """Rows of the matrix, some at a time."""
        m, n = len(self._U), self._Vt.shape[1]
        rows = max(_SLAB // n, 1)
        for top in range(0, m, rows):
            part = slice(top, min(top + rows, m))
            product = self._U[part] @ self._Vt
            product *= self.unit
            yield part, product

    def whole(self) -> Floats:
        """All of the matrix."""
        return np.concatenate([rows for _, rows in self.slabs()])
