"""The Karhunen-Loève transform across the frames: U from the Gram matrix, planes from U.

A is (N, n), a frame in each row. A A^T is summed slab by slab of pixels, in float64: its
eigenvectors are U, good to 1e-8 of sigma_1 and better than any quantiser needs. No mean is
taken off first: the first plane is nearly the mean, and the transform is no worse.

References
----------
H. Hotelling, J. Educ. Psychol. 24 (1933); K. Karhunen (1947), M. Loève (1948).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import UsageError
from lowrank.layouts.lapped import SIDE, SIZE, Floats, grid
from lowrank.layouts.turn import axes
from lowrank.picture import Turn
from lowrank.stores.packed.frames.edges import LAPPED, analyse

if TYPE_CHECKING:
    from lowrank.stores.packed.frames.learn import Learnt

Samples = NDArray[Any]
MOST = 8192
"""Frames whose Gram matrix is decomposed."""
_SLAB = 1 << 18, 1 << 21
"""Samples of a slab, at least and at most: between them the square of the frames, whose products
are then as large as what they are sums of."""
_SMALLER = 1 << 16
"""Samples of a slab at least, where products go elsewhere: they are as large, and beside others."""
_TOGETHER = 1 << 19
"""Samples of planes that are transformed at once, at least, and ..."""
_PARTS = 8
"""... in so many parts at most, each of which takes a pass over the samples."""
_PIECE = 16
"""Planes of these that are there at a time: so many times a vector of any processor, whose
coefficients are the same to the last bit as with others beside them."""
LARGE = 1 << 18
"""Samples of a stack that takes more memory than Python itself."""
_DEAR = 2  # bytes a sample: coefficients that take more are computed again rather than kept
_GROWTH = 16  # planes that are added at least, where more are needed


class Stack:
    """A stack as its planes, computed as they are asked for.

    Parameters
    ----------
    samples : (N, height, width, channels) ndarray
    turn : Turn or None
        The rotation of the first three channels.
    weights : (N,) ndarray, optional
        What each frame is divided by, at most 1: the transform is one of frames that have noise
        alike, and their error is.
    """

    def __init__(
        self, samples: Samples, turn: Turn | None, weights: NDArray[np.float64] | None = None
    ) -> None:
        self.samples, self.turn, self.weights = samples, turn, weights
        self.frames, self.height, self.width, self.channels = samples.shape
        if self.frames > MOST:
            raise UsageError(
                f"{self.frames} frames have no packed store, which takes {MOST} at most; "
                "use -k, or --frames for a part of them"
            )
        self.scale = 1.0 if weights is None else math.sqrt(np.mean(weights**-2.0))
        """Root mean square of what frames are multiplied by."""
        self.grid = grid(self.height, self.width)
        self.apart: tuple[float, bool] | None = None
        """A step, and whether the frames are better coded apart with one like it."""
        self.once = False
        """Whether it is encoded once: the coefficients are not kept for another time."""
        self.aim: float | None = None
        """Mean squared error of a sample that is wanted, in squared levels, if one is."""
        self.lost: NDArray[np.float64] | None = None
        """Squared error of each map with the last step, in squared steps, where one is wanted."""
        self.learnt: tuple[float, Learnt | None] | None = None
        """A step, and the classes of pixels that suit one like it."""
        self.transform = LAPPED
        """Of the patches of planes; `suit` changes it."""
        self.suited: float | None = None
        """A step like which it was chosen for."""
        self._C: Floats | None = None
        self._ends: list[int] = []
        """How many planes there were coefficients of, time after time."""

    @property
    def pixels(self) -> int:
        """Numbers of a frame, n."""
        return int(self.height * self.width * self.channels)

    def slabs(self, least: int = _SMALLER) -> Iterator[slice]:
        """Rows of the frames, some at a time."""
        size = min(max(least, self.frames**2), _SLAB[1])
        step = max(size // (self.frames * self.width * self.channels), 1)
        for top in range(0, self.height, step):
            yield slice(top, min(top + step, self.height))

    def rows(self, part: slice) -> NDArray[np.float64]:
        """(N, rows, width, channels) samples in float64, their colours turned."""
        X = self.samples[:, part].astype(np.float64)
        R = axes(self.turn)
        if R is not None:
            X[..., :3] = X[..., :3] @ R.T
        return X

    def weighted(self, part: slice) -> NDArray[np.float64]:
        """The same, each frame over its weight."""
        X = self.rows(part)
        if self.weights is not None:
            X /= self.weights[:, None, None, None]
        return X

    @property
    def plain(self) -> Stack:
        """The stack without weights."""
        return self if self.weights is None else self._unweighted  # no cycle that keeps it

    @cached_property
    def _unweighted(self) -> Stack:
        return Stack(self.samples, self.turn)

    @cached_property
    def gram(self) -> NDArray[np.float64]:
        """A A^T."""
        G = np.zeros((self.frames, self.frames))
        for part in self.slabs(_SLAB[0]):
            X = self.weighted(part).reshape(self.frames, -1)
            G += X @ X.T
        return G

    @cached_property
    def spectrum(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Singular values, descending, and U, as far as there are any."""
        squares, U = np.linalg.eigh(self.gram)
        count = min(self.frames, self.pixels)
        s = np.sqrt(np.maximum(squares[::-1][:count], 0))
        return s, np.ascontiguousarray(U[:, ::-1][:, :count])

    def coefficients(self, planes: int) -> Floats:
        """[frequency, row, plane x channel, column] of the first planes of U^T A, at least."""
        done = 0 if self._C is None else self._C.shape[2] // self.channels
        s, U = self.spectrum
        ends = [*self._ends]
        if not ends or ends[-1] < planes:
            ends.append(min(max(planes, _GROWTH + (ends[-1] if ends else 0)), len(s)))
        if done < ends[-1]:
            kind = np.dtype(np.float64 if self.samples.dtype.itemsize > 2 else np.float32)
            C = np.empty((SIZE, self.grid[0], ends[-1] * self.channels, self.grid[1]), kind)
            if self._C is not None:
                C[:, :, : self._C.shape[2]] = self._C
            self._C, self._ends = C, ends
            # In the steps in which they were asked for first: to the last bit they are the same.
            for first, last in itertools.pairwise([0, *ends]):
                if first >= done:
                    here = slice(first * self.channels, last * self.channels)
                    self._analyse(U[:, first:last], C[:, :, here])
        if self._C is None:
            raise ValueError("no planes")
        return self._C

    def box(self, box: tuple[slice, slice], part: slice) -> Floats:
        """(rows, columns, planes x channels) samples of some planes in a box."""
        X = self.samples[:, box[0], box[1]].astype(np.float32)
        R = axes(self.turn)
        if R is not None:
            X[..., :3] = X[..., :3] @ R.T.astype(np.float32)
        U = self.spectrum[1][:, part].T
        if self.weights is not None:
            U = U / self.weights
        planes = U.astype(np.float32) @ X.reshape(self.frames, -1)
        result: Floats = planes.reshape(-1, *X.shape[1:]).transpose(1, 2, 0, 3)
        return result.reshape(*X.shape[1:3], -1)

    @property
    def spared(self) -> bool:
        """Whether coefficients are not kept for another time: there is none, or they are dear."""
        size, held = self.samples.size, 0 if self._C is None else self._C.nbytes
        return self.once or (size >= LARGE and held > _DEAR * size)

    def forget(self) -> None:
        """Keep no coefficients; those that are asked for are computed again."""
        self._C, self._ends = None, []

    def put_aside(self) -> None:
        """Keep none of a large stack until any are asked for: then the same are computed again."""
        if self.samples.size >= LARGE and self.spared:
            self._C = None

    def _analyse(self, U: NDArray[np.float64], out: Floats) -> None:
        """Write coefficients of U^T A."""
        kind, channels = out.dtype, self.channels
        for piece in _pieces(U.shape[1], self.pixels):
            some = U[:, piece].T
            planes = np.empty((self.height, self.width, len(some), channels), kind)
            for part in self.slabs():
                X = self.weighted(part)
                Z = some @ X.reshape(self.frames, -1)
                planes[part] = Z.reshape(-1, *X.shape[1:]).transpose(1, 2, 0, 3)
                del X, Z
            here = out[:, :, piece.start * channels : piece.stop * channels]
            analyse(planes.reshape(self.height, self.width, -1), here, transform=self.transform)
            del planes  # before the next ones

    def frame_coefficients(
        self, part: slice, box: tuple[slice, slice] = (slice(None), slice(None))
    ) -> Floats:
        """[frequency, row, frame x channel, column] of some frames themselves, or of a box."""
        samples = self.samples[part, box[0], box[1]]
        count, height, width, channels = samples.shape
        R = axes(self.turn)
        rows, columns = grid(height, width)
        out = np.empty((SIZE, rows, count * channels, columns), np.float32)
        for piece in _pieces(count, height * width * channels):
            planes = samples[piece].transpose(1, 2, 0, 3).astype(np.float32, order="C")
            if R is not None:
                planes[..., :3] = planes[..., :3] @ R.T.astype(np.float32)
            here = out[:, :, piece.start * channels : piece.stop * channels]
            analyse(planes.reshape(height, width, -1), here, transform=self.transform)
            del planes
        return out

    @cached_property
    def largest(self) -> float:
        """A bound of the coefficients of planes of unit columns, in levels."""
        most = max(float(self.samples.max()), -float(self.samples.min()))
        return SIDE * min(most * math.sqrt(self.frames), float(self.spectrum[0][0]))


def _pieces(planes: int, pixels: int) -> Iterator[slice]:
    """Planes that are transformed at once."""
    each = max(_TOGETHER // pixels, -(-planes // _PARTS), 1)
    for first in range(0, planes, each):
        last = min(first + each, planes)
        for start in range(first, last, _PIECE):
            yield slice(start, min(start + _PIECE, last))
