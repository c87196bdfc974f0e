"""What one pass over a matrix computes, block by block, and how the blocks are added up.

A matrix that is larger than memory is read some columns at a time, each with all of its rows,
which are the side that vectors of the search have. What a pass computes is a `Work`: it starts
from nothing, takes blocks of columns one by one, and is joined with what other columns gave.
The width of a block and the groups of blocks that are added up together follow from the shape
of the matrix alone, and sums are taken in the order of the columns: the result is the same to
the bit for any number of threads, any amount of memory, and any number of machines that have
the same BLAS.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lowrank.linalg import krylov
from lowrank.linalg.matrix import Floats, add_square

Single = NDArray[np.float32]

_BLOCK = 1 << 20  # entries of a block: 4 MB of float32
_NARROWEST = 32  # columns of a block, at least: thinner ones are slow to multiply
_WIDER = 128  # and so many, as long as the block is not
_TALLEST = 1 << 22  # entries of one that is widened so
_EVERY = 16  # rows, of which one is looked at for what all share
_GROUPS = 64  # of blocks: a machine takes one at a time, and sends one sum back


class Columns(Protocol):
    """A matrix that is read by columns.

    Attributes
    ----------
    size, length : int
        Rows, which every block has all of, and columns.
    dtype : dtype
    """

    @property
    def size(self) -> int:
        """Number of rows."""

    @property
    def length(self) -> int:
        """Number of columns."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of an entry."""

    def read(self, columns: slice) -> NDArray[Any]:
        """Read (size, w) entries; any strides will do, and any thread may ask."""


