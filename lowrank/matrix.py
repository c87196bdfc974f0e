"""A matrix as the solvers read it: short side first, scaled, cast slab by slab.

The samples stay what they are (often one channel of a picture, 8 bits a sample);
float64 copies exist only for a slab of columns at a time, so that a picture of
twelve megapixels is factorised in little more memory than it takes itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import ImageError, UsageError

Floats = NDArray[np.float64]

_SLAB_ENTRIES = 2**20  # 8 MB of float64: larger than caches, small beside the picture
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

    def slabs(self) -> Iterator[tuple[slice, Floats]]:
        """Yield ``(columns, A[:, columns])`` as float64 copies, left to right."""
        width = max(256, _SLAB_ENTRIES // self.short)
        for start in range(0, self.long, width):
            columns = slice(start, min(start + width, self.long))
            # Order K keeps the samples' own memory order, whichever side is first.
            slab = self._rows[:, columns].astype(np.float64, order="K")
            yield columns, np.ldexp(slab, -self.exponent) if self.exponent else slab

    def whole(self, dtype: type[np.float32] | type[np.float64]) -> NDArray[Any]:
        """(short, long) copy of the matrix."""
        if not self.exponent:
            return self._rows.astype(dtype, order="K")
        return np.ldexp(self._rows.astype(np.float64), -self.exponent).astype(dtype)

    def left(self, W: Floats) -> Floats:
        """(r, long) product ``W @ A`` for W of shape (r, short)."""
        out = np.empty((W.shape[0], self.long))
        for columns, slab in self.slabs():
            np.matmul(W, slab, out=out[:, columns])
        return out

    def right(self, Y: Floats) -> Floats:
        """(r, short) product ``Y @ A.T`` for Y of shape (r, long)."""
        out = np.zeros((Y.shape[0], self.short))
        for columns, slab in self.slabs():
            out += Y[:, columns] @ slab.T
        return out

    def frobenius(self) -> float:
        """||A||_F, scaled (definition 37)."""
        return math.sqrt(sum(_square_sum(slab) for _, slab in self.slabs()))

    def gram(self) -> Floats:
        """(short, short) Gram matrix ``A @ A.T``."""
        out = np.zeros((self.short, self.short))
        for _, slab in self.slabs():
            out += slab @ slab.T
        return out

    def residual_slabs(self, left: Floats, right: NDArray[Any]) -> Iterator[tuple[slice, Floats]]:
        """Yield slabs of ``A - left @ right``: left (short, r), right (r, long)."""
        for columns, slab in self.slabs():
            slab -= left @ np.asarray(right[:, columns], dtype=np.float64)
            yield columns, slab

    def residual_frobenius(self, left: Floats, right: NDArray[Any]) -> float:
        """||A - left @ right||_F, from the residual itself."""
        return math.sqrt(sum(_square_sum(E) for _, E in self.residual_slabs(left, right)))

    def residual_gram(self, left: Floats, right: NDArray[Any]) -> Floats:
        """(short, short) Gram matrix of ``A - left @ right``.

        Formed from the residual itself and not as a difference of Gram matrices, which
        would lose everything below sqrt(eps) ||A||.
        """
        out = np.zeros((self.short, self.short))
        for _, E in self.residual_slabs(left, right):
            out += E @ E.T
        return out


def _square_sum(slab: Floats) -> float:
    flat = slab.ravel(order="K")
    return float(np.dot(flat, flat))


def _exponent(A: NDArray[Any]) -> int:
    """Power of two that brings the largest entry into safe range; refuses NaN and Inf."""
    if A.dtype.kind != "f" and A.dtype.itemsize <= 2:
        return 0
    largest = max(float(A.max()), -float(A.min()))  # NaN passes through max and min
    if not math.isfinite(largest):
        raise ImageError("the samples hold NaN or infinity; replace them before compressing")
    if largest > _LARGEST:
        raise ImageError("the samples exceed 1e300; scale them before compressing")
    exponent = math.frexp(largest)[1]
    return 0 if abs(exponent) <= _SAFE_EXPONENT else exponent
