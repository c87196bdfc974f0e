"""What `stacks.py` compares with: each codec as points of bytes, PSNR and seconds.

A codec is a generator of one `Point` for each of its settings. Bytes are those that a decoder
needs, nothing for a container of ours around them.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Stack = NDArray[Any]
"""(N, height, width) integers."""
TARGETS = np.arange(28.0, 68.0, 2.0)
"""PSNR in dB that codecs with an error bound are asked for, about."""


@dataclass(frozen=True)
class Point:
    """One setting of a codec."""

    bytes: int
    psnr: float
    encode: float = math.nan
    decode: float = math.nan
    planes: int = 0
    """Of a stack of ours: its rank."""


def spread(A: Stack) -> float:
    """Peak of the PSNR: the range of the data, for every stack and codec."""
    return max(float(A.max()) - float(A.min()), 1.0)


def psnr(A: Stack, B: Stack) -> float:
    """PSNR of a reconstruction, rounded and clipped to the range of the data."""
    low, high = float(A.min()), float(A.max())
    squares = 0.0
    for a, b in zip(A, B, strict=True):
        gap = np.clip(np.rint(b.astype(np.float64)), low, high) - a
        squares += float(np.vdot(gap, gap))
    return 10 * math.log10(spread(A) ** 2 * A.size / squares) if squares else math.inf


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """A result, and the seconds of this process that it took."""
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def point(A: Stack, encode: Callable[[], bytes], decode: Callable[[bytes], Stack]) -> Point:
    """Encode and decode once."""
    data, encoding = timed(encode)
    back, decoding = timed(lambda: decode(data))
    return Point(len(data), psnr(A, np.asarray(back)), encoding, decoding)


# -- ours ------------------------------------------------------------------------------


def packed(A: Stack) -> Iterator[Point]:
    """Files of the packed store, whole."""
    import lowrank

    for quality in (20, 50, 75, 85, 91, 95, 97, 98, 98.8, 99.4, 100):
        yield _ours(A, lowrank, quality=quality)


def floats(A: Stack) -> Iterator[Point]:
    """Files of the float16 store, whole: the truncation that the theorem is about."""
    import lowrank

    for rank in (1, 2, 3, 5, 7, 10, 14, 20, 28, 40, 56, 80, 112):
        if rank <= len(A):
            yield _ours(A, lowrank, rank=rank, store="float16")


def _ours(A: Stack, lowrank: Any, **target: Any) -> Point:
    ranks = [0]

    def encode() -> bytes:
        made = lowrank.compress(A, stack=True, **target)
        ranks[0] = made.ranks[0]
        return bytes(made.to_bytes())

    found = point(A, encode, lambda data: lowrank.open(data)[:])
    return replace(found, planes=ranks[0])


# -- a transform across the frames, then JPEG 2000 -------------------------------------


def klt_jpeg2000(A: Stack) -> Iterator[Point]:
    """Means of the frames, principal components with a float16 basis, one distortion for all.

    The number of components is tuned: every one is tried with every distortion.
    """
    from imagecodecs import jpeg2k_decode, jpeg2k_encode

    N = len(A)
    X = A.reshape(N, -1).astype(np.float64)
    mean = X.mean(1)
    X -= mean[:, None]

    def components() -> tuple[Stack, Stack]:
        squares, U = np.linalg.eigh(X @ X.T)
        return np.sqrt(np.maximum(squares[::-1], 0)), U[:, ::-1].T @ X

    (s, P), analysis = timed(components)
    for d in spread(A) * 10 ** (-np.arange(26.0, 68.0, 1.5) / 20):
        encoding, decoding, price = analysis, 0.0, 2 * N + 16
        lost = float(np.vdot(X, X))
        for k in range(N):
            if s[k] / math.sqrt(X.shape[1]) < 0.3 * d:
                break
            low = float(P[k].min())
            high = max(float(P[k].max()), low + 1e-9)
            whole = np.rint((P[k] - low) * (65535 / (high - low))).astype(np.uint16)
            level = max(20 * math.log10((high - low) / d), 1)
            whole = whole.reshape(A.shape[1:])
            data, seconds = timed(
                lambda plane=whole, level=level: jpeg2k_encode(
                    plane, level=level, codecformat="j2k", reversible=False
                )
            )
            encoding += seconds
            back, seconds = timed(lambda data=data: jpeg2k_decode(data))
            decoding += seconds
            plane = low + back.astype(np.float64).ravel() * ((high - low) / 65535)
            price += len(data) + 8 + 2 * N
            lost -= float(2 * plane @ P[k] - plane @ plane)
            quality = 10 * math.log10(spread(A) ** 2 * A.size / max(lost, 1e-9))
            yield Point(price, quality, encoding, decoding)


# -- codecs of arrays ------------------------------------------------------------------


def sperr(A: Stack) -> Iterator[Point]:
    """Three dimensions, a PSNR."""
    from imagecodecs import sperr_decode, sperr_encode

    X = A.astype(np.float32)
    for target in TARGETS:
        yield point(A, lambda x=target: sperr_encode(X, x, "psnr"), sperr_decode)


def sz3(A: Stack) -> Iterator[Point]:
    """Three dimensions, an absolute error."""
    from imagecodecs import sz3_decode, sz3_encode

    X = A.astype(np.float32)
    for target in TARGETS:
        bound = spread(A) * 10 ** (-target / 20) * 2
        yield point(
            A,
            lambda x=bound: sz3_encode(X, mode="abs", abs=x),
            lambda data: sz3_decode(data, shape=X.shape, dtype=X.dtype),
        )


def zfp(A: Stack) -> Iterator[Point]:
    """Three dimensions, an absolute error."""
    from zfpy import compress_numpy, decompress_numpy

    X = A.astype(np.float32)
    for target in TARGETS:
        bound = spread(A) * 10 ** (-target / 20) * 32
        yield point(A, lambda x=bound: compress_numpy(X, tolerance=x), decompress_numpy)


# -- frame by frame --------------------------------------------------------------------


def _levels(A: Stack, gain: float = 1) -> NDArray[np.uint16]:
    """Whole numbers from 0 on, so many to one of the stack."""
    return np.rint((A.astype(np.float64) - float(A.min())) * gain).astype(np.uint16)


def _by_frame(
    A: Stack, encode: Callable[[Stack], bytes], decode: Callable[[bytes], Stack], gain: float = 1
) -> Point:
    """A point of a codec of frames; their levels are there already, and take no time."""
    levels = _levels(A, gain)
    data, encoding = timed(lambda: [encode(one) for one in levels])
    back, decoding = timed(lambda: np.stack([np.asarray(decode(x)) for x in data]))
    B = back.astype(np.float64) / gain + float(A.min())
    return Point(sum(map(len, data)), psnr(A, B), encoding, decoding)


def jpeg2000(A: Stack) -> Iterator[Point]:
    """Each frame, at one distortion."""
    from imagecodecs import jpeg2k_decode, jpeg2k_encode

    def encode(one: Stack, level: float) -> bytes:
        return bytes(jpeg2k_encode(one, level=level, codecformat="j2k", reversible=False))

    for target in TARGETS:
        level = max(target + 20 * math.log10(65535 / spread(A)), 1)
        yield _by_frame(A, lambda one, x=level: encode(one, x), jpeg2k_decode)


def jpeg_xl(A: Stack) -> Iterator[Point]:
    """Each frame, spread over 16 bits, at a distance."""
    from imagecodecs import jpegxl_decode, jpegxl_encode

    def encode(one: Stack, distance: float) -> bytes:
        return bytes(jpegxl_encode(one, distance=distance, effort=7))

    for distance in (0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 12.0):
        yield _by_frame(A, lambda one, x=distance: encode(one, x), jpegxl_decode, 65535 / spread(A))


# -- video -----------------------------------------------------------------------------


def _video(A: Stack, codec: str, pixels: str, bits: int, options: dict[str, str]) -> Point:
    import av

    N, height, columns = A.shape
    gain = ((1 << bits) - 1) / spread(A)
    # Sides of at least 64, even, the last samples repeated.
    pad = [(0, 0)] + [(0, max(64 - n, 0) + (n % 2)) for n in (height, columns)]
    whole = np.pad(_levels(A, gain), pad, mode="edge")
    if bits == 8:
        whole = whole.astype(np.uint8)

    def encode() -> list[bytes]:
        out = av.CodecContext.create(codec, "w")
        out.width, out.height, out.pix_fmt = whole.shape[2], whole.shape[1], pixels
        out.framerate, out.thread_count = 25, 1
        out.options = options
        packets = []
        for one in whole:
            frame = av.VideoFrame(out.width, out.height, pixels)
            for number, plane in enumerate(frame.planes):
                flat = np.frombuffer(plane, whole.dtype).reshape(plane.height, -1)
                flat[:] = 1 << (bits - 1)
                if number == 0:
                    flat[:, : out.width] = one
            packets += out.encode(frame)
        packets += out.encode(None)
        return [bytes(x) for x in packets]

    def decode(packets: list[bytes]) -> Stack:
        name = "hevc" if "265" in codec else "libdav1d"
        reader = av.CodecContext.create(name, "r")
        frames = [f for x in packets for f in reader.decode(av.Packet(x))]
        frames += reader.decode(None)
        planes = [
            np.frombuffer(f.planes[0], whole.dtype).reshape(f.planes[0].height, -1)[
                :height, :columns
            ]
            for f in sorted(frames, key=lambda f: f.pts if f.pts is not None else 0)
        ]
        return np.stack(planes)

    data, encoding = timed(encode)
    back, decoding = timed(lambda: decode(data))
    if len(back) != N:
        raise RuntimeError(f"{len(back)} frames of {N}")
    B = back.astype(np.float64) / gain + float(A.min())
    return Point(sum(map(len, data)), psnr(A, B), encoding, decoding)


def x265(A: Stack) -> Iterator[Point]:
    """One video of grey frames of 12 bits, preset medium, tuned for PSNR."""
    for crf in (2, 8, 14, 20, 26, 32, 38, 44):
        options = {"preset": "medium", "tune": "psnr", "crf": str(crf)}
        options["x265-params"] = "log-level=none:pools=none:frame-threads=1"
        yield _video(A, "libx265", "gray12le", 12, options)


def av1(A: Stack) -> Iterator[Point]:
    """One video of frames of 10 bits, SVT-AV1 preset 6."""
    for crf in (2, 8, 14, 22, 30, 38, 46, 54, 62):
        options = {"preset": "6", "crf": str(crf), "svtav1-params": "lp=1"}
        yield _video(A, "libsvtav1", "yuv420p10le", 10, options)


# -- without loss ----------------------------------------------------------------------


def lossless(A: Stack) -> int:
    """The least of JPEG-LS and JPEG XL by frame, and LZMA of the whole."""
    import lzma

    from imagecodecs import jpegls_encode, jpegxl_encode

    whole = _levels(A)
    if spread(A) < 256:
        whole = whole.astype(np.uint8)
    sizes = [len(lzma.compress(whole.tobytes()))]
    sizes.append(sum(len(jpegls_encode(np.ascontiguousarray(x))) for x in whole))
    sizes.append(sum(len(jpegxl_encode(x, lossless=True, effort=5)) for x in whole))
    return min(sizes)


CODECS: dict[str, Callable[[Stack], Iterator[Point]]] = {
    "packed": packed,
    "float16": floats,
    "KLT + JPEG 2000": klt_jpeg2000,
    "SPERR": sperr,
    "SZ3": sz3,
    "zfp": zfp,
    "JPEG 2000": jpeg2000,
    "JPEG XL": jpeg_xl,
    "x265": x265,
    "SVT-AV1": av1,
}


def read(data: bytes, suffix: str) -> dict[str, Stack]:
    """The stacks of a file: an array, or each one of several."""
    if suffix == ".npz":
        with np.load(io.BytesIO(data)) as file:
            return {name: file[name] for name in file.files if file[name].ndim == 3}
    return {"": np.load(io.BytesIO(data))}
