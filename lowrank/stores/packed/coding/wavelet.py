"""The 9/7 wavelet of a small map, in a fixed order of elementary operations.

Elementwise IEEE arithmetic only: the same bits on every machine.

References
----------
I. Daubechies, W. Sweldens, "Factoring wavelet transforms into lifting steps",
J. Fourier Anal. Appl. 4 (1998), section 7.6.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

_STEPS = (-1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971)
_SCALE = 1.230174104914001 / 1.4142135623730951
SMALLEST = 2


def _lift(low: Floats, high: Floats, step: int) -> None:
    """Add the two neighbours of the other phase, mirrored at the ends, along axis 0."""
    weight = low.dtype.type(_STEPS[step])
    _add(low, high, weight, even=step % 2 == 0)


def _add(low: Floats, high: Floats, weight: np.floating[Any], *, even: bool) -> None:
    if even:
        after = low[1:] if len(low) > len(high) else np.concatenate([low[1:], low[-1:]])
        high += weight * (low[: len(high)] + after[: len(high)])
    else:
        before = np.concatenate([high[:1], high])[: len(low)]
        after = high if len(high) == len(low) else np.concatenate([high, high[-1:]])
        low += weight * (before + after)


def split(x: Floats) -> tuple[Floats, Floats]:
    """One level along axis 0: low and high half."""
    low, high = x[0::2].copy(), x[1::2].copy()
    for step in range(4):
        _lift(low, high, step)
    low /= low.dtype.type(_SCALE)
    high *= high.dtype.type(_SCALE)
    return low, high


def join(low: Floats, high: Floats) -> Floats:
    """The array whose split this is."""
    low = low * low.dtype.type(_SCALE)
    high = high / high.dtype.type(_SCALE)
    for step in (3, 2, 1, 0):
        weight = -low.dtype.type(_STEPS[step])
        _add(low, high, weight, even=step % 2 == 0)
    x = np.empty((len(low) + len(high), *low.shape[1:]), low.dtype)
    x[0::2], x[1::2] = low, high
    return x


def levels(height: int, width: int) -> list[tuple[int, int]]:
    """Sizes of the map before each split: sides above SMALLEST are halved."""
    sizes = []
    while height > SMALLEST or width > SMALLEST:
        sizes.append((height, width))
        height = (height + 1) // 2 if height > SMALLEST else height
        width = (width + 1) // 2 if width > SMALLEST else width
    return sizes


def band_shapes(
    height: int, width: int
) -> tuple[tuple[int, int], list[dict[str, tuple[int, int]]]]:
    """Shape of the coarsest map, and the bands of each level, coarsest first."""
    shapes = []
    low = (height, width)
    for h, w in levels(height, width):
        split_h, split_w = h > SMALLEST, w > SMALLEST
        lh, lw = ((h + 1) // 2 if split_h else h), ((w + 1) // 2 if split_w else w)
        bands = {}
        if split_w:
            bands["across"] = (lh, w - lw)
        if split_h:
            bands["down"] = (h - lh, lw)
        if split_w and split_h:
            bands["both"] = (h - lh, w - lw)
        shapes.append(bands)
        low = (lh, lw)
    return low, shapes[::-1]


def forward(x: Floats) -> tuple[Floats, list[dict[str, Floats]]]:
    """Coarsest map and bands, as in band_shapes."""
    result = []
    for h, w in levels(*x.shape):
        bands: dict[str, Floats] = {}
        if w > SMALLEST:
            low, high = (y.T for y in split(x.T))
        else:
            low, high = x, x[:, :0]
        if h > SMALLEST:
            low, bands["down"] = split(low)
            if w > SMALLEST:
                bands["across"], bands["both"] = split(high)
        elif w > SMALLEST:
            bands["across"] = high
        result.append(bands)
        x = low
    return x, result[::-1]


def inverse(low: Floats, bands: list[dict[str, Floats]]) -> Floats:
    """The map whose forward transform this is."""
    for level in bands:
        high = level.get("across")
        if "down" in level:
            low = join(low, level["down"])
            if high is not None:
                high = join(high, level["both"])
        if high is not None:
            low = join(low.T, high.T).T
    return low
