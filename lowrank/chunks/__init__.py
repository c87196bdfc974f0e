"""Chunks of arrays as `.lrk` files of one matrix: what the codecs for numcodecs and zarr share.

A chunk of two or more axes is one matrix, the first axis by the rest, and is kept as layout
`stack` keeps its frames: so every chunk is a file that `lowrank.open` reads. What is no such
matrix is stored whole and exactly, by zlib behind a signature of its own: chunks of one axis or
none; with NaN or infinity, or beyond 1e30 or below 1e-30 as a whole; of types that the format has
not (64-bit integers, bool, halves, complex, dates, fields, the other byte order); and those whose
factors would take more bytes than the samples.

>>> import numpy as np
>>> chunk = np.add.outer(np.arange(30), np.arange(200)).astype(np.uint16).reshape(30, 10, 20)
>>> wish = Wish(error=0.01)
>>> data = encode(chunk, wish)
>>> len(data), chunk.nbytes
(1972, 12000)
>>> found = decode(data).reshape(chunk.shape)
>>> float(np.linalg.norm(found - 1.0 * chunk) / np.linalg.norm(1.0 * chunk)) <= 0.01
True
"""

from __future__ import annotations

import math
import re
import struct
import zlib
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from lowrank import codec, stores, targets
from lowrank import format as lrk
from lowrank.errors import FormatError, LimitError, UsageError
from lowrank.limits import DEFAULT_MAX_PIXELS
from lowrank.names import AUTO, FLOAT_CHOICES
from lowrank.picture import DTYPES, Picture, array_mode
from lowrank.targets import Kind, Target

WHOLE = b"\x89LRW\r\n\x1a\n"
"""Signature of a chunk that is stored whole. Then: the CRC-32 (u32) of the rest; numpy's name of
the type, such as `<i8`, behind its length (u8); and the samples in the order of memory, by zlib."""
_TYPE = re.compile(rb"[<>|][biufcmMSUV]\d{1,9}(\[\d*\w+\])?")
_LEVEL = 1  # of zlib: such chunks are rare, and nobody waits for them
_FAR = 2.0**100  # beyond which, and its inverse, are samples whose squares might not be floats
_ITEM = 16  # bytes of a sample that is stored whole, at most, where nobody knows better
_PLAIN = (("rank", int), ("error", float), ("max_error", float))
_TRIES = 8  # targets that are tried before a chunk is stored whole


@dataclass(frozen=True)
class Wish:
    """What each chunk is to hold: exactly one of the targets.

    Attributes
    ----------
    rank : int or "auto", optional
        Terms of the matrix; "auto" is the threshold of Gavish and Donoho.
    error : float, optional
        Largest relative Frobenius error of the decoded chunk, 0 to 1: measured, rounding to the
        samples' type included.
    max_error : float, optional
        Largest error of any decoded sample, in its units.
    store : {"auto", "float16", "float32", "float64"}

    Raises
    ------
    UsageError
        None is given, or several, or one is out of its range.
    """

    rank: int | Literal["auto"] | None = None
    error: float | None = None
    max_error: float | None = None
    store: str = AUTO

    def __post_init__(self) -> None:
        targets.choice(self.store, "store", FLOAT_CHOICES)
        if not self.config(store=False):
            raise UsageError("the codec lowrank has no target; give rank, error or max_error")
        self.target()
        for name, kind in _PLAIN:  # numbers of numpy are none of JSON
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                object.__setattr__(self, name, kind(value))

    def config(self, *, store: bool = True) -> dict[str, Any]:
        """What was asked for, as JSON holds it."""
        given = {key: value for key, value in asdict(self).items() if value is not None}
        return given if store else {k: v for k, v in given.items() if k != "store"}

    def target(self) -> Target:
        """The target of one chunk."""
        return targets.chosen(cast("dict[Kind, object]", self.config(store=False)))

    def judged(self, exact: NDArray[np.float64], off: NDArray[np.float64]) -> tuple[float, float]:
        """What a chunk may be off by, and what it is: a Frobenius norm, or a largest error."""
        if self.max_error is not None:
            return float(self.max_error), float(np.abs(off).max())
        return float(self.error or 0.0) * float(np.linalg.norm(exact)), float(np.linalg.norm(off))


