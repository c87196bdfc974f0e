"""Orthonormal lapped cosine transform of an image: rows of patches, 16 by 16 samples.

An image becomes, per channel, a matrix A with one row for each patch of 16 x 16
samples and one column for each of the 256 spatial frequencies (v, u) of the DCT-II.
Before the DCT an orthogonal filter mixes the 8 samples on either side of every
patch boundary, rows then columns, so that a truncated A leaves no blocking.
Everything is orthonormal: the Frobenius norm of A is that of the padded channel.

The filter uses only sums, differences and products of arrays, element by element,
in one fixed order: IEEE arithmetic then gives the same bits on every machine, which
is what the packed decoder promises. The DCT here is by matrix products, whose last
bits depend on the machine: the packed decoder has an exact one of its own.

References
----------
T. Tran, J. Liang, C. Tu, "Lapped transform via time-domain pre- and post-filtering",
IEEE Trans. Signal Process. 51 (2003): the filter across boundaries.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 16
HALF = SIDE // 2
SIZE = SIDE * SIDE
GROUP = 1536
"""Patches transformed at once: numpy's calls are few, memory stays small."""

Floats = NDArray[np.floating[Any]]

# Upper triangle, row by row, of the skew matrix S whose Cayley transform
# (I - S)^-1 (I + S) is the filter's rotation, in units of 1/10000.
SKEW = (
    *(4071, 13, 731, 24, 199, 13, 33),
    *(4083, 31, 789, 36, 184, 16),
    *(3216, 34, 560, 30, 74),
    *(2468, 32, 337, 24),
    *(1750, 31, 131),
    *(1080, 27),
    455,
)


@cache
def _rotation() -> NDArray[np.float64]:
    """Half of (rotation - identity) of the filter, by elimination in Python floats."""
    n = HALF
    skew = [[0.0] * n for _ in range(n)]
    values = iter(SKEW)
    for i in range(n):
        for j in range(i + 1, n):
            skew[i][j] = next(values) / 10000
            skew[j][i] = -skew[i][j]
    rows = [
        [(i == j) - skew[i][j] for j in range(n)] + [(i == j) + skew[i][j] for j in range(n)]
        for i in range(n)
    ]
    for i in range(n):
        # I - S has a positive definite symmetric part: no pivot vanishes.
        pivot = rows[i][i]
        rows[i] = [value / pivot for value in rows[i]]
        for j in range(n):
            if j != i:
                factor = rows[j][i]
                rows[j] = [a - factor * b for a, b in zip(rows[j], rows[i], strict=True)]
    result = np.array([row[n:] for row in rows])
    return (result - np.eye(n)) / 2


def lap(before: Floats, after: Floats, *, inverse: bool = False) -> None:
    """Rotate in place the 8 samples before and after boundaries, along axis 0.

    With P = B diag(I, W) B and B = [[I, J], [J, -I]]/sqrt(2), P changes `before` by
    J d and `after` by -d, where d = (W - I)(J before - after)/2.
    """
    change = _change(before, after, inverse=inverse)
    before += change[::-1]
    after -= change


def _change(before: Floats, after: Floats, *, inverse: bool) -> Floats:
    """W - I times half the sum and difference: an array of its own."""
    weights = _rotation().T if inverse else _rotation()
    table = weights.astype(before.dtype)
    # In rows without gaps, whatever the arrays are parts of.
    gap, change, scratch = np.empty((3, HALF, before[0].size), before.dtype)
    np.subtract(before[::-1], after, out=gap.reshape(before.shape))
    np.multiply(table[:, :1], gap[0], out=change)
    for j in range(1, HALF):
        np.multiply(table[:, j : j + 1], gap[j], out=scratch)
        change += scratch
    shaped: Floats = change.reshape(before.shape)
    return shaped


def lap_rows(stripes: Floats, *, inverse: bool = False) -> None:
    """Filter in place across the boundaries between rows of patches.

    Parameters
    ----------
    stripes : (SIDE, SIDE, rows, ...) array
        Samples as [y, x, row of patches, ...].
    inverse : bool
        Undo the filter.
    """
    if stripes.shape[2] > 1:
        lap(stripes[HALF:, :, :-1], stripes[:HALF, :, 1:], inverse=inverse)


def lap_columns(stripes: Floats, *, inverse: bool = False) -> None:
    """Filter in place across the boundaries between patches, the last axis."""
    columns = stripes.shape[-1]
    if columns < 2:
        return
    turned = stripes.swapaxes(0, 1)
    if not stripes[0, 0].flags.c_contiguous:
        lap(turned[HALF:, ..., :-1], turned[:HALF, ..., 1:], inverse=inverse)
        return
    # All rows of patches in one: between the last of a row and the first of the next
    # nothing changes.
    flat = turned.reshape(SIDE, SIDE, -1)
    before, after = flat[HALF:, :, :-1], flat[:HALF, :, 1:]
    change = _change(before, after, inverse=inverse)
    change[:, :, columns - 1 :: columns] = 0
    before += change[::-1]
    after -= change


