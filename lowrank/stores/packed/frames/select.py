"""Which planes are worth their bits, and which components of each.

What a plain quantiser would gain and what its levels would cost, as rates.py expects it, is
a fair guess of what the trellis will make of them; a plane is kept where that pays for its
column of the basis, too. Its share of the energy alone does not tell: noise may have more of
it than the last detail.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank.stores.packed.frames.rates import BIT, TOGETHER, expected_rows, rates
from lowrank.stores.packed.frames.trellis import LEVELS

FINER = 0.79
"""Step of a plain quantiser that does as well as the trellis with a step of 1."""
_KEPT = 0.4
"""Share of its price that a component has to gain: it predicts others."""
_NEIGHBOURS = 1 << 21  # coefficients whose maps are neighbours: others know nothing of each other
_TOLD = np.float32(LEVELS - 1)  # levels above take more bits than its rate, one for each octave
_COMPONENT, _MAP = 1.0, 20.0
"""Bits of a component's and of a map's own fields, about."""


class Choice:
    """What each component of some maps would gain and cost.

    Parameters
    ----------
    C : (SIZE, rows, maps, columns) ndarray
        Coefficients.
    step : float

    Attributes
    ----------
    gain, bits : (SIZE, maps) ndarray
        Squared steps, and bits.
    square : (SIZE, maps) ndarray
        Mean square, in plain steps.
    kept : (SIZE, maps) ndarray of bool
        Which are worth coding.
    error : (maps,) ndarray
        Squared error, in squared steps.
    energy, cost : (maps,) ndarray
        Sum of squares; and squared error and the price of the bits where components that pay are
        coded and the others zero. In squared steps.
    """

    def __init__(self, C: NDArray[Any], step: float = 1.0) -> None:
        maps = C.shape[2]
        each = max(1, _NEIGHBOURS * maps // C.size)
        parts = [_weighed(C[:, :, i : i + each], step) for i in range(0, maps, each)]
        self.gain, self.bits, self.square, lost = (
            np.concatenate([part[i] for part in parts], axis=1) for i in range(4)
        )
        self.kept = self.gain > _KEPT * BIT * self.bits
        whole = self.square * (C.shape[1] * C.shape[3])
        self.error = np.where(self.kept, lost, whole).sum(0) * FINER**2
        self.energy = whole.sum(0) * FINER**2
        # Not the energy less what is gained: with a fine step these are nearly the same.
        self.cost = np.minimum(whole * FINER**2, lost * FINER**2 + BIT * self.bits).sum(0)
        self.kept[0] = False

    def worth(self) -> NDArray[np.float64]:
        """What each map gains beyond what it costs, in squared steps."""
        net = self.gain - BIT * self.bits
        result: NDArray[np.float64] = np.maximum(net, 0).sum(0) - BIT * _MAP
        return result


def _weighed(C: NDArray[Any], step: float) -> list[NDArray[np.float64]]:
    """Of some maps the gain, the bits, the mean square and what is lost, of each component."""
    maps = C.shape[2]
    each = max(1, TOGETHER * maps // C.size)
    parts = [_of_some(C, a, min(a + each, maps), step) for a in range(0, maps, each)]
    return [np.concatenate(one, axis=1) for one in zip(*parts, strict=True)]


def _of_some(C: NDArray[Any], a: int, b: int, step: float) -> tuple[NDArray[np.float64], ...]:
    """The same of maps a to b - 1, among the others."""
    low = max(a - 1, 0)
    C = (C[:, :, low : b + 1] * (1 / step)).astype(np.float32)
    expected = expected_rows(C, slice(a - low, b - low))
    x = np.abs(C[:, :, a - low : b - low])
    del C
    x *= np.float32(1 / FINER)
    square = np.einsum("ijkl,ijkl->ik", x, x, dtype=np.float64) / (x.shape[1] * x.shape[3])
    q = np.floor(x + np.float32(0.42))
    q *= x >= np.float32(0.62)
    row = expected.astype(np.intp)
    row *= LEVELS
    row += np.minimum(q, _TOLD).astype(np.uint8)
    price = rates()[0].ravel().take(row)
    del row
    large = np.flatnonzero(q > _TOLD)
    # With a fine step most are: their digits tell what a prediction or a transform spares.
    price.reshape(-1)[large] += np.float32(BIT) * np.log2(q.reshape(-1)[large] / _TOLD)
    bits = price.sum((1, 3), dtype=np.float64) / BIT + _COMPONENT
    del price
    gap = x - q
    np.multiply(gap, gap, out=gap)
    lost = gap.sum((1, 3), dtype=np.float64)
    np.multiply(x, x, out=x)
    x -= gap
    return x.sum((1, 3), dtype=np.float64) * FINER**2, bits, square, lost


def column_bits(frames: int, sigma: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """Bits of columns of the basis, about."""
    entry = sigma / (np.sqrt(frames) * 0.7 * FINER * step)
    each: NDArray[np.float64] = np.log2(np.maximum(entry, 1e-9)) + 3.2
    return frames * np.maximum(each, 0.5)
