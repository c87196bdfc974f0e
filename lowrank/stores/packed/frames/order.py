"""In which order the components of a group of planes are coded, and what predicts each one.

Contexts are those of patches (patches/order.py) with the weights of a first channel, and
the same frequency of the two planes before where these are coded: what one plane cannot
tell of an edge, another tells.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from lowrank.layouts.lapped import SIZE
from lowrank.stores.packed.patches.contexts import ABOVE, BESIDE, PHASES, UNIT
from lowrank.stores.packed.patches.order import (
    NEIGHBOURS,
    WEIGHTS,
    Component,
    distances,
    nearest,
    orientation,
)

BATCH = 6144
"""Coefficients below which another map joins a batch."""
LARGEST_BATCH = 64
TOGETHER = 3
"""Half octaves of sizes whose components are coded together."""
BEFORE = (700, 500)
"""Weights of the two planes before, in 1/8192."""
NONE = -1
"""Row of a map that is not there."""
WIDTH = NEIGHBOURS + len(BEFORE)
_PHASES = np.array([(PHASES[p], PHASES[BESIDE[p]], PHASES[ABOVE[p]]) for p in range(4)])
SHARE = 0.85
"""Of the weights of a plane's own maps, where another plane helps."""


class Plan:
    """Batches of components in the order of coding.

    Small frames have so many components that each is kept as two numbers.
    """

    def __init__(self) -> None:
        self._channels, self._indices, self._ends = array("i"), array("B"), array("q", [0])

    def add(self, batch: list[Component]) -> None:
        """Put a batch behind the others."""
        self._channels.extend(x.channel for x in batch)
        self._indices.extend(x.index for x in batch)
        self._ends.append(len(self._indices))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __iter__(self) -> Iterator[list[Component]]:
        for start, end in zip(self._ends, self._ends[1:], strict=False):
            both = zip(self._channels[start:end], self._indices[start:end], strict=True)
            yield [Component(c, i) for c, i in both]

    @property
    def components(self) -> int:
        """Of all batches."""
        return len(self._indices)


