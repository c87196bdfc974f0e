"""Arrays in files of numpy: `.npy`, and `.npz` of one array.

The header is read, and held against what is there, before memory is taken; objects, which
unpickling would run, are refused. What the axes mean is for the caller to say.
"""

from __future__ import annotations

import math
from io import BytesIO
from typing import IO, Literal

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import ImageError, LimitError
from lowrank.io.wall import wall
from lowrank.limits import fits
from lowrank.picture import MAX_CHANNELS

Samples = NDArray[np.generic]

_MAGIC = b"\x93NUMPY"
_ZIP = b"PK\3\4"
_HEADER = 1 << 16  # bytes that the header of an array takes at most
_DAMAGED = "the array is damaged or of a rare kind"


def accepts(data: bytes) -> bool:
    """Whether bytes are those of an array of numpy, or of an archive whose first file is one."""
    if data.startswith(_MAGIC):
        return True
    length = int.from_bytes(data[26:28], "little")
    return data.startswith(_ZIP) and data[30 : 30 + length].endswith(b".npy")


def read(data: bytes, *, name: str, max_pixels: int) -> Samples:
    """Read the one array of a file.

    Parameters
    ----------
    data : bytes
        The whole file; an array of `.npy` is a view of it.
    name : str
        Its path, for messages.
    max_pixels : int
        So many pixels of `MAX_CHANNELS` channels are the most that is unpacked.

    Returns
    -------
    ndarray
        Of the file's shape and dtype; it may be read only.

    Raises
    ------
    ImageError
        Objects, fields, several arrays, or damage.
    LimitError
        More samples than the limit, or than there is memory for.
    """
    with wall(f"read {name}", _DAMAGED):
        if data.startswith(_ZIP):
            return _of_archive(data, max_pixels)
        stream = BytesIO(data)
        shape, dtype, columns = _header(stream, max_pixels)
        at, needed = stream.tell(), math.prod(shape)
        if len(data) - at < needed * dtype.itemsize:
            there = (len(data) - at) // dtype.itemsize
            raise ImageError(f"it ends after {there:,} of {needed:,} samples; get it again")
        return _shaped(np.frombuffer(data, dtype, needed, at), shape, columns)


def described(path: str) -> tuple[tuple[int, ...], np.dtype[np.generic], bool, int]:
    """Shape, type, whether columns come first, and where the samples of a `.npy` file begin.

    Raises
    ------
    ImageError
        As for `read`; the samples are all there.
    """
    with wall(f"read {path}", _DAMAGED), open(path, "rb") as stream:
        end = stream.seek(0, 2)
        stream.seek(0)
        return described_in(stream, end, path)


def described_in(
    stream: IO[bytes], end: int, name: str
) -> tuple[tuple[int, ...], np.dtype[np.generic], bool, int]:
    """The same of an open file of so many bytes."""
    with wall(f"read {name}", _DAMAGED):
        shape, dtype, columns = _header(stream, 1 << 62)
        at, needed = stream.tell(), math.prod(shape) * dtype.itemsize
        if end - at < needed:
            raise ImageError(f"it ends after {end - at:,} of {needed:,} bytes; get it again")
        return shape, dtype, columns, at


def mapped(path: str, *, max_pixels: int) -> Samples:
    """Map the array of a `.npy` file into memory: samples are read where they are used.

    Raises
    ------
    ImageError, LimitError
        As for `read`; the limit is that of what may be mapped.
    """
    with wall(f"read {path}", _DAMAGED):
        with open(path, "rb") as stream:
            shape, dtype, columns = _header(stream, max_pixels)
            at, needed = stream.tell(), math.prod(shape) * dtype.itemsize
            end = stream.seek(0, 2)
        if end - at < needed:
            raise ImageError(f"it ends after {end - at:,} of {needed:,} bytes; get it again")
        order: Literal["F", "C"] = "F" if columns else "C"
        return np.memmap(path, dtype=dtype, mode="r", offset=at, shape=shape, order=order)


def write(samples: Samples) -> bytes:
    """Write an array as the bytes of a `.npy` file."""
    stream = BytesIO()
    np.lib.format.write_array(stream, samples, allow_pickle=False)
    return stream.getvalue()


def header(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> bytes:
    """The bytes of a `.npy` file before its samples, which are in C order."""
    stream = BytesIO()
    fields = np.lib.format.header_data_from_array_1_0(np.empty(0, dtype))
    np.lib.format.write_array_header_1_0(stream, {**fields, "shape": shape})
    return stream.getvalue()


def _of_archive(data: bytes, max_pixels: int) -> Samples:
    import zipfile  # with what it needs in turn, for a rare case

    with zipfile.ZipFile(BytesIO(data)) as archive:
        arrays = [file for file in archive.infolist() if file.filename.endswith(".npy")]
        if len(arrays) != 1:
            names = ", ".join(file.filename.removesuffix(".npy") for file in arrays[:8])
            raise ImageError(
                f"it holds {len(arrays)} arrays ({names}); save the one that is meant as .npy"
            )
        with archive.open(arrays[0]) as stream:
            shape, dtype, columns = _header(stream, max_pixels)
            needed = math.prod(shape) * dtype.itemsize
            if arrays[0].file_size < needed:  # what the archive says; checked as it is unpacked
                raise ImageError("its array ends early; get it again")
            if not fits(needed):
                raise LimitError(
                    f"not enough memory for an array of {needed:,} bytes; save it as .npy"
                )
            body = stream.read(needed)
            if len(body) < needed or stream.read(1):
                raise ImageError("its array is of another size than it says; get it again")
    return _shaped(np.frombuffer(body, dtype), shape, columns)


def _header(
    stream: IO[bytes], max_pixels: int
) -> tuple[tuple[int, ...], np.dtype[np.generic], bool]:
    """Shape, type and order of columns first; the stream stands at the samples then."""
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ImageError(f"version {version[0]}.{version[1]} of .npy is not known; save it as 1.0")
    # The header of 3.0 is that of 2.0 in another encoding, in which ours is the same.
    reader = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        reader = np.lib.format.read_array_header_2_0
    shape, columns, dtype = reader(stream, max_header_size=_HEADER)
    if dtype.hasobject:
        raise ImageError("an array of Python objects, which are never loaded; save numbers")
    if dtype.names or dtype.itemsize == 0:
        raise ImageError(f"an array of {dtype}, which are no samples; save one field alone")
    if any(side < 0 for side in shape):
        raise ImageError("an array of negative sides; the file is damaged")
    if math.prod(shape) > max_pixels * MAX_CHANNELS:
        raise LimitError(
            f"an array of {math.prod(shape):,} samples, above the limit of {max_pixels:,} pixels; "
            "raise the limit if you trust the file"
        )
    return shape, dtype, bool(columns)


def _shaped(flat: Samples, shape: tuple[int, ...], columns: bool) -> Samples:
    return flat.reshape(shape, order="F" if columns else "C")
