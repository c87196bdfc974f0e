"""Orthonormal colour rotation given by three small integers.

A quaternion (127, a, b, c) with integers |a|, |b|, |c| <= 127 is a rotation with
rational entries: exactly orthonormal, the same on every machine, three bytes. Every
set of three orthogonal axes has signs for which its quaternion's first part is the
largest, so nothing is lost.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lowrank.picture import Turn

LARGEST = 127


def rotation(turn: Turn) -> NDArray[np.float64]:
    """(3, 3) orthonormal matrix of the quaternion (127, *turn): rotated = R @ rgb."""
    w, (a, b, c) = LARGEST, turn
    n = w * w + a * a + b * b + c * c
    rows = (
        (w * w + a * a - b * b - c * c, 2 * (a * b - w * c), 2 * (a * c + w * b)),
        (2 * (a * b + w * c), w * w - a * a + b * b - c * c, 2 * (b * c - w * a)),
        (2 * (a * c - w * b), 2 * (b * c + w * a), w * w - a * a - b * b + c * c),
    )
    return np.array(rows, np.float64) / n


def principal(pixels: NDArray[np.generic]) -> Turn:
    """The rotation nearest to the principal axes of (count, 3) pixels, largest first."""
    x = pixels.astype(np.float64)
    x -= x.mean(0)
    return nearest(np.linalg.eigh(x.T @ x)[1].T[::-1])


def nearest(axes: NDArray[np.float64]) -> Turn:
    """The rotation nearest to three orthonormal axes, the rows of a (3, 3) matrix."""
    best: tuple[float, Turn] = (0.25, (0, 0, 0))
    for signs in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)):
        R = axes * np.array(signs)[:, None]
        if np.linalg.det(R) < 0:
            R = -R
        w = np.sqrt(max(1 + np.trace(R), 0)) / 2
        if w > best[0]:
            parts = np.array([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]]) / (
                4 * w * w
            )
            a, b, c = (int(v) for v in np.clip(np.rint(parts * LARGEST), -LARGEST, LARGEST))
            best = (float(w), (a, b, c))
    return best[1]
