"""Which components are kept, in which order, and what predicts each one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lowrank.layouts.lapped import SIDE, SIZE
from lowrank.stores.packed.coding.range_coder import BitReader, BitWriter
from lowrank.stores.packed.patches.contexts import ABOVE, BESIDE, PHASES, STANDS, UNIT

NEIGHBOURS = 8
_NEVER = 1 << 30
# round(256 log2(a + 1)).
_LOG = (0, 256, 406, 512, 594, 662, 719, 768, 812, 850, 886, 918, 947, 975, 1000, 1024)
_ORIENTED = 154

# Weights in units of 1/8192, by phase and class: n1 n2 n3 n4, mean n5..n8, mean of 8,
# its horizontal and vertical sums, n1's horizontal and vertical sums, luma and
# channel 1 at the same frequency, own diagonals, own horizontal, own vertical.
# Classes: luma, then chroma, each diagonal, vertical, horizontal frequency.
WEIGHTS = (
    (
        (730, 714, 310, 178, 134, 2490, 222, 228, 232, 261, 0, 0, 0, 0, 0),
        (987, 711, 233, 265, 104, 1902, 119, 124, 357, 319, 0, 0, 0, 0, 0),
        (1337, 840, 416, 438, 687, 270, 6, 134, 296, 424, 0, 0, 0, 0, 0),
        (976, 816, 380, 102, 49, 0, 50, 0, 193, 194, 22, 696, 0, 0, 0),
        (1082, 573, 0, 26, 22, 0, 0, 0, 294, 231, 73, 663, 0, 0, 0),
        (1158, 292, 114, 79, 29, 0, 0, 0, 206, 314, 60, 494, 0, 0, 0),
    ),
    (
        (884, 899, 506, 431, 509, 1085, 177, 92, 211, 218, 0, 0, 254, 0, 0),
        (1015, 753, 301, 284, 67, 1583, 97, 10, 428, 215, 0, 0, 240, 0, 0),
        (1183, 797, 377, 333, 362, 881, 0, 15, 224, 375, 0, 0, 266, 0, 0),
        (905, 607, 310, 200, 17, 28, 0, 0, 115, 157, 36, 428, 353, 0, 0),
        (1190, 548, 48, 25, 111, 0, 0, 0, 278, 0, 64, 273, 494, 0, 0),
        (1253, 298, 108, 35, 85, 0, 0, 0, 0, 338, 60, 361, 200, 0, 0),
    ),
    (
        (648, 818, 365, 371, 146, 1880, 67, 69, 184, 142, 0, 0, 0, 445, 411),
        (884, 704, 285, 222, 288, 946, 0, 20, 165, 144, 0, 0, 0, 924, 453),
        (1167, 763, 350, 335, 539, 166, 0, 0, 158, 202, 0, 0, 0, 421, 782),
        (918, 702, 191, 155, 0, 35, 0, 0, 26, 23, 22, 582, 0, 603, 671),
        (800, 267, 24, 26, 61, 0, 0, 0, 3, 6, 34, 202, 0, 2015, 496),
        (749, 184, 48, 22, 62, 0, 0, 0, 38, 0, 46, 365, 0, 297, 1724),
    ),
)


# The phase of the places that a plane's weights are for, by plane.
_SAME = PHASES
_BESIDE = tuple(PHASES[p] for p in BESIDE)
_ABOVE = tuple(PHASES[p] for p in ABOVE)


@cache
def distances() -> NDArray[np.int64]:
    """(SIZE, SIZE) distance between frequencies, in units of 1/256 octave."""
    v, u = np.divmod(np.arange(SIZE), SIDE)
    log = np.array(_LOG, np.int64)
    octaves = (log[v][:, None] - log[v]) ** 2 + (log[u][:, None] - log[u]) ** 2
    steps = (v[:, None] - v) ** 2 + (u[:, None] - u) ** 2
    # Square roots of integers, rounded down: exact in IEEE arithmetic.
    result: NDArray[np.int64] = np.sqrt(octaves).astype(np.int64)
    result += np.sqrt(64 * 64 * steps).astype(np.int64)
    return result


@cache
def _distance_rows() -> list[list[int]]:
    rows: list[list[int]] = distances().tolist()
    return rows


@cache
def nearest(index: int) -> tuple[int, ...]:
    """All frequencies, the nearest first, of the equally near the lower."""
    return tuple(distances()[index].argsort(kind="stable").tolist())


def orientation(index: int) -> int:
    """0: diagonal, 1: vertical frequency, 2: horizontal frequency."""
    v, u = divmod(index, SIDE)
    lean = _LOG[u] - _LOG[v]
    return 2 if lean > _ORIENTED else 1 if lean < -_ORIENTED else 0


@dataclass(frozen=True)
class Component:
    """One kept column of a channel's factorisation."""

    channel: int
    index: int


