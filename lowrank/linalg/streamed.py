"""Leading singular triplets of a matrix that is larger than memory, in few passes over it.

Up to `GRAM_SIDE` rows one pass gives the Gram matrix in float64, which knows every singular
value, those above 1e-4 sigma_1 to 1e-9. Beyond, a block Krylov space grows by a block a pass, in
float32, until the triplets that are wanted have settled. Either way a last step by Rayleigh and
Ritz, in float64, takes one pass: singular values are those of Y = W A, by its QR factorisation,
so that nothing is squared, and residuals are measured, not believed. What lies too far below the
largest value is found in the matrix less what is known, as before. Right singular vectors
take a pass of their own, in which they can be written as they come.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from lowrank.errors import LimitError, UsageError
from lowrank.linalg import krylov, slabs
from lowrank.linalg.basis import leading_of
from lowrank.linalg.certificate import ZERO, norm_below
from lowrank.linalg.matrix import Floats, mirrored, scale_of
from lowrank.linalg.passes import Passes
from lowrank.linalg.slabs import Cast
from lowrank.linalg.space import ROUGH, Goal, Space

GRAM_SIDE = 2000
"""Rows up to which the Gram matrix is made at once."""
LARGEST_GRAM = 6000
"""Rows up to which it is made where a Krylov space will not do, and for a proof."""
_GRAM_CLEAR = 1e-4  # of the largest singular value, what a Gram matrix in float64 knows well
_STAGES = 6  # each orders of magnitude below the last
_POLISHING = 4  # Rayleigh-Ritz steps
_RESIDUAL = 2e-4  # of every triplet, against the last sigma, which half the square spoils
_TOGETHER = 1e-4  # of all of them, against the tail
_ROUNDING = 1e-14  # of such a residual in float64, against sigma_1
_CANCELLED = 1e-6  # share of ||A||_F^2 below which a difference of squares loses the tail
_GRAM_FLOOR = 3e-4  # of sigma_(k+1) / sigma_1, for a proof on A A^T
_ROUGH = 1e-7  # of the largest eigenvalue, which a Gram matrix in float32 tells from rounding
_A_GRAM = (
    1e6  # squares of rows: as long as a pass of a Krylov space takes the Gram matrix of so many
)


@dataclass(frozen=True, eq=False)
class Wish:
    """Which terms are wanted: one of the three.

    Attributes
    ----------
    rank : int or None
    share : float or None
        Of ||A||_F, which may be lost.
    choose : callable or None
        From all singular values to a rank.
    """

    rank: int | None = None
    share: float | None = None
    choose: Callable[[Floats], int] | None = None


@dataclass(frozen=True)
class Seen:
    """What a pass sees of entries, before anything is computed with them.

    Attributes
    ----------
    low, high : float
        Smallest and largest entry.
    lost : float
        Share of ||A||_F by which they are off in float32; 0 of what is not float64.
    exponent : int
        Power of two that brings them into safe range.
    """

    low: float
    high: float
    lost: float
    exponent: int


@dataclass(frozen=True, eq=False)
class Leading:
    """Leading triplets, of which the long vectors are not made yet.

    Attributes
    ----------
    left : (size, k) ndarray of float64
        Orthonormal columns.
    s : (k,) ndarray of float64
    sigma_next, tail, norm : float
        As of `TruncatedSVD`.
    certified : bool
    within : float
        0; or how near singular values are only known to be to those of the matrix, as a share of
        themselves, where they stand so close together that passes come to no more.
    beyond : (size,) ndarray of float64, or None
        The left vector of sigma_next.
    """

    left: Floats
    s: Floats
    sigma_next: float
    tail: float
    norm: float
    certified: bool
    within: float
    beyond: Floats | None
    _passes: Passes
    _cast: Cast

    @property
    def length(self) -> int:
        """Of the other vectors."""
        return self._passes.length

    def rounded(self, store: str, number: int) -> tuple[Floats, int]:
        """Products of the other vectors and of what a store makes of them, in a pass.

        Parameters
        ----------
        store : str
        number : int
            Passes so far, over all matrices.

        Returns
        -------
        products : (2k, 2k) ndarray of float64
            Those of rows [V' - V, V'], where V are the vectors, and V' the rounded ones.
        number : int
            Passes, with this one.
        """
        self._passes.number = number
        (products,) = self._passes.total(slabs.Rounding(self._cast, self._to_rows(), store))
        return products, self._passes.number

    def _to_rows(self) -> Floats:
        """W = S^-1 U^T, by which the other vectors are W A."""
        scaled = np.ldexp(self.s, -self._cast.exponent)
        found: Floats = (self.left / np.where(scaled > 0.0, scaled, math.inf)).T
        return found

    def rows(self) -> Iterator[tuple[slice, Floats]]:
        """The other vectors, as rows: (columns, (k, w) ndarray), from left to right."""
        k = len(self.s)
        for columns, found in self._passes.each(slabs.Rows(self._cast, self._to_rows())):
            rows = np.hstack(found)
            for j in np.flatnonzero(self.s == 0.0):  # beyond the rank: any unit vector will do
                rows[j] = np.arange(columns.start, columns.stop) == j
            yield columns, rows[:k]


def leading(
    passes: Passes,
    wish: Wish,
    *,
    narrow: bool = False,
    certify: bool = False,
    start: Floats | None = None,
    seen: Seen | None = None,
) -> Leading:
    """Compute leading triplets and what is left out.

    Parameters
    ----------
    passes : Passes
    wish : Wish
    narrow : bool
        Entries are rounded to float32 first.
    certify : bool
        Prove that sigma_(k+1) is what is said, up to `LARGEST_GRAM` rows.
    start : (size,) ndarray of float64, optional
        A left vector that may be near to a leading one: a space finds that sooner.
    seen : Seen, optional
        What `scanned` gives, where it is known.

    Raises
    ------
    ImageError
        Entries are no finite numbers.
    LimitError
        So many terms need more memory, or more rows than there is a way for; or they are too
        near to others to be told from them.
    UsageError
        All singular values are asked for, of too many rows.

    Notes
    -----
    Singular values are good to 1e-7 of themselves, down to 1e-13 ||A||_F. The search starts
    from a block that depends on the data: that it misses a vector has a chance of nothing, and a
    proof says that it did not.
    """
    seen = seen or scanned(passes)
    cast = Cast(seen.exponent if seen else 0, narrow)
    if wish.choose is not None and passes.size > LARGEST_GRAM:
        raise UsageError(
            f"rank auto needs all singular values, and {passes.size:,} are more than the "
            f"{LARGEST_GRAM:,} of a matrix in passes; give -k, --energy or --error"
        )
    solver = _Solver(passes, wish, cast, start)
    return solver.found(certify=certify)


def scanned(passes: Passes) -> Seen | None:
    """Look at all entries, in a pass; None of integers that are small whatever they are.

    Raises
    ------
    ImageError
        They are no finite numbers.
    """
    dtype = passes.dtype
    if dtype.kind in "biu" and dtype.itemsize <= 2:
        return None
    extremes, squares = passes.total(slabs.Scan())
    (low, high), (lost, square) = extremes.tolist(), squares.tolist()
    exponent = scale_of(max(high, -low))
    return Seen(low, high, math.sqrt(lost / square) if lost else 0.0, exponent)


class _Solver:
    def __init__(self, passes: Passes, wish: Wish, cast: Cast, start: Floats | None = None) -> None:
        self.passes, self.wish, self.cast, self.start = passes, wish, cast, start
        self.size = passes.size
        self.most = min(passes.size, passes.length)
        chosen = None if wish.rank is None else min(wish.rank, self.most)
        self.goal = Goal(chosen, wish.share or 0.0, self.most)
        self.square = -1.0  # ||A||_F^2
        self.gram: Floats | None = None

    def found(self, *, certify: bool) -> Leading:
        """Triplets of what is wished for."""
        W = None
        if self.size > GRAM_SIDE and self.wish.choose is None:
            W = self._by_krylov()
            if W is None:
                W = self._by_rough_gram()
        if W is None:
            W = self._by_gram()
        if self.square == 0.0:
            return self._of_nothing(certify=certify)
        while True:
            left, s, within = self._polished(W)
            k, enough = self._rank(left, s)
            rough = self.size > LARGEST_GRAM and within <= ROUGH
            if within and not rough:
                if self.gram is not None or self.size > LARGEST_GRAM:
                    raise LimitError(
                        f"the {k:,} leading terms do not settle in {_POLISHING} passes; "
                        "give fewer, or take what fits into memory"
                    )
                enough, k = False, len(s) - 1
            if enough:
                break
            W = self._by_gram(least=k + 1 if within else 2 * k)
        s[s <= ZERO * s[0]] = 0.0
        sigma_next = float(s[k]) if k < min(self.most, len(s)) else 0.0
        norm = math.sqrt(self.square)
        tail = self._tail(left[:, :k], s[:k]) if sigma_next > 0.0 else 0.0
        certified = certify and self._proved(left[:, :k], s[:k], sigma_next, norm)
        unit = self.cast.exponent
        signs = _signs(left[:, :k])
        return Leading(
            left[:, :k] * signs, np.ldexp(s[:k], unit), math.ldexp(sigma_next, unit),
            math.ldexp(tail, unit), math.ldexp(norm, unit), certified, within,
            left[:, k].copy() if left.shape[1] > k else None, self.passes, self.cast,
        )  # fmt: skip

    def _of_nothing(self, *, certify: bool) -> Leading:
        k = 0 if self.wish.share is not None else min(self.wish.rank or 1, self.most)
        return Leading(
            np.eye(self.size, k), np.zeros(k), 0.0, 0.0, 0.0, certify, 0.0, None,
            self.passes, self.cast,
        )  # fmt: skip

    def _rank(self, left: Floats, s: Floats) -> tuple[int, bool]:
        """How many terms to keep, by the leading triplets; and whether these are enough."""
        told = self.goal.chosen is not None or len(s) == self.most
        k = self.goal.rank(s * s, self.square, None if told else self._tail(left, s) ** 2)
        if k is None:
            return len(s), False
        return k, self.goal.chosen is not None or k < len(s) or len(s) == self.most

    # -- by the Gram matrix ----------------------------------------------------------------

    def _by_rough_gram(self) -> Floats | None:
        """The same by a Gram matrix whose blocks are in float32: None where that is no help."""
        if 3 * 8 * self.size**2 > self.passes.memory:
            return None
        lower, _ = self.passes.total(slabs.Gram(self.cast, rough=True), of=self.passes.number + 3)
        values, vectors = leading_of(mirrored(lower))
        k = self.goal.rank(np.maximum(values[: self.most], 0.0), self.square)
        if k is None or values[min(k, self.most - 1)] < _ROUGH * values[0]:
            return None
        return _rows(vectors(min(k + 1, self.most)))

    def _by_gram(self, least: int = 0) -> Floats:
        """Rows that span the leading left singular vectors, one more than are wanted."""
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
        if self.wish.choose is not None:
            chosen = self.wish.choose(np.ldexp(s[: self.most], self.cast.exponent))
            self.goal = replace(self.goal, chosen=min(chosen, self.most))
        k = self.goal.rank(np.maximum(values[: self.most], 0.0), self.square)
        if k is None or self.goal.chosen is None:
            k = max(self.most if k is None else k, least)
        count = min(k + 1, self.most)
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

    # -- by a Krylov space -----------------------------------------------------------------

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

    # -- Rayleigh and Ritz -----------------------------------------------------------------

    def _polished(self, W: Floats) -> tuple[Floats, Floats, float]:
        """Triplets in the span of rows, which residuals extend until they are small.

        Last, 0; or the largest residual against its value, where some are not small yet.
        """
        count = len(W)
        for _ in range(_POLISHING):
            Z, R = self.passes.total(slabs.Image(self.cast, W))
            inner, s, _ = np.linalg.svd(R.T)
            left = W.T @ inner[:, :count]
            s = s[:count]
            divisor = np.where(s > ZERO * s[0], s, math.inf)
            residual = (Z @ inner[:, :count]) / divisor - left * s
            residual -= W.T @ (W @ residual)
            sizes = np.where(s > ZERO * s[0], np.linalg.norm(residual, axis=0), 0.0)
            last = float(s[s > ZERO * s[0]][-1])
            beside = max(self.square - float(s @ s), 0.0) + last**2
            allowed = min(_RESIDUAL * last, _TOGETHER * math.sqrt(beside / count))
            noise = _ROUNDING * s[0] * (s[0] / divisor)
            large = sizes > allowed + noise
            if not large.any():
                break
            extra = residual[:, large] / sizes[large]
            W = np.linalg.qr(np.hstack([left, extra]))[0].T
        within = float((sizes / divisor).max()) if large.any() else 0.0
        return left, s, within

    def _tail(self, left: Floats, s: Floats) -> float:
        difference = self.square - float(s @ s)
        if difference > _CANCELLED * self.square:
            return math.sqrt(difference)
        (square,) = self.passes.total(slabs.Residual(self.cast.without(left)))
        return math.sqrt(float(square[0]))

    def _proved(self, left: Floats, s: Floats, sigma_next: float, norm: float) -> bool:
        """Whether sigma_next (1 + 1e-6) is above ||A - A_k||_2, by a Cholesky factorisation."""
        if self.size > LARGEST_GRAM or 2 * 8 * self.size**2 > self.passes.memory:
            return False
        if len(s) and sigma_next < _GRAM_FLOOR * s[0]:
            rest = self.cast.without(left)
            return norm_below(mirrored(self.passes.total(slabs.Gram(rest))[0]), sigma_next, norm)
        if self.gram is None:
            self.gram = mirrored(self.passes.total(slabs.Gram(self.cast))[0])
        gram, self.gram = self.gram, None
        scaled = left * s
        for start in range(0, self.size, 512):
            rows = slice(start, start + 512)
            gram[rows] -= (2.0 * scaled[rows]) @ scaled.T
        return norm_below(gram, sigma_next, norm)


def _rows(vectors: Floats) -> Floats:
    return np.ascontiguousarray(vectors.T)


def _signs(left: Floats) -> Floats:
    """Signs that make the first entry of largest magnitude of every column positive."""
    peaks = left[np.abs(left).argmax(axis=0), np.arange(left.shape[1])]
    return np.where(peaks < 0.0, -1.0, 1.0)
