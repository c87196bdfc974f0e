"""Which planes are worth their bits, and which components of each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lowrank.layouts.lapped import Floats

FINER = 0.79
"""Step of a plain quantiser that does as well as the trellis with a step of 1."""
_BIT, _COMPONENT, _PLANE = 0.065, 0.12, 0.17
"""What a bit must gain, in squared plain steps, of a component that predicts others, of one
that speaks for its plane, and of a plane. A kept component of a plane costs little more."""


def _gains(maps: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Squared steps that quantising each component gains, its bits, and its mean square.

    Parameters
    ----------
    maps : (SIZE, places) ndarray
        Coefficients in plain steps.
    """
    x = np.abs(maps)
    square = np.einsum("ij,ij->i", x, x, dtype=np.float64) / x.shape[1]
    large = x > 0.6
    count = large.sum(1)
    q = np.floor(x + np.float32(0.45))
    gap = x - q
    gain = np.where(large, x * x - gap * gap, 0).sum(1, dtype=np.float64)
    share = np.log2(x.shape[1] / np.maximum(count, 1))
    # What it takes to say where they are, and then a sign and a magnitude for each.
    bits = np.where(count > 0, count * (2.5 + 0.75 * share) + 20, 0)
    return gain, bits, square


def scales_of(maps: Floats) -> NDArray[np.int64]:
    """Half octaves of the components' sizes in steps, plus 12; 0 for those not worth keeping.

    Parameters
    ----------
    maps : (SIZE, places) ndarray
        Coefficients in steps.
    """
    gain, bits, square = _gains(maps * np.float32(1 / FINER))
    size = np.rint(np.log2(np.maximum(square, 2.0**-11))).astype(np.int64) + 12
    scale = np.where(gain > _BIT * bits, np.maximum(size, 1), 0)
    scale[0] = 0
    return scale


def worth(maps: Floats, basis_bits: float) -> float:
    """What a plane gains beyond what it costs, in squared plain steps.

    Parameters
    ----------
    maps : (SIZE, places) ndarray
        Coefficients of all its channels, in steps.
    basis_bits : float
        Of its column.
    """
    gain, bits, _ = _gains(maps * np.float32(1 / FINER))
    kept = gain > _COMPONENT * bits
    return float(gain[kept].sum() - _PLANE * (bits[kept].sum() + 30 + basis_bits))


def column_bits(frames: int, sigma: float, step: float) -> float:
    """Bits of a column of the basis, about."""
    each = np.log2(max(sigma, 1e-9) / np.sqrt(frames) / (0.7 * FINER * step)) + 2.1
    return frames * max(float(each), 0.5)
