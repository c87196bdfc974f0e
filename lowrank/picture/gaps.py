"""Pixels without data: found, filled for the factorisation, and put back after decoding.

A raster marks what was not measured by one value, such as -9999 or NaN. A decomposition
would spend its terms on that value; so it is filled in from what is near. The value and
the places travel as one block beside the metadata: the value as f64, then a bit for each
pixel, row by row with the first pixel uppermost in its byte, by zlib.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lowrank.picture import Metadata, Picture

Samples = NDArray[np.generic]
Mask = NDArray[np.bool_]

_VALUE = struct.Struct("<d")
_HALF_A_UNIT = 2.0**-24  # of float32, beside a number of any size
_FAR = 1e30  # no measurement is of this size; sentinels near the end of float32 are
_USUAL = frozenset(
    {-9999.0, -99999.0, -999.0, -32768.0, -32767.0, 9999.0, 99999.0, 32767.0, 65535.0}
)


def where(samples: Samples, colours: int, value: float) -> Mask:
    """Pixels whose colours all have the value; NaN stands for any NaN.

    The mask has the shape of the samples without their channels.
    """
    return np.asarray(np.all(_same(samples, colours, value), axis=-1), np.bool_)


def partly(samples: Samples, colours: int, value: float) -> int:
    """How many pixels have the value in some of their colours, and not in all."""
    same = _same(samples, colours, value)
    return int(np.count_nonzero(np.any(same, axis=-1) & ~np.all(same, axis=-1)))


def _same(samples: Samples, colours: int, value: float) -> Mask:
    colour = samples[..., :colours]
    same = np.isnan(colour) if math.isnan(value) else colour == held(value, samples.dtype)
    return np.asarray(same, np.bool_)


def held(value: float, dtype: np.dtype[np.generic]) -> float:
    """The value as samples of a type hold it; NaN where they cannot."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            rounded = float(dtype.type(value))
        return rounded if math.isfinite(rounded) else math.nan
    whole = math.isfinite(value) and value == int(value)
    limits = np.iinfo(dtype.str)
    return value if whole and limits.min <= value <= limits.max else math.nan


def meant(samples: Samples, colours: int, value: float) -> float:
    """The value as samples of their type hold it, or the one of them that is meant by it.

    Of float64 no sample may have it to the last bit: a `.lrk` file states it as its own samples,
    of float32, hold it, and a message in nine digits. The sample of pixels that is as near as
    float32 tells apart is meant then.
    """
    exact = held(value, samples.dtype)
    if samples.dtype != np.float64 or not exact or math.isnan(exact):
        return exact
    if where(samples, colours, exact).any():
        return exact
    first = samples[..., 0].astype(np.float64, copy=False)
    with np.errstate(over="ignore"):  # beyond float64, from samples at its end
        near = first[np.abs(first - exact) <= _HALF_A_UNIT * abs(exact)]
    return next((x for x in np.unique(near).tolist() if where(samples, colours, x).any()), exact)


def is_held(value: float, dtype: np.dtype[np.generic]) -> bool:
    """Whether floats of a type hold a value, but for their rounding."""
    kept = held(value, dtype)
    return math.isnan(value) or abs(kept - value) <= _HALF_A_UNIT * abs(value)


def filled(picture: Picture, gaps: Mask, value: float) -> Picture:
    """Fill the gaps of a picture from what is near; their places join its metadata.

    A frame without any data is filled as the nearest that has some: a frame of zeros would be in
    the range of the data, which a PSNR and the levels of a packed file are of.
    """
    if not gaps.any():
        return picture
    samples, colours = picture.samples.copy(), picture.mode.colours
    for frame, empty in zip(picture.each(samples), gaps if picture.frames else [gaps], strict=True):
        if not empty.any():
            continue
        for c in range(colours):
            known = np.where(empty, 0, frame[:, :, c]).astype(np.float64)
            near = _from_near(known, ~empty)
            near = near if samples.dtype.kind == "f" else np.rint(near)
            frame[:, :, c][empty] = near[empty].astype(samples.dtype)
    whole = gaps.all(axis=(-2, -1))
    if picture.frames is not None and not whole.all():
        there = np.flatnonzero(~whole)
        for i in np.flatnonzero(whole):
            samples[i, ..., :colours] = samples[there[np.abs(there - i).argmin()], ..., :colours]
    block = _VALUE.pack(value) + zlib.compress(np.packbits(gaps).tobytes(), 9)
    return replace(picture, samples=samples, metadata=replace(picture.metadata, nodata=block))


