"""Where a function of the quantiser step meets a target: a search with few values of it."""

from __future__ import annotations

import math
from collections.abc import Callable

FINEST, COARSEST = -5.0, 11.0
"""Binary logarithms of the steps that a search tries, in levels of 0-255."""
GRID = 512
"""Steps to an octave that it tells apart."""


def line(low: float, high: float, *, slope: float, start: float) -> Callable[[float], float]:
    """What to expect where nothing else tells: a straight line, half way up at `start`."""
    return lambda x: (low + high) / 2 + slope * (x - start)


def meet(
    value: Callable[[float], float], expected: Callable[[float], float], low: float, high: float,
    *, close: bool = False,
) -> tuple[float | None, float | None]:  # fmt: skip
    """Find where a falling function lies between `low` and `high`.

    What it has beyond what is expected of it changes slowly: it is taken to go through the
    nearest values on a parabola where they have the aim between them, else on a line. Where that
    does not halve the bracket in two steps, halving does.

    Parameters
    ----------
    value, expected : callable
        Of the step's binary logarithm, both falling; `expected` costs next to nothing.
    low, high : float
    close : bool
        Whether what is expected is nearly right: the first moves are short, and from values on
        one side of the aim no more is concluded than how far the nearest is off.

    Returns
    -------
    finer, coarser : float or None
        The same place twice where one is found; else the coarsest known whose value is above
        `high`, and the finest known whose value is below `low`.
    """
    fine: float | None = None
    coarse: float | None = None
    known: list[tuple[float, float, float]] = []  # how far from the aim, where, what beyond
    aim = (low + high) / 2
    widths = [math.inf]
    # Octaves of a move without a bracket: twice as many each time.
    least = 1 / 128 if close else 1 / 32
    while True:
        left, right = FINEST if fine is None else fine, COARSEST if coarse is None else coarse
        inside = fine is not None and coarse is not None
        if inside:
            widths.append(right - left)
            if widths[-1] < 1.5 / GRID:
                break
        points = 3 if inside else 1 if close else 2
        rest = _through([one[1:] for one in sorted(known)[:points]])

        def told(x: float, rest: Callable[[float], float] = rest) -> float:
            return expected(x) + rest(x)

        x = solve(told, aim, left, right)
        if inside:
            if len(widths) > 3 and widths[-1] > widths[-3] / 2:
                x = (left + right) / 2
            margin = max(widths[-1] / 16, 1 / GRID)
            x = min(max(x, left + margin), right - margin)
        elif fine is not None or coarse is not None:
            x = min(x, right - least) if fine is None else max(x, left + least)
            x = min(max(x, FINEST), COARSEST)
            least *= 2
        x = round(x * GRID) / GRID
        v = value(x)
        if low <= v <= high:
            return x, x
        if v > high:
            fine = x
        else:
            coarse = x
        if math.isfinite(v):
            known.append((abs(v - aim), x, v - expected(x)))
        if (x == FINEST and fine is None) or (x == COARSEST and coarse is None):
            break
    return fine, coarse


def _through(points: list[tuple[float, float]]) -> Callable[[float], float]:
    """The polynomial of least degree through some points, as Lagrange writes it."""

    def of(x: float) -> float:
        return sum(
            y * math.prod((x - other) / (at - other) for other, _ in points if other != at)
            for at, y in points
        )

    return of


def solve(
    falling: Callable[[float], float], aim: float, left: float = FINEST, right: float = COARSEST
) -> float:
    """Where a falling function comes nearest to a value.

    By the secant of the last two values, drawn a little longer so that the bracket closes from
    both sides; where that does not do, by halving.
    """
    least = 2 / GRID
    last: tuple[float, float] | None = None
    x = found = (left + right) / 2
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
            x = found = middle
        else:
            found = x - gap / slope
            x = found + math.copysign(0.6 * least, middle - found)
            x = min(max(x, left + least / 4), right - least / 4)
    return min(max(found, left), right)