def order(scales: list[NDArray[np.int64]]) -> list[Component]:
    """Kept components but the first of each channel, in descending scale."""
    found = [
        (-int(scale[index]), channel, index)
        for channel, scale in enumerate(scales)
        for index in range(1, SIZE)
        if scale[index]
    ]
    return [Component(channel, index) for _, channel, index in sorted(found)]


BATCH = 3072
"""Coefficients below which another map joins a batch."""
LARGEST_BATCH = 16
WINDOW = 6
"""A batch of n looks at the next WINDOW n components."""
APART = 300
"""Least distance between two frequencies of a batch."""


def _independent(a: Component, b: Component) -> bool:
    if a.channel == b.channel:
        return _distance_rows()[a.index][b.index] >= APART
    return a.index != b.index


def batches(plan: list[Component], patches: int) -> list[list[Component]]:
    """Components coded together, in calls that would be too small one by one.

    A batch takes the next component and, of those that follow it closely, some that
    hardly predict each other.
    """
    size = min(max(1, BATCH // patches), LARGEST_BATCH)
    left = list(plan)
    result = []
    while left:
        batch = [left[0]]
        for other in left[1 : WINDOW * size]:
            if len(batch) == size:
                break
            if all(_independent(other, one) for one in batch):
                batch.append(other)
        for one in batch:
            left.remove(one)
        result.append(batch)
    return result


@cache
def _tables() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(kinds, planes, 3, 4 + 4) weights as planes stand, and (kinds, 3) of the own map.

    Of the four nearest, of all others by their number, of all by their share, and of the
    other channels, as `predictors` has them.
    """
    phases = np.array(WEIGHTS, np.int64).swapaxes(0, 1)
    planes = np.zeros((6, 4, 3, 8), np.int64)
    for stands, p in enumerate(STANDS):  # which undoes itself
        # For its own places, and for those that it is beside and above of.
        here, beside, above = (phases[:, x[p]] for x in (_SAME, _BESIDE, _ABOVE))
        planes[:, stands, 0] = here[:, [0, 1, 2, 3, 4, 5, 10, 11]]
        planes[:, stands, 1, 0], planes[:, stands, 1, 5] = beside[:, 8], beside[:, 6]
        planes[:, stands, 2, 0], planes[:, stands, 2, 5] = above[:, 9], above[:, 7]
    own = np.stack([phases[:, 1, 12], phases[:, 2, 13], phases[:, 2, 14]], axis=1)
    return planes, (own * UNIT + 4096) // 8192


def predictors(
    groups: list[list[Component]], channels: int, *, colour: bool
) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.int32]]:
    """The maps that predict each component, in the order of coding, which goes by groups.

    Rows of the maps used, (components, 10); their weights, (components, 4, 3, 10): of what
    the maps at each place of a plane give to that place, to those beside it and to those
    above and below; and the weights of the own map, (3, components, 1). Rows count the
    coded maps: first the gradients of each channel's first component, then the components
    in order. Of less maps than that the others have no weight.
    """
    plan = [one for group in groups for one in group]
    count = len(plan)
    channel = np.array([one.channel for one in plan], np.intp)
    index = np.array([one.index for one in plan], np.intp)
    group = np.repeat(np.arange(len(groups)), np.array([len(x) for x in groups], np.intp))
    # When each frequency of each channel is coded, and its row.
    when = np.full((channels, SIZE), count, np.intp)
    row = np.zeros((channels, SIZE), np.intp)
    when[:, 0], row[:, 0] = -1, np.arange(channels)
    when[channel, index] = group
    row[channel, index] = channels + np.arange(count)

    near = distances()[index] * SIZE + np.arange(SIZE)
    near[when[channel] >= group[:, None]] = _NEVER
    near.partition(NEIGHBOURS - 1, axis=1)
    near = np.sort(near[:, :NEIGHBOURS], axis=1)
    there = near < _NEVER
    frequency = near % SIZE
    share = np.where(there, (1 << 20) // (77 + near // SIZE), 0)
    found = there.sum(1)
    used = np.zeros((count, NEIGHBOURS + 2), np.intp)
    used[:, :NEIGHBOURS] = np.where(there, row[channel[:, None], frequency], 0)
    others = np.zeros((count, 2), bool)
    for other in range(min(channels, 2) if colour else 0):
        others[:, other] = (channel > other) & (when[other, index] < group)
        used[:, NEIGHBOURS + other] = np.where(others[:, other], row[other, index], 0)

    v, u = np.divmod(index, SIDE)
    log = np.array(_LOG)
    lean = log[u] - log[v]
    kind = np.where(lean > _ORIENTED, 2, lean < -_ORIENTED) + 3 * (channel > 0)
    tables, own = _tables()
    table = tables[kind]
    weights = np.zeros((count, 4, 3, NEIGHBOURS + 2), np.int64)
    some = weights[..., :NEIGHBOURS]
    np.multiply(table[..., 5:6], share[:, None, None], out=some)
    some //= share.sum(1)[:, None, None, None]
    some[..., :4] += table[..., :4]
    some[..., 4:] += table[..., 4:5] // np.maximum(found - 4, 1)[:, None, None, None]
    some *= there[:, None, None]
    weights[..., NEIGHBOURS:] = table[..., 6:] * others[:, None, None]
    weights += 4
    weights >>= 3
    return used, weights.astype(np.float32), own[kind].T[:, :, None].astype(np.int32)


def _guess(scale: NDArray[np.int64], index: int) -> int:
    v, u = divmod(index, SIDE)
    around = [int(scale[index - back]) for back, inside in ((1, u), (SIDE, v)) if inside]
    return (sum(around) + len(around) // 2) // len(around) if around else 0


def write_scales(out: BitWriter, scale: NDArray[np.int64], channel: int) -> None:
    """Scales of a channel: 0 for a dropped component; index 0 is not coded."""
    scan = _diagonal()
    last = max((i for i, index in enumerate(scan) if scale[index]), default=-1) + 1
    out.number(last, "last", channel > 0)
    for index in scan[:last]:
        guess = _guess(scale, index)
        kind = min(guess, 4)
        out.bit(int(scale[index] > 0), "kept", kind, channel > 0)
        if scale[index]:
            out.signed(int(scale[index]) - max(guess, 1), "scale", min(kind, 2))


def read_scales(data: BitReader, channel: int) -> NDArray[np.int64]:
    """What write_scales wrote."""
    scale = np.zeros(SIZE, np.int64)
    scan = _diagonal()
    for index in scan[: data.number("last", channel > 0)]:
        guess = _guess(scale, index)
        kind = min(guess, 4)
        if data.bit("kept", kind, channel > 0):
            scale[index] = min(max(max(guess, 1) + data.signed("scale", min(kind, 2)), 1), 255)
    return scale


@cache
def _diagonal() -> tuple[int, ...]:
    return tuple(sorted(range(1, SIZE), key=lambda i: (sum(divmod(i, SIDE)), i)))
