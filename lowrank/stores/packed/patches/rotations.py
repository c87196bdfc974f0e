"""From the cosines toward the singular vectors: a Jacobi method that stops in time.

The columns of V that a packed channel keeps are those of the cosine transform, turned
by a few plane rotations. Each would make two columns of A V orthogonal, as in Jacobi's
method; run to its end, it would give the singular value decomposition of A. Here a
rotation must save more bits than it takes, in small neighbourhoods as in the whole,
and on photographs few do: the optimal basis is nearly the cosines.

Angles are multiples of pi/256; cosines and sines come from square roots and products
alone, and are applied element by element: the same bits on every machine.

References
----------
C. G. J. Jacobi, J. reine angew. Math. 30 (1846); one-sided: M. R. Hestenes, J. SIAM 6
(1958).
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank.layouts.lapped import SIZE, Floats

Turns = tuple[tuple[int, int, int], ...]
"""Index, index and angle of each rotation, in units of pi/256, -64 to 64."""
WORTH = 60.0
"""Bits that a rotation must save."""
MOST = 255
_NOISE = 0.15
_RUN = 8
"""A power of two."""
_SAMPLE = 1 << 14
"""Patches of a large picture that are looked at, about: every n-th row of them."""


@cache
def _cosines() -> tuple[tuple[float, float], ...]:
    """Cos and sin of multiples of pi/256, 0 to pi/4."""
    c, s = 0.0, 1.0
    for _ in range(7):
        half = math.sqrt((1 + c) / 2)
        c, s = half, s / (2 * half)
    wave = [(1.0, 0.0)]
    for _ in range(64):
        x, y = wave[-1]
        wave.append((x * c - y * s, x * s + y * c))
    return tuple(wave)


def turn(rows: Floats, turns: Turns, *, inverse: bool = False) -> None:
    """Rotate rows of a (SIZE, ...) array in place, one pair after the other."""
    for i, j, angle in reversed(turns) if inverse else turns:
        c, s = _cosines()[abs(angle)]
        s = -s if (angle < 0) != inverse else s
        kind = rows.dtype.type
        first = rows[i] * kind(c) + rows[j] * kind(s)
        rows[j] = rows[j] * kind(c) - rows[i] * kind(s)
        rows[i] = first


def _rate(power: Any) -> Any:
    """Bits of a coefficient of this mean square, in steps."""
    return 0.5 * np.log2(1 + power / _NOISE)


def search(maps: Floats) -> Turns:
    """Rotations that are worth their bits.

    Parameters
    ----------
    maps : (SIZE, ...) ndarray
        Coefficients of a channel, in steps: the columns of A V, one a row.
    """
    every = max(1, maps[0].size // _SAMPLE)
    A = maps[:, ::every].reshape(SIZE, -1).astype(np.float64)
    patches = A.shape[1]
    G = A @ A.T / patches
    weight = maps[0].size
    gains = np.where(np.triu(np.ones((SIZE, SIZE), bool), 1), _gains(G, slice(None)), -np.inf)
    gains[0] = -np.inf
    found: list[tuple[int, int, int]] = []
    while len(found) < MOST:
        i, j = divmod(int(np.argmax(gains)), SIZE)
        if weight * gains[i, j] < WORTH:
            break
        gains[i, j] = -np.inf
        angle = round(0.5 * math.atan2(2 * G[i, j], G[i, i] - G[j, j]) * 256 / math.pi)
        if abs(angle) > 64:
            # The nearer of the two turns that make them orthogonal: places are kept.
            angle -= 128 if angle > 0 else -128
        if not angle:
            continue
        one = ((i, j, angle),)
        before = A[[i, j]]
        turn(A, one)
        if every * (_local(before) - _local(A[[i, j]])) < WORTH:
            A[[i, j]] = before
            continue
        turn(G, one)
        turn(G.T, one)
        found.append(one[0])
        for k in (i, j):
            fresh = _gains(G, k)
            gains[k, k + 1 :] = fresh[k + 1 :]
            gains[1:k, k] = fresh[1:k]
    return tuple(found)


def _gains(G: NDArray[np.float64], i: int | slice) -> NDArray[np.float64]:
    """Bits a coefficient that the rotation of i, or of each, with each other index would save."""
    b, c = np.diag(G), G[i]
    a = b[i] if isinstance(i, int) else b[:, None]
    middle = (a + b) / 2
    radius = np.sqrt(((a - b) / 2) ** 2 + c**2)
    gain: NDArray[np.float64] = _rate(a) + _rate(b)
    gain -= _rate(middle + radius) + _rate(np.maximum(middle - radius, 0))
    return gain


def _local(rows: NDArray[np.float64]) -> float:
    """Bits of some rows, by the power of each short run of patches."""
    whole = rows.shape[1] // _RUN * _RUN
    power = np.square(rows[:, :whole])
    # Sums of runs by halves: in half the time of a reduction over a short axis.
    for _ in range(_RUN.bit_length() - 1):
        power = power[:, ::2] + power[:, 1::2]
    power /= _RUN
    return float(_RUN * _rate(power).sum())
