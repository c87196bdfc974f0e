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
TOGETHER = 1 << 16
"""Coefficients that are looked at at once: to add up neighbours takes several times as much."""
_MOST = np.float32(60)
_FREQUENCY, _PLACE, _PLANE = np.float32(0.115), np.float32(0.012), np.float32(0.16)
"""What neighbours in frequency, in place and from plane to plane say of a magnitude."""


@cache
def rates() -> NDArray[np.float32]:
    """(2, 32, LEVELS): squared steps that each level costs, by quantiser and row."""
    return models.bits() * np.float32(BIT)


def expected_rows(C: NDArray[np.float32], part: slice = slice(None)) -> NDArray[np.uint8]:
    """About the context row that each coefficient will have, from all of its neighbours.

    Parameters
    ----------
    C : (SIZE, rows, maps, columns) ndarray
        Coefficients, in steps.
    part : slice
        Of which maps; the others are neighbours only.
    """
    maps = C.shape[2]
    first, last, _ = part.indices(maps)
    out = np.empty((*C.shape[:2], last - first, C.shape[3]), np.uint8)
    each = max(1, TOGETHER * maps // C.size)
    for a in range(first, last, each):
        b = min(a + each, last)
        out[:, :, a - first : b - first] = _rows_of(C, a, b)
    return out


def _rows_of(C: NDArray[np.float32], a: int, b: int) -> NDArray[np.int32]:
    """Those of maps a to b - 1."""
    low, high = max(a - 1, 0), min(b + 1, C.shape[2])
    every = np.minimum(np.abs(C[:, :, low:high]), _MOST)
    every *= every >= np.float32(0.4)
    size = every[:, :, a - low : b - low]
    e = np.zeros(size.shape, np.float32)
    grid, out = size.reshape(SIDE, SIDE, *size.shape[1:]), e.reshape(SIDE, SIDE, *e.shape[1:])
    out[1:] += grid[:-1]
    out[:-1] += grid[1:]
    out[:, 1:] += grid[:, :-1]
    out[:, :-1] += grid[:, 1:]
    e *= _FREQUENCY
    place = _PLACE * size
    e[:, 1:] += place[:, :-1]
    e[:, :-1] += place[:, 1:]
    # Rows are short: they are moved all at once, with nothing where one begins or ends.
    last = place[..., -1].copy()
    place[..., -1] = 0
    e.reshape(-1)[1:] += place.reshape(-1)[:-1]
    place[..., -1] = last
    place[..., 0] = 0
    e.reshape(-1)[:-1] += place.reshape(-1)[1:]
    del place
    before, after = every[:, :, : b - 1 - low], every[:, :, a + 1 - low :]
    e[:, :, b - a - before.shape[2] :] += _PLANE * before
    e[:, :, : after.shape[2]] += _PLANE * after
    del every, size, grid, before, after
    e *= np.float32(UNIT)
    return rows_of(e)
