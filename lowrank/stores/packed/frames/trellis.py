"""Trellis-coded quantisation: two quantisers, and a state that says which one is next.

The first quantiser has the values 0, 1, 2, ..., the second 0, 1/2, 3/2, 5/2, ..., in steps
and of either sign. Which of them a coefficient is given depends on the parities of the
levels before it, by a machine of eight states: together the two are twice as dense as
either, and a path through the states that serves all coefficients of a patch is nearer to
them than either alone, by half a decibel where a coefficient takes more than half a bit.
Each place of a plane has a state of its own, which goes from component to component in the
order of the stream: decoding stays as parallel as it is without.

References
----------
M. W. Marcellin, T. R. Fischer, "Trellis coded quantization of memoryless and Gauss-Markov
sources", IEEE Trans. Commun. 38 (1990). H. Schwarz et al., "Hybrid video coding with
trellis-coded quantization", Data Compression Conference (2019): quantisers with a zero each.
A. J. Viterbi, IEEE Trans. Inf. Theory 13 (1967).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

NEXT = np.array([[0, 2], [5, 7], [1, 3], [6, 4], [2, 0], [4, 6], [3, 1], [7, 5]], np.uint8)
"""State after a level of even and of odd parity."""
SECOND = np.array([0, 1, 0, 1, 0, 1, 0, 1], np.uint8)
"""Whether a state has the second quantiser."""
STATES = len(NEXT)
LEVELS = 64
"""Levels whose rates are told apart."""
LANES = 1 << 9
"""Trellises that are followed at once: what their paths take is most of an encoder's memory."""
NARROW = (1 << 14) - 2
"""Coefficients below have levels whose values, in half steps, take 16 bits."""
_AT_ONCE = 1 << 12  # coefficients whose levels are weighed at once
_LARGEST = (1 << 20) - 1
_SHIFTS = np.array([[0], [1]], np.int32)
_HALVES = np.array([[0], [0.5]], np.float32)

# The two states and parities that lead to each state.
_FROM = [[(s, p) for s in range(STATES) for p in (0, 1) if NEXT[s, p] == n] for n in range(STATES)]
_BEFORE = np.array([[s for s, _ in pair] for pair in _FROM], np.intp)
_PARITY = np.array([[p for _, p in pair] for pair in _FROM], np.intp)
# What a path takes: its quantiser and parity as one number.
_TAKEN = 2 * SECOND[_BEFORE] + _PARITY


def quantise(
    x: NDArray[np.float32], rows: NDArray[np.uint8], rates: NDArray[np.float32]
) -> tuple[NDArray[np.signedinteger[Any]], NDArray[np.uint8]]:
    """Levels of the best path of each lane.

    Parameters
    ----------
    x : (components, lanes) ndarray
        Coefficients of each lane in the order of the stream, in steps.
    rows : (components, lanes) ndarray
        Expected context row of each.
    rates : (2, rows, LEVELS) ndarray
        What a level costs by quantiser and row, in squared steps.

    Returns
    -------
    levels : (components, lanes) ndarray of int16 or int32
        Signed.
    second : (components, lanes) ndarray of uint8
        Whether they are of the second quantiser.
    """
    most = max(float(x.max(initial=0)), -float(x.min(initial=0)))
    result = np.empty(x.shape, np.int16 if most < NARROW else np.int32)
    second = np.empty(x.shape, np.uint8)
    for start in range(0, x.shape[1], LANES):
        part = slice(start, start + LANES)
        _path(x[:, part], rows[:, part], rates, result[:, part], second[:, part])
        # To multiply is much faster than to choose where.
        result[:, part] *= 1 - 2 * (x[:, part] < 0).view(np.int8)
    return result, second


