"""The levels of some maps' coefficients, by the trellis of each place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank.stores.packed.frames import trellis
from lowrank.stores.packed.frames.edges import Edges
from lowrank.stores.packed.frames.rates import expected_rows, rates

Quantised = tuple[tuple[NDArray[np.intp], ...], list[int], NDArray[np.float32], NDArray[Any]]
_WAITING = np.uint8(128)
"""Added to the context row of a coefficient that has no level yet."""


def levels_of(
    C: NDArray[np.float32], orders: list[list[int]], edges: Edges, worth: float = 1.0
) -> NDArray[np.signedinteger[Any]]:
    """What the levels of (SIZE, rows, maps, columns) coefficients stand for, in half steps.

    A bit is worth so many times what it usually is. Those of the first quantiser are even, of the
    second odd: no more needs to be known of a level.
    In 16 bits they stand where the coefficients did: a group is most of an encoder's memory.
    """
    expected = expected_rows(C)
    expected |= _WAITING
    most = max(float(C.max()), -float(C.min()))
    narrow = most < trellis.NARROW
    grids = C.view(np.int16)[..., ::2] if narrow else np.zeros(C.shape, np.int32)
    for here, _, x, values in _quantised(C, expected, orders, edges, worth):
        grids[here] = values
        expected[here] = 0
        del x, values  # before the next ones
    for levels, known in zip(grids, expected, strict=True):
        np.copyto(levels, 0, where=known >= _WAITING)
    return grids


def lost_of(C: NDArray[np.float32], orders: list[list[int]], edges: Edges) -> NDArray[np.float64]:
    """Squared error of such levels in each map, but in first components, in squared steps."""
    error = np.zeros(C.shape[2])
    expected = expected_rows(C)
    expected |= _WAITING
    for here, part, x, values in _quantised(C, expected, orders, edges, 1.0):
        expected[here] = 0
        gap = values * np.float32(0.5)
        gap -= x
        gap *= gap
        error[part] += gap.sum((0, 1, 3), dtype=np.float64)
        del x, values, gap  # before the next ones
    for x, known in zip(C[1:], expected[1:], strict=True):
        error += np.square(np.where(known >= _WAITING, x, 0)).sum((0, 2), dtype=np.float64)
    return error


def _quantised(
    C: NDArray[np.float32], expected: NDArray[np.uint8], orders: list[list[int]], edges: Edges,
    worth: float,
) -> Iterator[Quantised]:  # fmt: skip
    """Where levels stand, of which maps, the coefficients, and the levels in half steps."""
    _, rows, _, columns = C.shape
    alike: dict[tuple[int, ...], list[int]] = {}
    for c, order in enumerate(orders):
        alike.setdefault(tuple(order), []).append(c)
    alike.pop((), None)
    costs = rates() if worth == 1 else rates() * np.float32(worth)
    for kept, maps in alike.items():
        for down, across, order in edges.parts(kept, rows, columns):
            each = max(1, trellis.LANES // (len(down) * len(across)))
            for some in range(0, len(maps), each):
                part = maps[some : some + each]
                here = np.ix_(order, down, part, across)
                x = C[here]
                rows_of = expected[here].reshape(len(order), -1)
                rows_of ^= _WAITING
                q, second = trellis.quantise(x.reshape(len(order), -1), rows_of, costs)
                del rows_of
                values = trellis.values_of(q, second).reshape(x.shape)
                del q, second
                yield here, part, x, values
                del x, values  # before the next ones
