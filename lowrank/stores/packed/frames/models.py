"""The models of planes: what they expect before they have seen anything.

As those of photographs, with a set of rows for each of the two quantisers.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from lowrank.stores.packed.frames.trellis import LEVELS
from lowrank.stores.packed.patches.models import TOTAL, FlagModel, token_model
from lowrank.stores.packed.patches.phases import ESCAPE, LENGTH, Statistics

SECOND = 34
"""Rows from those of the first quantiser to those of the second."""
PADS = (32, 32 + SECOND)

# Share of non-zeros by row and quantiser, of 65536.
FLAGS = (
    (
        *(24, 52, 108, 178, 328, 573, 891, 1461, 2375, 3877, 6348),
        *(9016, 13709, 19660, 25418, 31960, 37413, 42704, 46859, 50793, 53581, 56431),
        *(57995, 59976, 61244, 62534, 63214, 64060, 64447, 64726, 65117, 65122),
    ),
    (
        *(24, 52, 108, 178, 328, 573, 891, 1461, 2375, 3877, 6348),
        *(9016, 13709, 19660, 25418, 31960, 37413, 42704, 46859, 50793, 53581, 56431),
        *(57995, 59976, 61244, 62534, 63214, 64060, 64447, 64726, 65117, 65122),
    ),
)
# Share of tokens by pair of rows, of about 768, and quantiser.
_T = (
    (602, 83, 13, 10, 5, 2, 4, 2, 2, 4, 2, 2, 2, 1, 0, 35),
    (729, 37),
    (745, 21, 1),
    (740, 26, 1),
    (739, 26, 2),
    (726, 36, 3, 1),
    (704, 56, 6, 1),
    (625, 117, 19, 4, 1, 1),
    (485, 192, 61, 19, 6, 2, 1, 1),
    (338, 207, 111, 55, 28, 14, 7, 3, 2, 1, 1, 1, 0, 0, 0, 1),
    (233, 171, 119, 81, 54, 36, 24, 16, 10, 6, 5, 3, 2, 1, 1, 5),
    (151, 127, 98, 83, 64, 56, 42, 32, 26, 20, 14, 11, 8, 8, 4, 25),
    (118, 101, 85, 75, 62, 51, 44, 37, 32, 25, 23, 17, 13, 13, 11, 59),
    (147, 112, 93, 75, 66, 53, 42, 32, 28, 19, 16, 15, 10, 10, 7, 41),
    (150, 137, 95, 85, 61, 51, 37, 29, 23, 15, 17, 10, 12, 7, 7, 31),
    (143, 124, 104, 80, 63, 50, 39, 31, 22, 19, 14, 12, 8, 12, 6, 39),
)
TOKENS_OF = (_T, _T)
_NONE = ((768,),)


def fresh() -> Statistics:
    """The models, before anything was coded."""
    flags = FlagModel((*FLAGS[0], 0, 0, *FLAGS[1], 0, 0), PADS)
    return Statistics(flags, token_model(TOKENS_OF[0] + _NONE + TOKENS_OF[1] + _NONE))


@cache
def bits() -> NDArray[np.float32]:
    """(2, 32, LEVELS): bits of each level by quantiser and row, its sign among them."""
    models = fresh()
    p = models.flags.zero / TOTAL
    cost = -np.log2(models.tokens.frequency / models.tokens.total)
    level = np.arange(LEVELS)
    result = np.empty((2, 32, LEVELS), np.float32)
    for second in (0, 1):
        for i in range(32):
            row = i + SECOND * second
            shift = int(models.shift[row])
            coded = np.maximum(level - 1, 0) >> shift
            token = np.minimum(coded, ESCAPE)
            rest = np.where(
                token == ESCAPE,
                LENGTH + np.log2(coded - ESCAPE + 1.0, where=token == ESCAPE, out=np.zeros(LEVELS)),
                0,
            )
            one = -np.log2(1 - p[row]) + cost[row >> 1, token] + rest + shift + 1
            result[second, i] = np.where(level > 0, one, -np.log2(p[row]))
    return result
