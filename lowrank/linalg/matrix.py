"""A matrix as the solvers read it: short side first, scaled, cast slab by slab.

The samples stay what they are (often one channel of a picture, 8 bits a sample);
float64 copies exist only for a slab of columns at a time, so that a picture of
twelve megapixels is factorised in little more memory than it takes itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import copy
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import ImageError, UsageError

Floats = NDArray[np.float64]

NUMPY_SIDE = 1000  # above it scipy is worth its import: subsets of eigenvectors, in place
_SLAB_ENTRIES = 2**20  # 8 MB of float64: larger than caches, small beside the picture
_BAND_ENTRIES = 2**19  # 4 MB of float64: a cache holds it
_RUN = 256  # squares of bytes that add up to less than 2^24
_SQUARE = 512  # rows of a square matrix that are worked on at a time
_SAFE_EXPONENT = 20  # entries within 2^-20 .. 2^20 square and add without scaling
_LARGEST = 2.0**1000  # beyond it the norm itself may overflow


class Matrix:
    """A read-only matrix with its short side first and its entries in safe range.

    Parameters
    ----------
    A : (m, n) array of real numbers
        Any dtype and any strides; never modified, never copied whole.

    Attributes
    ----------
    transposed : bool
        Whether the short side is the columns of `A`.
    short, long : int
        Lengths of the two sides, ``short <= long``.
    exponent : int
        Entries are those of `A` times ``2**-exponent``; 0 for 8- and 16-bit samples.

    Raises
    ------
    UsageError
        If `A` is not two-dimensional, empty, or not of real numbers.
    ImageError
        If `A` holds NaN, infinity or values beyond 1e300.
    """

    def __init__(self, A: NDArray[Any]) -> None:
        A = np.asarray(A)
        if A.ndim != 2 or A.size == 0:
            raise UsageError(f"a matrix needs two dimensions and an entry, not shape {A.shape}")
        if A.dtype.kind not in "biuf":
            raise UsageError(f"a matrix needs real numbers, not {A.dtype}")
        self.exponent = _exponent(A)
        self.transposed = A.shape[0] > A.shape[1]
        self._rows = A.T if self.transposed else A
        self.short, self.long = self._rows.shape
        self._bytes = A.dtype == np.uint8

    def contiguous(self) -> Matrix:
        """The same matrix on `columns` of its own, if float32 holds every entry exactly.

        Every pass over them takes less time than one over a channel of a picture.
        """
        dtype = self._rows.dtype
        if self.exponent or dtype.itemsize > (4 if dtype.kind == "f" else 2):
            return self
        copied = copy(self)
        copied._rows = self.columns().T
        return copied

    def slabs(self, least: int = 256) -> Iterator[tuple[slice, Floats]]:
        """Yield ``(columns, A[:, columns])`` as float64 copies, left to right.

        They have at least so many columns, but for the last.
        """
        width = max(least, _SLAB_ENTRIES // self.short)
        for start in range(0, self.long, width):
            columns = slice(start, min(start + width, self.long))
            # Order K keeps the samples' own memory order, whichever side is first.
            yield columns, self._scaled(self._rows[:, columns].astype(np.float64, order="K"))

    def whole(self) -> Floats:
        """(short, long) matrix of float64."""
        whole: Floats = self._scaled(self._rows.astype(np.float64, order="K"))
        return whole

    def columns(self) -> NDArray[np.float32]:
        """(long, short) transpose in float32, row after row in memory; itself if it is so."""
        columns = self._rows.T
        if columns.dtype == np.float32 and columns.flags.c_contiguous and not self.exponent:
            return columns
        copied = np.empty((self.long, self.short), np.float32)
        for i in range(0, self.long, _SQUARE):  # by squares: a cache holds both sides of one
            for j in range(0, self.short, _SQUARE):
                square = np.s_[i : i + _SQUARE, j : j + _SQUARE]
                copied[square] = self._scaled(columns[square])
        return copied

    def _scaled(self, entries: NDArray[Any]) -> NDArray[Any]:
        if not self.exponent:
            return entries
        return np.ldexp(np.asarray(entries, np.float64), -self.exponent)

    def left(self, W: Floats) -> Floats:
        """(r, long) product ``W @ A`` for W of shape (r, short)."""
        if not self._by_rows:
            return self._along(W, self.long)
        return self._across(W, self.long)

    def right(self, Y: Floats) -> Floats:
        """(r, short) product ``Y @ A.T`` for Y of shape (r, long)."""
        if self._by_rows:
            return self._along(Y, self.short)
        return self._across(Y, self.short)

    def _along(self, X: Floats, length: int) -> Floats:
        """``X @ band.T`` for the bands, side by side."""
        out = np.empty((X.shape[0], length))
        for lines, band in self._bands():
            np.matmul(X, band.T, out=out[:, lines])
        return out

    def _across(self, X: Floats, length: int) -> Floats:
        """``X[:, lines] @ band`` for the bands, added up."""
        out = np.zeros((X.shape[0], length))
        for lines, band in self._bands():
            out += X[:, lines] @ band
        return out

    def frobenius(self) -> float:
        """||A||_F, scaled (definition 37)."""
        return math.sqrt(sum(self.square_sums))

    @cached_property
    def square_sums(self) -> tuple[float, ...]:
        """Sums of the squares of bands of A, scaled."""
        if self._bytes:
            return tuple(self._square_sums_of_bytes())
        return tuple(square_sum(band) for _, band in self._bands())

    def _square_sums_of_bytes(self) -> Iterator[float]:
        """The exact sums of squares of 8-bit samples, by runs that float32 holds exactly."""
        lines = self._rows if self._by_rows else self._rows.T
        height = max(1, _BAND_ENTRIES // lines.shape[1])
        for start in range(0, lines.shape[0], height):
            band = lines[start : start + height].astype(np.float32, copy=False).ravel()
            whole = len(band) // _RUN * _RUN
            for flat in (band[:whole].reshape(-1, _RUN), band[whole:].reshape(1, -1)):
                yield float(np.einsum("ij,ij->i", flat, flat).sum(dtype=np.float64))

    @property
    def _by_rows(self) -> bool:
        """Whether the entries of a row are nearer together in memory than those of a column."""
        return abs(self._rows.strides[1]) <= abs(self._rows.strides[0])

    def _bands(self) -> Iterator[tuple[slice, Floats]]:
        """Yield ``(lines, band)``: float64 copies of some rows, or columns, as they lie in memory.

        Much faster to copy than slabs, where whichever comes first will do.
        """
        lines = self._rows if self._by_rows else self._rows.T
        height = max(1, _BAND_ENTRIES // lines.shape[1])
        for start in range(0, lines.shape[0], height):
            some = slice(start, min(start + height, lines.shape[0]))
            yield some, self._scaled(lines[some].astype(np.float64))

    def gram(self) -> Floats:
        """(short, short) Gram matrix ``A @ A.T``."""
        if self._bytes:
            return self._gram_of_bytes()
        out = np.zeros((self.short, self.short))
        for _, slab in self.slabs():
            add_square(out, slab)
        return mirrored(out)

    def _gram_of_bytes(self) -> Floats:
        """The exact Gram matrix of 8-bit samples, by float32 products.

        Samples less 128 have squares up to 2^14, so that sums of 1024 products stay within
        the 2^24 integers that float32 holds exactly; the shift is undone in float64.
        """
        out = np.zeros((self.short, self.short))
        sums = np.zeros(self.short)
        for start in range(0, self.long, 1024):
            shifted = self._rows[:, start : start + 1024].astype(np.float32, order="K")
            shifted -= 128.0
            add_square(out, shifted)
            sums += shifted.sum(axis=1, dtype=np.float64)
        sums = 128.0 * sums + 64.0 * 128.0 * self.long
        out += sums[:, np.newaxis]
        out += sums
        return mirrored(out)

    def residual_slabs(self, left: Floats, right: NDArray[Any]) -> Iterator[tuple[slice, Floats]]:
        """Yield slabs of ``A - left @ right``: left (short, r), right (r, long)."""
        for columns, slab in self.slabs():
            slab -= left @ np.asarray(right[:, columns], dtype=np.float64)
            yield columns, slab

    def residual_columns(self, left: Floats, right: Floats) -> tuple[NDArray[np.float32], int]:
        """Residual ``A - left @ right`` as float32 `columns` times a power of two.

        Returns
        -------
        columns : (long, short) ndarray of float32
            Largest entry in [1/2, 1), or all zero.
        exponent : int
            The residual is ``columns.T * 2**exponent``.
        """
        columns = np.empty((self.long, self.short), np.float32)
        for some, E in self.residual_slabs(left, right):
            columns[some] = E.T
        exponent = math.frexp(max(float(columns.max()), -float(columns.min())))[1]
        return np.ldexp(columns, -exponent, out=columns), exponent

    def residual_frobenius(self, left: Floats, right: NDArray[Any]) -> float:
        """||A - left @ right||_F, from the residual itself."""
        return math.sqrt(sum(square_sum(E) for _, E in self.residual_slabs(left, right)))

    def residual_gram(self, left: Floats, right: NDArray[Any]) -> Floats:
        """(short, short) Gram matrix of ``A - left @ right``.

        Formed from the residual itself and not as a difference of Gram matrices, which
        would lose everything below sqrt(eps) ||A||.
        """
        out = np.zeros((self.short, self.short))
        for _, E in self.residual_slabs(left, right):
            add_square(out, E)
        return mirrored(out)


def add_square(out: Floats, slab: NDArray[Any]) -> None:
    """Add ``slab @ slab.T`` to the lower triangle of `out`, without a second matrix like it."""
    for start in range(0, len(slab), _SQUARE):
        stop = start + _SQUARE
        out[start:stop, :stop] += slab[start:stop] @ slab[:stop].T


def mirrored(square: Floats) -> Floats:
    """The symmetric matrix of a lower triangle, in place."""
    for start in range(0, len(square), _SQUARE):
        stop = start + _SQUARE
        square[:start, start:stop] = square[start:stop, :start].T
        corner = square[start:stop, start:stop]
        corner[:] = np.tril(corner) + np.tril(corner, -1).T
    return square


def square_sum(slab: Floats) -> float:
    """Sum of the squares of a contiguous array."""
    flat = slab.ravel(order="K")
    return float(np.dot(flat, flat))


def _exponent(A: NDArray[Any]) -> int:
    """Power of two that brings the largest entry into safe range; refuses NaN and Inf."""
    if A.dtype.kind != "f" and A.dtype.itemsize <= 2:
        return 0
    return scale_of(max(float(A.max()), -float(A.min())))  # NaN passes through max and min


def scale_of(largest: float) -> int:
    """Power of two that brings a largest magnitude into safe range; refuses NaN and infinity."""
    if not math.isfinite(largest):
        raise ImageError("the samples hold NaN or infinity; replace them before compressing")
    if largest > _LARGEST:
        raise ImageError("the samples exceed 1e300; scale them before compressing")
    exponent = math.frexp(largest)[1]
    return 0 if abs(exponent) <= _SAFE_EXPONENT else exponent
