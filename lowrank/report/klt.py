"""KLT and JPEG 2000, the usual way to code spectral images, beside a packed stack.

The frames, less their means, are turned to K principal axes, whose planes are coded by JPEG 2000
at one distortion: an orthonormal transform shares it out so. The basis is stored in float16, and
the planes are those of least squares for it. K is the best of a few.
"""

from __future__ import annotations

import math
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lowrank.io.wall import wall
from lowrank.picture import Picture

_PLANES = (1, 2, 3, 5, 8, 12, 20, 30, 50, 80)
_TRIES = 4  # of the distortion: OpenJPEG meets a PSNR only nearly
_NEAR = 1.005  # above what is asked for
_HIGHEST = 65535.0

Floats = NDArray[np.float64]


def size_at(picture: Picture, mse: float) -> tuple[int, int] | None:
    """Bytes and number of planes at a mean square error; None where it is not reached.

    Parameters
    ----------
    picture : Picture
        A stack; each of its colours is a frame of its own.
    mse : float
        Mean square error in levels, of samples rounded and clipped as ours are.

    Notes
    -----
    PSNR and bytes are measured on what is decoded. What a file would need besides (its own header,
    the order of the planes) is not counted.
    """
    height, width = picture.height, picture.width
    frames = np.moveaxis(picture.samples, -1, 1).reshape(-1, height * width)
    A = frames.astype(np.float64)
    means = A.mean(axis=1, keepdims=True)
    A -= means
    squares, U = np.linalg.eigh(A @ A.T)
    order = np.argsort(squares)[::-1]
    lost = np.append(np.cumsum(squares[order][::-1])[::-1], 0) / A.size
    best: tuple[int, int] | None = None
    for k in _PLANES:
        if k > len(A) or lost[k] >= mse:
            continue
        B = U[:, order[:k]].astype(np.float16).astype(np.float64)
        planes: Floats = np.linalg.lstsq(B, A, rcond=None)[0].astype(np.float64)
        found = _coded(picture, frames, B, means, planes, mse, float(lost[k]))
        if found is not None and (best is None or found < best[0]):
            best = found, k
        elif best is not None and k > 2 * best[1]:
            break
    return best


def _coded(
    picture: Picture, frames: NDArray[np.generic], B: Floats, means: Floats, planes: Floats,
    mse: float, lost: float,
) -> int | None:  # fmt: skip
    """Bytes of the basis, the means and the planes, at the distortion that meets the error."""
    distortion = (mse - lost) * len(frames) / len(planes)
    least: int | None = None
    for _ in range(_TRIES):
        coded = [_plane(p.reshape(picture.height, -1), distortion) for p in planes]
        found = B @ np.stack([p.reshape(-1) for p, _ in coded]) + means
        rounded = picture.mode.rounded(found)
        error = float(np.mean(np.subtract(rounded, frames, dtype=np.float64) ** 2))
        size = 2 * B.size + 4 * len(means) + sum(8 + size for _, size in coded)
        if error <= mse * _NEAR:
            least = size if least is None else min(least, size)
        distortion *= min(max((mse - lost) / max(error - lost, 1e-9), 0.3), 3.0)
    return least


def _plane(plane: Floats, distortion: float) -> tuple[Floats, int]:
    """A plane coded in 16 bits over its own range, as decoded, and its bytes."""
    low, high = float(plane.min()), float(plane.max())
    if np.mean(plane**2) <= distortion or high <= low:
        return np.zeros_like(plane), 0
    scale = (high - low) / _HIGHEST
    levels = np.rint((plane - low) / scale).astype(np.uint16)
    decibels = 10 * math.log10(_HIGHEST**2 * scale**2 / distortion)
    stream = BytesIO()
    with wall("write JPEG 2000", "leave it out"):
        Image.fromarray(levels).save(
            stream, "JPEG2000", irreversible=True, quality_mode="dB", quality_layers=[decibels]
        )
        with Image.open(BytesIO(stream.getvalue())) as decoded:
            back = np.asarray(decoded).astype(np.float64)
    return back * scale + low, len(stream.getvalue())
