"""Adaptive models of the tokens of magnitudes, in integers: no table is transmitted.

Both sides count what they have seen and derive the same probabilities. A token has 16
values; the last one announces a magnitude that no token has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Numbers = NDArray[np.intp]
TOKENS = 16
ESCAPE = TOKENS - 1
"""The token of what is at least as large; the remainder follows."""
LENGTH = 5
"""Bits of the length of an escaped magnitude's remainder."""
STEP = 64
"""What one observation counts."""
TOKEN_LIMIT = 1024 * STEP
_FEW = 400
"""Slots that are looked for sooner than a table of all of them is made."""


def limited(counts: Counts, limit: int) -> Counts:
    """Halve the rows above the limit as often as brings them to it or below; return their sums."""
    total: Counts = np.add.reduce(counts, 1)
    if int(np.maximum.reduce(total)) > limit:
        over = np.frexp(((total - 1) // limit).astype(np.float64))[1]
        counts >>= over[:, None]
        total = np.add.reduce(counts, 1)
    return total


class TokenModel:
    """Tokens of the magnitudes above zero, by pairs of context rows.

    Parameters
    ----------
    prior : (pairs, TOKENS) ndarray of int64
        Counts to start with.

    Attributes
    ----------
    frequency : (pairs, TOKENS) ndarray of int64
        Probabilities of the tokens, of 4096.
    start : (pairs, TOKENS) ndarray of uint16
        Where their intervals start.
    """

    total = 1 << 12

    def __init__(self, prior: Counts) -> None:
        self._counts = prior.copy()
        self._before = (np.arange(len(prior)) * self.total)[:, None]
        self._derive(prior.sum(1))

    def _derive(self, total: Counts) -> None:
        f = self._counts * (self.total - TOKENS)
        f //= total[:, None]
        f += 1
        ends = np.add.accumulate(f, 1)
        missing = self.total - ends[:, -1:]
        ends += missing
        f[:, :1] += missing
        self.frequency, self.start = f, (ends - f).astype(np.uint16)
        ends += self._before
        self._ends = ends.ravel()
        self._listed: list[int] | None = None
        self._table: NDArray[np.uint16] | None = None
        self._flat: tuple[NDArray[np.uint32], NDArray[np.uint32]] | None = None

    def finder(self, count: int) -> Callable[[Any], NDArray[Any]]:
        """Look up the tokens of slots, pair x 4096 + slot, as pair x TOKENS + token.

        `count` is how many slots there are to be, about.
        """
        if count >= _FEW and self._table is None:
            every = np.arange(self.frequency.size, dtype=np.uint16)
            self._table = np.repeat(every, self.frequency.ravel())
        table, ends = self._table, self._ends
        if table is not None:
            return table.take
        return lambda slots: ends.searchsorted(slots, "right")

    @property
    def ends(self) -> list[int]:
        """Where the interval of each token ends, by its number: of pair x 4096 + slot."""
        if self._listed is None:
            self._listed = self._ends.tolist()
        return self._listed

    @property
    def flat(self) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """Start and probability of each token, by its number."""
        if self._flat is None:
            self._flat = (
                self.start.astype(np.uint32).ravel(), self.frequency.astype(np.uint32).ravel()
            )  # fmt: skip
        return self._flat

    def update(self, coded: list[Numbers]) -> None:
        """Count tokens, given as pair x TOKENS + token."""
        counts = self._counts
        some = coded[0] if len(coded) == 1 else np.concatenate(coded)
        if not len(some):
            return
        seen = np.bincount(some, minlength=counts.size).reshape(counts.shape)
        seen *= STEP
        counts += seen
        self._derive(limited(counts, TOKEN_LIMIT))
