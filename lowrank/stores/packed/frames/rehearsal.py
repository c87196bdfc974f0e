"""What a step will lose, by the trellis itself on some rows of patches of the planes to be kept.

The forecast's plain quantiser is off by a tenth of a decibel to one, by another amount on each
stack. How many times its error that of the trellis is, a part of the planes tells.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lowrank.layouts.lapped import SIDE, SIZE, Floats
from lowrank.stores.packed.frames import profile, select, wanted
from lowrank.stores.packed.frames.apart import box, suit, told_apart
from lowrank.stores.packed.frames.edges import Edges
from lowrank.stores.packed.frames.forecast import Forecast, worth
from lowrank.stores.packed.frames.levels import lost_of
from lowrank.stores.packed.frames.order import TOGETHER
from lowrank.stores.packed.frames.samples import power

_ENOUGH = 1 << 18  # coefficients that tell
_ROWS = 4  # of patches, at least, where there are as many
_FIRST = 0.11  # squared error of a first component, which the wavelet has


class Rehearsal(Forecast):
    """Error and bits by step, and the error more exactly at the price of a part of an encoding."""

    def rehearsed(self, step: float) -> float:
        """Mean squared error of a sample, in squared levels."""
        stack = self._stack
        step *= stack.scale
        suit(stack, step)
        if stack.weights is None and told_apart(stack, step):
            return self._apart(step)
        found = worth(stack, step)
        kept = np.flatnonzero(found.net > 0)
        maps = (kept[:, None] * stack.channels + np.arange(stack.channels)).ravel()
        expected = float(found.choice.error[maps].sum())
        del found  # what is known of each component is much of a small stack
        C = stack.coefficients(1)
        some, edges = self._some(C, (stack.height, stack.width), len(maps))
        entries, columns = wanted.quantised(stack, step, kept)
        B = entries * power(x.exponent for x in columns)
        sample = _taken(C[:, some], maps, 1 / step)
        del C
        stack.put_aside()  # what is tried takes as much memory again
        share = _share(sample, edges, wanted.gains(stack, B))
        error = share * expected * step**2 + wanted.beyond(stack, B)
        mean: float = error / (stack.frames * stack.pixels) / stack.scale**2
        return mean

    def _apart(self, step: float) -> float:
        """The same of frames that are coded as they are, from a box in the middle."""
        stack = self._stack
        rows, columns = box(stack)
        C = stack.frame_coefficients(slice(None), (rows, columns))
        C *= np.float32(1 / step)
        height, width = rows.stop - rows.start, columns.stop - columns.start
        some, edges = self._some(C, (height, width), C.shape[2])
        expected = float(select.Choice(C).error.mean())
        share = _share(C[:, some], edges, np.ones(C.shape[2]))
        mean: float = share * expected * step**2 / (height * width)
        return mean

    def _some(self, C: Floats, frame: tuple[int, int], maps: int) -> tuple[slice, Edges]:
        """Rows of patches that are enough, of so many maps, and what these have at far edges."""
        rows = C.shape[1]
        every = max(min(rows // _ROWS, SIZE * rows * C.shape[3] * maps // _ENOUGH), 1)
        # The last row, of patches that may be short, only where all are taken.
        part = slice(every // 2, rows if every == 1 else rows - 1, every)
        height = frame[0] if every == 1 else SIDE * len(range(rows)[part])
        return part, Edges(height, frame[1], transform=self._stack.transform)

    def aim(self, error: float | None) -> None:
        """Say which mean squared error of a sample is wanted, in squared levels; or none."""
        self._stack.aim = error

    @property
    def steered(self) -> bool:
        """Whether the last encoding did something about it."""
        return self._stack.lost is not None


def _taken(C: Floats, maps: NDArray[np.intp], unit: float) -> NDArray[np.float32]:
    """Some maps of coefficients, times a number."""
    taken = np.empty((*C.shape[:2], len(maps), C.shape[3]), np.float32)
    for x, out in zip(C, taken, strict=True):
        np.multiply(x[:, maps], unit, out=out, casting="same_kind")
    return taken


def _share(C: NDArray[np.float32], edges: Edges, gains: NDArray[np.float64]) -> float:
    """Squared error of the trellis on some coefficients, to that of a plain quantiser.

    Parameters
    ----------
    C : (SIZE, rows, maps, columns) ndarray
        In steps.
    edges : Edges
    gains : (maps,) ndarray
        How many times its squared error each map adds to that of the samples.
    """
    choice = select.Choice(C)
    plain = max(float(choice.error.sum()), 1e-30)
    fitted, slope = profile.fit(choice.square, choice.kept)
    del choice
    orders = []
    for one in fitted:
        size = one.scales(slope)
        coded = size[1:].nonzero()[0] + 1
        orders.append(coded[np.argsort(-(size[coded] // TOGETHER), kind="stable")].tolist())
    first = np.square(C[0]).sum((0, 2), dtype=np.float64)
    error = np.minimum(first, _FIRST * C.shape[1] * C.shape[3]) + lost_of(C, orders, edges)
    return float(error @ gains) / plain
