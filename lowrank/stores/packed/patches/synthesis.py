"""From coefficients to samples, the same bits on every machine.

The sum over components is a product of integer matrices: the basis in units of 2^-13
(2^-24 for 16-bit samples), coefficients in sixteenths of a step. It is taken in
float32 where no partial sum can reach 2^24, in float64 (2^53) elsewhere: exact, hence
independent of the order of summation. All that follows is elementwise arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank import threads
from lowrank.layouts.lapped import (
    SIDE,
    SIZE,
    Floats,
    cosines,
    lap_columns,
    lap_rows,
)
from lowrank.stores.packed.patches.rotations import Turns, turn

_GROUP = 1 << 10
"""Patches of a channel that are rendered at once: they stay in a cache."""
_GROUPS = 3
"""Channels from which on there are fewer, so that all of them stay small."""
_SPAN = 48
"""Rows of patches that a thread renders, beside one before and one after them."""

_WIDENED = 64  # samples of patches

_BUFFER = 64
"""Elements of numpy's buffers, into which it copies arrays with gaps where they hold several
of their rows: not these."""


def basis(
    indices: list[int], turns: Turns, precision: int, spread: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """(SIZE, components) integer matrix: patches of each component, times 2^precision.

    And times `spread`, (SIZE,), of each component.
    """
    D = cosines()
    patches = (D[:, None, :, None] * D[None, :, None, :]).reshape(SIZE, SIZE)
    turn(patches, turns)
    kept = patches[indices]
    if spread is not None:
        kept *= spread[indices][:, None]
    return np.ascontiguousarray(np.rint(kept * float(1 << precision)).T)


class Channel:
    """The decoded maps of one channel: the first, and integers for the others.

    Parameters
    ----------
    first : (height, width) ndarray
        What each patch has beside the other components.
    basis : (SIZE, components) ndarray of integers
    maps : (components, height, width) ndarray of integers
    scale : float or (height, width) ndarray
        Of the product of the two.
    """

    def __init__(
        self,
        first: Floats,
        basis: Floats,
        maps: Floats,
        scale: float | NDArray[np.float64],
    ) -> None:
        self.first, self.maps, self.scale = first, maps, scale
        total, size = np.zeros(first.shape, maps.dtype), np.empty(first.shape, maps.dtype)
        for one in maps:
            total += np.abs(one, out=size)
        largest = float(np.abs(basis).max()) if basis.size else 0.0
        # The margin is for the rounding of the sums in float32.
        exact = maps.dtype == np.float32 and float(total.max()) * largest < 0.999 * 2**24
        self._kind = np.dtype(np.float32 if exact else np.float64)
        self._basis = basis.astype(np.float32, copy=False) if exact else basis

    def patches(self, rows: slice, out: Floats) -> None:
        """Samples [y, x, row of patches, patch] of some rows of patches."""
        mean = self.first[rows]
        if not len(self.maps):
            out[:] = mean
            return
        Q = self.maps[:, rows].reshape(-1, mean.size)
        product = self._product(Q.astype(self._kind, copy=False))
        if isinstance(self.scale, float):
            product *= self._kind.type(self.scale)
        else:
            product *= self.scale[rows].reshape(-1).astype(self._kind)
        np.add(product.reshape(SIDE, SIDE, *mean.shape), mean, out=out, casting="same_kind")

    def _product(self, Q: Floats) -> Floats:
        """The basis times some maps, exactly; a narrower basis is widened some rows at a time."""
        if self._basis.dtype == self._kind:
            return self._basis @ Q
        product = np.empty((SIZE, Q.shape[1]), self._kind)
        for first in range(0, SIZE, _WIDENED):
            some = slice(first, first + _WIDENED)
            np.matmul(self._basis[some].astype(self._kind), Q, out=product[some])
        return product


def render(
    channels: list[Channel],
    emit: Callable[[int, Floats], None],
    dtype: np.dtype[Any],
    apart: tuple[bool, bool] = (False, False),
    *,
    lapped: bool = True,
) -> None:
    """Samples of all channels, before colour, some rows of patches at a time.

    Parameters
    ----------
    emit : callable
        Called with the first row of patches and samples (channels, y, x, rows, patches)
        of whole rows of patches, by several threads.
    apart : (bool, bool)
        Whether the last row, and the last column, of patches lap over no other.
    lapped : bool
        Whether any patches lap.
    """
    height = channels[0].first.shape[0]

    def span(top: int) -> None:
        # Which is each thread's own.
        before = np.setbufsize(_BUFFER)
        try:
            rows = range(top, min(top + _SPAN, height))
            _render(channels, emit, dtype, apart, rows, lapped=lapped)
        finally:
            np.setbufsize(before)

    threads.each(span, range(0, height, _SPAN))


def _render(
    channels: list[Channel],
    emit: Callable[[int, Floats], None],
    dtype: np.dtype[Any],
    apart: tuple[bool, bool],
    wanted: range,
    *,
    lapped: bool,
) -> None:
    """The same of some rows: those beside them lap over the first and the last."""
    height, width = channels[0].first.shape
    start, stop = max(wanted.start - lapped, 0), min(wanted.stop + lapped, height)
    group = _GROUP * _GROUPS // max(len(channels), _GROUPS)
    step = min(max(1, group // width), stop - start)
    block = np.empty((len(channels), SIDE, SIDE, step + 1, width), dtype)
    kept = 0
    for top in range(start, stop, step):
        rows = slice(top, min(top + step, stop))
        filled = kept + rows.stop - top
        last = apart[0] and rows.stop == height
        for channel, samples in zip(channels, block, strict=True):
            fresh = samples[:, :, kept:filled]
            channel.patches(rows, fresh)
            if lapped:
                lap_columns(fresh[..., :-1] if apart[1] else fresh, inverse=True)
                lap_rows(samples[:, :, : filled - last], inverse=True)
        first = top - kept
        done = filled - (rows.stop < stop)
        above, below = max(wanted.start, first), min(wanted.stop, first + done)
        if above < below:
            emit(above, block[:, :, :, above - first : below - first])
        if rows.stop < stop:
            block[:, :, :, 0] = block[:, :, :, filled - 1]
            kept = 1
