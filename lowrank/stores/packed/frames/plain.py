"""Groups of maps that are coded as they are, each from its coefficients."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lowrank import pace
from lowrank.stores.packed.frames import profile
from lowrank.stores.packed.frames.edges import Edges
from lowrank.stores.packed.frames.levels import levels_of, orders_of
from lowrank.stores.packed.frames.order import arranged, batches
from lowrank.stores.packed.frames.profile import Profile
from lowrank.stores.packed.frames.samples import Plane, planes_of
from lowrank.stores.packed.frames.select import Choice
from lowrank.stores.packed.frames.walk import Carried, Walk, firsts
from lowrank.stores.packed.patches.order import Component
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

    def group(self, _: slice) -> tuple[list[list[int]], int]:
        """Write a group: the passes of each batch's signs, and how many symbols it has."""
        C = next(self._groups)
        shape, count = (C.shape[1], C.shape[3]), C.shape[2]
        choice = Choice(C)
        fitted, suits = profile.fit(choice.square, choice.kept)
        # The slope that suits the first group is that of all.
        self.slope = self.slope if self.profiles else suits
        scales = [x.scales(self.slope) for x in fitted]
        plan = batches(scales, shape[0] * shape[1])
        lows, bands = firsts(C)
        levels = arranged(levels_of(C, orders_of(plan, count), self._edges)[0], plan)
        del C
        walk = Walk(shape, scales, lows, self._coder, self._edges, self._carried, levels)
        passes = write(walk, plan, bands, self._coder)
        self.profiles += fitted
        self.coarsest += lows
        walk.leave()
        self._planes += planes_of(walk, self._frame)
        return passes, walk.symbols

    def finish(self) -> list[Plane]:
        """The planes as they will be decoded."""
        return self._planes


def write(
    walk: Walk, plan: list[list[Component]], bands: list[Bands], coder: Writer
) -> list[list[int]]:
    """Collect a group; the passes of each batch's signs. Empties the plan."""
    for c, one in enumerate(bands):
        walk.first(c, one)
    passes = []
    for number, batch in enumerate(pace.steps("coding", plan)):
        plan[number] = []  # of small maps there are many components
        coder.signs = []
        walk.next(batch)
        passes.append(coder.signs)
    return passes
