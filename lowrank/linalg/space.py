"""A Krylov space of A A^T that grows by a block a pass, until what is wanted has settled.

Residuals of its Ritz pairs lie in the next block alone, which mixes all that is left of the
spectrum: where one is r lambda, its value is short by some r^2 lambda, however near the next one
is. A flat spectrum, the edge of noise, takes a space of thousands of vectors. It is looked at
seldom then, and at a fixed size its leading Ritz vectors begin a new one: the thick restart of
Wu and Simon (2000), "Thick-restart Lanczos method for large symmetric eigenvalue problems".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import LimitError
from lowrank.linalg import krylov, slabs
from lowrank.linalg.basis import Basis
from lowrank.linalg.matrix import Floats
from lowrank.linalg.passes import Passes
from lowrank.linalg.slabs import Cast

SETTLED = 1e-4
"""Residual of a Ritz pair, against its eigenvalue."""
ROUGH = 1e-2
"""The same of what will do where no better is to be had, and is said to be no better."""
_CLEAR = 1e-4  # of the largest singular value, what a space in float32 knows well enough to go on
_SURE = 1e-2  # the same of what is left without others, which no residual shows any more
_KEPT = 0.5  # of a space that begins again
_FULL = 0.6  # of it, that may be wanted
_MARGIN = 2  # blocks beside what is wanted, before a space is looked at
_ALWAYS = 512  # vectors up to which it is looked at in every pass
_SELDOM = 8  # beyond: after it has grown by a part of this, at most
_OVER = 0.6  # of the passes to go, at a guess: convergence grows faster
_A_WHILE = 4  # looks
_DEEP = 48  # blocks, and `_WIDE` times what is wanted, at which it begins again
_WIDE = 6
_PASSES = 400  # are enough
_SQUARES = 8  # matrices in float64, as wide as the space, that it takes beside its vectors


@dataclass(frozen=True)
class Goal:
    """Which terms are wanted: so many, or what leaves a share of ||A||_F at most.

    Attributes
    ----------
    chosen : int or None
    share : float
    most : int
        The rank of the matrix, at most.
    """

    chosen: int | None
    share: float
    most: int

    def rank(self, squares: Floats, square: float, rest: float | None = None) -> int | None:
        """The rank by the leading squares of singular values and ||A||_F^2; None if too few.

        `rest` is the sum of the other squares, where it is known better than by a difference.
        """
        if self.chosen is not None:
            return self.chosen
        known = squares[: self.most]
        if rest is None:
            rest = max(square - float(known.sum()), 0.0) if len(known) < self.most else 0.0
        # From the smallest on: nothing cancels.
        lost = np.cumsum(np.append(known, rest)[::-1])[::-1]
        enough = np.flatnonzero(lost <= self.share**2 * square)
        return int(enough[0]) if enough.size else None

    def least(self, squares: Floats, square: float) -> int:
        """A bound on the rank from below, where all further squares are as large as the last."""
        lost = square - float(squares.sum()) - self.share**2 * square
        return len(squares) + math.ceil(max(lost, 0.0) / float(squares[-1]))


@dataclass(eq=False)
class Space:
    """A Krylov space of what is left of a matrix, of which parts may be known already.

    Parameters
    ----------
    passes : Passes
    cast : Cast
        Without what is known.
    goal : Goal
    known : (r,) ndarray of float64
        Squares of the singular values that are known.
    block : int
        Vectors that it grows by in a pass.
    seed : int
        What the first block is drawn from.
    patience : float
        It is given up where more passes than these are to go; there is another way then.
    square : float
        ||A||_F^2, which the first pass measures where it is negative.
    start : (size,) ndarray of float64, optional
        A vector to begin with, which may be near to one that is wanted.
    """

    passes: Passes
    cast: Cast
    goal: Goal
    known: Floats
    block: int
    seed: int
    patience: float
    square: float = -1.0
    start: Floats | None = None

    def grown(self) -> tuple[Floats, Floats, int] | None:
        """Rows for what has settled, singular values of them, and how many there are to be.

        None where it is given up, and the Gram matrix is the better way.

        Raises
        ------
        LimitError
            No space is large enough that there is memory for, or time.
        """
        size = self.passes.size
        first = krylov.scattered(size, self.block, self.seed)
        if self.start is not None:
            first[:, 0] = self.start
        self._X = np.linalg.qr(first)[0].astype(np.float32)
        self._capacity = min(size, self._room()) // self.block * self.block
        self._basis = Basis(self._capacity, size)
        self._H = np.zeros((self._capacity, self._capacity))
        self._rows = self._guess = look = 0
        self._worst: list[tuple[int, float]] = []
        for number in range(1, _PASSES + 1):
            link = self._grow()
            if self.square == 0.0:
                return np.eye(1, size), np.ones(1), 1
            full = self._rows + self.block > self._capacity
            if self._rows < look and not full and number < _PASSES:
                continue
            found = self._looked(link, number, full=full)
            if found is not None:
                return found
            if self._guess > self.patience or (full and self._capacity > size - self.block):
                return None
            ahead = 1
            if self._rows > _ALWAYS:
                seldom = self._rows // (_SELDOM * self.block)
                ahead = max(min(int(self._guess * _OVER), seldom), 1)
            look = self._rows + ahead * self.block
        raise LimitError(
            f"the leading terms do not settle in {_PASSES} passes: they are too near to others; "
            "give fewer terms, or what fits into memory"
        )

    def _room(self) -> int:
        """Vectors that there is memory for, or that a space has before it begins again.

        The one changes nothing, the other follows from what is wanted: but where memory is so
        short that it must begin again earlier.
        """
        size, memory = self.passes.size, self.passes.memory
        # Half of the memory for 4 size r + 8 _SQUARES r^2 bytes.
        root = math.sqrt(16.0 * size * size + 16.0 * _SQUARES * memory)
        room = int((root - 4.0 * size) / (16.0 * _SQUARES))
        if self.goal.chosen is not None:
            room = min(room, _WIDE * (self.goal.chosen + 1) + _DEEP * self.block)
        return max(room, 4 * self.block)

    def _grow(self) -> Floats:
        """Take one more block into the space; how H leads from it to the next."""
        measured = self.square < 0.0
        Z, square = self.passes.total(
            slabs.Product(self.cast, self._X, measured), of=self.passes.number + max(self._guess, 3)
        )
        if measured:
            self.square = float(square[0])
        self._guess = max(self._guess - 1, 1)
        self._basis.append(self._X)
        last = slice(self._rows, self._rows + self.block)
        self._rows += self.block
        products = self._basis.times(Z)
        self._H[: self._rows, last] = products
        self._H[last, : self._rows] = products.T
        self._X, link = self._basis.beside(Z, products)
        return link

    def _looked(
        self, link: Floats, number: int, *, full: bool
    ) -> tuple[Floats, Floats, int] | None:
        """What has settled, if all has that is wanted; else a guess of the passes to go.

        A space that is full begins again.
        """
        rows, block = self._rows, self.block
        values, vectors = self._basis.ritz(self._H[:rows, :rows])
        squares = np.maximum(values, 0.0) * 4.0**self.cast.rest
        k = self.goal.rank(np.concatenate([self.known, squares]), self.square)
        if k is None:
            found = vectors(rows // 2)
            residuals = np.linalg.norm(link @ found[-block:], axis=0)
            self._refuse(squares, residuals <= ROUGH * values[: rows // 2], full=full)
            self._guess = max(2, rows // (2 * block))
            return None
        count = min(k + 1, self.goal.most)
        mine = count - len(self.known)
        if mine > _FULL * self._capacity and self._capacity <= self.passes.size - block:
            raise self._too_small()
        if rows < min(mine + _MARGIN * block, self.passes.size):
            self._guess = -(-(mine - rows) // block) + _MARGIN
            return None
        mine = min(mine, rows)
        kept = max(mine + block, int(_KEPT * self._capacity)) if full else mine
        found = vectors(kept)
        residuals = np.linalg.norm(link @ found[-block:, :mine], axis=0)
        settled = self._settled(values[:mine], residuals, number)
        if settled is not None:
            s = np.sqrt(squares[: settled + 1])
            return self._basis.turned(found[:, :settled]), s[: max(settled, 1)], count
        if full and self._capacity <= self.passes.size - block:
            self._rows = kept
            self._H[:kept, :kept] = self._basis.restarted(found, values[:kept])
        return None

    def _settled(self, values: Floats, residuals: Floats, number: int) -> int | None:
        """How many of the leading values a space in float32 knows well, once all have settled."""
        least = _SURE if len(self.known) else _CLEAR
        clear = int(np.count_nonzero(values >= least**2 * values[0]))
        worst = float(np.max(residuals[:clear] / (SETTLED * values[:clear])))
        if worst <= (ROUGH / SETTLED if number == _PASSES else 1.0):
            return clear
        self._worst.append((number, math.log(worst)))
        # A cluster of values, such as the edge of noise, settles slowly: that shows after a while.
        fall = 1.5
        if len(self._worst) > _A_WHILE:
            (before, high), (now, low) = self._worst[-1 - _A_WHILE], self._worst[-1]
            fall = max((high - low) / (now - before), 1e-2)
        self._guess = max(1, math.ceil(math.log(worst) / fall))
        return None

    def _refuse(self, squares: Floats, settled: NDArray[np.bool_], *, full: bool) -> None:
        """Say early that more terms are wanted than a space can have."""
        if self._capacity > self.passes.size - self.block or self._rows <= _ALWAYS:
            return
        sure = int(np.argmin(np.append(settled, False)))
        known = np.concatenate([self.known, squares[:sure]])
        least = self.goal.least(known, self.square) if sure else 0
        if least > _FULL * self._capacity:
            raise LimitError(
                f"{least:,} terms at least are needed for such an error, more than the "
                f"{int(_FULL * self._capacity):,} that there is memory for; give -k, or more with "
                "--memory"
            )
        if full:
            raise self._too_small()

    def _too_small(self) -> LimitError:
        return LimitError(
            f"a space of {self._capacity:,} vectors, all that the memory holds, is too small for "
            "what is asked for; give more with --memory, or fewer terms"
        )