def value_of(metadata: Metadata) -> float | None:
    """The value of pixels without data; None where there are none."""
    block = metadata.nodata
    return None if block is None else float(_VALUE.unpack_from(block)[0])


def of(picture: Picture) -> Mask | None:
    """The gaps of a picture; None where it has none."""
    block = picture.metadata.nodata
    return None if block is None else _unpacked(block, picture)[1]


def restored(picture: Picture) -> Picture:
    """Put the value back into the gaps of a picture."""
    block = picture.metadata.nodata
    if block is None:
        return picture
    value, gaps = _unpacked(block, picture)
    samples = picture.samples.copy()
    samples[..., : picture.mode.colours][gaps] = value
    return replace(picture, samples=samples, metadata=replace(picture.metadata, nodata=None))


def _unpacked(block: bytes, picture: Picture) -> tuple[float, Mask]:
    value, gaps = unpacked(block, picture.width, picture.height * (picture.frames or 1))
    return value, gaps.reshape(picture.samples.shape[:-1])


def unpacked(block: bytes, width: int, height: int) -> tuple[float, Mask]:
    """Value and places of a block.

    Raises
    ------
    ValueError
        It is not one of a picture of this size; no more memory is taken than such a one needs.
    """
    size = -(-width * height // 8)
    if len(block) <= _VALUE.size:
        raise ValueError("too short")
    (value,) = _VALUE.unpack_from(block)
    stream = zlib.decompressobj()
    try:
        bits = stream.decompress(block[_VALUE.size :], size + 1)
    except zlib.error as error:
        raise ValueError("not compressed as it should be") from error
    if len(bits) != size or not stream.eof or stream.unused_data:
        raise ValueError("of another size than the picture")
    gaps = np.unpackbits(np.frombuffer(bits, np.uint8), count=width * height)
    return value, gaps.astype(bool).reshape(height, width)


def revalued(block: bytes, dtype: np.dtype[np.generic]) -> bytes:
    """A block whose value is as samples of another type hold it."""
    (value,) = _VALUE.unpack_from(block)
    return _VALUE.pack(held(value, dtype)) + block[_VALUE.size :]


def check(block: bytes, picture_bits: tuple[int, int], dtype: str) -> None:
    """Refuse a block that is none of such a picture, by a ValueError."""
    value, _ = unpacked(block, *picture_bits)
    if (
        not (math.isnan(value) and dtype.startswith("float"))
        and held(value, np.dtype(dtype)) != value
    ):
        raise ValueError("a value that the samples cannot hold")


def suspected(samples: Samples) -> tuple[float, int] | None:
    """A sample far from all others that looks like a mark for no data, and how often it is there.

    It is the smallest or the largest, and one of the usual marks or of a size that nothing
    measured has.
    """
    for extreme in (np.min, np.max):
        mark = float(extreme(samples))
        if abs(mark) <= _FAR and mark not in _USUAL:
            continue
        others = samples[samples != mark]
        if not others.size:
            return None
        low, high = float(others.min()), float(others.max())
        if low < high < low + 2 * abs(mark - float(extreme(others))):
            return mark, samples.size - others.size
    return None


def _from_near(values: NDArray[np.float64], known: Mask) -> NDArray[np.float64]:
    """Unknown values from means over the smallest square of a pyramid that holds a known one."""
    if known.all() or not known.any():
        return values
    height, width = known.shape
    pad = ((0, height % 2), (0, width % 2))

    def summed(x: NDArray[np.float64]) -> NDArray[np.float64]:
        x = np.pad(x, pad)
        return x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]

    counts = summed(known.astype(np.float64))
    means = summed(np.where(known, values, 0)) / np.maximum(counts, 1)
    coarse = _from_near(means, counts > 0)
    up = coarse.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    return np.where(known, values, up)
