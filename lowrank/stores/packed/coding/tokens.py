"""Adaptive models of the tokens of magnitudes, in integers: no table is transmitted.

Both sides count what they have seen and derive the same probabilities. A token has 16
values; the last one announces a magnitude that no token has.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
TOKENS = 16
STEP = 64
"""What one observation counts."""
TOKEN_LIMIT = 1024 * STEP


def limited(counts: Counts, limit: int) -> None:
    """Halve the rows above the limit as often as brings them to it or below."""
    total = counts.sum(1)
    if int(total.max()) > limit:
        over = np.frexp(((total - 1) // limit).astype(np.float64))[1]
        counts >>= over[:, None]


class TokenModel:
    """Tokens of the magnitudes above zero, by pairs of context rows.

    Parameters
    ----------
    prior : (pairs, TOKENS) ndarray of int64
        Counts to start with.
    """

    total = 1 << 12

    def __init__(self, prior: Counts) -> None:
        self._counts = prior.copy()
        self._derive()

    def _derive(self) -> None:
        f = self._counts * (self.total - TOKENS)
        f //= self._counts.sum(1, keepdims=True)
        f += 1
        ends = f.cumsum(1)
        missing = self.total - ends[:, -1:]
        ends += missing
        f[:, :1] += missing
        self.frequency = f
        """(pairs, TOKENS) probabilities of the tokens, of 4096."""
        self.start = (ends - f).astype(np.uint16)
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
        limited(counts, TOKEN_LIMIT)
        self._derive()
