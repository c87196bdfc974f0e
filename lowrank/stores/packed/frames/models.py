"""The models of planes: what they expect before they have seen anything.

As those of photographs, with a set of rows for each of the two quantisers.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from lowrank.stores.packed.coding.tokens import ESCAPE, LENGTH
from lowrank.stores.packed.frames.trellis import LEVELS
from lowrank.stores.packed.patches.models import TOTAL, FlagModel, token_model
from lowrank.stores.packed.patches.phases import Statistics

SECOND = 34
"""Rows from those of the first quantiser to those of the second."""
PADS = (32, 32 + SECOND)

# Share of non-zeros by row and quantiser, of 65536.
FLAGS = (
    (
        *(200, 575, 926, 926, 1281, 1478, 2968, 3258, 5213, 7719, 11597),
        *(15905, 22041, 29424, 35654, 41550, 46345, 50260, 54267, 57063, 58986, 60657),
        *(61412, 62096, 63211, 63631, 64150, 64526, 65011, 65069, 65164, 65457),
    ),
    (
        *(1192, 2233, 3215, 3215, 4202, 4790, 7035, 8832, 11979, 15500, 19786),
        *(24448, 29778, 35320, 41254, 46113, 50190, 54418, 57403, 59604, 61383, 62611),
        *(63356, 63738, 64210, 64568, 64568, 64885, 65045, 65045, 65337, 65412),
    ),
)
# Share of tokens by quantiser and pair of rows, of about 768.
TOKENS_OF = (
    (
        (711, 29, 5, 2, 1, 2, 0, 0, 0, 1, 0, 0, 1, 0, 0, 16),
        (760, 8),
        (763, 5),
        (756, 8, 3),
        (758, 9, 1),
        (752, 13, 2),
        (721, 42, 4, 1, 1),
        (632, 111, 20, 4, 1),
        (464, 195, 72, 23, 8, 3, 1, 1),
        (277, 194, 129, 75, 42, 22, 13, 6, 4, 2, 1, 1, 0, 0, 0, 1),
        (161, 139, 118, 91, 70, 53, 38, 29, 20, 13, 11, 7, 5, 3, 3, 7),
        (99, 87, 82, 71, 64, 59, 51, 43, 36, 30, 25, 21, 18, 15, 16, 52),
        (76, 69, 62, 58, 53, 51, 43, 43, 41, 34, 31, 27, 24, 20, 21, 114),
        (87, 73, 70, 69, 61, 58, 46, 47, 38, 34, 29, 27, 23, 18, 17, 70),
        (88, 84, 79, 66, 71, 59, 51, 40, 35, 34, 25, 24, 18, 15, 12, 66),
        (63, 60, 63, 56, 57, 48, 46, 41, 39, 31, 26, 25, 22, 17, 18, 156),
    ),
    (
        (758, 5, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2),
        (764, 4),
        (765, 3),
        (764, 4),
        (761, 7),
        (745, 22, 1),
        (683, 80, 5),
        (540, 189, 32, 5, 1),
        (361, 255, 101, 33, 12, 4, 1),
        (212, 213, 140, 87, 54, 29, 16, 8, 4, 3, 2, 1),
        (123, 138, 119, 101, 76, 60, 44, 32, 24, 16, 11, 7, 5, 3, 2, 5),
        (74, 87, 84, 75, 68, 61, 53, 46, 40, 33, 29, 23, 19, 15, 13, 50),
        (42, 54, 52, 51, 50, 45, 43, 42, 37, 37, 33, 31, 29, 25, 26, 170),
        (65, 67, 67, 63, 58, 52, 54, 42, 33, 29, 27, 27, 24, 20, 19, 123),
        (85, 85, 75, 69, 58, 53, 51, 41, 31, 25, 23, 22, 21, 16, 15, 97),
        (82, 74, 68, 64, 53, 45, 44, 35, 29, 26, 22, 21, 16, 19, 14, 156),
    ),
)
_NONE = ((768,),)
# Of the lengths of what escapes them, in one distribution.
LENGTHS = ((180, 150, 130, 110, 80, 50, 30, 16, 8, 4, 3, 2, 2, 1, 1, 1),)


def fresh(version: int = 1) -> Statistics:
    """The models, before anything was coded."""
    lengths = token_model(LENGTHS) if version else None
    flags = FlagModel((*FLAGS[0], 0, 0, *FLAGS[1], 0, 0), PADS)
    tokens = token_model(TOKENS_OF[0] + _NONE + TOKENS_OF[1] + _NONE)
    return Statistics(flags, tokens, lengths)


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
