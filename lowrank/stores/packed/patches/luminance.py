"""Whether the colours of a file for the eye are better turned to luminance.

The principal axes of details make the smallest file of its squared error. But the eye sees
errors in luminance first, and chroma is weighed as if it had none of that: where colours are
strong, the first principal axis may be far from luminance, and chroma carries it. Axes that are
drawn to luminance are then better, where they cost few bits. Both are estimated from the
covariances of the channels at each frequency, as of Gaussian variables at high rate.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lowrank.layouts.lapped import Floats
from lowrank.layouts.turn import LUMINANCE
from lowrank.stores.packed.patches import eye

_STEP = 24.0
"""Levels of 8 bits, of the file that is thought of: others are alike."""
_CHROMA = 0.1
"""What an error counts that has no luminance."""
_TOLD = 0.95
"""Share of what luma tells of chroma that a file makes use of."""
_GAIN = 0.01
"""Share of the bits that luminance must save by the estimate."""
_PATCHES = 4096
"""Patches that are looked at, about."""
_HALVINGS = 16


def pays(C: Floats, now: NDArray[np.float64], other: NDArray[np.float64], peak: float) -> bool:
    """Whether other axes make a smaller file that is as good for the eye.

    Parameters
    ----------
    C : (SIZE, rows, channels, columns) ndarray
        Coefficients in levels, the first three channels turned to `now`.
    now, other : (3, 3) ndarray
        Axes, a row for each.
    peak : float
        The largest level.
    """
    some = C[1:, :: max(1, C.shape[1] * C.shape[3] // _PATCHES), :3]
    X = some.astype(np.float64).transpose(0, 2, 1, 3).reshape(len(some), 3, -1)
    S = X @ X.swapaxes(1, 2) * ((255.0 / peak) ** 2 / X.shape[2])
    lost, bits = _estimate(S, now, _STEP)
    turn = other @ now.T
    S = turn @ S @ turn.T
    low, high = _STEP / 8, _STEP * 8
    for _ in range(_HALVINGS):  # the step at which as much is lost
        step = float(np.sqrt(low * high))
        there, needed = _estimate(S, other, step)
        low, high = (step, high) if there < lost else (low, step)
    return needed < (1 - _GAIN) * bits


def _estimate(
    S: NDArray[np.float64], axes: NDArray[np.float64], step: float
) -> tuple[float, float]:
    """What is lost for the eye with one step, and bits, of the (F, 3, 3) covariances on axes."""
    light = (axes @ np.array(LUMINANCE)) ** 2 / float(np.dot(LUMINANCE, LUMINANCE))
    luma, chroma = (eye.spread(eye.POWER, squared=x)[1:, None] ** 2 for x in (True, False))
    squares = step**2 * np.hstack([luma, chroma, chroma])
    worth = light / luma + _CHROMA * (1 - light) / chroma
    left = np.diagonal(S, axis1=1, axis2=2).copy()
    left[:, 1:] -= _TOLD * S[:, 0, 1:] ** 2 / (left[:, :1] + squares[:, :1] / 12)
    left = np.maximum(left, 1e-9)
    lost = worth / (1 / left + 12 / squares)
    return float(lost.sum()), float(np.log2(1 + 3 * left / squares).sum()) / 2
