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

from lowrank.stores.packed.coding import wavelet
from lowrank.stores.packed.coding.range_coder import BitReader, BitWriter
from lowrank.stores.packed.patches.contexts import CAP, UNIT, Quarters, expected
from lowrank.stores.packed.patches.phases import Reader, Writer

Bands = list[dict[str, NDArray[np.int32]]]
_PARENT, _SIBLING, _LUMA = round(0.25 * UNIT), round(0.12 * UNIT), round(0.05 * UNIT)
_OWN = np.array([[[round(w * UNIT)]] for w in (0.12, 0.14, 0.14)], np.float32)


@lru_cache(maxsize=32)
def _quarters(height: int, width: int) -> Quarters:
    """The planes of a band, which all channels have alike."""
    return Quarters(height, width)


def _enlarge(band: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    rows = np.arange(shape[0]) * band.shape[0] // shape[0]
    columns = np.arange(shape[1]) * band.shape[1] // shape[1]
    part: NDArray[np.float32] = band[rows][:, columns]
    return part


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
            maps: list[tuple[int, NDArray[np.float32]]] = []
            if level and name in result[-1]:
                maps.append((_PARENT, _enlarge(_capped(result[-1][name]), size)))
            for other in bands.values():
                maps.append((_SIBLING, _enlarge(_capped(other), size)))
            if before is not None:
                maps.append((_LUMA, _capped(before[level][name])))
            context = np.zeros((1, 3, quarters.size), np.float32)
            for weight, grid in maps:
                context[0, 0] += np.float32(weight) * quarters.scatter(grid)
            flat = None if target is None else quarters.scatter(target[level][name])
            q = np.zeros(quarters.size, np.int32)
            known = np.zeros((1, quarters.size), np.float32)
            for phase in quarters.phases:
                rows = expected(quarters, phase, context, known, _OWN)
                part = None if flat is None else flat[phase.places]
                hit, values = coder.phase(rows.ravel(), part, signs=True)
                q[phase.places[hit]] = values
                known[0, phase.places[hit]] = np.minimum(np.abs(values), CAP)
            coder.models.learn()
            bands[name] = quarters.gather(q, np.empty(size, np.int32))
        result.append(bands)
    return result


def _capped(band: NDArray[np.int32]) -> NDArray[np.float32]:
    return np.minimum(np.abs(band), CAP).astype(np.float32)


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
    return np.array(values, np.int64).reshape(shape)


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
