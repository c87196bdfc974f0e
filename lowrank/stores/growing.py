"""Which terms meet a target, found in decompositions that grow until they reach it.

The leading singular values and ||A||_F tell how much lies behind them. So most targets
are met by the decomposition that is needed anyway, or one a little longer; the whole
spectrum, which takes as long as ten of them, is left for what lies beyond a Krylov space.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank import linalg, threads
from lowrank.linalg import TruncatedSVD
from lowrank.linalg.triplets import SHARE
from lowrank.targets import spectrum

Matrices = list[NDArray[Any]]
Found = tuple[tuple[int, ...], tuple[TruncatedSVD, ...]]

FIRST = 32
"""Of the short side: rank of the first decomposition."""
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
        return spectrum.terms_for_tail(spectra, math.sqrt(allowed * allowed - lost * lost))

    def longer(exact: list[TruncatedSVD]) -> int:
        return reaching(exact, allowed)

    return _search(A, terms, min(A[0].shape) // FIRST, longer, certify=certify)


def of_count(A: Matrices, count: int, *, certify: bool) -> Found:
    """The `count` leading terms of all matrices together; as `of_tail`."""

    def terms(spectra: list[NDArray[np.float64]], lost: float) -> int | None:
        known = sum(map(len, spectra))
        return None if known < count and lost > 0.0 else min(count, known)

    first = math.ceil(1.3 * count / len(A))
    return _search(A, terms, first, lambda exact: 2 * len(exact[0].s), certify=certify)


def cut(A: Matrices, exact: Sequence[TruncatedSVD], count: int, *, certify: bool) -> Found:
    """The `count` leading terms of those that were found; as `of_tail`."""
    ranks = spectrum.ranks_of_leading([x.s for x in exact], count)
    found = [x.truncate(max(r, 1)) for x, r in zip(exact, ranks, strict=True)]
    if certify:
        found = threads.each(proved, zip(A, found, strict=True))
    return ranks, tuple(found)


def of_spectra(
    A: Matrices,
    choose: Callable[[list[NDArray[np.float64]]], tuple[int, ...]],
    *,
    certify: bool,
) -> Found:
    """Decompositions of the ranks that `choose` names, given all singular values; as `of_tail`."""
    spectra = threads.each(linalg.Spectrum, A)
    ranks = choose([x.s for x in spectra])

    def truncate(job: tuple[linalg.Spectrum, int]) -> TruncatedSVD:
        return job[0].truncate(max(job[1], 1), certify=certify)

    jobs = zip(spectra, ranks, strict=True)
    if spectra[0].large:  # one after another, for the memory that each takes and gives back
        return ranks, tuple(map(truncate, jobs))
    return ranks, tuple(threads.each(truncate, jobs))


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
    limit = min(A[0].shape) // SHARE - 1
    while k <= limit:
        exact = threads.each(partial(linalg.truncated_svd, k=k), A)
        spectra = [x.s for x in exact]
        kept = terms(spectra, math.hypot(*(x.tail for x in exact)))
        if kept is not None and _known(exact, kept):
            return cut(A, exact, kept, certify=certify)
        tried, guess = k, longer(exact) if kept is None else 0
        k = next_rank(k, guess)
        if guess <= limit < k and tried < limit:
            k = limit
        del exact, spectra  # before the next ones, which are larger
    return of_spectra(
        A, lambda s: spectrum.ranks_of_leading(s, terms(s, 0.0) or 0), certify=certify
    )


def _known(exact: list[TruncatedSVD], terms: int) -> bool:
    """Whether no unknown singular value is above the least of so many leading ones."""
    s = np.sort(np.concatenate([x.s for x in exact]))
    return terms == 0 or float(s[-terms]) >= max(x.sigma_next for x in exact)


def next_rank(k: int, guess: int) -> int:
    """The rank to try after k, where so many terms are guessed to do."""
    return max(k + k // 6 + 1, min(math.ceil(_MARGIN * guess), _GROWTH * k))


def reaching(exact: list[TruncatedSVD], allowed: float) -> int:
    """Guess the rank at which the tail is down to `allowed`.

    The logarithm of a photograph's tail falls about as the square root of the rank: over
    24 photographs, half as far again to three times as far, nine of ten guesses were
    within a fifth.
    """
    k = len(exact[0].s)
    nearer = 3 * k // 4
    lost = math.hypot(*(x.tail for x in exact))
    before = math.hypot(lost, *(float(np.linalg.norm(x.s[nearer:])) for x in exact))
    if allowed <= 0.0 or before <= lost:
        return _GROWTH * k
    slope = math.log(before / lost) / (math.sqrt(k) - math.sqrt(nearer))
    return math.ceil((math.sqrt(k) + (math.log(lost) - math.log(allowed)) / slope) ** 2)


def proved(job: tuple[NDArray[Any], TruncatedSVD]) -> TruncatedSVD:
    """Prove a decomposition of a matrix; one that cannot be is made anew, with its proof."""
    A, x = job
    if linalg.certify(A, x.U, x.s, x.sigma_next):
        return replace(x, certified=True)
    return linalg.truncated_svd(A, len(x.s), certify=True) if len(x.s) else x
