"""Matrices that stay in files and arrays: read by rows, or by columns.

Files are read with `pread` and not mapped: what is mapped counts as memory of this process as
long as nobody else wants it, and a file that is shortened meanwhile would kill it.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import ImageError
from lowrank.io.wall import thin_wall
from lowrank.limits import let_go
from lowrank.picture import Mode
from lowrank.picture.lazy import Lazy, Matrix

Samples = NDArray[Any]


class InFile:
    """Lines of samples in a file, each in one piece.

    Parameters
    ----------
    path : str
    dtype : dtype
    starts : (lines,) ndarray of int64
        Where in the file each line begins.
    length : int
        Samples of a line.
    transposed : bool
        Lines are the columns of the matrix.
    """

    _in_pieces = True  # a part of a line can be read without the rest

    def __init__(
        self, path: str, dtype: np.dtype[Any], starts: NDArray[np.int64], length: int,
        *, transposed: bool = False,
    ) -> None:  # fmt: skip
        self.path, self.dtype = path, dtype
        self._starts, self._length, self._transposed = starts, length, transposed
        self.m, self.n = (length, len(starts)) if transposed else (len(starts), length)
        self.in_rows = not transposed
        self.only_rows = self.in_rows and not self._in_pieces

    def rows(self, rows: slice) -> Samples:
        """Whole lines, or a piece of each."""
        if self._transposed:
            return self._pieces(rows).T
        return self._lines(rows)

    def columns(self, columns: slice) -> Samples:
        """A piece of each line, or whole lines."""
        if self._transposed:
            return self._lines(columns).T
        return self._pieces(columns)

    def _lines(self, lines: slice) -> Samples:
        starts = self._starts[lines]
        out = np.empty((len(starts), self._length), self.dtype)
        size = self._length * self.dtype.itemsize
        if len(starts) and (np.diff(starts) == size).all():
            return self._read([starts[0]], out.reshape(1, -1)).reshape(out.shape)
        return self._read(starts, out)

    def _pieces(self, some: slice) -> Samples:
        out = np.empty((len(self._starts), some.stop - some.start), self.dtype)
        return self._read(self._starts + some.start * self.dtype.itemsize, out)

    def _read(self, starts: Sequence[int] | NDArray[np.int64], out: Samples) -> Samples:
        with open(self.path, "rb", buffering=0) as stream:
            for at, line in zip(starts, out.view(np.uint8).reshape(len(out), -1), strict=True):
                view, at = line.data, int(at)
                while view:
                    got = _read_at(stream, view, at)
                    if not got:
                        raise ImageError(f"{self.path} ends before its samples do; get it again")
                    view, at = view[got:], at + got
        return out


def _read_at(stream: Any, view: memoryview, at: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(stream.fileno(), [view], at)
    stream.seek(at)
    return int(stream.readinto(view) or 0)


def fitting(found: Samples, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Samples:
    """What an array gave, if that is as much as its own shape says, and of its own type.

    Raises
    ------
    ImageError
        It is not; and numpy might repeat it until it were, or drop what the type does not hold.
    """
    if found.shape != shape:
        raise ImageError(
            f"the array gave {found.shape} where its own shape says {shape}; give what it computes"
        )
    if not np.can_cast(found.dtype, dtype):
        raise ImageError(
            f"the array gave {found.dtype} where its own dtype says {dtype}; give what it computes"
        )
    return found


class OfArray:
    """An array of frames, which has a shape, a dtype and slices: zarr's, h5py's, dask's, numpy's.

    Parameters
    ----------
    array : array_like
    at : int
        The axis that counts the frames.
    chosen : range
        Which of them; each step is 1.
    """

    only_rows = False

    def __init__(self, array: Any, at: int, chosen: range) -> None:
        self.array, self._at, self._chosen = array, at, chosen
        self._sides = tuple(x for i, x in enumerate(array.shape) if i != at)
        self.dtype = np.dtype(array.dtype)
        self.m, self.n = len(chosen), int(np.prod(self._sides, dtype=object))
        self.in_rows = at == 0
        self._lock = threading.Lock()

    def rows(self, rows: slice) -> Samples:
        """Whole frames."""
        return self._taken(rows, slice(0, self._sides[0])).reshape(-1, self.n)

    def columns(self, columns: slice) -> Samples:
        """Pieces of all frames: whatever rows of pixels hold them are read."""
        row = self.n // self._sides[0]
        first, last = columns.start // row, -(-columns.stop // row)
        found = self._taken(slice(0, self.m), slice(first, last)).reshape(self.m, -1)
        return found[:, columns.start - first * row : columns.stop - first * row]

    def part(self, some: slice, *, rows: bool) -> tuple[Any, int, int]:
        """The part of the array with some rows or columns, its axis of frames, its first column."""
        row = self.n // self._sides[0]
        first, last = some.start // row, -(-some.stop // row)
        frames, lines = (
            (some, slice(0, self._sides[0])) if rows else (slice(0, self.m), slice(first, last))
        )
        return self.array[self._key(frames, lines)], self._at, first * row

    def _key(self, frames: slice, lines: slice) -> tuple[slice, ...]:
        start = self._chosen.start
        key = [lines, *(slice(None),) * (len(self._sides) - 1)]
        key.insert(self._at, slice(start + frames.start, start + frames.stop))
        return tuple(key)

    def _taken(self, frames: slice, lines: slice) -> Samples:
        # Not every library likes to be asked twice at a time.
        with self._lock, thin_wall("read the array", "give an array of numbers"):
            found = np.moveaxis(np.asarray(self.array[self._key(frames, lines)]), self._at, 0)
        expected = frames.stop - frames.start, lines.stop - lines.start, *self._sides[1:]
        found = fitting(found, expected, self.dtype)
        if isinstance(self.array, np.ndarray):
            found = found.copy()
            let_go(self.array)
        return found


class OfFrames:
    """Frames that are decoded one by one, whole.

    Parameters
    ----------
    count, length : int
        Frames, and samples of one.
    dtype : dtype
    decoded : callable
        From the number of a frame to its samples; one is asked for at a time.
    """

    in_rows = True
    only_rows = True

    def __init__(
        self, count: int, length: int, dtype: np.dtype[Any],
        decoded: Callable[[int], Samples],
    ) -> None:  # fmt: skip
        self.m, self.n, self.dtype = count, length, dtype
        self._decoded = decoded
        self._lock = threading.Lock()

    def rows(self, rows: slice) -> Samples:
        """Whole frames."""
        out = np.empty((rows.stop - rows.start, self.n), self.dtype)
        with self._lock:
            for i, number in enumerate(range(rows.start, rows.stop)):
                out[i] = self._decoded(number).reshape(-1)
        return out

    def columns(self, columns: slice) -> Samples:
        """Pieces of all frames, which are all decoded for them."""
        return np.concatenate([self.rows(slice(i, i + 1))[:, columns] for i in range(self.m)])


_BANDS = 4  # that are held: a piece ends within one, and the next begins there


class OfBands:
    """Rows of a picture that come in bands of some rows, each decoded whole.

    Parameters
    ----------
    m, n : int
        Rows, and samples of one.
    height : int
        Rows of a band; the last one may have fewer.
    dtype : dtype
    decoded : callable
        From the number of a band to its samples; any thread may ask.
    """

    in_rows = True
    only_rows = True

    def __init__(
        self, m: int, n: int, height: int, dtype: np.dtype[Any],
        decoded: Callable[[int], Samples],
    ) -> None:  # fmt: skip
        self.m, self.n, self.dtype = m, n, dtype
        self._height, self._decoded = height, decoded
        self._held: OrderedDict[int, Samples] = OrderedDict()
        self._lock = threading.Lock()

    def rows(self, rows: slice) -> Samples:
        """Whole rows."""
        return self._part(rows, slice(0, self.n))

    def columns(self, columns: slice) -> Samples:
        """Pieces of all rows, which are all decoded for them."""
        return self._part(slice(0, self.m), columns)

    def _part(self, rows: slice, columns: slice) -> Samples:
        out = np.empty((rows.stop - rows.start, columns.stop - columns.start), self.dtype)
        for number in range(rows.start // self._height, -(-rows.stop // self._height)):
            at = number * self._height
            some = slice(max(rows.start, at), min(rows.stop, at + self._height))
            band = self._band(number)[some.start - at : some.stop - at, columns]
            out[some.start - rows.start : some.stop - rows.start] = band
        return out

    def _band(self, number: int) -> Samples:
        with self._lock:
            held = self._held.get(number)
        if held is None:
            held = self._decoded(number)
            with self._lock:
                self._held[number] = held
                while len(self._held) > _BANDS:
                    self._held.popitem(last=False)
        return held


class OfChannel:
    """One channel of a picture whose channels take turns.

    Parameters
    ----------
    whole : Matrix
        Its rows hold the samples of the channels in turn.
    channel, channels : int
    """

    def __init__(self, whole: Matrix, channel: int, channels: int) -> None:
        self._whole, self._channel, self._channels = whole, channel, channels
        self.m, self.n, self.dtype = whole.m, whole.n // channels, whole.dtype
        self.in_rows, self.only_rows = whole.in_rows, whole.only_rows

    def rows(self, rows: slice) -> Samples:
        """Whole rows, of which all channels are read."""
        return self._whole.rows(rows)[:, self._channel :: self._channels]

    def columns(self, columns: slice) -> Samples:
        """Pieces of all rows, of which all channels are read."""
        some = slice(columns.start * self._channels, columns.stop * self._channels)
        return self._whole.columns(some)[:, self._channel :: self._channels]


def of_channels(whole: InFile | OfBands, mode: Mode, channels: int) -> Lazy:
    """A picture of rows in which the channels take turns."""
    if channels == 1:
        return Lazy(whole, mode, whole.m, whole.n, None)
    first, *others = [OfChannel(whole, c, channels) for c in range(channels)]
    return Lazy(first, mode, whole.m, first.n, None, others=tuple(others))
