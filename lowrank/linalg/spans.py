"""Rows that span the leading left singular vectors of a matrix that is larger than memory.

Up to `GRAM_SIDE` rows one pass gives the Gram matrix in float64, which knows every singular
value, those above 1e-4 sigma_1 to 1e-9. Beyond, a block Krylov space grows by a block a pass, in
float32, until the triplets that are wanted have settled. What lies too far below the largest
value is found in the matrix less what is known, as before.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lowrank.errors import LimitError
from lowrank.linalg import krylov, slabs
from lowrank.linalg.basis import leading_of
from lowrank.linalg.certificate import ZERO
from lowrank.linalg.matrix import Floats, mirrored
from lowrank.linalg.passes import Passes
from lowrank.linalg.slabs import Cast
from lowrank.linalg.space import Goal, Space

GRAM_SIDE = 2000
"""Rows up to which the Gram matrix is made at once."""
LARGEST_GRAM = 6000
"""Rows up to which it is made where a Krylov space will not do, and for a proof."""
_GRAM_CLEAR = 1e-4  # of the largest singular value, what a Gram matrix in float64 knows well
_STAGES = 6  # each orders of magnitude below the last
_ROUGH = 1e-7  # of the largest eigenvalue, which a Gram matrix in float32 tells from rounding
_A_GRAM = (
    1e6  # squares of rows: as long as a pass of a Krylov space takes the Gram matrix of so many
)


class Spans:
    """Ways to such rows, which know what they have met of the matrix.

    Parameters
    ----------
    passes : Passes
    cast : Cast
    goal : Goal
    choose : callable, optional
        From all singular values to a rank, which is the goal from then on.
    start : (size,) ndarray of float64, optional
        As of `streamed.leading`.

    Attributes
    ----------
    goal : Goal
    square : float
        ||A||_F^2; negative before it is known.
    gram : (size, size) ndarray of float64, or None
        A A^T, where it was made; whoever takes it may change it, and leaves None.
    """

    def __init__(
        self,
        passes: Passes,
        cast: Cast,
        goal: Goal,
        choose: Callable[[Floats], int] | None = None,
        start: Floats | None = None,
    ) -> None:
        self.passes, self.cast, self.goal, self.choose, self.start = (
            passes, cast, goal, choose, start,
        )  # fmt: skip
        self.size = passes.size
        self.square = -1.0
        self.gram: Floats | None = None

    def first(self) -> Floats:
        """Rows, one more than are wanted; any single one where the matrix is 0.

        Raises
        ------
        LimitError
            There is no way within the memory, or no space settles.
        """
        W = None
        if self.size > GRAM_SIDE and self.choose is None:
            W = self._by_krylov()
            if W is None:
                W = self._by_rough_gram()
        return self.by_gram() if W is None else W

    def by_gram(self, least: int = 0) -> Floats:
        """The same by the Gram matrix; `least` rows at least, where a share is wanted."""
        if self.gram is None:
            needed = 3 * 8 * self.size**2
            if needed > self.passes.memory:
                raise LimitError(
                    f"the Gram matrix of {self.size:,} rows needs {needed:,} bytes; "
                    "give more with --memory, or fewer terms"
                )
            lower, square = self.passes.total(slabs.Gram(self.cast), of=self.passes.number + 3)
            self.gram, self.square = mirrored(lower), float(square[0])
        if self.square == 0.0:
            return np.eye(1, self.size)
        values, vectors = leading_of(self.gram.copy())
        s = np.sqrt(np.maximum(values, 0.0))
        if self.choose is not None:
            chosen = self.choose(np.ldexp(s[: self.goal.most], self.cast.exponent))
            self.goal = replace(self.goal, chosen=min(chosen, self.goal.most))
        k = self.goal.rank(np.maximum(values[: self.goal.most], 0.0), self.square)
        if k is None or self.goal.chosen is None:
            k = max(self.goal.most if k is None else k, least)
        count = min(k + 1, self.goal.most)
        W = _rows(vectors(count))
        clear = int(np.count_nonzero(s[:count] >= _GRAM_CLEAR * s[0]))
        for _ in range(_STAGES):
            if clear == count:
                break
            known = np.linalg.qr(W[:clear].T)[0]
            lower, square = self.passes.total(slabs.Gram(self.cast.without(known)))
            rest = mirrored(lower)
            values, vectors = leading_of(rest)
            more = _rows(vectors(count - clear))
            W = np.vstack([known.T, more - (more @ known) @ known.T])
            W = np.linalg.qr(W.T)[0].T
            below = np.sqrt(np.maximum(values[: count - clear], 0.0))
            if below[0] <= ZERO * s[0]:
                break
            clear += int(np.count_nonzero(below >= _GRAM_CLEAR * below[0]))
        return W

    def _by_krylov(self) -> Floats | None:
        """The same from Krylov spaces; None where the Gram matrix is the better way."""
        known: Floats | None = None
        squares = np.zeros(0)
        some = (self.cast.double(raw) for raw in self.passes.some_blocks())
        seed = krylov.seed_of(x for A in some for x in np.einsum("ij,ij->j", A, A).tolist())
        count = 100 if self.goal.chosen is None else self.goal.chosen + 1
        block = min(16 if count <= 48 else 32 if count <= 200 else 64, self.size)
        there_is_gram = self.size <= LARGEST_GRAM
        patience = max(self.size**2 / _A_GRAM, 8) if there_is_gram else math.inf
        rest = 0
        for stage in range(_STAGES):
            cast = self.cast if known is None else self.cast.without(known, rest)
            space = Space(
                self.passes, cast, self.goal, squares, block, seed + stage, patience, self.square,
                None if stage else self.start,
            )  # fmt: skip
            grown = space.grown()
            self.square = space.square
            if grown is None:
                return None
            if self.square == 0.0:
                return np.eye(1, self.size)
            W, s, count = grown
            if known is not None:
                W = W - (W @ known) @ known.T
                W = np.vstack([known.T, W])
            W = np.linalg.qr(W.T)[0].T
            if len(W) >= count or s[0] <= ZERO * math.sqrt(self.square):
                return W[:count]
            known, squares = self._further(W)
            rest = math.frexp(s[-1])[1] if s[-1] > 0.0 else 0
        return None

    def _further(self, W: Floats) -> tuple[Floats, Floats]:
        """Columns one step of A A^T in float64 nearer to singular vectors than rows W.

        What is left of the largest ones would hide the smallest. And squares of their values.
        """
        Z, R = self.passes.total(slabs.Image(self.cast, W))
        inner, s, _ = np.linalg.svd(R.T)
        return np.linalg.qr((Z @ inner) / np.maximum(s, ZERO * s[0]) ** 2)[0], s * s

    def _by_rough_gram(self) -> Floats | None:
        """The same by a Gram matrix whose blocks are in float32: None where that is no help."""
        if 3 * 8 * self.size**2 > self.passes.memory:
            return None
        lower, _ = self.passes.total(slabs.Gram(self.cast, rough=True), of=self.passes.number + 3)
        values, vectors = leading_of(mirrored(lower))
        k = self.goal.rank(np.maximum(values[: self.goal.most], 0.0), self.square)
        if k is None or values[min(k, self.goal.most - 1)] < _ROUGH * values[0]:
            return None
        return _rows(vectors(min(k + 1, self.goal.most)))


def _rows(vectors: Floats) -> Floats:
    return np.ascontiguousarray(vectors.T)
