"""The noise of each frame, and what a frame weighs for it.

A transform that minimises the squared error of all samples gives its bits to the frames with
the most of it, and where these are the noisiest ones the bits go into noise: a bad band eats
those of the good ones. A frame divided by its noise has noise of 1 like all others.

References
----------
A. A. Green et al., "A transformation for ordering multispectral data in terms of image quality",
IEEE Trans. Geosci. Remote Sens. 26 (1988): noise-adjusted components. F. R. Hampel, J. Am. Stat.
Assoc. 69 (1974): the median of magnitudes, which outliers and edges hardly move.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NORMAL = 1.4826
"""Standard deviation of a normal distribution over its median magnitude."""
_SECOND = 6.0
"""Variance of a second difference of white noise over that of the noise."""
_WIDEST = 16.0
"""How many times the usual noise, or what part of it, a frame's may be taken for."""


def of_frames(samples: NDArray[Any]) -> NDArray[np.float64]:
    """Standard deviation of the noise of each of (N, height, width, channels) frames, in levels.

    The median magnitude of second differences, along rows or along columns, whichever is less:
    what a picture shows is smooth more often than not, and adds to it in one direction at least.
    """
    found = np.empty(len(samples))
    for i, frame in enumerate(samples):
        found[i] = min(map(_along, (frame, frame.swapaxes(0, 1))))
    found[~np.isfinite(found)] = 0
    return found


def _along(frame: NDArray[Any]) -> float:
    if len(frame) < 3:
        return float("inf")
    x = frame.astype(np.float64)
    second = np.median(np.abs(x[2:] - 2 * x[1:-1] + x[:-2]))
    return _NORMAL * float(second) / math.sqrt(_SECOND)


def weights(samples: NDArray[Any]) -> NDArray[np.float64]:
    """What each frame is divided by: its noise, in units of that of the noisiest.

    No frame is taken for more than 16 times as noisy as the usual one, nor for less than a 16th.
    """
    noise = of_frames(samples)
    usual = float(np.median(noise[noise > 0])) if (noise > 0).any() else 1.0
    w = np.clip(noise, usual / _WIDEST, usual * _WIDEST)
    result: NDArray[np.float64] = w / w.max()
    return result
