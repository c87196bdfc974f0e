"""Signs that take no bit: the magnitudes of a group say whether its first one is negative.

The cells of a phase fall into groups in which the models expect so many non-zeros. Of a group that
has a few, the sign of the first is that of the parity of the sum of all magnitudes. Half of the
groups have it anyway; in the others the encoder moves a coefficient to the next integer, that
which costs least: one that was nearly halfway between two. So a bit is saved for a fifth of its
worth in error. Which group a cell belongs to follows from the models alone, not from what is coded.

References
----------
G. Clare, F. Henry, J. Jung, "Sign data hiding", JCTVC-G271 (2011): with groups of a fixed size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank.stores.packed.patches.models import TOTAL

Places = NDArray[np.intp]
Magnitudes = NDArray[np.signedinteger[Any]]
LEAST = 3
"""Non-zeros of a group, below which none is hidden."""
_SPARSE = 12
"""Of so many cells one, or fewer: then what lies between these is summed at once."""
_NEAR = 0.3
"""Magnitudes in steps up to which a zero stays one."""


def groups(zero: NDArray[np.uint32], expected: int, places: Places) -> NDArray[np.int64]:
    """Group of the cells at some places.

    Parameters
    ----------
    zero : ndarray
        Probability of a zero, of TOTAL, of each cell of a phase.
    expected : int
        Non-zeros that a group is expected to have.
    places : ndarray
        In their order.
    """
    ones: NDArray[np.int64]
    if 0 < len(places) * _SPARSE < len(zero):
        # From one to the next: a sum takes a fraction of the time that all its parts take.
        starts = np.empty(len(places), np.intp)
        starts[0] = 0
        np.add(places[:-1], 1, out=starts[1:])
        ones = np.add.reduceat(TOTAL - zero[: int(places[-1]) + 1], starts, dtype=np.int64)
        np.add.accumulate(ones, out=ones)
    else:
        ones = np.add.accumulate(TOTAL - zero, dtype=np.int64).take(places)
    ones //= expected * TOTAL
    return ones


def hidden(group: NDArray[np.int64], m: Magnitudes) -> tuple[Places, Magnitudes, Places]:
    """The first non-zero of each group that has enough, 1 where it is negative, how many there are.

    Parameters
    ----------
    group, m : ndarray
        Group and magnitude of each non-zero, in the order of the cells.
    """
    starts, count = _runs(group)
    enough = (count >= LEAST).nonzero()[0]
    first = starts.take(enough)
    if not len(first):
        return first, first, first
    odd = np.bitwise_xor.reduceat(m, starts).take(enough)
    odd &= 1
    return first, odd, count.take(enough)


def suit(
    x: NDArray[np.floating[Any]],
    negative: NDArray[np.bool_],
    hit: Places,
    m: NDArray[np.int64],
    zero: NDArray[np.uint32],
    expected: int,
    rising: Callable[[Places, NDArray[np.int64]], tuple[NDArray[Any], NDArray[Any]]],
) -> tuple[Places, NDArray[np.int64], Places]:
    """Places and magnitudes of the non-zeros, so that groups tell the signs that they hide.

    Parameters
    ----------
    x, negative : ndarray
        What was quantised, of each cell: sizes in steps, and signs.
    hit, m : ndarray
        Places and magnitudes of the non-zeros as they were quantised.
    zero, expected
        As of `groups`.
    rising : callable
        Of some places and a magnitude for each, what one more costs in bits, in squared steps, and
        what this magnitude costs more than one less.

    Returns
    -------
    hit, m : ndarray
    told : ndarray
        Which of them have hidden signs.
    """
    near = x > _NEAR
    near[hit] = True
    some = near.nonzero()[0]
    group = groups(zero, expected, some)
    whole = np.zeros(len(x), np.int64)
    whole[hit] = m
    now = whole.take(some)
    those = group.take((now > 0).nonzero()[0])
    first, odd, count = hidden(those, m)
    told = hit.take(first)
    wrong = (odd != negative.take(told)).nonzero()[0]
    if not len(wrong):
        return hit, m, first
    # Of their groups whatever is near to another integer.
    mine = np.zeros(int(group[-1]) + 1, np.bool_)
    mine[those.take(first.take(wrong))] = True
    keep = mine.take(group).nonzero()[0]
    some, group, now = some.take(keep), group.take(keep), now.take(keep)
    starts, size = _runs(group)
    # What one more, and one less, adds to the squared error and to the bits.
    beyond = x.take(some)
    beyond -= now.astype(x.dtype)
    beyond *= 2
    more, less = rising(some, now)
    more += 1 - beyond
    beyond += 1
    less = np.subtract(beyond, less, out=beyond)
    # The first one stays the first, and its group large enough.
    start, few = told.take(wrong).repeat(size), (count.take(wrong) == LEAST).repeat(size)
    none = now == 0
    more[none & (some < start)] = np.inf
    few |= some == start
    few &= now == 1
    few |= none
    less[few] = np.inf
    cost = np.minimum(more, less)
    best = (cost == np.minimum.reduceat(cost, starts).repeat(size)).nonzero()[0]
    if len(best) > len(starts):  # of equals the first
        best = best.take(_runs(group.take(best))[0])
    moved = some.take(best)
    whole[moved] += np.where(more.take(best) <= less.take(best), 1, -1)
    hit = (whole > 0).nonzero()[0]  # numpy finds booleans in a third of the time
    return hit, whole.take(hit), hit.searchsorted(told)


def others(count: int, those: Places) -> Places:
    """So many places but those."""
    kept = np.empty(count, np.bool_)
    kept.fill(True)
    kept[those] = False
    return kept.nonzero()[0]


def _runs(sorted_: Places) -> tuple[Places, Places]:
    """Where each value begins, and how many there are of it."""
    fresh = np.empty(len(sorted_) + 1, np.bool_)
    fresh[0] = fresh[-1] = True
    np.not_equal(sorted_[1:], sorted_[:-1], out=fresh[1:-1])
    edges = fresh.nonzero()[0]
    starts = edges[:-1]
    return starts, edges[1:] - starts
