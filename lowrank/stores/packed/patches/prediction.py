"""Signed prediction: lines and edges run on from patch to patch.

Along an edge the coefficients of neighbouring patches have the same sign: those of
the vertical frequencies (v, 0) from side to side, those of the horizontal ones from
above to below. And the slope of a patch, frequency (0, 1), goes with the difference
of the means on either side of it. So some components of low frequency are predicted
from what is coded: in the own map, in the components one frequency lower, and in the
map of means. What is quantised is the difference; the sum is what is kept.

Values are in sixteenths of a step, weights in 1/256: integers, the sums below 2^24,
hence exact in float32.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lowrank.layouts.lapped import SIDE
from lowrank.stores.packed.patches.contexts import Phase, Quarters

LIMIT = 2047
"""Magnitudes that predict are at most this, in sixteenths."""
_MOST = 1 << 29  # of means, in sixteenths: beyond any picture, and differences fit 32 bits

# Weights in 1/256 for the frequency (v, u), v >= u; transposed for u > v: neighbours
# beside and above in the own map, frequency (v, u - 1) left less right, frequency
# (v - 1, u) above less below, means above less below.
_TABLE: dict[tuple[int, int], tuple[int, int, int, int, int]] = {
    (1, 0): (56, 0, 0, 0, 32),
    (1, 1): (0, 0, 25, 25, 0),
    (2, 0): (64, 26, 0, -18, 0),
    (2, 1): (0, 26, 19, -16, 0),
    (2, 2): (32, 18, -16, -16, 0),
    (3, 0): (64, 0, 0, 4, 0),
    (3, 1): (0, 0, 20, 16, 0),
    (4, 0): (60, 14, 0, -12, 0),
    (4, 1): (0, 20, 18, -12, 0),
    (5, 0): (62, 0, 0, 10, 0),
    (6, 0): (70, 18, 0, -6, 0),
    (7, 0): (72, 0, 0, 6, 0),
    (8, 0): (68, 12, 0, -8, 0),
    (9, 0): (72, 0, 0, 4, 0),
    (10, 0): (68, 10, 0, -8, 0),
    (11, 0): (70, 0, 0, 6, 0),
    (12, 0): (68, 18, 0, -8, 0),
    (13, 0): (65, 0, 0, 8, 0),
    (14, 0): (68, 20, 0, -10, 0),
    (15, 0): (56, 0, 0, 6, 0),
}


class Weights(NamedTuple):
    """Weights of one component, in 1/256."""

    beside: int
    above: int
    lower_u: int
    lower_v: int
    means: int


def weights(index: int) -> Weights | None:
    """Weights of a component; None for most, which are not predicted."""
    v, u = divmod(index, SIDE)
    found = _TABLE.get((max(v, u), min(v, u)))
    if found is None:
        return None
    along, across, low, high, means = found
    if v >= u:
        return Weights(along, across, low, high, means)
    return Weights(across, along, high, low, means)


class Memory:
    """The kept values of the components that predict others, by channel and index."""

    def __init__(self, shape: Quarters) -> None:
        self._shape = shape
        self._maps: dict[tuple[int, int], NDArray[Any]] = {}

    def means(self, channel: int, mean: NDArray[np.floating[Any]]) -> None:
        """Remember the map of means, in steps."""
        kind = mean.dtype.type
        whole = np.clip(np.rint(mean * kind(16)), kind(-_MOST), kind(_MOST)).astype(np.int32)
        self._maps[channel, 0] = self._shape.scatter(whole)

    def add(self, channel: int, index: int, values: NDArray[np.floating[Any]]) -> None:
        """Remember a component's values, in sixteenths of a step."""
        self._maps[channel, index] = _limited(values)

    def predict(
        self, channel: int, index: int, w: Weights, phase: Phase, own: NDArray[np.floating[Any]]
    ) -> NDArray[np.float32]:
        """Predicted values of one phase, in whole sixteenths."""
        shape = self._shape
        if phase.number == 2:
            own = _limited(own)
        v, u = divmod(index, SIDE)
        result = np.zeros(phase.count, np.float32)
        lower_u = self._maps.get((channel, index - 1)) if u and index > 1 else None
        lower_v = self._maps.get((channel, index - SIDE)) if v and index > SIDE else None
        means = self._maps[channel, 0]
        for i, plane in enumerate(phase.planes):
            e = result[i * shape.count : (i + 1) * shape.count]
            (left, right), (up, below) = shape.neighbours[plane]
            if phase.number == 2 and w.beside:
                x = own[left] - own[right] if u & 1 else own[left] + own[right]
                x *= np.float32(w.beside)
                e += x
            if phase.number == 2 and w.above:
                x = own[up] - own[below] if v & 1 else own[up] + own[below]
                x *= np.float32(w.above)
                e += x
            if lower_u is not None and w.lower_u:
                x = lower_u[left] - lower_u[right]
                x *= np.float32(w.lower_u)
                e += x
            if lower_v is not None and w.lower_v:
                x = lower_v[up] - lower_v[below]
                x *= np.float32(w.lower_v)
                e += x
            if w.means:
                a, b = (left, right) if u else (up, below)
                x = np.clip(means[a] - means[b], -LIMIT, LIMIT).astype(np.float32)
                # Beyond the edge there is no mean.
                x[(shape.where[a] < 0) | (shape.where[b] < 0)] = 0
                x *= np.float32(w.means)
                e += x
        result *= np.float32(1 / 256)
        result += np.float32(0.5)
        np.floor(result, out=result)
        result[phase.pads] = 0
        return result


def _limited(values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    limited: NDArray[np.float32] = np.clip(values, -LIMIT, LIMIT).astype(np.float32, copy=False)
    return limited