def encode(chunk: NDArray[Any], wish: Wish) -> bytes:
    """Encode a contiguous chunk; of one in Fortran's order the last axis is the first in memory.

    Raises
    ------
    LimitError
        More samples than `decode` takes.
    UsageError
        Of a chunk that is masked, or that holds references: its memory is not all of it.
    """
    if isinstance(chunk, np.ma.MaskedArray):
        raise UsageError("a masked chunk would lose its mask; give one that is filled")
    if chunk.dtype.hasobject or chunk.dtype.kind == "T":
        raise UsageError(
            f"a chunk of {chunk.dtype} holds references to what is elsewhere; give numbers, or "
            "texts of a fixed length"
        )
    if chunk.size > DEFAULT_MAX_PIXELS:
        raise LimitError(
            f"a chunk of {chunk.size:,} samples is above the limit of {DEFAULT_MAX_PIXELS:,}; "
            "make the chunks smaller"
        )
    if not chunk.flags.c_contiguous:
        chunk = chunk.T if chunk.flags.f_contiguous else np.ascontiguousarray(chunk)
    data = _factorised(chunk, wish) if _is_matrix(chunk) else None
    if data is None or len(data) > chunk.nbytes:
        kind = chunk.dtype.str.encode()
        rest = bytes([len(kind)]) + kind + zlib.compress(chunk.tobytes(), _LEVEL)
        return WHOLE + struct.pack("<I", zlib.crc32(rest)) + rest
    return data


def decode(
    data: bytes | bytearray | memoryview, *, nbytes: int = _ITEM * DEFAULT_MAX_PIXELS
) -> NDArray[Any]:
    """Decode a chunk to its samples in the order of memory.

    Parameters
    ----------
    data : bytes-like
        From `encode`.
    nbytes : int
        Bytes of the samples: more are refused.

    Returns
    -------
    (N,) ndarray
        Of the samples' type; of fields, their bytes.

    Raises
    ------
    FormatError
        It is damaged, or no such chunk.
    LimitError
        More than `nbytes` bytes of samples.
    """
    data = bytes(data)
    if data.startswith(WHOLE):
        return _whole(data, nbytes)
    parts = lrk.parse(data, name="the chunk", max_pixels=DEFAULT_MAX_PIXELS)
    head = parts.head
    if math.prod(head.samples_shape) * np.dtype(head.mode.dtype).itemsize > nbytes:
        raise LimitError(f"the chunk has more than {nbytes:,} bytes; the store is damaged")
    return codec.decode(parts).picture.samples.reshape(-1)


def _whole(data: bytes, nbytes: int) -> NDArray[Any]:
    """The samples of a chunk that was stored whole."""
    sums, rest = data[len(WHOLE) : len(WHOLE) + 4], data[len(WHOLE) + 4 :]
    if not rest or struct.pack("<I", zlib.crc32(rest)) != sums:
        raise FormatError("the chunk is damaged, or cut; get it again")
    kind, stream = rest[1 : 1 + rest[0]], zlib.decompressobj()
    try:
        found = stream.decompress(rest[1 + rest[0] :], nbytes + 1)
        if len(found) > nbytes:
            raise LimitError(f"the chunk has more than {nbytes:,} bytes; the store is damaged")
        if not stream.eof or not _TYPE.fullmatch(kind):
            raise FormatError("the chunk is damaged behind its checksum; get it again")
        return np.frombuffer(bytearray(found), np.dtype(kind.decode()))
    except (zlib.error, TypeError, ValueError) as error:
        raise FormatError(f"the chunk is damaged ({error}); get it again") from error


def _is_matrix(chunk: NDArray[Any]) -> bool:
    """Whether a chunk is a matrix of finite numbers of a type that the format has."""
    known = chunk.dtype.isnative and chunk.dtype.name in DTYPES
    if chunk.ndim < 2 or not chunk.size or not known:
        return False
    if chunk.dtype.kind != "f":
        return True
    largest = float(np.abs(chunk).max())  # NaN where there is any
    return largest == 0 or 1 / _FAR <= largest <= _FAR


def _factorised(chunk: NDArray[Any], wish: Wish) -> bytes | None:
    """The chunk as a `.lrk` file that holds what was wished for; None where none does.

    The target is met by the factors; samples are rounded to their type after that, and so are
    measured, and a stricter target tried where they are too far.
    """
    *middle, last = chunk.shape[1:]
    frames = chunk.reshape(len(chunk), math.prod(middle), last, 1)
    picture = Picture(frames, array_mode(chunk.dtype.name, 1))
    target = wish.target()
    exact = chunk.astype(np.float64)
    for _ in range(_TRIES):
        try:  # the store itself: to it float64 is a type of samples like any other
            parts = (
                stores.of(wish.store)
                .encode(picture, target, layout="stack", store=wish.store, certify=False)
                .parts
            )
        except UsageError:
            return None  # out of reach of such factors
        if target.kind in ("rank", "auto"):
            return lrk.serialize(parts)
        found = codec.decode(parts).picture.samples.reshape(chunk.shape)
        allowed, lost = wish.judged(exact, np.subtract(found, exact, dtype=np.float64))
        if lost <= allowed:
            return lrk.serialize(parts)
        target = Target(target.kind, target.value * min(allowed / lost, 0.99) * 0.99)
    return None