def batches(scales: list[NDArray[np.int64]], patches: int) -> Plan:
    """Kept components but the first of each plane, in descending scale, coded some at a time.

    A batch has at most one component of each plane, whose trellis goes from one to the
    next, and where it can no frequency twice: the later one would lack a context.
    """
    most = min(max(1, BATCH // patches), LARGEST_BATCH)
    levels: dict[int, dict[int, list[int]]] = {}
    for plane, scale in enumerate(scales):
        kept = scale[1:].nonzero()[0] + 1
        for index in kept.tolist():
            levels.setdefault(int(scale[index]) // TOGETHER, {}).setdefault(plane, []).append(index)
    result = Plan()
    for level in sorted(levels, reverse=True):
        queues = levels.pop(level)
        while queues:
            batch: list[Component] = []
            taken: set[int] = set()
            for plane in list(queues):
                queue = queues[plane]
                place = next((i for i, x in enumerate(queue[:8]) if x not in taken), None)
                if place is None:
                    continue
                index = queue.pop(place)
                if not queue:
                    del queues[plane]
                taken.add(index)
                batch.append(Component(plane, index))
                if len(batch) == most:
                    break
            result.add(batch)
    return result


def arranged(levels: NDArray[np.integer], plan: Plan) -> NDArray[np.integer]:
    """(components, patches) levels in the order of coding."""
    _, rows, _, columns = levels.shape
    result = np.empty((plan.components, rows, columns), levels.dtype)
    for one, x in zip(result, chain.from_iterable(plan), strict=True):
        one[:] = levels[x.index, :, x.channel]
    return result.reshape(len(result), rows * columns)


def by_map(plan: Plan, count: int) -> tuple[list[list[int]], list[array[int]]]:
    """The components of each of so many maps in the order of coding, and their places in it."""
    orders: list[list[int]] = [[] for _ in range(count)]
    places = [array("q") for _ in range(count)]
    for place, x in enumerate(chain.from_iterable(plan)):
        orders[x.channel].append(x.index)
        places[x.channel].append(place)
    return orders, places


class Predictors:
    """Chooses, for each component in turn, the maps that predict it.

    Parameters
    ----------
    first : int
        Row of the first plane's gradient, and after it those of the others.
    before : list of array
        Of the planes before this group, by frequency, the row of a map, or NONE.
    planes : int
    """

    def __init__(self, before: list[array[int]], planes: int) -> None:
        self.rows = before + [array("i", [NONE]) * SIZE for _ in range(planes)]
        self._skip = len(before)
        self._coded = [0] * planes
        self._coded_after: dict[tuple[int, int], int] = {}
        """Number of what is coded of a plane, by that before and the component that came."""
        self._best: dict[tuple[int, int], tuple[int, ...]] = {}
        self._weights: dict[tuple[object, ...], NDArray[np.float32]] = {}

    def of(
        self, batch: list[Component]
    ) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.float32]]:
        """Rows of the maps used, (components, 10), their weights, and those of the own map.

        Weights are (planes, components, 3, rows): of what a plane gives to its own places,
        to those beside it and to those above and below.
        """
        rows, weights = [], []
        for x in batch:
            place = x.channel + self._skip
            coded = self.rows[place]
            key = (x.index, self._coded[x.channel])
            best = self._best.get(key)
            if best is None:
                best = tuple(islice((j for j in nearest(x.index) if coded[j] >= 0), NEIGHBOURS))
                self._best[key] = best
            used = [coded[j] for j in best]
            first = self.rows[place - 1][x.index] if place else NONE
            second = self.rows[place - 2][x.index] if place > 1 else NONE
            used += [row for row in (first, second) if row >= 0]
            rows.append(used + [0] * (WIDTH - len(used)))
            shape = (*key, first < 0, second < 0)
            found = self._weights.get(shape)
            if found is None:
                helped = tuple(i for i, row in enumerate((first, second)) if row >= 0)
                found = self._weights[shape] = _weights(x.index, best, helped)
            weights.append(found)
        own = np.array([_own(orientation(x.index)) for x in batch], np.float32)
        return np.array(rows), np.array(weights).swapaxes(0, 1), own.T[:, :, None]

    def add(self, component: Component, row: int) -> None:
        """The component's map is coded: it may predict others."""
        plane = component.channel
        self.rows[plane + self._skip][component.index] = row
        step = (self._coded[plane], component.index)
        self._coded[plane] = self._coded_after.setdefault(step, len(self._coded_after) + 1)


@cache
def _own(kind: int) -> tuple[float, float, float]:
    return (
        _whole(WEIGHTS[1][kind][12]),
        _whole(WEIGHTS[2][kind][13]),
        _whole(WEIGHTS[2][kind][14]),
    )


def _whole(weight: float) -> float:
    """A weight in 1/8192 as a whole number; magnitudes are in half steps."""
    return float(np.floor(weight * UNIT / 16384 + 0.5))


@lru_cache(1 << 14)
def _weights(index: int, best: tuple[int, ...], helped: tuple[int, ...]) -> NDArray[np.float32]:
    """(4, 3, rows) weights of one component's predictors."""
    near, kind, count = distances()[index], orientation(index), len(best)
    share = [(1 << 20) // (77 + int(near[i])) for i in best]
    total = sum(share)
    part = SHARE if helped else 1.0
    rest = [0.0] * (WIDTH - count)
    others = rest.copy()
    for i, back in enumerate(helped):
        others[i] = BEFORE[back]
    phases = []
    for table in WEIGHTS:
        w = table[kind]
        here = [
            part * (w[5] * x // total + (w[i] if i < 4 else w[4] // (count - 4)))
            for i, x in enumerate(share)
        ]
        beside = [w[6] * x // total for x in share]
        above = [w[7] * x // total for x in share]
        beside[0] += w[8]
        above[0] += w[9]
        phases.append((here + others, beside + rest, above + rest))
    planes = np.array(phases)[_PHASES, range(3)]
    result: NDArray[np.float32] = np.floor(planes * (UNIT / 16384) + 0.5).astype(np.float32)
    return result
