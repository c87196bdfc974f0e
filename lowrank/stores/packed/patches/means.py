"""The first component of a channel: its map is a small image, coded by a wavelet.

The map of frequency (0, 0) is 16 times the mean of each patch. Its 9/7 wavelet bands
are coded from coarse to fine, each predicted by the coarser band of its kind, by the
other bands of its level and by the same band of the channel before. The coarsest map,
at most 2 x 2, stands in the header.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import FormatError
from lowrank.stores.packed.coding import wavelet
from lowrank.stores.packed.coding.range_coder import BitReader, BitWriter
from lowrank.stores.packed.patches.contexts import CAP, UNIT, Board, Quarters
from lowrank.stores.packed.patches.phases import Reader, Writer

Bands = list[dict[str, NDArray[np.int32]]]
_PARENT, _SIBLING, _LUMA = (np.float32(round(w * UNIT)) for w in (0.25, 0.12, 0.05))
_OWN = np.array([[[round(w * UNIT)]] for w in (0.12, 0.14, 0.14)], np.int32)
_SMALL = 1 << 12
"""Coefficients of a band whose places are kept for the next one of its size."""


@lru_cache(maxsize=32)
def _quarters(height: int, width: int) -> Quarters:
    """The planes of a band, which all channels have alike."""
    return Quarters(height, width)


def _enlarged(band: tuple[int, int], shape: tuple[int, int]) -> NDArray[np.intp]:
    """What of a band, enlarged, stands at each element of the planes: the last, none, outside."""
    known = _known if shape[0] * shape[1] <= _SMALL else _known.__wrapped__
    return known(band, shape)


@lru_cache(maxsize=128)
def _known(band: tuple[int, int], shape: tuple[int, int]) -> NDArray[np.intp]:
    rows = np.arange(shape[0]) * band[0] // shape[0]
    columns = np.arange(shape[1]) * band[1] // shape[1]
    places = (rows[:, None] * band[1] + columns).ravel()
    where = _quarters(*shape).where
    return np.where(where < 0, band[0] * band[1], places.take(where, mode="clip"))


def code(
    shape: tuple[int, int],
    coder: Reader | Writer,
    before: Bands | None,
    target: list[dict[str, NDArray[np.float32]]] | None,
) -> Bands:
    """Code the bands of one channel; the same walk on both sides.

    Parameters
    ----------
    before : list of dict or None
        The bands of the channel that predicts this one.
    target : list of dict or None
        What to quantise, in units of the step, when writing.
    """
    result: Bands = []
    _, levels = wavelet.band_shapes(*shape)
    for level, shapes in enumerate(levels):
        bands: dict[str, NDArray[np.int32]] = {}
        for name, size in shapes.items():
            quarters = _quarters(*size)
            board = coder.boards.get(size)
            if board is None:
                board = coder.boards[size] = Board(quarters, 1)
            maps = [(_SIBLING, other) for other in bands.values()]
            if level and name in result[-1]:
                maps.append((_PARENT, result[-1][name]))
            if before is not None:
                maps.append((_LUMA, before[level][name]))
            sums = np.zeros((1, 3, quarters.size), np.float32)
            for weight, band in maps:
                flat = np.zeros(band.size + 1, np.float32)
                np.minimum(np.abs(band.ravel()), CAP, out=flat[:-1], casting="unsafe")
                flat *= weight
                sums[0, 0] += flat.take(_enlarged(band.shape, size))
            board.expect(sums)
            wanted = None if target is None else quarters.scatter(target[level][name])
            q, known = np.zeros(quarters.size, np.int32), board.known[0]
            for phase in quarters.phases:
                rows = board.rows(phase, _OWN)
                part = None if wanted is None else wanted[phase.places]
                hit, values = coder.phase(rows.ravel(), part, signs=True)
                here = phase.places.take(hit)
                q[here] = values
                known[here] = np.minimum(np.abs(values), CAP)
            coder.models.learn()
            bands[name] = quarters.gather(q, np.empty(size, np.int32))
        result.append(bands)
    return result


def write_coarsest(out: BitWriter, low: NDArray[np.int64]) -> None:
    """The coarsest map, as differences in reading order."""
    before = 0
    for value in low.ravel().tolist():
        out.signed(value - before, "coarsest")
        before = value


def read_coarsest(data: BitReader, shape: tuple[int, int]) -> NDArray[np.int64]:
    """What write_coarsest wrote."""
    values, before = [], 0
    for _ in range(shape[0] * shape[1]):
        before += data.signed("coarsest")
        values.append(before)
    found = np.array(values, np.int64).reshape(shape)
    if int(np.abs(found).max()) >= 1 << 30:
        raise FormatError("packed stream: a coefficient is out of range")
    return found


def gradient(grid: NDArray[np.float32]) -> NDArray[np.float32]:
    """Half the mean absolute difference to either neighbour, both ways; capped integers."""
    total = np.zeros_like(grid)
    if grid.shape[1] > 1:
        step = np.abs(grid[:, 1:] - grid[:, :-1])
        total[:, 1:] += step
        total[:, :-1] += step
    if grid.shape[0] > 1:
        step = np.abs(grid[1:] - grid[:-1])
        total[1:] += step
        total[:-1] += step
    total *= np.float32(0.25)
    return np.minimum(np.rint(total), np.float32(CAP))
