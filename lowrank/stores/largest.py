"""The smallest ranks at which no sample is further off than is asked for.

The largest error does not fall at every term, so no bisection finds where it first is small
enough. Every rank is looked at, from none on, but few are summed up: the samples that were
worst before are witnesses, and a rank at which one of them is still too far off has failed.
Only where all witnesses hold is the whole matrix made, as the decoder makes it; then either
it holds, or there are new witnesses. Each matrix gets the smallest rank of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank import layouts, linalg, threads
from lowrank.errors import UsageError
from lowrank.linalg import TruncatedSVD
from lowrank.linalg.triplets import SHARE
from lowrank.names import AUTO, FLOAT_STORES
from lowrank.picture import Mode, Picture, Turn
from lowrank.picture.distance import compare
from lowrank.stores import rows_at_once, sums
from lowrank.stores.growing import FIRST, Found, next_rank, proved, reaching
from lowrank.targets import spectrum

Narrowest = Callable[[tuple[TruncatedSVD, ...]], str]

_WITNESSES = 512  # that each matrix adds
_TERMS = 64  # summed up at a time for the witnesses
_WIDER = 1.01  # a store that needs ranks larger by more is too narrow
_NEAR = 0.98  # of a number of terms: down to it, each is tried


@dataclass(eq=False)
class _Matrix:
    """One matrix, and the samples of it that were worst.

    Attributes
    ----------
    A : (m, n) ndarray
    mode : Mode
    allowed : float
    known : (m, n) ndarray of bool, or None
        The samples that count.
    rows, columns : (W,) ndarray of int
        The witnesses.
    """

    A: NDArray[Any]
    mode: Mode
    allowed: float
    known: NDArray[np.bool_] | None
    rows: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))
    columns: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))

    def first(self, x: TruncatedSVD, store: str, start: int, most: int) -> int | None:
        """The smallest rank from `start` to `most` that holds in a store; None if none does."""
        US = x.U.astype(store).astype(np.float64) * x.s
        Vt = x.Vt.astype(store).astype(np.float64)
        B = np.zeros(self.A.shape)
        summed, k = 0, start
        while True:
            found = self._candidate(US, Vt, k, most)
            if found is None:
                return None
            k = found
            B += US[:, summed:k] @ Vt[summed:k]
            summed = k
            if self._holds(B.copy()) and self._decodes(US[:, :k], Vt[:k]):
                return k
            k += 1

    def left(self, x: TruncatedSVD, store: str) -> float:
        """The largest error of all terms of a decomposition, in a store."""
        US, Vt = (y.astype(store).astype(np.float64) for y in (x.U, x.Vt))
        return float(self._errors(_product(US * x.s, Vt)).max())

    def _errors(self, B: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far samples of B are off where they count. B is overwritten."""
        error: NDArray[np.float64] = np.abs(self._samples(B) - self.A)
        if self.known is not None:
            error *= self.known
        return error

    def _decodes(self, US: NDArray[np.float64], Vt: NDArray[np.float64]) -> bool:
        """Whether factors hold in the very sums of either decoder."""
        if not self._holds(_product(US, Vt)):
            return False
        return self._holds(sums.samples(US, Vt, self.mode).astype(np.float64))

    def _candidate(
        self, US: NDArray[np.float64], Vt: NDArray[np.float64], start: int, most: int
    ) -> int | None:
        """The smallest rank from `start` to `most` at which all witnesses hold."""
        if start > most:
            return None
        rows, columns = self.rows, self.columns
        exact = self.A[rows, columns].astype(np.float64)
        sums = np.einsum("wk,kw->w", US[rows, :start], Vt[:start, columns])
        for at in range(start, most + 1, _TERMS):
            end = min(at + _TERMS, most)
            terms = US[rows, at:end] * Vt[at:end, columns].T
            path = np.cumsum(np.column_stack((sums, terms)), axis=1)
            sums = path[:, -1].copy()
            errors = np.abs(exact[:, np.newaxis] - self._samples(path))
            holds = np.asarray(np.all(errors <= self.allowed, axis=0))
            # The last column is the next block's first, unless there is none.
            count = end - at + (end == most)
            good = np.flatnonzero(holds[:count])
            if good.size:
                return at + int(good[0])
        return None

    def _samples(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the decoder makes of values, in place where it can be."""
        return self.mode.rounded(values).astype(self.mode.dtype).astype(np.float64)

    def _holds(self, B: NDArray[np.float64]) -> bool:
        """Whether all samples hold; if not, the worst become witnesses. B is overwritten."""
        error = self._errors(B)
        if error.max() <= self.allowed:
            return True
        flat = error.reshape(-1)
        count = min(_WITNESSES, flat.size)
        worst = np.argpartition(flat, flat.size - count)[flat.size - count :]
        if self.known is not None:
            worst = worst[self.known.reshape(-1)[worst]]
        rows, columns = np.unravel_index(worst, error.shape)
        self.rows = np.concatenate((self.rows, rows))
        self.columns = np.concatenate((self.columns, columns))
        return False


def of_picture(
    picture: Picture,
    A: list[NDArray[Any]],
    allowed: float,
    layout: str,
    store: str,
    *,
    turned: Turn | None,
    narrowest: Narrowest,
    certify: bool,
) -> tuple[Found, str]:
    """Smallest ranks whose largest error is at most `allowed`, and the store that they hold in.

    In layouts `channels` and `stack` no smaller rank of any matrix holds. In layout `patches`,
    where every sample depends on several matrices, the number of leading terms of all together
    is found by bisection: it holds, and so does no number up to 2% below it.

    Parameters
    ----------
    picture : Picture
    A : list of (m, n) ndarray
        Its matrices.
    allowed : float
        In units of the samples; measured on what is decoded, rounded and clipped.
    layout : {"channels", "patches", "stack"}
    store : {"auto", "float16", "float32", "float64"}
        `auto` is the narrowest whose ranks are at most 1% above those of exact factors, and
        that `narrowest` finds wide enough.
    turned : Turn or None
    narrowest : callable
        The narrowest store of decompositions.
    certify : bool
        Prove the decompositions.

    Returns
    -------
    (ranks, exact) : as of `growing.of_tail`
    store : str

    Raises
    ------
    UsageError
        Not even the full rank holds it.
    """
    wanted = "float64" if store == AUTO else store
    search: _Patches | _Separate
    if layout == "patches":
        exact = tuple(threads.each(partial(linalg.truncated_svd, k=min(A[0].shape)), A))
        search = _Patches(picture, exact, turned, allowed)
        ranks = search.first(wanted, tuple(len(x.s) for x in exact))
    else:
        search, ranks = _separate(_matrices(picture, A, allowed, layout), wanted)
        exact = search.exact
    if ranks is None:
        raise UsageError(
            f"max_error {allowed:g} is out of reach of {wanted} factors: with all terms "
            f"{search.left(wanted):.3g} is left"
            + ("" if wanted == "float64" else "; give store float64")
        )
    if store == AUTO:
        cut = tuple(x.truncate(max(k, 1)) for x, k in zip(exact, ranks, strict=True))
        most = tuple(
            min(math.floor(k * _WIDER), len(x.s)) for x, k in zip(exact, ranks, strict=True)
        )
        store = FLOAT_STORES[-1]
        for narrower in FLOAT_STORES[FLOAT_STORES.index(narrowest(cut)) : -1]:
            again = search.first(narrower, most)
            if again is not None:
                store, ranks = narrower, again
                break
    kept = [x.truncate(max(k, 1)) for x, k in zip(exact, ranks, strict=True)]
    if certify:
        kept = threads.each(proved, zip(A, kept, strict=True))
    return (ranks, tuple(kept)), store


def _matrices(
    picture: Picture, A: list[NDArray[Any]], allowed: float, layout: str
) -> list[_Matrix]:
    """The matrices, and which of their entries count."""
    masks: list[NDArray[np.bool_]] | list[None] = [None] * len(A)
    if picture.metadata.nodata is not None:
        from lowrank.picture import gaps

        empty = gaps.of(picture)
        if empty is not None:
            known = np.broadcast_to(~empty[..., np.newaxis], picture.samples.shape)
            masks = layouts.of_samples(known, layout, None)
    return [_Matrix(a, picture.mode, allowed, mask) for a, mask in zip(A, masks, strict=True)]


@dataclass(frozen=True, eq=False)
class _Separate:
    """Matrices of which each has a rank of its own, and their decompositions."""

    matrices: list[_Matrix]
    exact: tuple[TruncatedSVD, ...]
    small: bool

    def first(self, store: str, most: tuple[int, ...]) -> tuple[int, ...] | None:
        """The smallest ranks that hold, each up to its `most`; None if a matrix has none."""
        jobs = zip(self.matrices, self.exact, most, strict=True)
        return _all(
            threads.each(lambda j: j[0].first(j[1], store, 0, j[2]), jobs, small=self.small)
        )

    def left(self, store: str) -> float:
        """The largest error of all terms, of the matrices that were decomposed to the end."""
        pairs = zip(self.matrices, self.exact, strict=True)
        return max(a.left(x, store) for a, x in pairs if len(x.s) == min(a.A.shape))


def _separate(matrices: list[_Matrix], store: str) -> tuple[_Separate, tuple[int, ...] | None]:
    """Decompositions as long as the ranks that hold, and these; None where a matrix has none."""
    small = sum(matrix.A.size for matrix in matrices) < threads.SMALL
    grown = threads.each(partial(_grown, store=store), matrices, small=small)
    return _Separate(matrices, tuple(x for _, x in grown), small), _all([k for k, _ in grown])


def _all(ranks: list[int | None]) -> tuple[int, ...] | None:
    """Ranks, if every matrix has one."""
    found = tuple(k for k in ranks if k is not None)
    return found if len(found) == len(ranks) else None


@dataclass(frozen=True, eq=False)
class _Patches:
    """The leading terms of a picture in layout `patches`."""

    picture: Picture
    exact: tuple[TruncatedSVD, ...]
    turned: Turn | None
    allowed: float

    def first(self, store: str, most: tuple[int, ...]) -> tuple[int, ...] | None:
        """Ranks of the fewest leading terms that hold, as `of_picture` says; None if none do.

        No more terms are tried than `most` has together.
        """
        low, high = -1, sum(most)
        if not self._holds(high, store):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            if self._holds(middle, store):
                high = middle
            else:
                low = middle
        for fewer in range(math.ceil(high * _NEAR), low):
            if self._holds(fewer, store):
                return self._ranks(fewer)
        return self._ranks(high)

    def left(self, store: str) -> float:
        """The largest error of all terms, in a store."""
        return self._error(sum(len(x.s) for x in self.exact), store)

    def _ranks(self, terms: int) -> tuple[int, ...]:
        return spectrum.ranks_of_leading([x.s for x in self.exact], terms)

    def _holds(self, terms: int, store: str) -> bool:
        return self._error(terms, store) <= self.allowed

    def _error(self, terms: int, store: str) -> float:
        """The largest error of so many leading terms."""
        picture, B = self.picture, []
        for x, k in zip(self.exact, self._ranks(terms), strict=True):
            U, Vt = (y.astype(store).astype(np.float64) for y in (x.U[:, :k], x.Vt[:k]))
            B.append((U * x.s[:k]) @ Vt)
        values = layouts.samples_of_patches(B, picture.height, picture.width, self.turned)
        samples = picture.mode.rounded(values).astype(picture.mode.dtype)
        return compare(picture, Picture(samples, picture.mode)).max_abs_error


def _grown(matrix: _Matrix, *, store: str) -> tuple[int | None, TruncatedSVD]:
    """Decompositions that grow until a rank holds; its rank, or None at full rank."""
    short = min(matrix.A.shape)
    k, start = max(short // FIRST, 1), 0
    while True:
        k = short if k * SHARE > short * 3 else min(k, short)
        x = linalg.truncated_svd(matrix.A, k)
        found = matrix.first(x, store, start, k)
        if found is not None or k == short:
            return found, x
        start = k + 1
        # How far off the worst sample is, against the root of the mean square: it stays so.
        B = _product(x.U * x.s, x.Vt)
        worst = float(np.abs(B - matrix.A).max()) or 1.0
        k = next_rank(k, reaching([x], x.tail * matrix.allowed / worst))


def _product(US: NDArray[np.float64], Vt: NDArray[np.float64]) -> NDArray[np.float64]:
    """The product as the decoder makes it, in slabs of as many rows."""
    B = np.empty((len(US), Vt.shape[1]))
    rows = rows_at_once(Vt.shape[1])
    for top in range(0, len(US), rows):
        B[top : top + rows] = US[top : top + rows] @ Vt
    return B
