"""Leading singular triplets of a matrix that is larger than memory, in few passes over it.

Rows that span the left vectors come first (`spans`). A step by Rayleigh and Ritz, in float64,
takes one pass: singular values are those of Y = W A, by its QR factorisation, so that nothing is
squared, and residuals are measured, not believed. Right singular vectors take a pass of their
own, in which they can be written as they come.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from lowrank.errors import LimitError, UsageError
from lowrank.linalg import slabs, spans
from lowrank.linalg.certificate import GRAM_FLOOR, ZERO, norm_below
from lowrank.linalg.matrix import Floats, mirrored, scale_of
from lowrank.linalg.passes import Passes
from lowrank.linalg.slabs import Cast
from lowrank.linalg.space import ROUGH, Goal
from lowrank.linalg.svd import CANCELLED
from lowrank.linalg.triplets import POLISHING, RESIDUAL, ROUNDING, TOGETHER


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

    def truncated(self, k: int) -> Leading:
        """The same with so many of its terms at most; what was proved is not proved of fewer."""
        if k >= len(self.s):
            return self
        tail = math.hypot(self.tail, float(np.linalg.norm(self.s[k:])))
        return replace(
            self, left=self.left[:, :k], s=self.s[:k], sigma_next=float(self.s[k]), tail=tail,
            certified=False, beyond=self.left[:, k],
        )  # fmt: skip

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
    if wish.choose is not None and passes.size > spans.LARGEST_GRAM:
        raise UsageError(
            f"rank auto needs all singular values, and {passes.size:,} are more than the "
            f"{spans.LARGEST_GRAM:,} of a matrix in passes; give -k, --energy or --error"
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
        self.passes, self.wish, self.cast = passes, wish, cast
        self.size = passes.size
        self.most = min(passes.size, passes.length)
        chosen = None if wish.rank is None else min(wish.rank, self.most)
        goal = Goal(chosen, wish.share or 0.0, self.most)
        self.spans = spans.Spans(passes, cast, goal, wish.choose, start)

    @property
    def goal(self) -> Goal:
        return self.spans.goal

    @property
    def square(self) -> float:
        """||A||_F^2."""
        return self.spans.square

    def found(self, *, certify: bool) -> Leading:
        """Triplets of what is wished for."""
        W = self.spans.first()
        if self.square == 0.0:
            return self._of_nothing(certify=certify)
        while True:
            left, s, within = self._polished(W)
            chosen = self.goal.chosen is not None
            rest = math.nan if chosen else self._rest(left, s)
            k, enough = self._rank(s, rest)
            rough = self.size > spans.LARGEST_GRAM and within <= ROUGH
            if within and not rough:
                if self.spans.gram is not None or self.size > spans.LARGEST_GRAM:
                    raise LimitError(
                        f"the {k:,} leading terms do not settle in {POLISHING} passes; "
                        "give fewer, or take what fits into memory"
                    )
                enough, k = False, len(s) - 1
            if enough:
                break
            W = self.spans.by_gram(least=k + 1 if within else 2 * k)
        s[s <= ZERO * s[0]] = 0.0
        sigma_next = float(s[k]) if k < min(self.most, len(s)) else 0.0
        norm = math.sqrt(self.square)
        if sigma_next == 0.0:
            rest = 0.0
        elif chosen:
            rest = self._rest(left[:, :k], s[:k])
        else:
            rest += float(s[k:] @ s[k:])
        certified = certify and self._proved(left[:, :k], s[:k], sigma_next, norm)
        unit = self.cast.exponent
        signs = _signs(left[:, :k])
        return Leading(
            left[:, :k] * signs, np.ldexp(s[:k], unit), math.ldexp(sigma_next, unit),
            math.ldexp(math.sqrt(rest), unit), math.ldexp(norm, unit), certified, within,
            left[:, k].copy() if left.shape[1] > k else None, self.passes, self.cast,
        )  # fmt: skip

    def _of_nothing(self, *, certify: bool) -> Leading:
        k = 0 if self.wish.share is not None else min(self.wish.rank or 1, self.most)
        return Leading(
            np.eye(self.size, k), np.zeros(k), 0.0, 0.0, 0.0, certify, 0.0, None,
            self.passes, self.cast,
        )  # fmt: skip

    def _rank(self, s: Floats, rest: float) -> tuple[int, bool]:
        """How many terms to keep, by the leading triplets; and whether these are enough."""
        k = self.goal.rank(s * s, self.square, rest)
        if k is None:
            return len(s), False
        return k, self.goal.chosen is not None or k < len(s) or len(s) == self.most

    def _polished(self, W: Floats) -> tuple[Floats, Floats, float]:
        """Triplets in the span of rows, which residuals extend until they are small.

        Last, 0; or the largest residual against its value, where some are not small yet.
        """
        count = len(W)
        for _ in range(POLISHING):
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
            allowed = min(RESIDUAL * last, TOGETHER * math.sqrt(beside / count))
            noise = ROUNDING * s[0] * (s[0] / divisor)
            large = sizes > allowed + noise
            if not large.any():
                break
            extra = residual[:, large] / sizes[large]
            W = np.linalg.qr(np.hstack([left, extra]))[0].T
        within = float((sizes / divisor).max()) if large.any() else 0.0
        return left, s, within

    def _rest(self, left: Floats, s: Floats) -> float:
        """The sum of squares of what is left of the matrix without these triplets."""
        if len(s) == self.most:
            return 0.0
        difference = self.square - float(s @ s)
        if difference > CANCELLED * self.square:
            return difference
        (square,) = self.passes.total(slabs.Residual(self.cast.without(left)))
        return float(square[0])

    def _proved(self, left: Floats, s: Floats, sigma_next: float, norm: float) -> bool:
        """Whether sigma_next (1 + 1e-6) is above ||A - A_k||_2, by a Cholesky factorisation."""
        if self.size > spans.LARGEST_GRAM or 2 * 8 * self.size**2 > self.passes.memory:
            return False
        if len(s) and sigma_next < GRAM_FLOOR * s[0]:
            rest = self.cast.without(left)
            return norm_below(mirrored(self.passes.total(slabs.Gram(rest))[0]), sigma_next, norm)
        gram, self.spans.gram = self.spans.gram, None
        if gram is None:
            gram = mirrored(self.passes.total(slabs.Gram(self.cast))[0])
        scaled = left * s
        for start in range(0, self.size, 512):
            rows = slice(start, start + 512)
            gram[rows] -= (2.0 * scaled[rows]) @ scaled.T
        return norm_below(gram, sigma_next, norm)


def _signs(left: Floats) -> Floats:
    """Signs that make the first entry of largest magnitude of every column positive."""
    peaks = left[np.abs(left).argmax(axis=0), np.arange(left.shape[1])]
    return np.where(peaks < 0.0, -1.0, 1.0)
