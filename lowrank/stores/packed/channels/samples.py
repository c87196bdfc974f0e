"""Matrices to samples: smoothing, colours, rounding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import FormatError
from lowrank.layouts.turn import axes
from lowrank.stores.packed.channels.header import Header
from lowrank.stores.packed.channels.sums import Outer
from lowrank.stores.packed.coding.payload import ALPHA_FINER, Samples, to_levels
from lowrank.stores.packed.coding.smoothing import Filter

Floats = NDArray[np.float64]


def samples_of(
    header: Header,
    sums: list[Outer],
    shape: tuple[int, int, int],
    bits: int,
    *,
    smooth: bool,
    filters: list[Filter] | None = None,
) -> Samples:
    """The picture of some terms; what is smoothed is in `filters`, where that is known already."""
    peak = (1 << bits) - 1
    if header.levels is not None and max(header.levels) > peak:
        raise FormatError("packed stream: a level of alpha is out of range")
    out = np.empty(shape, np.uint8 if bits <= 8 else np.uint16)
    R = axes(header.turn)
    for rows, X in _parts(header, sums, smooth=smooth, filters=filters):
        if R is not None:
            X[:3] = [X[0] * R[0, c] + X[1] * R[1, c] + X[2] * R[2, c] for c in range(3)]
        if header.alpha:
            X[-1] *= 1 / ALPHA_FINER
        for c, x in enumerate(X):
            x += 0.5
            out[rows, :, c] = np.clip(x, 0, peak, out=x)
    if header.levels is not None:
        to_levels(out[..., -1], header.levels)
    return out


def _parts(
    header: Header, sums: list[Outer], *, smooth: bool, filters: list[Filter] | None
) -> Iterator[tuple[slice, list[Floats]]]:
    """Rows of all channels, some at a time, or all at once where they are smoothed."""
    if smooth and any(header.smooth):
        filters = filters or [Filter(x.whole(), header.step) for x in sums]
        for one, strength in zip(filters, header.smooth, strict=True):
            one.apply(strength)
        yield slice(None), [cast("Floats", one.plane) for one in filters]
    else:
        for parts in zip(*(x.slabs() for x in sums), strict=True):
            yield parts[0][0], [x for _, x in parts]
