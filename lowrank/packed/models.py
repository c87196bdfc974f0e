"""Adaptive models of the coefficients, in integers: no table is transmitted.

Both sides count what they have seen and derive the same probabilities. A non-zero
flag has one binary distribution for each context row; a magnitude above zero has a
token of 16 values for each pair of rows, after dropping low bits where large
magnitudes are expected.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lowrank.packed.contexts import PAD, ROWS

Counts = NDArray[np.int64]
TOKENS = 16
TOTAL = 1 << 16

# Prior share of non-zeros by row, of 65536: c/(1 + c) at the row's centre c.
_PRIOR = tuple(round(65536 * (0.01 * 2 ** (0.4 * (r + 0.5))) / (1 + 0.01 * 2 ** (0.4 * (r + 0.5)))) for r in range(ROWS))
# Low bits of |q| - 1 sent raw, by row.
SHIFT = np.array([*[0] * 25, 1, 1, 2, 2, 3, 3, 4, 4], np.int64)


class FlagModel:
    """Zero or not, by context row."""

    def __init__(self, *, weight: int = 25, limit: int = 512) -> None:
        ones = np.array([*_PRIOR, 0], np.int64)
        self._ones = ones * weight * 16 // TOTAL
        self._all = np.full(ROWS + 1, weight * 16, np.int64)
        self._limit = limit * 16

    def zero(self) -> NDArray[np.uint32]:
        """Probability of a zero, of 65536, by row."""
        zeros = self._all - self._ones
        p = (TOTAL * zeros + self._all // 2) // self._all
        p = np.clip(p, 24, TOTAL - 24)
        p[PAD] = TOTAL - 1
        return p.astype(np.uint32)

    def update(self, rows: NDArray[np.intp], flags: NDArray[np.bool_]) -> None:
        """Count a pass; a row above the limit is halved."""
        self._all += 16 * np.bincount(rows, minlength=ROWS + 1)
        self._ones += 16 * np.bincount(rows[flags], minlength=ROWS + 1)
        while (over := self._all > self._limit).any():
            self._all[over] >>= 1
            self._ones[over] >>= 1


class TokenModel:
    """Tokens of the magnitudes above zero, by pairs of context rows."""

    def __init__(self, *, weight: int = 12, limit: int = 1024) -> None:
        rows = ROWS // 2 + 1
        counts = np.zeros((rows, TOKENS), np.int64)
        for r in range(rows):
            # Geometric, with the mean of the row's centre less what the shift drops.
            centre = max(0.01 * 2 ** (0.4 * (2 * r + 1)), 0.3) / (1 << int(SHIFT[min(2 * r, ROWS)]))
            ratio = centre / (1 + centre)
            counts[r] = [round(weight * 64 * (1 - ratio) * ratio**t) for t in range(TOKENS)]
        self._counts = counts
        self._limit = limit * 64

    def cumulative(self) -> NDArray[np.uint32]:
        """(rows, TOKENS + 1) bounds of the tokens' intervals in 0..65536."""
        total = self._counts.sum(1, keepdims=True)
        f = 1 + self._counts * (TOTAL - TOKENS) // total
        f[:, 0] += TOTAL - f.sum(1)
        result = np.zeros((len(f), TOKENS + 1), np.uint32)
        result[:, 1:] = np.cumsum(f, axis=1)
        return result

    def update(self, rows: NDArray[np.intp], tokens: NDArray[np.intp]) -> None:
        """Count a pass; a row above the limit is halved."""
        size = self._counts.size
        seen = np.bincount(rows * TOKENS + tokens, minlength=size)
        self._counts += 64 * seen.reshape(self._counts.shape)
        while (over := self._counts.sum(1) > self._limit).any():
            self._counts[over] >>= 1
