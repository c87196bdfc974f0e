"""In which order the components of a group of planes are coded, and what predicts each one.

Contexts are those of patches (patches/order.py) with the weights of a first channel, and
the same frequency of the two planes before where these are coded: what one plane cannot
tell of an edge, another tells.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from functools import cache
from itertools import islice

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

GROUP = 1 << 21
"""Coefficients of the maps that are coded together."""
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
_REMEMBERED = 1 << 9
"""Kinds of components whose predictors are remembered: planes that are alike come together."""
Shape = tuple[int, int, bool, bool]
"""A frequency, what is coded of its plane, and whether planes before have it."""
SHARE = 0.85
"""Of the weights of a plane's own maps, where another plane helps."""


def group_of(shape: tuple[int, int]) -> int:
    """Maps of a group."""
    return max(1, GROUP // (SIZE * shape[0] * shape[1]))


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

    def counts(self, maps: int) -> list[int]:
        """How many components each of so many maps has."""
        counts: list[int] = np.bincount(self._channels, minlength=maps).tolist()
        return counts

    def __iter__(self) -> Iterator[list[Component]]:
        for start, end in zip(self._ends, self._ends[1:], strict=False):
            both = zip(self._channels[start:end], self._indices[start:end], strict=True)
            yield [Component(c, i) for c, i in both]


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


def arranged(levels: NDArray[np.integer], plan: Plan) -> list[NDArray[np.integer]]:
    """(components, patches) levels of each batch, to be forgotten one after the other.

    Those of most batches take 8 bits.
    """
    _, rows, _, columns = levels.shape
    narrow = np.iinfo(np.int8)
    parts: list[NDArray[np.integer]] = []
    for batch in plan:
        part = np.empty((len(batch), rows, columns), levels.dtype)
        for one, x in zip(part, batch, strict=True):
            one[:] = levels[x.index, :, x.channel]
        if narrow.min <= int(part.min()) and int(part.max()) <= narrow.max:
            part = part.astype(np.int8)
        parts.append(part.reshape(len(batch), rows * columns))
    return parts


def by_map(plan: Plan, count: int) -> tuple[list[list[int]], list[tuple[array[int], array[int]]]]:
    """The components of each of so many maps in the order of coding; their batches, and places."""
    orders: list[list[int]] = [[] for _ in range(count)]
    places = [(array("i"), array("i")) for _ in range(count)]
    for number, batch in enumerate(plan):
        for place, x in enumerate(batch):
            orders[x.channel].append(x.index)
            places[x.channel][0].append(number)
            places[x.channel][1].append(place)
    return orders, places


class Predictors:
    """Chooses, for each component in turn, the maps that predict it.

    Parameters
    ----------
    before : list of array
        Of the planes before this group, by frequency, the row of a map, or NONE.
    planes : int
    """

    def __init__(self, before: list[array[int]], planes: int) -> None:
        self.rows = before + [array("i", [NONE]) * SIZE for _ in range(planes)]
        self._skip = len(before)
        self._coded = [0] * planes
        """What is coded of each plane, a bit for each component."""
        self._best: dict[tuple[int, int], bytes] = {}
        self._weights: dict[Shape, NDArray[np.float32]] = {}

    def of(
        self, batch: list[Component]
    ) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.float32]]:
        """Rows of the maps used, (components, 10), their weights, and those of the own map.

        Weights are (planes, components, 3, rows): of what a plane gives to its own places,
        to those beside it and to those above and below.
        """
        if max(len(self._best), len(self._weights)) > _REMEMBERED:
            self._best.clear()
            self._weights.clear()
        rows: list[list[int]] = []
        shapes: list[Shape] = []
        fresh: dict[Shape, bytes] = {}
        for x in batch:
            place = x.channel + self._skip
            coded = self.rows[place]
            key = (x.index, self._coded[x.channel])
            best = self._best.get(key)
            if best is None:
                best = bytes(islice((j for j in nearest(x.index) if coded[j] >= 0), NEIGHBOURS))
                self._best[key] = best
            used = [coded[j] for j in best]
            first = self.rows[place - 1][x.index] if place else NONE
            second = self.rows[place - 2][x.index] if place > 1 else NONE
            rest = [0] * (NEIGHBOURS - len(used))
            rows.append([*used, *rest, max(first, 0), max(second, 0)])
            shape = (*key, first >= 0, second >= 0)
            if shape not in self._weights:
                fresh[shape] = best
            shapes.append(shape)
        if fresh:
            self._weights.update(zip(fresh, _weights(fresh), strict=True))
        weights = [self._weights[shape] for shape in shapes]
        own = np.array([_own(orientation(x.index)) for x in batch], np.float32)
        return np.array(rows), np.array(weights).swapaxes(0, 1), own.T[:, :, None]

    def add(self, component: Component, row: int) -> None:
        """The component's map is coded: it may predict others."""
        self.rows[component.channel + self._skip][component.index] = row
        self._coded[component.channel] |= 1 << component.index


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


@cache
def _tables() -> NDArray[np.int64]:
    """(phases, SIZE, numbers) of WEIGHTS, by frequency."""
    kinds = [orientation(index) for index in range(SIZE)]
    return np.array(WEIGHTS, np.int64)[:, kinds]


def _weights(shapes: dict[Shape, bytes]) -> NDArray[np.float32]:
    """(components, 4, 3, rows): weights of predictors, of the nearest maps and of other planes'.

    Small frames have thousands of kinds: those of a batch are computed at once, sooner than kept.
    """
    index = np.array([shape[0] for shape in shapes])
    helped = np.array([shape[2:] for shape in shapes])
    count = np.array([len(best) for best in shapes.values()])[:, None]
    filled = b"".join(best.ljust(NEIGHBOURS, b"\0") for best in shapes.values())
    near = np.frombuffer(filled, np.uint8).reshape(-1, NEIGHBOURS)
    there = np.arange(NEIGHBOURS) < count
    share = (1 << 20) // (77 + distances()[index[:, None], near]) * there
    w = _tables()[:, index]
    shares = w[:, :, 5:8, None] * share[:, None] // share.sum(1)[:, None, None]
    each = np.repeat(w[:, :, 4:5] // np.maximum(count - 4, 1), NEIGHBOURS, axis=2)
    each[:, :, :4] = w[:, :, :4]
    phases = np.zeros((len(w), len(index), 3, WIDTH))
    phases[..., :NEIGHBOURS] = shares
    phases[:, :, 0, :NEIGHBOURS] += each * there
    phases[:, :, 0] *= np.where(helped.any(1), SHARE, 1.0)[:, None]
    phases[:, :, 0, NEIGHBOURS:] = helped * BEFORE
    phases[:, :, 1:, 0] += w[:, :, 8:10]
    planes = phases.transpose(2, 0, 1, 3)[range(3), _PHASES].swapaxes(1, 2)
    result: NDArray[np.float32] = np.floor(planes * (UNIT / 16384) + 0.5).astype(np.float32)
    return result.swapaxes(0, 1)
