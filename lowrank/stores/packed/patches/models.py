"""Adaptive models of the coefficients, in integers: no table is transmitted.

Both sides count what they have seen and derive the same probabilities. A non-zero
flag has one binary distribution for each context row; a magnitude above zero has a
token of 16 values for each pair of rows, after dropping low bits where large
magnitudes are expected.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lowrank.stores.packed.coding.tokens import STEP, TOKENS, TokenModel, limited
from lowrank.stores.packed.patches.contexts import PAD

TOTAL = 1 << 16

# Share of non-zeros by row, of 65536, in photographs.
_PRIOR = (
    *(24, 52, 108, 178, 328, 573, 891, 1461, 2375, 3877, 6348),
    *(9016, 13709, 19660, 25418, 31960, 37413, 42704, 46859, 50793, 53581, 56431),
    *(57995, 59976, 61244, 62534, 63214, 64060, 64447, 64726, 65117, 65122),
)
FLAG_WEIGHT, FLAG_LIMIT = 150 * STEP, 512 * STEP
# Low bits of |q| - 1 sent raw, by row.
SHIFT = np.array([*[0] * 25, 1, 1, 2, 2, 3, 3, 4, 4], np.int64)


# Share of tokens by pair of rows, of about 768, in photographs; zeros at the end left out.
_TOKEN_PRIOR = (
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
    (143, 124, 104, 80, 63, 50, 39, 31, 22, 19, 14, 12, 8, 12, 6, 39),
)


class FlagModel:
    """Zero or not, by context row.

    Parameters
    ----------
    prior : tuple of int
        Share of non-zeros by row, of 65536.
    pads : tuple of int
        Rows of the positions beyond the edge.
    """

    def __init__(
        self, prior: tuple[int, ...] = (*_PRIOR, 0), pads: tuple[int, ...] = (PAD,)
    ) -> None:
        ones = np.array(prior, np.int64) * FLAG_WEIGHT // TOTAL
        self._counts = np.stack([FLAG_WEIGHT - ones, ones], axis=1)
        self.pads = list(pads)
        self._pads = np.array(pads)
        self._derive(np.full(len(ones), FLAG_WEIGHT))

    def _derive(self, total: NDArray[np.int64]) -> None:
        p = self._counts[:, 0] * TOTAL
        p += total >> 1
        p //= total
        np.maximum(p, 24, out=p)
        np.minimum(p, TOTAL - 24, out=p)
        p[self._pads] = TOTAL - 1
        self.zero = p.astype(np.uint32)
        """Probability of a zero, of 65536, by row."""

    def update(self, rows: list[NDArray[np.intp]], hits: list[NDArray[np.intp]]) -> None:
        """Count maps: rows of all coefficients and of those above zero."""
        counts = self._counts
        both = np.empty((len(counts), 2), np.int64)
        all_ = np.bincount(np.concatenate(rows), minlength=len(counts))
        ones = np.bincount(np.concatenate(hits), minlength=len(counts))
        np.subtract(all_, ones, out=both[:, 0])
        both[:, 1] = ones
        both *= STEP
        counts += both
        self._derive(limited(counts, FLAG_LIMIT))


def token_model(prior: tuple[tuple[int, ...], ...] = _TOKEN_PRIOR) -> TokenModel:
    """The model of magnitudes above zero, by pairs of context rows."""
    return TokenModel(np.array([[*row, *[0] * (TOKENS - len(row))] for row in prior], np.int64))
