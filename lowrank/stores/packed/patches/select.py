"""Which components of a channel are worth their bits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank.layouts.lapped import SIZE, Floats

BIT = 0.065
"""What a bit must gain here, in squared steps. Less than the quantiser's exchange rate:
a kept component also predicts others."""
DEARER, MANY = 0.1, 1 << 14
"""The same for more than so many patches, where time counts, too: 0.2% more bytes at equal
PSNR, a tenth of the time less. And for the eye, to which faint components matter less."""


def scales_of(maps: Floats, *, seen: bool = False) -> NDArray[np.int64]:
    """Half octaves of the maps' sizes in steps, plus 12; 0 for those not worth keeping.

    Parameters
    ----------
    maps : (SIZE, ...) ndarray
        Coefficients of each component, in steps.
    seen : bool
        They are weighed for the eye.
    """
    scale = np.zeros(SIZE, np.int64)
    worth = DEARER if seen or maps[0].size > MANY else BIT
    for index in range(1, SIZE):
        x = np.abs(maps[index]).ravel()
        large = x.take((x > 0.6).nonzero()[0])
        count = large.size
        if not count:
            continue
        q = np.floor(large + 0.45)
        gain = float((large * large - (large - q) ** 2).sum())
        # What it takes to say where they are, and then a sign and a magnitude for each.
        bits = count * (2.5 + 0.75 * math.log2(x.size / count)) + 20
        if gain > worth * bits:
            rms = math.sqrt(float(np.dot(x, x)) / x.size)
            scale[index] = max(1, round(2 * math.log2(rms)) + 12)
    return scale


def worth_keeping(
    gain: NDArray[np.floating[Any]], count: NDArray[np.intp], looked_at: int, patches: int
) -> NDArray[np.bool_]:
    """The same decision for components of which some patches were looked at."""
    worth = DEARER if patches > MANY else BIT
    some = np.maximum(count, 1)
    bits = some * (2.5 + 0.75 * np.log2(looked_at / some)) + 20 * looked_at / patches
    kept: NDArray[np.bool_] = (count > 0) & (gain > worth * bits)
    return kept
