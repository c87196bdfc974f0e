"""The filter along edges, of which large differences are cut.

As in smoothing.py every sample gains a weighted sum of its differences to samples around it, by
its class. But what a neighbour differs more than a quarter of a step is there another thing than
what the quantiser took away: so each difference counts once as it is, and once cut to a quarter
of a step, with weights of their own; those of four more taps cut alone. Chroma has the classes
of luma, where the colours are turned, and other weights. All weights are least-squares fits on
photographs. Elementwise IEEE arithmetic in a fixed order: the same bits on every machine.

References
----------
J. Taquet et al., "Non-linear adaptive loop filter", JVET-N0242 (2019): differences cut to what
is signalled. C. Tomasi, R. Manduchi, "Bilateral filtering for gray and color images", ICCV (1998).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank.layouts.lapped import Floats
from lowrank.stores.packed.coding.smoothing import (
    EIGHTHS,
    MARGIN,
    TAPS,
    Filter,
    Room,
    oriented,
)
from lowrank.stores.packed.patches.weights import CHROMA, LUMA

WIDER = (*TAPS, (1, 2), (2, 1), (1, -2), (2, -1))
"""(down, across) of what is cut; the first of them count as they are, too."""
CUT = 0.25
"""Of a step."""


@cache
def _weights(chroma: bool) -> NDArray[np.float32]:
    """(TAPS + WIDER, LEVELS x ORIENTED) weights: of differences, then of those that are cut."""
    table = np.array(CHROMA if chroma else LUMA, np.float32) / 1024
    plain, cut = oriented(table[..., : len(TAPS)], TAPS), oriented(table[..., len(TAPS) :], WIDER)
    return np.concatenate([plain, cut])


class Cutting(Filter):
    """The filter of one plane.

    Parameters
    ----------
    plane, step : as of Filter
    luma : Filter, optional
        That of the plane whose classes this one of chroma has.
    """

    def __init__(self, plane: Floats, step: float, luma: Filter | None = None) -> None:
        super().__init__(plane, step)
        self._luma = luma

    def weights(self, strength: int) -> NDArray[np.float32]:
        """Weights by class at a strength, the first 4 bits for what is not cut."""
        plain, cut = divmod(strength, EIGHTHS + 1)
        weights = _weights(self._luma is not None).copy()
        weights[: len(TAPS)] *= np.float32(plain / 8)
        weights[len(TAPS) :] *= np.float32(cut / 8)
        return weights

    def best_strength(self, original: Floats) -> int:
        """Strengths that bring the plane nearest to the original: 16 times one, and the other.

        With c the changes at full strength and e the error, |e - k c|^2 by products of these, for
        all strengths k that a file may have.
        """
        W, N = _weights(self._luma is not None), len(TAPS)
        along, power = np.zeros(2), np.zeros((2, 2))
        for kinds, (top, part, room) in zip(self.kinds(), self._slabs(), strict=True):
            places = kinds.astype(np.intp)
            changes = [
                self._sums(part, places, *some, room).astype(np.float64).ravel()
                for some in ((W[:N], W[:0]), (W[:0], W[N:]))
            ]
            rows = slice(top, top + len(kinds) // room.pitch)
            error = (original[rows] - self.plane[rows]).ravel()
            along += [one @ error for one in changes]
            power += [[one @ other for other in changes] for one in changes]
        k = np.stack(np.divmod(np.arange((EIGHTHS + 1) ** 2), EIGHTHS + 1)) / 8
        return int(np.argmin((k * (power @ k)).sum(0) - 2 * along @ k))

    def kinds(self) -> list[NDArray[np.uint8]]:
        """Classes of the samples: those of luma, where that is given."""
        return super().kinds() if self._luma is None else self._luma.kinds()

    def change(
        self, part: Floats, kinds: NDArray[np.intp], weights: NDArray[Any], room: Room
    ) -> Floats:
        """What the filter adds to the samples inside the margin of some rows."""
        return self._sums(part, kinds, weights[: len(TAPS)], weights[len(TAPS) :], room)

    def _sums(
        self, part: Floats, kinds: NDArray[np.intp],
        plain: NDArray[Any], cut: NDArray[Any], room: Room,
    ) -> Floats:  # fmt: skip
        """Weighted sums of differences as they are, and of those that are cut; of none, or more."""
        W, size = room.pitch, len(kinds)
        total, d, factor = room.change[:size], room.part[:size], room.scaled[0, :size]
        most = part.dtype.type(self._step * CUT)
        total.fill(0)

        def add(steps: Floats, o: int, weights: NDArray[Any]) -> None:
            np.subtract(steps[o:], steps[:size], out=d)
            np.multiply(d, weights.take(kinds, out=factor, mode="wrap"), out=d)
            np.add(total, d, out=total)

        for i, (dy, dx) in enumerate(WIDER[: max(len(plain), len(cut))]):
            # From each sample to the next one along a tap: that to the one before is among them.
            o = dy * W + dx
            some = part[MARGIN * W - o :]
            steps = np.subtract(some[o:][: size + o], some[: size + o], out=room.longer[: size + o])
            if i < len(plain):
                add(steps, o, plain[i])
            if i < len(cut):
                np.clip(steps, -most, most, out=steps)
                add(steps, o, cut[i])
        inner: Floats = total.reshape(-1, W)[:, MARGIN:-MARGIN]
        return inner