@cache
def cosines() -> NDArray[np.float64]:
    """The orthonormal DCT-II of 16 samples: one frequency a row.

    From square roots and products only: the C library's cos may differ in its last
    bit from machine to machine.
    """
    c, s = 0.0, 1.0
    for _ in range(4):
        half = math.sqrt((1 + c) / 2)
        c, s = half, s / (2 * half)
    # Now (c, s) is the unit vector at pi/32; turn it around the circle.
    wave = [1.0]
    x, y = 1.0, 0.0
    for _ in range(4 * SIDE - 1):
        x, y = x * c - y * s, x * s + y * c
        wave.append(x)
    D = np.empty((SIDE, SIDE))
    for u in range(SIDE):
        for j in range(SIDE):
            D[u, j] = wave[(2 * j + 1) * u % (4 * SIDE)]
    D *= math.sqrt(2 / SIDE)
    D[0] = 1 / math.sqrt(SIDE)
    return D


def dct(patches: Floats) -> Floats:
    """DCT coefficients [v, u, ...] of samples [y, x, ...], by two matrix products."""
    D = cosines().astype(patches.dtype)
    rows = (D @ patches.reshape(SIDE, -1)).reshape(SIDE, SIDE, -1)
    turned: Floats = np.matmul(D, rows).reshape(patches.shape)
    return turned


def idct(coefficients: Floats) -> Floats:
    """Samples [y, x, ...] of DCT coefficients [v, u, ...]."""
    D = cosines().T.astype(coefficients.dtype)
    rows = (D @ coefficients.reshape(SIDE, -1)).reshape(SIDE, SIDE, -1)
    turned: Floats = np.matmul(D, rows).reshape(coefficients.shape)
    return turned


def grid(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of patches that cover an image."""
    return -(-height // SIDE), -(-width // SIDE)


def analyse(samples: NDArray[Any], R: NDArray[np.float64] | None, dtype: np.dtype[Any]) -> Floats:
    """Coefficients [frequency, row, channel, column of patches] of an image.

    Rows and columns of patches beyond the edge repeat the last sample. The map from
    the padded image is orthonormal.

    Parameters
    ----------
    samples : (height, width, channels) ndarray
    R : (3, 3) ndarray or None
        Orthonormal rotation of the first three channels.
    dtype : float32 or float64
    """
    height, width, channels = samples.shape
    rows, columns = grid(height, width)
    result = np.empty((SIZE, rows, channels, columns), dtype)
    across = np.minimum(np.arange(columns * SIDE), width - 1)
    step = max(1, GROUP // (channels * columns))
    block = np.empty((SIDE, SIDE, step + 1, channels, columns), dtype)
    turn = None if R is None else R.astype(dtype)
    kept = 0
    for top in range(0, rows, step):
        bottom = min(top + step, rows)
        down = np.minimum(np.arange(top * SIDE, bottom * SIDE), height - 1)
        part = samples[down] if width == columns * SIDE else samples[down][:, across]
        part = part.reshape(bottom - top, SIDE, columns, SIDE, channels)
        fresh = block[:, :, kept : kept + bottom - top]
        fresh[:] = part.transpose(1, 3, 0, 4, 2)
        if turn is not None:
            rgb = fresh[:, :, :, :3].copy()
            for c in range(3):
                fresh[:, :, :, c] = rgb[:, :, :, 0] * turn[c, 0] + rgb[:, :, :, 1] * turn[c, 1]
                fresh[:, :, :, c] += rgb[:, :, :, 2] * turn[c, 2]
        lap_columns(fresh)
        active = block[:, :, : kept + bottom - top]
        lap_rows(active)
        done = active.shape[2] - (bottom < rows)
        if done:
            coefficients = dct(active[:, :, :done])
            result[:, top - kept : top - kept + done] = coefficients.reshape(
                SIZE, done, channels, columns
            )
        if bottom < rows:
            block[:, :, 0] = active[:, :, -1]
            kept = 1
    return result


def matrices(
    samples: NDArray[Any], R: NDArray[np.float64] | None = None
) -> list[NDArray[np.float64]]:
    """One (patches, SIZE) matrix for each channel, in float64.

    Patches go row by row; columns are DCT frequencies (v, u), v first. The Frobenius
    norm of all matrices together is that of the padded image.
    """
    C = analyse(samples, R, np.dtype(np.float64))
    return [np.ascontiguousarray(C[:, :, c].reshape(SIZE, -1).T) for c in range(samples.shape[2])]


def image(
    matrices: list[NDArray[np.float64]],
    height: int,
    width: int,
    R: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """(height, width, channels) samples of the matrices: the inverse of `matrices`."""
    rows, columns = grid(height, width)
    C = np.stack([A.T.reshape(SIZE, rows, columns) for A in matrices], axis=2)
    S = idct(C.reshape(SIDE, SIDE, rows, len(matrices), columns))
    lap_columns(S, inverse=True)
    lap_rows(S, inverse=True)
    result = S.transpose(2, 0, 4, 1, 3).reshape(rows * SIDE, columns * SIDE, -1)
    result = result[:height, :width]
    if R is not None:
        result[..., :3] = result[..., :3] @ R
    return np.asarray(result, np.float64)