def width(size: int) -> int:
    """Columns of a block of so many rows."""
    wider = min(_TALLEST // size // 16 * 16, _WIDER)
    return max(-(-_BLOCK // size) // 16 * 16, wider, _NARROWEST)


def groups(size: int, length: int) -> list[slice]:
    """Columns that are added up together: whole blocks, but for the last one."""
    blocks = -(-length // width(size))
    each = -(-blocks // _GROUPS) * width(size)
    return [slice(a, min(a + each, length)) for a in range(0, length, each)]


@dataclass(frozen=True, eq=False)
class Cast:
    """How entries become floats: scaled, and without what is known already.

    Attributes
    ----------
    exponent : int
        They are taken times ``2**-exponent``.
    narrow : bool
        They are rounded to float32 first.
    known : (size, r) ndarray of float64, or None
        Orthonormal columns U: blocks are those of A - U U^T A.
    rest : int
        And times ``2**-rest``.
    """

    exponent: int = 0
    narrow: bool = False
    known: Floats | None = None
    rest: int = 0

    def double(self, raw: NDArray[Any]) -> Floats:
        """(size, w) entries in float64, in the order in which they come."""
        if self.narrow:
            raw = raw.astype(np.float32)
        entries: Floats = raw.astype(np.float64, order="K", copy=False)
        if self.exponent:
            entries = np.ldexp(entries, -self.exponent)
        if self.known is not None:
            entries = entries - self.known @ (self.known.T @ entries)
            if self.rest:
                np.ldexp(entries, -self.rest, out=entries)
        return entries

    def single(self, raw: NDArray[Any]) -> Single:
        """The same in float32."""
        if self.exponent or self.known is not None:
            raw = self.double(raw)
        return raw.astype(np.float32, order="K", copy=False)

    def without(self, known: Floats, rest: int = 0) -> Cast:
        """The same matrix, less what is in the span of some columns."""
        return replace(self, known=known, rest=rest)


class Work(Protocol):
    """What a pass computes: a list of arrays, which are filled block by block.

    Attributes
    ----------
    at_once : int
        Blocks that are taken as one.
    """

    at_once: int

    def zero(self, size: int) -> list[Any]:
        """What no column has."""

    def add(self, state: list[Any], raw: NDArray[Any]) -> None:
        """Take one more block of columns."""

    def join(self, state: list[Any], later: list[Any]) -> list[Any]:
        """Add what later columns gave."""


class Summed:
    """A work whose arrays are sums."""

    at_once = 1

    def join(self, state: list[Any], later: list[Any]) -> list[Any]:
        """Add what later columns gave."""
        for mine, other in zip(state, later, strict=True):
            mine += other
        return state


@dataclass(frozen=True, eq=False)
class Scan:
    """Smallest and largest entry, NaN where there is one, and what float64 loses in float32.

    That is a sum of squares, beside that of the entries themselves.
    """

    at_once = 1

    def zero(self, size: int) -> list[Any]:
        """Nothing seen."""
        return [np.array([math.inf, -math.inf]), np.zeros(2)]

    def add(self, state: list[Any], raw: NDArray[Any]) -> None:
        """Look at a block."""
        seen, squares = state
        # NaN passes through minimum and maximum.
        seen[0] = np.minimum(seen[0], float(raw.min()))
        seen[1] = np.maximum(seen[1], float(raw.max()))
        if raw.dtype.itemsize > 4:
            with np.errstate(over="ignore", invalid="ignore"):
                squares += (_squares(raw - raw.astype(np.float32)), _squares(raw))

    def join(self, state: list[Any], later: list[Any]) -> list[Any]:
        """Extremes of both, and sums."""
        (a, squares), (b, others) = state, later
        extremes = np.array([np.minimum(a[0], b[0]), np.maximum(a[1], b[1])])
        return [extremes, squares + others]


@dataclass(frozen=True, eq=False)
class Product(Summed):
    """A A^T X, of which blocks are multiplied in float32; and ||A||_F^2 if that is `measured`.

    What all rows share, the still background of a film, would drown the rest in its rounding:
    blocks are multiplied less the mean g of some of their rows, B = A - 1 g^T, and A A^T X is
    B Y + 1 g^T Y for Y = B^T X + g (1^T X).
    """

    cast: Cast
    X: Single
    measured: bool = False

    def zero(self, size: int) -> list[Any]:
        """Zeros; sums of blocks are in float64, what a block gives is not."""
        return [np.zeros((size, self.X.shape[1])), np.zeros(1)]

    def add(self, state: list[Any], raw: NDArray[Any]) -> None:
        """Read the block once for both products."""
        single = self.cast.single(raw)
        shared = single[::_EVERY].mean(axis=0)
        block = single - shared
        # Columns that lie each in one piece are rows of the transpose: nothing is reordered.
        lines = block.flags.f_contiguous and block.shape[1] > 1
        Y = krylov.times(block.T, self.X) if lines else krylov.transposed_times(block, self.X)
        Y += np.outer(shared, self.X.sum(axis=0, dtype=np.float64)).astype(np.float32)
        state[0] += krylov.transposed_times(block.T, Y) if lines else krylov.times(block, Y)
        state[0] += shared.astype(np.float64) @ Y
        if self.measured:
            state[1] += _squares(self.cast.double(raw))


@dataclass(frozen=True, eq=False)
class Gram(Summed):
    """The lower triangle of A A^T, and ||A||_F^2, which is left at 0 where it is `rough`.

    In float64; or `rough`, blocks less what all rows share multiplied in float32: twice as fast,
    and good enough to search with.
    """

    cast: Cast
    rough: bool = False
    at_once = 4

    def zero(self, size: int) -> list[Any]:
        """Zeros."""
        return [np.zeros((size, size)), np.zeros(1)]

    def add(self, state: list[Any], raw: NDArray[Any]) -> None:
        """Add the block's own."""
        if not self.rough:
            block = self.cast.double(raw)
            add_square(state[0], block)
            state[1] += _squares(block)
            return
        single = self.cast.single(raw)
        shared = single[::_EVERY].mean(axis=0)
        single = single - shared
        add_square(state[0], single)
        cross = (single @ shared).astype(np.float64) + 0.5 * float(shared @ shared)
        state[0] += cross
        state[0] += cross[:, np.newaxis]


@dataclass(frozen=True, eq=False)
class Residual(Summed):
    """||A - U U^T A||_F^2, from the residual itself; `cast` has the columns U."""

    cast: Cast

    def zero(self, size: int) -> list[Any]:
        """Zero."""
        return [np.zeros(1)]

    def add(self, state: list[Any], raw: NDArray[Any]) -> None:
        """Add the block's squares."""
        state[0] += _squares(self.cast.double(raw))


@dataclass(frozen=True, eq=False)
class Image:
    """What Rayleigh and Ritz need of rows W: Y = W A by its triangle, and A Y^T.

    Attributes
    ----------
    W : (r, size) ndarray of float64
        Orthonormal rows.
    """

    cast: Cast
    W: Floats
    at_once = 1

    def zero(self, size: int) -> list[Any]:
        """A Y^T, and the triangle R of Y^T = Q R."""
        r = len(self.W)
        return [np.zeros((size, r)), np.zeros((r, r))]

    def add(self, state: list[Any], raw: NDArray[Any]) -> None:
        """Take a block: R is as accurate as a QR factorisation of all of Y^T."""
        block = self.cast.double(raw)
        Y = self.W @ block
        state[0] += block @ Y.T
        state[1] = np.linalg.qr(np.vstack([state[1], Y.T]), mode="r")

    def join(self, state: list[Any], later: list[Any]) -> list[Any]:
        """Sums, and one triangle of two."""
        R = np.linalg.qr(np.vstack([state[1], later[1]]), mode="r")
        return [state[0] + later[0], R]


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows W A, block beside block: right singular vectors, for W = S^-1 U^T."""

    cast: Cast
    W: Floats
    at_once = 1

    def zero(self, size: int) -> list[Any]:
        """None."""
        return []

    def add(self, state: list[Any], raw: NDArray[Any]) -> None:
        """Append the block's own."""
        state.append(self.W @ self.cast.double(raw))

    def join(self, state: list[Any], later: list[Any]) -> list[Any]:
        """One after the other."""
        return [*state, *later]


@dataclass(frozen=True, eq=False)
class Rounding(Summed):
    """Products of rows V = W A and of what a store makes of them: those of [V' - V, V'].

    Attributes
    ----------
    W : (r, size) ndarray of float64
    store : str
    """

    cast: Cast
    W: Floats
    store: str

    def zero(self, size: int) -> list[Any]:
        """Zeros."""
        return [np.zeros((2 * len(self.W), 2 * len(self.W)))]

    def add(self, state: list[Any], raw: NDArray[Any]) -> None:
        """Add the block's own."""
        V = self.W @ self.cast.double(raw)
        rounded = V.astype(self.store).astype(np.float64)
        both = np.vstack([rounded - V, rounded])
        state[0] += both @ both.T


def _squares(block: Floats) -> float:
    flat = block.ravel(order="K")
    return float(np.dot(flat, flat))


def blocks(work: Work, raw: NDArray[Any], size: int) -> Iterator[NDArray[Any]]:
    """Cut columns that begin where a block does into blocks."""
    step = width(size) * work.at_once
    for a in range(0, raw.shape[1], step):
        yield raw[:, a : a + step]


def of_columns(work: Work, raw: NDArray[Any], size: int) -> list[Any]:
    """Compute a work of columns that are in memory, all of one group."""
    state = work.zero(size)
    for block in blocks(work, raw, size):
        work.add(state, block)
    return state
