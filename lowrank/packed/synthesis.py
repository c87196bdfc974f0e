"""From coefficients to samples, the same bits on every machine.

The sum over components is a product of integer matrices: the basis in units of 2^-13
(2^-28 for 16-bit samples), coefficients in sixteenths of a step. It is taken in
float32 where no partial sum can reach 2^24, in float64 (2^53) elsewhere: exact, hence
independent of the order of summation. All that follows is elementwise arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank.packed.lapped import GROUP, SIDE, SIZE, Floats, cosines, lap_columns, lap_rows

FRACTION = 16
"""Coefficients are integers in units of 1/16 step."""


def basis(indices: list[int], precision: int) -> NDArray[np.float64]:
    """(SIZE, components) integer matrix: patches of each component, times 2^precision."""
    D = cosines()
    rows, columns = np.divmod(np.array(indices, np.intp), SIDE)
    patches = (D[rows][:, :, None] * D[columns][:, None, :]).reshape(-1, SIZE)
    return np.ascontiguousarray(np.rint(patches * float(1 << precision)).T)


class Channel:
    """The decoded maps of one channel: the first, and integers for the others."""

    def __init__(
        self, first: Floats, basis: NDArray[np.float64], maps: NDArray[Any], scale: float
    ) -> None:
        self.first, self.basis, self.maps, self.scale = first, basis, maps, scale
        self.largest = float(np.abs(basis).max()) if basis.size else 0.0

    def patches(self, rows: slice, dtype: np.dtype[Any]) -> Floats:
        """Samples [y x, row of patches, patch] of some rows of patches."""
        mean = self.first[rows]
        if not self.basis.shape[1]:
            return np.broadcast_to(mean, (SIZE, *mean.shape))
        Q = self.maps[:, rows].reshape(len(self.maps), -1)
        if dtype == np.float32:
            Q = Q.astype(np.float32)
            worst = float(np.abs(Q).sum(0).max()) * self.largest
        if dtype == np.float32 and worst < 2**24:
            product: Floats = self.basis.astype(np.float32) @ Q
        else:
            product = (self.basis @ Q.astype(np.float64)).astype(dtype)
        product *= dtype.type(self.scale)
        result = product.reshape(SIZE, *mean.shape)
        result += mean
        return result


def render(
    channels: list[Channel],
    emit: Callable[[int, Floats], None],
    dtype: np.dtype[Any],
) -> None:
    """Samples of all channels, before colour, some rows of patches at a time.

    Parameters
    ----------
    emit : callable
        Called with the first row of patches and samples (y, x, rows, channels, patches)
        of whole rows of patches, from the top.
    """
    height, width = channels[0].first.shape
    step = max(1, GROUP // (len(channels) * width))
    block = np.empty((SIDE, SIDE, step + 1, len(channels), width), dtype)
    kept = 0
    for top in range(0, height, step):
        rows = slice(top, min(top + step, height))
        fresh = block[:, :, kept : kept + rows.stop - top]
        for c, channel in enumerate(channels):
            fresh[:, :, :, c] = channel.patches(rows, dtype).reshape(SIDE, SIDE, -1, width)
        lap_columns(fresh, inverse=True)
        part = block[:, :, : kept + rows.stop - top]
        lap_rows(part, inverse=True)
        done = part.shape[2] - (rows.stop < height)
        if done:
            emit(top - kept, part[:, :, :done])
        if rows.stop < height:
            block[:, :, 0] = part[:, :, -1]
            kept = 1