def _path(
    x: NDArray[np.float32], rows: NDArray[np.uint8], rates: NDArray[np.float32],
    result: NDArray[np.signedinteger[Any]], second: NDArray[np.uint8],
) -> None:  # fmt: skip
    """Magnitudes of the levels of some lanes."""
    count, lanes = x.shape
    wide = -(-lanes // 8)
    kept = np.empty((count, 2, wide), np.uint8)
    picks = np.empty((count, STATES, wide), np.uint8)
    total = np.full((STATES, lanes), np.float32(1e30))
    total[0] = 0
    both, cost = np.empty((2, 2, STATES, lanes), np.float32)
    each = max(1, _AT_ONCE // max(lanes, 1))
    for start in range(0, count, each):
        part = slice(start, min(start + each, count))
        costs, above = _candidates(np.abs(x[part]), rows[part], rates)
        kept[part] = np.packbits(above, axis=2, bitorder="little")
        chosen = np.empty((len(costs), STATES, lanes), np.bool_)
        for one, pick in zip(costs, chosen, strict=True):
            # Indices are all in range: to say so spares a buffer.
            total.take(_BEFORE.T, axis=0, out=both, mode="clip")
            both += one.take(_TAKEN.T, axis=0, out=cost, mode="clip")
            np.less(both[1], both[0], out=pick)
            np.minimum(both[0], both[1], out=total)
        picks[part] = np.packbits(chosen, axis=2, bitorder="little")
    state = total.argmin(0)
    lane = np.arange(lanes)
    pick_of = np.empty(lanes, np.uint8)
    steps = np.empty((min(each, count), lanes), np.intp)
    for stop in range(count, 0, -each):
        part = slice(max(stop - each, 0), stop)
        bits = np.unpackbits(picks[part], axis=2, count=lanes, bitorder="little")
        for pick, step in zip(bits[::-1], steps[: len(bits)][::-1], strict=True):
            np.multiply(state, lanes, out=step)
            step += lane
            pick.reshape(-1).take(step, out=pick_of, mode="clip")
            np.multiply(state, 2, out=step)
            step += pick_of
            _BEFORE.reshape(-1).take(step, out=state, mode="clip")
        taken = _TAKEN.astype(np.uint8).reshape(-1).take(steps[: len(bits)])
        half = np.right_shift(taken, 1, out=second[part])
        odd = taken & 1
        # The levels again, of the path alone: those of all candidates are most of the memory.
        low = _low(np.abs(x[part]), half * np.float32(0.5))
        low += (low & 1) ^ odd
        there = np.unpackbits(kept[part], axis=2, count=lanes, bitorder="little")
        odd |= np.where(half, there[:, 1], there[:, 0])
        np.multiply(low, odd, out=result[part], casting="unsafe")


def _low(a: NDArray[np.float32], halves: NDArray[np.float32]) -> NDArray[np.int32]:
    """Levels at magnitudes or below: one above, and this, are an even and an odd one."""
    low: NDArray[np.int32] = np.minimum(a + halves, np.float32(_LARGEST - 1)).astype(np.int32)
    return low


def _candidates(
    a: NDArray[np.float32], rows: NDArray[np.uint8], rates: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """What the best even and the best odd level of either quantiser cost.

    And where the even one is that beside the magnitude, sooner than 0.
    """
    row = rows[:, None] * np.int32(LEVELS) + _SHIFTS * np.int32(rates.shape[1] * LEVELS)
    a = a[:, None]
    low = _low(a, _HALVES)
    odd = low & 1
    zero = a * a + rates.take(row)
    costs = np.empty((len(a), 4, a.shape[2]), np.float32)
    for parity in (0, 1):
        level = low + (odd ^ parity)
        gap = level.astype(np.float32)
        gap -= a
        gap -= _HALVES
        gap *= gap
        gap += rates.take(np.minimum(level, LEVELS - 1) + row)
        if parity == 0:
            above = np.greater(zero, gap)
            np.minimum(gap, zero, out=gap)
        costs[:, parity::2] = gap
    return costs, above


def values_of(levels: NDArray[Any], second: NDArray[np.uint8]) -> NDArray[Any]:
    """What levels stand for, in half steps: whole numbers of the same type."""
    half: NDArray[Any] = np.sign(levels)
    half *= second
    result: NDArray[Any] = 2 * levels
    result -= half
    return result
