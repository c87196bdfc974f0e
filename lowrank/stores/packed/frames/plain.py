"""Groups of maps that are coded as they are, each from its coefficients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lowrank import pace
from lowrank.stores.packed.frames import profile
from lowrank.stores.packed.frames.edges import Edges
from lowrank.stores.packed.frames.levels import levels_of
from lowrank.stores.packed.frames.order import Plan, arranged, batches, by_map
from lowrank.stores.packed.frames.profile import Profile
from lowrank.stores.packed.frames.samples import Maps, Plane, planes_of
from lowrank.stores.packed.frames.select import Choice
from lowrank.stores.packed.frames.walk import Carried, Walk, firsts
from lowrank.stores.packed.patches.phases import Writer

Bands = list[dict[str, NDArray[np.float32]]]
"""Of a first component, in steps: what is to be quantised."""


class Plain:
    """Writes groups of maps, one after the other.

    Parameters
    ----------
    groups : iterator of (SIZE, rows, maps, columns) ndarray
        Coefficients, in steps.
    coder : Writer
    edges : Edges
    frame : (height, width)
    """

    classes = None

    def __init__(
        self,
        groups: Iterator[NDArray[np.float32]],
        coder: Writer,
        edges: Edges,
        frame: tuple[int, int],
    ) -> None:
        self._groups, self._coder, self._edges, self._frame = groups, coder, edges, frame
        self._carried = Carried()
        self._planes: list[Plane] = []
        self.profiles: list[Profile] = []
        self.coarsest: list[NDArray[np.int64]] = []
        self.slope = 0

    def group(self, _: slice) -> Callable[[], Written]:
        """Quantise a group; what writes it, but for its first components, which are written."""
        C = next(self._groups)
        shape, count = (C.shape[1], C.shape[3]), C.shape[2]
        choice = Choice(C)
        fitted, suits = profile.fit(choice.square, choice.kept)
        del choice
        # The slope that suits the first group is that of all.
        self.slope = self.slope if self.profiles else suits
        scales = [x.scales(self.slope) for x in fitted]
        plan = batches(scales, shape[0] * shape[1])
        orders, where = by_map(plan, count)
        lows, bands = firsts(C)
        levels = levels_of(C, orders, self._edges)
        del C
        parts = arranged(levels, plan)
        del levels  # in the memory of the coefficients
        walk = Walk(shape, scales, lows, self._coder, self._edges, self._carried)
        for c, one in enumerate(bands):
            walk.first(c, one)

        def levels_of_map(c: int) -> NDArray[Any]:
            return np.array([parts[batch][place] for batch, place in zip(*where[c], strict=True)])

        maps = Maps(shape, self._edges, orders, walk.firsts, levels_of_map)
        self._planes += planes_of(maps, self._frame)
        self.profiles += fitted
        self.coarsest += lows
        return partial(write, walk, plan, parts, self._coder)

    def finish(self) -> list[Plane]:
        """The planes as they will be decoded, which are not kept."""
        planes, self._planes = self._planes, []
        return planes


class Written(NamedTuple):
    """A group in the stream: the passes of each batch's signs, and how many symbols it has."""

    passes: list[list[int]]
    symbols: int


def write(walk: Walk, plan: Plan, parts: list[NDArray[Any]], coder: Writer) -> Written:
    """Collect a group but for its first components.

    Each of its parts, the values of a batch, is forgotten as soon as it stands in the stream.
    """
    passes = []
    parts.reverse()
    for batch in pace.steps("coding", plan):
        coder.signs = []
        walk.next(batch, parts.pop())
        passes.append(coder.signs)
    walk.leave()
    return Written(passes, walk.symbols)
