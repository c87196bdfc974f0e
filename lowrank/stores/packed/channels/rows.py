"""Context rows of expected magnitudes, and the tokens of magnitudes above two."""

from __future__ import annotations

from functools import cache

import numpy as np

from lowrank.stores.packed.channels.mixture import Counts, Index
from lowrank.stores.packed.coding.tokens import STEP, TOKENS, TokenModel

ROWS = 40
"""Context rows: row r holds expected magnitudes 2^(r/3)/64 to 2^((r + 1)/3)/64."""
TOP = 1 << 14
_WEIGHT = 12 * STEP
"""The counts to start with weigh twelve observations."""


@cache
def _edges() -> list[int]:
    """First E, in units of 1/64, of each row: ceil(2^(r/3)), from integers alone."""
    edges = []
    for r in range(ROWS):
        e = 1
        while e**3 < 2**r:
            e += 1
        edges.append(e)
    return edges


@cache
def row_table() -> Index:
    """Row of each E in units of 1/64, 0 to TOP - 1."""
    return np.searchsorted(_edges(), np.arange(TOP), side="right").astype(np.intp).clip(1) - 1


@cache
def shifts() -> Counts:
    """Low bits of what is above two that are sent raw, by row."""
    return np.maximum((np.arange(ROWS) - 24) // 3, 0)


def tokens() -> TokenModel:
    """The model of what is above two: geometric to start with, its mean that of the row."""
    low, high = np.array(_edges()), np.array([*_edges()[1:], TOP])
    # In 1/128, after the shift: never below a half.
    mean = np.maximum((low + high) >> shifts(), 64).astype(np.int64)
    share = 128 * (1 << 16) // (128 + mean)  # of 2^16: the first of a geometric law
    left = np.full(ROWS, _WEIGHT << 16, np.int64)
    prior = np.empty((ROWS, TOKENS), np.int64)
    for token in range(TOKENS):
        prior[:, token] = (left * share >> 32) + 1
        left -= left * share >> 16
    return TokenModel(prior)
