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
        *(402, 1393, 1735, 2042, 2181, 2877, 4217, 5083, 8092, 10296, 14462),
        *(17709, 22949, 30294, 36411, 41461, 46583, 51251, 54485, 56768, 58824, 60441),
        *(60561, 60838, 63201, 63201, 64279, 64316, 64434, 65152, 65152, 65441),
    ),
    (
        *(684, 1484, 1959, 2143, 3101, 3881, 5206, 6087, 8703, 11059, 14836),
        *(18482, 23930, 30048, 35539, 42755, 47516, 51524, 55190, 58160, 60430, 61859),
        *(62521, 63203, 63703, 64267, 64657, 64673, 64922, 65233, 65233, 65392),
    ),
)
# Share of tokens by quantiser and pair of rows, of about 768.
TOKENS_OF = (
    (
        (658, 50, 9, 4, 1, 4, 1, 0, 0, 1, 0, 0, 0, 0, 0, 39),
        (750, 18),
        (764, 3),
        (748, 9, 9),
        (755, 10, 2),
        (751, 14, 2),
        (722, 40, 3, 1, 1, 1),
        (624, 123, 17, 3, 1),
        (452, 211, 72, 22, 6, 2, 1, 1),
        (272, 205, 138, 74, 39, 20, 10, 4, 3, 1, 1, 1, 0, 0, 0, 1),
        (165, 144, 126, 93, 72, 55, 37, 25, 17, 11, 8, 5, 4, 2, 2, 5),
        (102, 97, 86, 78, 63, 61, 49, 42, 35, 29, 23, 20, 16, 13, 12, 43),
        (75, 78, 63, 59, 52, 52, 47, 42, 42, 33, 30, 27, 22, 20, 21, 105),
        (89, 72, 74, 66, 65, 59, 50, 48, 40, 35, 27, 24, 21, 17, 16, 66),
        (99, 97, 73, 63, 67, 58, 47, 38, 36, 36, 24, 22, 16, 12, 14, 65),
        (71, 69, 67, 56, 54, 52, 38, 38, 43, 39, 24, 19, 22, 14, 13, 147),
    ),
    (
        (737, 17, 2, 2, 1, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 6),
        (755, 13),
        (760, 8),
        (756, 12),
        (752, 16),
        (733, 33, 1),
        (674, 88, 6),
        (552, 184, 27, 4, 1),
        (368, 261, 97, 30, 8, 3, 1),
        (221, 213, 144, 88, 50, 25, 13, 6, 3, 2, 1),
        (135, 146, 120, 101, 77, 60, 42, 28, 20, 12, 8, 6, 4, 2, 1, 5),
        (77, 90, 89, 78, 68, 63, 53, 46, 40, 31, 26, 21, 17, 15, 11, 42),
        (47, 63, 55, 57, 52, 45, 42, 46, 37, 35, 30, 30, 27, 26, 23, 155),
        (80, 67, 82, 64, 56, 56, 55, 41, 33, 27, 24, 22, 22, 19, 17, 100),
        (122, 81, 75, 65, 61, 61, 48, 36, 28, 24, 22, 19, 21, 15, 14, 78),
        (89, 84, 80, 61, 51, 48, 37, 35, 26, 23, 21, 22, 17, 16, 14, 144),
    ),
)
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
