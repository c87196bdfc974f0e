"""A picture, or a stack, whose samples stay where they are until they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lowrank.picture import Metadata, Mode, Source

Samples = NDArray[Any]


class Matrix(Protocol):
    """A matrix in a file, an array or several files: the one of a stack, or of a grey picture.

    Attributes
    ----------
    m, n : int
        Rows and columns: frames and samples of a frame, or rows and columns of a picture.
    dtype : dtype
    in_rows : bool
        Rows lie together: to read some of them whole is fastest.
    only_rows : bool
        Nothing less than whole rows can be read.
    """

    m: int
    n: int
    dtype: np.dtype[Any]
    in_rows: bool
    only_rows: bool

    def rows(self, rows: slice) -> Samples:
        """(r, n) samples of some rows."""

    def columns(self, columns: slice) -> Samples:
        """(m, c) samples of some columns."""


@dataclass(frozen=True, eq=False)
class Lazy:
    """A picture or a stack, as `Picture` would be.

    Attributes
    ----------
    matrix : Matrix
        That of a stack, or of the first channel of a picture.
    mode : Mode
    height, width : int
    frames : int or None
        None of one picture.
    metadata : Metadata
    others : tuple of Matrix
        Those of the other channels.
    """

    matrix: Matrix
    mode: Mode
    height: int
    width: int
    frames: int | None
    metadata: Metadata = field(default_factory=Metadata)
    others: tuple[Matrix, ...] = ()

    @property
    def matrices(self) -> tuple[Matrix, ...]:
        """All matrices, of one shape."""
        return (self.matrix, *self.others)

    @property
    def samples_shape(self) -> tuple[int, ...]:
        """Shape that its samples have, all together."""
        one = self.height, self.width, len(self.mode.channels)
        return one if self.frames is None else (self.frames, *one)

    @property
    def nbytes(self) -> int:
        """Bytes of all samples."""
        one = self.matrix
        return one.m * one.n * one.dtype.itemsize * len(self.matrices)


def each(matrix: Matrix) -> Iterator[tuple[int, Samples]]:
    """Rows of a matrix, some at a time: the number of the first, and (r, n) samples."""
    step = max((1 << 24) // (matrix.n * matrix.dtype.itemsize), 1)
    for a in range(0, matrix.m, step):
        yield a, matrix.rows(slice(a, min(a + step, matrix.m)))


@dataclass(frozen=True, eq=False)
class LazyLoaded:
    """The same as `Loaded`, of what is not read yet; `seen` says what is known once it was read."""

    picture: Lazy
    source: Source
    notes: tuple[str, ...] = ()
    seen: Callable[[], tuple[str, ...]] = tuple


@dataclass(frozen=True, eq=False)
class ByColumns:
    """A matrix as passes read it: by columns, or by rows, as its transpose.

    Attributes
    ----------
    matrix : Matrix
    transposed : bool
    """

    matrix: Matrix
    transposed: bool

    @property
    def size(self) -> int:
        """Length of the side that is read whole."""
        return self.matrix.n if self.transposed else self.matrix.m

    @property
    def length(self) -> int:
        """Length of the other."""
        return self.matrix.m if self.transposed else self.matrix.n

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a sample."""
        return self.matrix.dtype

    def read(self, columns: slice) -> Samples:
        """(size, w) samples."""
        if self.transposed:
            return self.matrix.rows(columns).T
        return self.matrix.columns(columns)


_SQUARISH = 4  # sides so near to each other that whole lines are worth more than short vectors


def by_columns(matrix: Matrix) -> ByColumns:
    """The way to read a matrix, which follows from its shape and its place.

    Vectors of the search are as long as what is read whole: that is the short side, but where
    whole lines are all there is, or both sides are long.
    """
    if matrix.only_rows:
        return ByColumns(matrix, True)
    along, across = (matrix.n, matrix.m) if matrix.in_rows else (matrix.m, matrix.n)
    lines = along <= _SQUARISH * across  # a line is not much longer than there are lines
    return ByColumns(matrix, matrix.in_rows if lines else not matrix.in_rows)
