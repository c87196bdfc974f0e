"""Adaptive models of the coefficients, in integers: no table is transmitted.

Both sides count what they have seen and derive the same probabilities. A non-zero
flag has one binary distribution for each context row; a magnitude above zero has a
token of 16 values for each pair of rows, after dropping low bits where large
magnitudes are expected.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lowrank.packed.contexts import PAD

Counts = NDArray[np.int64]
TOKENS = 16
TOTAL = 1 << 16

# Prior share of non-zeros by row, of 65536: c/(1 + c) at the row's centre c.
_PRIOR = (
    *(744, 979, 1285, 1685, 2205, 2879, 3746, 4855, 6257, 8012, 10175),
    *(12791, 15888, 19457, 23449, 27767, 32270, 36792, 41164, 45237, 48905, 52107),
    *(54828, 57086, 58926, 60401, 61569, 62485, 63197, 63748, 64172, 64497),
)
STEP = 64
"""What one observation counts."""
FLAG_WEIGHT, FLAG_LIMIT = 25 * STEP, 512 * STEP
TOKEN_WEIGHT, TOKEN_LIMIT = 12 * STEP, 1024 * STEP
# Low bits of |q| - 1 sent raw, by row.
SHIFT = np.array([*[0] * 25, 1, 1, 2, 2, 3, 3, 4, 4], np.int64)


# Prior counts of tokens by pair of rows, 768 in all; zeros at the end left out:
# geometric, with the mean of the rows less what the shift drops.
_TOKEN_PRIOR = (
    *[(591, 136, 31, 7, 2)] * 6,
    (562, 151, 41, 11, 3, 1),
    (468, 183, 71, 28, 11, 4, 2, 1),
    (363, 191, 101, 53, 28, 15, 8, 4, 2, 1, 1),
    (261, 172, 114, 75, 50, 33, 22, 14, 9, 6, 4, 3, 2, 1, 1, 1),
    (175, 135, 104, 81, 62, 48, 37, 29, 22, 17, 13, 10, 8, 6, 5, 4),
    (112, 95, 82, 70, 60, 51, 44, 37, 32, 27, 23, 20, 17, 14, 12, 11),
    (68, 62, 57, 52, 47, 43, 39, 36, 32, 30, 27, 25, 22, 20, 19, 17),
    (77, 70, 63, 56, 51, 46, 41, 37, 33, 30, 27, 24, 22, 19, 17, 16),
    (88, 78, 69, 61, 54, 48, 42, 38, 33, 29, 26, 23, 20, 18, 16, 14),
    (99, 86, 75, 65, 57, 50, 43, 38, 33, 29, 25, 22, 19, 16, 14, 12),
    (112, 95, 82, 70, 60, 51, 44, 37, 32, 27, 23, 20, 17, 14, 12, 11),
)


class FlagModel:
    """Zero or not, by context row."""

    def __init__(self) -> None:
        ones = np.array([*_PRIOR, 0], np.int64) * FLAG_WEIGHT // TOTAL
        self._counts = np.stack([FLAG_WEIGHT - ones, ones], axis=1)
        self._derive()

    def _derive(self) -> None:
        all_ = self._counts.sum(1)
        p = (TOTAL * self._counts[:, 0] + all_ // 2) // all_
        np.maximum(p, 24, out=p)
        np.minimum(p, TOTAL - 24, out=p)
        p[PAD] = TOTAL - 1
        self.zero = p.astype(np.uint32)
        """Probability of a zero, of 65536, by row."""

    def update(self, rows: list[NDArray[np.intp]], hits: list[NDArray[np.intp]]) -> None:
        """Count maps: rows of all coefficients and of those above zero."""
        counts = self._counts
        for some in rows:
            counts[:, 0] += STEP * np.bincount(some, minlength=len(counts))
        ones = STEP * np.bincount(np.concatenate(hits), minlength=len(counts))
        counts[:, 0] -= ones
        counts[:, 1] += ones
        _limit(counts, FLAG_LIMIT)
        self._derive()


def _limit(counts: Counts, limit: int) -> None:
    """Halve the rows above the limit as often as brings them to it or below."""
    total = counts.sum(1)
    if int(total.max()) > limit:
        over = np.frexp(((total - 1) // limit).astype(np.float64))[1]
        counts >>= over[:, None]


class TokenModel:
    """Tokens of the magnitudes above zero, by pairs of context rows."""

    total = 1 << 12

    def __init__(self) -> None:
        self._counts = np.array(
            [[*row, *[0] * (TOKENS - len(row))] for row in _TOKEN_PRIOR], np.int64
        )
        self._derive()

    def _derive(self) -> None:
        f = 1 + self._counts * (self.total - TOKENS) // self._counts.sum(1, keepdims=True)
        f[:, 0] += self.total - f.sum(1)
        self.frequency = f
        """(pairs, TOKENS) probabilities of the tokens, of 4096."""
        self.start = (np.cumsum(f, axis=1) - f).astype(np.uint16)
        """(pairs, TOKENS) where their intervals start."""
        self._table: NDArray[np.uint16] | None = None

    @property
    def table(self) -> NDArray[np.uint16]:
        """Entry pair x 4096 + slot is pair x TOKENS + token."""
        if self._table is None:
            every = np.arange(self.frequency.size, dtype=np.uint16)
            self._table = np.repeat(every, self.frequency.ravel())
        return self._table

    def update(self, coded: list[NDArray[np.intp]]) -> None:
        """Count tokens, given as pair x TOKENS + token."""
        counts = self._counts
        some = np.concatenate(coded)
        if not len(some):
            return
        counts += STEP * np.bincount(some, minlength=counts.size).reshape(counts.shape)
        _limit(counts, TOKEN_LIMIT)
        self._derive()
