"""From decoded maps to samples: synthesis, smoothing, colour, rounding.

Elementwise IEEE arithmetic in a fixed order after the exact products of synthesis.py:
the same samples on every machine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import FormatError
from lowrank.layouts.lapped import HALF, SIDE, Floats
from lowrank.layouts.turn import axes
from lowrank.stores.packed.coding.payload import FRACTION, Samples, to_levels
from lowrank.stores.packed.coding.smoothing import Filter
from lowrank.stores.packed.patches.cutting import Cutting
from lowrank.stores.packed.patches.header import CUTTING, Header
from lowrank.stores.packed.patches.synthesis import Channel, basis, render
from lowrank.stores.packed.patches.walk import Walk

FINER = 2
"""How much finer the step of the filter is than the quantiser's, of a picture that is weighed."""


def channel_of(walk: Walk, c: int, bits: int) -> Channel:
    """One channel of a walk, ready for synthesis."""
    precision = 13 if bits <= 8 else 24
    d, indices = walk.header.step_of(c), walk.indices[c]
    spread, factors = walk.scales_of(c)
    scale = d / FRACTION / (1 << precision)
    return Channel(
        walk.firsts[c] * walk.float.type(d / SIDE),
        basis(indices, walk.header.turns[c], precision, spread),
        walk.maps[c][: len(indices)],
        scale if factors is None else scale * factors,
    )


def planes_of(walk: Walk, bits: int) -> Floats:
    """(channels, rows, columns) samples of whole patches, before smoothing and colour."""
    channels = [channel_of(walk, c, bits) for c in range(len(walk.header.scales))]
    height, width = walk.shape
    planes = np.empty((len(channels), height * SIDE, width * SIDE), walk.float)

    def emit(top: int, block: Floats) -> None:
        _, y, x, rows, columns = block.shape
        part = planes[:, top * SIDE : (top + rows) * SIDE]
        part.reshape(-1, rows, y, columns, x)[:] = block.transpose(0, 3, 1, 4, 2)

    render(channels, emit, walk.float)
    return planes


def filters_of(planes: Floats, header: Header) -> list[Filter]:
    """The filter of each plane."""
    steps = [header.step_of(c) for c in range(len(planes))]
    if header.version < CUTTING:
        return [Filter(plane, step) for plane, step in zip(planes, steps, strict=True)]
    # The eye sees smaller errors than the squares of all of them tell.
    finer = 1 if header.gains is None else FINER
    filters: list[Filter] = []
    for c, (plane, step) in enumerate(zip(planes, steps, strict=True)):
        luma = filters[0] if header.turn is not None and c in (1, 2) else None
        filters.append(Cutting(plane, step / finer, luma))
    return filters


def samples_of(
    walk: Walk,
    height: int,
    width: int,
    bits: int,
    *,
    smooth: bool,
    planes: Floats | None = None,
    filters: list[Filter] | None = None,
) -> Samples:
    """The picture of a walk; `smooth` asks for the filter that the header wants.

    `planes` are those of `planes_of`, cut to the picture, and `filters` theirs, where they are
    known already; smoothing changes them.
    """
    header = walk.header
    count = len(header.scales)
    peak = (1 << bits) - 1
    if header.levels is not None and max(header.levels) > peak:
        raise FormatError("packed stream: a level of alpha is out of range")
    R = axes(header.turn)
    R = None if R is None else R.astype(walk.float)
    out = np.empty((height, width, count), np.uint8 if bits <= 8 else np.uint16)

    if smooth and any(header.smooth):
        if planes is None:
            planes = planes_of(walk, bits)[:, :height, :width]
        for one, strength in zip(filters or filters_of(planes, header), header.smooth, strict=True):
            one.apply(strength)
        # Some rows at a time, which stay in a cache.
        for top in range(0, height, SIDE):
            rows = slice(top, top + SIDE)
            _colour(planes[:, rows], R, peak, out[rows].transpose(2, 0, 1))
    else:

        def emit(top: int, block: Floats) -> None:
            _, y, x, rows, columns = block.shape
            levels = np.empty(block.shape, out.dtype)
            for half in (slice(HALF), slice(HALF, SIDE)):  # which stays in a cache
                _colour(block[:, half], R, peak, levels[:, half])
            part = out[top * SIDE : (top + rows) * SIDE]
            whole = part.shape == (rows * y, columns * x, count)
            shape = (rows, y, columns, x, count)
            pixels = part.reshape(shape) if whole else np.empty(shape, out.dtype)
            for c, level in enumerate(levels):
                pixels[..., c] = level.transpose(2, 0, 3, 1)
            if not whole:
                part[:] = pixels.reshape(rows * y, columns * x, count)[: len(part), :width]

        render([channel_of(walk, c, bits) for c in range(count)], emit, walk.float)
    if header.levels is not None:
        to_levels(out[..., -1], header.levels)
    return out


def _colour(planes: Floats, R: Floats | None, peak: int, out: NDArray[Any]) -> None:
    """Rotate back the first three of (channels, ...) planes, round half up and clip."""
    kind = planes.dtype.type
    level, part = np.empty((2, *planes.shape[1:]), planes.dtype)
    for c in range(len(planes)):
        if R is not None and c < 3:
            np.multiply(planes[0], R[0, c], out=level)
            for i in (1, 2):
                np.multiply(planes[i], R[i, c], out=part)
                level += part
            level += kind(0.5)
        else:
            np.add(planes[c], kind(0.5), out=level)
        np.clip(level, kind(0), kind(peak), out=level)
        out[c] = level
