"""In which order the components of a group of planes are coded, and what predicts each one.

Contexts are those of patches (patches/order.py) with the weights of a first channel, and
the same frequency of the two planes before where these are coded: what one plane cannot
tell of an edge, another tells.
"""

from __future__ import annotations

from itertools import islice

import numpy as np
from numpy.typing import NDArray

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
BEFORE = (700, 500)
"""Weights of the two planes before, in 1/8192."""
SHARE = 0.85
"""Of the weights of a plane's own maps, where another plane helps."""


def batches(scales: list[NDArray[np.int64]], patches: int) -> list[list[Component]]:
    """Kept components but the first of each plane, in descending scale, coded some at a time.

    A batch has at most one component of each plane, whose trellis goes from one to the
    next, and where it can no frequency twice: the later one would lack a context.
    """
    most = min(max(1, BATCH // patches), LARGEST_BATCH)
    levels: dict[int, dict[int, list[int]]] = {}
    for plane, scale in enumerate(scales):
        kept = scale[1:].nonzero()[0] + 1
        for index in kept.tolist():
            levels.setdefault(int(scale[index]), {}).setdefault(plane, []).append(index)
    result = []
    for level in sorted(levels, reverse=True):
        queues = levels[level]
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
            result.append(batch)
    return result


class Predictors:
    """Chooses, for each component in turn, the maps that predict it.

    Parameters
    ----------
    first : int
        Row of the first plane's gradient, and after it those of the others.
    before : list of dict
        Of the planes before this group, by frequency, the row of a map.
    planes : int
    """

    def __init__(self, before: list[dict[int, int]], planes: int) -> None:
        self.rows: list[dict[int, int]] = before + [{} for _ in range(planes)]
        self._skip = len(before)
        self._weights: dict[tuple[object, ...], NDArray[np.float32]] = {}

    def of(
        self, batch: list[Component]
    ) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.float32]]:
        """Rows of the maps used, (components, 10), their weights, and those of the own map.

        Weights are (planes, components, 3, rows): of what a plane gives to its own places,
        to those beside it and to those above and below.
        """
        count = len(batch)
        rows = np.zeros((count, NEIGHBOURS + len(BEFORE)), np.intp)
        weights = np.empty((4, count, 3, NEIGHBOURS + len(BEFORE)), np.float32)
        own = np.empty((3, count, 1), np.float32)
        for i, x in enumerate(batch):
            place = x.channel + self._skip
            coded = self.rows[place]
            best = tuple(islice((j for j in nearest(x.index) if j in coded), NEIGHBOURS))
            others = [coded[j] for j in best]
            helped = []
            for back in range(1, 1 + min(len(BEFORE), place)):
                row = self.rows[place - back].get(x.index)
                if row is not None:
                    others.append(row)
                    helped.append(back - 1)
            rows[i, : len(others)] = others
            key = (x.index, best, *helped)
            found = self._weights.get(key)
            if found is None:
                found = self._weights[key] = _weights(x.index, best, helped)
            weights[:, i] = found
            kind = orientation(x.index)
            own[:, i, 0] = [
                _whole(WEIGHTS[1][kind][12]), _whole(WEIGHTS[2][kind][13]),
                _whole(WEIGHTS[2][kind][14]),
            ]  # fmt: skip
        return rows, weights, own

    def add(self, component: Component, row: int) -> None:
        """The component's map is coded: it may predict others."""
        self.rows[component.channel + self._skip][component.index] = row


def _whole(weight: float) -> float:
    """A weight in 1/8192 as a whole number; magnitudes are in half steps."""
    return float(np.floor(weight * UNIT / 16384 + 0.5))


def _weights(index: int, best: tuple[int, ...], helped: list[int]) -> NDArray[np.float32]:
    """(4, 3, rows) weights of one component's predictors."""
    near, kind, count = distances()[index], orientation(index), len(best)
    share = [(1 << 20) // (77 + int(near[i])) for i in best]
    total = sum(share)
    part = SHARE if helped else 1.0
    phases = np.zeros((3, 3, NEIGHBOURS + len(BEFORE)))
    for number, table in enumerate(WEIGHTS):
        w = table[kind]
        here, beside, above = phases[number]
        for i, x in enumerate(share):
            here[i] = part * (w[5] * x // total + (w[i] if i < 4 else w[4] // (count - 4)))
            beside[i] = w[6] * x // total
            above[i] = w[7] * x // total
        beside[0] += w[8]
        above[0] += w[9]
        for i, back in enumerate(helped):
            here[count + i] = BEFORE[back]
    planes = np.stack(
        [
            np.stack(
                (phases[PHASES[p], 0], phases[PHASES[BESIDE[p]], 1], phases[PHASES[ABOVE[p]], 2])
            )
            for p in range(4)
        ]
    )
    result: NDArray[np.float32] = np.floor(planes * (UNIT / 16384) + 0.5).astype(np.float32)
    return result
