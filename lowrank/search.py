"""Which terms meet a target, found in decompositions that grow until they reach it.

The leading singular values and ||A||_F tell how much lies behind them. So most targets
are met by the decomposition that is needed anyway, or one a little longer; the whole
spectrum, which takes as long as ten of them, is left for what lies beyond a Krylov space.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank import linalg, rank, threads
from lowrank.linalg import TruncatedSVD
from lowrank.triplets import SHARE

Matrices = list[NDArray[Any]]
Found = tuple[tuple[int, ...], tuple[TruncatedSVD, ...]]

_FIRST = 32  # of the short side: rank of the first decomposition
_MARGIN = 1.2  # of a guessed rank: a little too long costs less than a second time
_GROWTH = 3  # at most, from one to the next: a guess from afar is a poor one


def of_tail(A: Matrices, allowed: float, *, certify: bool) -> Found:
    """Fewest terms of all matrices together that lose at most `allowed`.

    Parameters
    ----------
    A : list of (m, n) ndarray
        Matrices of one shape.
    allowed : float
        Frobenius norm of what may be lost, in levels.
    certify : bool
        Prove the decompositions.

    Returns
    -------
    ranks : tuple of int
        Of each matrix; may be 0.
    exact : tuple of TruncatedSVD
        Decompositions of these ranks, of rank 1 where that is 0.
    """

    def terms(spectra: list[NDArray[np.float64]], lost: float) -> int | None:
        if lost > allowed:
            return None
        return rank.terms_for_tail(spectra, math.sqrt(allowed * allowed - lost * lost))

    def longer(exact: list[TruncatedSVD]) -> int:
        return _reaching(exact, allowed)

    return _search(A, terms, min(A[0].shape) // _FIRST, longer, certify=certify)


def of_count(A: Matrices, count: int, *, certify: bool) -> Found:
    """The `count` leading terms of all matrices together; as `of_tail`."""

    def terms(spectra: list[NDArray[np.float64]], lost: float) -> int | None:
        known = sum(map(len, spectra))
        return None if known < count and lost > 0.0 else min(count, known)

    first = math.ceil(1.3 * count / len(A))
    return _search(A, terms, first, lambda exact: 2 * len(exact[0].s), certify=certify)


def of_ranks(A: Matrices, ranks: tuple[int, ...], *, certify: bool) -> Found:
    """Decompositions of given ranks; as `of_tail`."""

    def factorise(job: tuple[NDArray[Any], int]) -> TruncatedSVD:
        return linalg.truncated_svd(job[0], max(job[1], 1), certify=certify)

    return ranks, tuple(threads.each(factorise, zip(A, ranks, strict=True)))


def _search(
    A: Matrices,
    terms: Callable[[list[NDArray[np.float64]], float], int | None],
    k: int,
    longer: Callable[[list[TruncatedSVD]], int],
    *,
    certify: bool,
) -> Found:
    """Grow the rank from `k` to what `longer` guesses, until `terms` knows how many to keep."""
    k = max(k, 1)
    while SHARE * (k + 1) <= min(A[0].shape):
        exact = threads.each(partial(linalg.truncated_svd, k=k), A)
        spectra = [x.s for x in exact]
        kept = terms(spectra, math.hypot(*(x.tail for x in exact)))
        if kept is not None and _known(exact, kept):
            ranks = rank.ranks_of_leading(spectra, kept)
            cut = [x.truncate(max(r, 1)) for x, r in zip(exact, ranks, strict=True)]
            if certify:
                cut = threads.each(_proved, zip(A, cut, strict=True))
            return ranks, tuple(cut)
        k = max(k + k // 2 + 1, min(longer(exact), _GROWTH * k) if kept is None else 0)
    spectra = threads.each(linalg.spectrum, A)
    kept = terms(spectra, 0.0) or 0
    return of_ranks(A, rank.ranks_of_leading(spectra, kept), certify=certify)


def _known(exact: list[TruncatedSVD], terms: int) -> bool:
    """Whether no unknown singular value is above the least of so many leading ones."""
    s = np.sort(np.concatenate([x.s for x in exact]))
    return terms == 0 or float(s[-terms]) >= max(x.sigma_next for x in exact)


def _reaching(exact: list[TruncatedSVD], allowed: float) -> int:
    """Guess the rank at which the tail is down to `allowed`.

    Photographs fall off faster than by a power of the rank and slower than exponentially:
    the geometric mean of the two guesses.
    """
    k = len(exact[0].s)
    half = k // 2
    lost = math.hypot(*(x.tail for x in exact))
    before = math.hypot(lost, *(float(np.linalg.norm(x.s[half:])) for x in exact))
    decay = math.log(before / lost)
    if allowed <= 0.0 or half < 1 or decay <= 0.0:
        return 4 * k
    steps = math.log(lost / allowed) / decay
    power = k * math.exp(min(steps * math.log(k / half), 20.0))
    return math.ceil(_MARGIN * math.sqrt(power * (k + steps * (k - half))))


def _proved(job: tuple[NDArray[Any], TruncatedSVD]) -> TruncatedSVD:
    A, x = job
    if linalg.certify(A, x.U, x.s, x.sigma_next):
        return replace(x, certified=True)
    return linalg.truncated_svd(A, len(x.s), certify=True)
