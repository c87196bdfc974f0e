"""Where a function of the quantiser step meets a target: a search with few values of it."""

from __future__ import annotations

import math
from collections.abc import Callable

FINEST, COARSEST = -5.0, 11.0
"""Binary logarithms of the steps that a search tries, in levels of 0-255."""
GRID = 512
"""Steps to an octave that it tells apart."""


def meet(
    value: Callable[[float], float], low: float, high: float, *, slope: float, start: float
) -> tuple[float | None, float | None]:
    """Find where a falling function lies between `low` and `high`.

    Parameters
    ----------
    value : callable
        Of the step's binary logarithm.
    slope : float
        A guess of its slope, until two values tell.
    start : float

    Returns
    -------
    finer, coarser : float or None
        The same place twice where one is found; else the coarsest known with a value of
        at least `low`, and the finest known with a value of at most `high`.
    """
    fine: tuple[float, float] | None = None
    coarse: tuple[float, float] | None = None
    aim, x = (low + high) / 2, min(max(start, FINEST), COARSEST)
    while True:
        x = round(x * GRID) / GRID
        v = value(x)
        if low <= v <= high:
            return x, x
        if v > high:
            fine = x, v
        else:
            coarse = x, v
        if fine and coarse:
            if coarse[0] - fine[0] < 1.5 / GRID:
                return fine[0], coarse[0]
            x = fine[0] + (coarse[0] - fine[0]) * (fine[1] - aim) / (fine[1] - coarse[1])
            margin = max((coarse[0] - fine[0]) / 8, 1 / GRID)
            x = min(max(x, fine[0] + margin), coarse[0] - margin)
        else:
            if x in (FINEST, COARSEST):
                return (fine and fine[0]), (coarse and coarse[0])
            ahead = (aim - v) / slope
            x += math.copysign(max(abs(ahead), 0.05), ahead) * 1.1
            x = min(max(x, FINEST), COARSEST)


def meet_guided(
    value: Callable[[float], float], expected: Callable[[float], float], low: float, high: float
) -> tuple[float | None, float | None]:
    """The same as `meet`, where something tells a value but for a part that changes slowly.

    That part is taken to be what it was at the last step, or to change evenly between two that
    have the aim between them; where that does not halve the bracket in two steps, halving does.

    Parameters
    ----------
    value, expected : callable
        Of the step's binary logarithm, both falling; `expected` costs next to nothing.
    """
    fine: tuple[float, float] | None = None
    coarse: tuple[float, float] | None = None
    aim, missing = (low + high) / 2, 0.0
    widths = [math.inf]
    least = 1 / 32  # octaves of a move without a bracket: twice as many each time
    while True:
        left, right = fine[0] if fine else FINEST, coarse[0] if coarse else COARSEST
        if fine and coarse:
            widths.append(right - left)
            if widths[-1] < 1.5 / GRID:
                break
            ends = [one[1] - expected(one[0]) for one in (fine, coarse)]

            def even(x: float, left: float = left, ends: list[float] = ends) -> float:
                share = (x - left) / widths[-1]
                return expected(x) + ends[0] + share * (ends[1] - ends[0])

            x = _solve(even, aim, left, right)
            if len(widths) > 3 and widths[-1] > widths[-3] / 2:
                x = (left + right) / 2
            x = min(max(x, left + 1 / GRID), right - 1 / GRID)
        else:
            x = _solve(expected, aim - missing, left, right)
            if fine or coarse:
                x = max(x, left + least) if fine else min(x, right - least)
                x = min(max(x, FINEST), COARSEST)
                least *= 2
        x = round(x * GRID) / GRID
        v = value(x)
        if low <= v <= high:
            return x, x
        if v > high:
            fine = x, v
        else:
            coarse = x, v
        missing = v - expected(x)
        if (x == FINEST and not fine) or (x == COARSEST and not coarse):
            break
    return (fine and fine[0]), (coarse and coarse[0])


def _solve(falling: Callable[[float], float], aim: float, left: float, right: float) -> float:
    """Where a falling function comes nearest to a value.

    By the secant of the last two values, drawn a little longer so that the bracket closes from
    both sides; where that does not do, by halving.
    """
    least = 2 / GRID
    last: tuple[float, float] | None = None
    x = (left + right) / 2
    tries = 0
    while right - left > least:
        gap = falling(x) - aim
        left, right = (x, right) if gap > 0 else (left, x)
        slope = (gap - last[1]) / (x - last[0]) if last is not None else 0.0
        last, tries = (x, gap), tries + 1
        middle = (left + right) / 2
        if tries == 1:
            x += math.copysign(min(1.0, abs(middle - x)), gap)
        elif slope >= 0 or tries % 4 == 0:
            x = middle
        else:
            x -= gap / slope
            x += math.copysign(0.6 * least, middle - x)
            x = min(max(x, left + least / 4), right - least / 4)
    return (left + right) / 2
