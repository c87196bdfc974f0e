"""Groups of maps of which later ones are predicted from those before, as these were decoded.

A few maps at a time are predicted, quantised and decoded again, all that those after them need;
the stream is written when a whole group is known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank import pace
from lowrank.layouts.lapped import SIZE, Floats, grid
from lowrank.stores.packed.coding import wavelet
from lowrank.stores.packed.coding.payload import FRACTION
from lowrank.stores.packed.coding.ranswriter import RansWriter
from lowrank.stores.packed.frames import learn, models, profile
from lowrank.stores.packed.frames.classes import Planes, Sorted, Weights
from lowrank.stores.packed.frames.edges import Edges
from lowrank.stores.packed.frames.levels import levels_of
from lowrank.stores.packed.frames.order import arranged, batches, by_map
from lowrank.stores.packed.frames.plain import Written, write
from lowrank.stores.packed.frames.profile import Profile
from lowrank.stores.packed.frames.samples import Maps, Plane, narrowed, planes_of
from lowrank.stores.packed.frames.steering import Steering
from lowrank.stores.packed.frames.walk import Carried, Walk, firsts
from lowrank.stores.packed.patches import means
from lowrank.stores.packed.patches.phases import Writer


class Closed:
    """Writes groups of maps.

    Parameters
    ----------
    Y : (maps, height, width) ndarray
        What maps are to be; as they are coded, what they become.
    learnt : Learnt
    edges : Edges
    rans : RansWriter
    coder : Writer
        Of first components, for what a bit is worth there.
    first_group : int
        How many maps the first group has.
    steering : Steering or None
        What a bit is worth; None where no error is wanted.
    """

    def __init__(
        self, Y: Planes, learnt: learn.Learnt, edges: Edges, rans: RansWriter, coder: Writer,
        zero: float, rise: float, first_group: int, steering: Steering | None,
    ) -> None:  # fmt: skip
        self._frame = Y.shape[1], Y.shape[2]
        self._Y = Y.reshape(len(Y), -1).astype(np.int32)
        self._learnt, self._edges, self._steering = learnt, edges, steering
        self._pixels: Sorted | None = None
        # First components are quantised before it is known what they will cost.
        self._trial = Writer(RansWriter(), zero=zero, rise=rise, models=models.fresh())
        self._bands: means.Bands | None = None
        self._coder = Writer(rans, zero=0, rise=0, models=coder.models)
        self._weights = Weights(Writer(rans, zero=0, rise=0), learnt.classes)
        self._carried = Carried()
        self.classes = learnt.classes
        self.profiles: list[Profile] = []
        self.coarsest: list[NDArray[np.int64]] = []
        part = slice(first_group)
        self.slope = profile.fit(learnt.square[:, part], learnt.kept[:, part])[1]

    def group(self, part: slice) -> Callable[[], Written]:
        """Quantise a group; what writes it."""
        classes = self.classes
        fitted, _ = profile.fit(self._learnt.square[:, part], self._learnt.kept[:, part])
        scales = [x.scales(self.slope) for x in fitted]
        rows, columns = grid(*self._frame)
        plan = batches(scales, rows * columns)
        orders, _ = by_map(plan, len(fitted))
        levels: NDArray[np.signedinteger[Any]]
        levels = np.zeros((SIZE, rows, len(fitted), columns), np.int16)
        bands: list[means.Bands] = []
        lows: list[NDArray[np.int64]] = []
        sent: list[tuple[int, NDArray[np.int32]]] = []
        alone = slice(part.start, min(part.stop, classes.base))
        stages = ([alone] if alone.stop > alone.start else []) + list(classes.stages(part))
        for some in pace.steps("quantising", stages):
            here = slice(some.start - part.start, some.stop - part.start)
            predicted = self._predicted(some, sent)
            target = self._Y[some] if predicted is None else self._Y[some] - predicted
            maps, q = self._quantised(self._unsorted(target), orders[here], lows, bands)
            if q.itemsize > levels.itemsize:
                levels = levels.astype(q.dtype)
            levels[:, :, here] = q
            flat = np.array(planes_of(maps, self._frame), np.int32).reshape(len(target), -1)
            if self._pixels is not None:
                self._pixels.sort(flat)
            if predicted is not None:
                flat += predicted
            if self._steering is not None:
                gap = np.subtract(flat, self._Y[some], dtype=np.float32)
                gap *= np.float32(1 / FRACTION)
                self._steering.lost(some, np.square(gap).sum(1, dtype=np.float64))
            self._Y[some] = flat
        self.profiles += fitted
        self.coarsest += lows
        parts = arranged(levels, plan)

        def written() -> Written:
            for number, W in sent:
                self._weights.code(number, W)
            walk = Walk((rows, columns), scales, lows, self._coder, self._edges, self._carried)
            for c, one in enumerate(bands):
                walk.first(c, [{k: v.astype(np.float32) for k, v in x.items()} for x in one])
            return write(walk, plan, parts, self._coder)

        return written

    def _predicted(self, some: slice, sent: list[tuple[int, NDArray[np.int32]]]) -> Planes | None:
        """What maps are predicted as, by weights that are sent; None of the first ones."""
        classes = self.classes
        if some.start < classes.base:
            return None
        if self._pixels is None:
            self._pixels = Sorted(classes, self._Y[: classes.base])
            self._pixels.sort(self._Y)
        W = learn.weights(self._pixels, self._Y, some, self._Y[some])
        count = classes.reach(some.start)
        found = self._pixels.predict(self._Y, count, W, strict=False).astype(np.int32)
        for k, number in enumerate(range(some.start, some.stop)):
            sent.append((number, W[:, k]))
        return found

    def _unsorted(self, flat: Planes) -> Planes:
        flat = flat.copy()
        if self._pixels is not None:
            self._pixels.restore(flat)
        return flat.reshape(len(flat), *self._frame)

    def _quantised(
        self, target: Planes, orders: list[list[int]],
        lows: list[NDArray[np.int64]], bands: list[means.Bands],
    ) -> tuple[Maps, NDArray[np.signedinteger[Any]]]:  # fmt: skip
        """Quantise planes: what they are decoded as, and their levels."""
        C = learn.coefficients(target, self._edges.transform)
        _, rows, _, columns = C.shape
        means_of: list[Floats] = []
        for low, wanted in zip(*firsts(C), strict=True):
            lows.append(low)
            self._bands = means.code((rows, columns), self._trial, self._bands, wanted)
            bands.append(self._bands)
            exact: list[dict[str, Floats]] = [
                {k: v.astype(np.float64) for k, v in b.items()} for b in self._bands
            ]
            means_of.append(wavelet.inverse(low.astype(np.float64), exact))
        worth = 1.0 if self._steering is None else self._steering.worth
        levels = levels_of(C, orders, self._edges, worth)

        def levels_of_map(c: int) -> NDArray[Any]:
            return levels[orders[c], :, c]

        maps = Maps((rows, columns), self._edges, orders, means_of, levels_of_map)
        return maps, levels

    def finish(self) -> list[Plane]:
        """The planes as they will be decoded."""
        if self._pixels is not None:
            self._pixels.restore(self._Y)
        planes = [narrowed(plane.reshape(self._frame)) for plane in self._Y]
        self._Y = self._Y[:0].copy()  # what is written after this needs none of them
        return planes
