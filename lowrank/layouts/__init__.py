"""A picture as matrices: its channels, or its patches; a stack of pictures as one.

Layout `channels`: each channel is a matrix, as it is, or with its colours turned to
their principal axes. Layout `patches`: the colours are turned, a lapped orthogonal
transform is taken over patches of 16 x 16, and each turned channel becomes a matrix of
patches x 256 coefficients. Both maps are orthonormal, so that Frobenius errors of the
matrices are those of the picture (of the picture padded to whole patches, in layout
`patches`). Layout `stack`: one matrix, a frame in each row. `turn` says which pictures have
their colours turned.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank.layouts.turn import axes
from lowrank.picture import Turn


def of_samples(samples: NDArray[Any], layout: str, turn: Turn | None) -> list[NDArray[Any]]:
    """Return the matrices of a picture's samples.

    Parameters
    ----------
    samples : (height, width, channels) or (frames, height, width, channels) ndarray
    layout : {"channels", "patches", "stack"}
    turn : Turn or None
        From `turn.of`, or from the file.

    Returns
    -------
    list of (m, n) ndarray
        Views of the samples in layout `stack`, and in `channels` without a rotation; else
        float64.
    """
    if layout == "stack":
        return [samples.reshape(len(samples), -1)]
    R = axes(turn)
    if layout == "patches":
        from lowrank.layouts import lapped  # where it is needed: textbook factors start sooner

        return list(lapped.matrices(samples, R))
    A = [samples[:, :, c] for c in range(samples.shape[2])]
    if R is None:
        return A
    return [R[i, 0] * A[0] + R[i, 1] * A[1] + R[i, 2] * A[2] for i in range(3)] + A[3:]


def samples_of_patches(
    matrices: list[NDArray[np.float64]], height: int, width: int, turn: Turn | None
) -> NDArray[np.float64]:
    """Return the (height, width, channels) samples of the matrices of layout `patches`."""
    from lowrank.layouts import lapped

    return lapped.image(matrices, height, width, axes(turn))
