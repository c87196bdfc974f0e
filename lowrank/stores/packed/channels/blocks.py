"""Vectors as lapped blocks: the modulated lapped transform, exact for a decoder.

A vector, its length a multiple of SIDE, is cut into blocks of SIDE samples. Across every
boundary each sample is rotated with its mirror image (the sine window); then each block
is taken by the DCT-IV. Both steps are orthonormal.

The decoder's DCT is a product of integers, exact in float64 in any order; its rotations
are elementwise IEEE arithmetic in a fixed order.

References
----------
H. S. Malvar, "Lapped transforms for efficient transform/subband coding",
IEEE Trans. Acoust. Speech Signal Process. 38 (1990).
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SIDE = 16
_PRECISION = 1 << 18


@cache
def _cosines() -> Floats:
    """DCT-IV, symmetric and its own inverse, in integers times 1/_PRECISION."""
    i = np.arange(SIDE)
    angle = np.pi / SIDE * np.outer(i + 0.5, i + 0.5)
    return np.rint(math.sqrt(2 / SIDE) * np.cos(angle) * _PRECISION)


@cache
def _window() -> tuple[Floats, Floats]:
    """Cosines and sines of the rotations, by distance from the boundary."""
    angle = np.pi / 4 * (1 + (2 * np.arange(SIDE // 2) + 1) / SIDE)
    fine = 1 << 30
    return (
        np.rint(np.sin(angle) * fine)[:, None, None] / fine,
        np.rint(np.cos(angle) * fine)[:, None, None] / fine,
    )


def forward(X: Floats) -> Floats:
    """Coefficients (length, k) of the columns of X, frequency by frequency."""
    Y = X.reshape(len(X) // SIDE, SIDE, X.shape[1]).transpose(1, 0, 2).copy()
    _rotate(Y, 1.0)
    Z: Floats = (_cosines() / _PRECISION) @ Y.reshape(SIDE, X.size // SIDE)
    return Z.reshape(X.shape)


def inverse(Y: Floats) -> Floats:
    """The columns of integer coefficients below 2^30: the same bits on every machine."""
    count = Y.size // SIDE
    Z = (_cosines() @ Y.reshape(SIDE, count)).reshape(SIDE, len(Y) // SIDE, Y.shape[1])
    Z *= 1 / _PRECISION
    _rotate(Z, -1.0)
    X: Floats = Z.transpose(1, 0, 2).reshape(Y.shape)
    return X


def _rotate(Y: Floats, sign: float) -> None:
    """Rotate the samples before and after each boundary, (SIDE, blocks, k), in place."""
    half = SIDE // 2
    cosine, sine = _window()
    after, before = Y[:half, 1:], Y[: half - 1 : -1, :-1]
    first = cosine * after + sign * sine * before
    second = cosine * before - sign * sine * after
    after[:], before[:] = first, second
