"""What `stacks.py` compares with: each codec as a curve of bytes, PSNR and seconds.

A codec is a function of a stack that gives one `Point` for each of its settings. Their bytes
are those that a decoder needs, with nothing for a container of ours around them.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Stack = NDArray[np.generic]
"""(N, height, width) integers."""


@dataclass(frozen=True)
class Point:
    """One setting of a codec."""

    bytes: int
    psnr: float
    encode: float = math.nan
    decode: float = math.nan


def spread(A: Stack) -> float:
    """Peak of the PSNR: the range of the data, for every stack and codec."""
    return max(float(A.max()) - float(A.min()), 1.0)


def psnr(A: Stack, B: NDArray[np.generic]) -> float:
    """PSNR of a reconstruction, rounded and clipped to the range of the data."""
    B = np.clip(np.rint(B.astype(np.float64)), float(A.min()), float(A.max()))
    squares = sum(float(np.sum((a.astype(np.float64) - b) ** 2)) for a, b in zip(A, B, strict=True))
    return 10 * math.log10(spread(A) ** 2 * A.size / squares) if squares else math.inf


def timed(work):
    """A result, and the seconds of this process that it took."""
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def point(A: Stack, encode: Callable[[], bytes], decode: Callable[[bytes], Stack]) -> Point:
    """Encode and decode once."""
    data, encoding = timed(encode)
    back, decoding = timed(lambda: decode(data))
    return Point(len(data), psnr(A, back), encoding, decoding)


# -- a transform across the frames, then JPEG 2000 -------------------------------------


def klt_jpeg2000(A: Stack) -> Iterator[Point]:
    """Means of the frames, principal components, float16 basis, one distortion for all planes.

    The number of components is tuned: every one is tried with every distortion.
    """
    import imagecodecs

    N = len(A)
    X = A.reshape(N, -1).astype(np.float64)
    mean = X.mean(1)
    X -= mean[:, None]
    (s, U), analysis = timed(lambda: _eigen(X))
    U16 = U.astype(np.float16).astype(np.float64)
    P = np.linalg.lstsq(U16, X, rcond=None)[0] if N < X.shape[1] else U.T @ X
    P = U.T @ X
    total = float(np.sum(X**2))
    for d in spread(A) * 10 ** (-np.arange(28.0, 60.0, 2.0) / 20):
        planes, sizes, times = [], [], analysis
        for k in range(N):
            if s[k] / math.sqrt(X.shape[1]) < 0.3 * d:
                break
            low, high = float(P[k].min()), float(P[k].max())
            scaled = np.rint((P[k] - low) * (65535 / max(high - low, 1e-9))).astype(np.uint16)
            level = 20 * math.log10(max(high - low, 1e-9) / d)
            data, seconds = timed(
                lambda p=scaled, x=level: imagecodecs.jpeg2k_encode(
                    p.reshape(A.shape[1:]), level=max(x, 1), codecformat="j2k", reversible=False
                )
            )
            back = imagecodecs.jpeg2k_decode(data).astype(np.float64).ravel()
            planes.append(low + back * ((high - low) / 65535))
            sizes.append(len(data) + 8 + 2 * N)
            times += seconds
        best = None
        B = np.broadcast_to(mean[:, None], X.shape).copy()
        price = 2 * N + 16
        lost = total
        for k in range(len(planes)):
            gain = float(2 * planes[k] @ P[k] - planes[k] @ planes[k])
            price += sizes[k]
            lost -= gain
            yield Point(price, 10 * math.log10(spread(A) ** 2 * A.size / max(lost, 1e-9)), times)
        del best, B


def _eigen(X: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    squares, U = np.linalg.eigh(X @ X.T)
    return np.sqrt(np.maximum(squares[::-1], 0)), U[:, ::-1]
