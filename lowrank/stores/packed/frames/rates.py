"""What levels are expected to cost: how the encoder chooses among them before it codes them."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from lowrank.layouts.lapped import SIDE
from lowrank.stores.packed.frames import models
from lowrank.stores.packed.patches.contexts import UNIT, rows_of

BIT = 0.075
"""What a bit is worth, in squared steps."""
_MOST = np.float32(60)
_FREQUENCY, _PLACE, _PLANE = np.float32(0.115), np.float32(0.012), np.float32(0.16)
"""What neighbours in frequency, in place and from plane to plane say of a magnitude."""


@cache
def rates() -> NDArray[np.float32]:
    """(2, 32, LEVELS): squared steps that each level costs, by quantiser and row."""
    return models.bits() * np.float32(BIT)


def expected_rows(C: NDArray[np.float32]) -> NDArray[np.uint8]:
    """About the context row that each coefficient will have, from all of its neighbours.

    Parameters
    ----------
    C : (SIZE, rows, maps, columns) ndarray
        Coefficients, in steps.
    """
    size = np.minimum(np.abs(C), _MOST)
    size[size < np.float32(0.4)] = 0
    e = np.zeros_like(size)
    grid, out = size.reshape(SIDE, SIDE, *size.shape[1:]), e.reshape(SIDE, SIDE, *e.shape[1:])
    out[1:] += grid[:-1]
    out[:-1] += grid[1:]
    out[:, 1:] += grid[:, :-1]
    out[:, :-1] += grid[:, 1:]
    e *= _FREQUENCY
    for axis, weight in ((1, _PLACE), (3, _PLACE), (2, _PLANE)):
        a, b = np.moveaxis(size, axis, 0), np.moveaxis(e, axis, 0)
        b[1:] += weight * a[:-1]
        b[:-1] += weight * a[1:]
    e *= np.float32(UNIT)
    return rows_of(e).astype(np.uint8)
