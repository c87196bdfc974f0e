"""A picture as matrices: its channels, or its patches.

Layout `channels`: each channel is a matrix, as it is, or with its colours rotated to
their principal axes, which the packed store may do. Layout `patches`: the colours are
rotated to their principal axes, a lapped orthogonal transform is taken over patches of
16 x 16, and each rotated channel becomes a matrix of patches x 256 coefficients. Both
maps are orthonormal, so that Frobenius errors of the matrices are those of the picture
(of the picture padded to whole patches, in layout `patches`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank.packed import colour, lapped
from lowrank.picture import Mode, Picture

_ROTATED = ("luma", "chroma 1", "chroma 2")


def names(mode: Mode, layout: str, turn: bytes = b"") -> tuple[str, ...]:
    """Name of each matrix; channels have theirs unless their colours are rotated."""
    if mode.colours == 3 and (layout == "patches" or turn):
        return _ROTATED + mode.channels[3:]
    return mode.channels


def principal_turn(picture: Picture, layout: str) -> bytes:
    """Return the colour rotation as three int8; empty where nothing is rotated."""
    if layout == "channels" or picture.mode.colours != 3:
        return b""
    sparse = picture.samples[:: max(1, picture.height // 256), :: max(1, picture.width // 256), :3]
    return np.array(colour.principal(sparse.reshape(-1, 3)), np.int8).tobytes()


def matrices(picture: Picture, layout: str, turn: bytes) -> list[NDArray[Any]]:
    """Return the matrices of a picture.

    Parameters
    ----------
    picture : Picture
    layout : {"channels", "patches"}
    turn : bytes
        From `principal_turn`, or from the file.

    Returns
    -------
    list of (m, n) ndarray
        Views of the samples in layout `channels` without a rotation, else float64.
    """
    if layout == "channels":
        A = [picture.samples[:, :, c] for c in range(len(picture.mode.channels))]
        R = _rotation(turn)
        if R is None:
            return A
        return [R[i, 0] * A[0] + R[i, 1] * A[1] + R[i, 2] * A[2] for i in range(3)] + A[3:]
    return list(lapped.matrices(picture.samples, _rotation(turn)))


def samples_of_patches(
    matrices: list[NDArray[np.float64]], height: int, width: int, turn: bytes
) -> NDArray[np.float64]:
    """Return the (height, width, channels) samples of the matrices of layout `patches`."""
    return lapped.image(matrices, height, width, _rotation(turn))


def _rotation(turn: bytes) -> NDArray[np.float64] | None:
    if not turn:
        return None
    a, b, c = np.frombuffer(turn, np.int8)
    return colour.rotation((int(a), int(b), int(c)))
