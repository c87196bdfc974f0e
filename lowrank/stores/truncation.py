"""Pictures to the factors of a float store: truncated SVDs of the ranks that a target asks for.

Compression is: picture -> matrices (the layout) -> truncated SVD of each -> factors in the
store's float type.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lowrank import format as lrk
from lowrank import layouts, linalg, threads
from lowrank.format.parts import Factors, Floats, Head, Parts
from lowrank.layouts import turn
from lowrank.linalg import TruncatedSVD
from lowrank.names import AUTO, AUTO_WIDTH
from lowrank.picture import Picture, Turn
from lowrank.stores import Encoded, at_most, rounding
from lowrank.targets import Target

AUTO_EXCESS = 1e-3
"""Store `auto`: rounding may add this share to the Frobenius error ..."""
AUTO_FLOOR = 1e-6
"""... or this share of full scale per sample (root mean square), if that is more."""


def encode(
    picture: Picture, target: Target, *, layout: str, store: str, certify: bool = False
) -> Encoded:
    """Compress a picture.

    Parameters
    ----------
    picture : Picture
    target : Target
        Which terms to keep.
    layout : {"channels", "patches", "stack"}
    store : {"auto", "float16", "float32", "float64"}
        `auto` is the narrowest whose rounding adds less than `AUTO_EXCESS` to the
        Frobenius error.
    certify : bool
        Prove each decomposition.

    Raises
    ------
    UsageError
        The target cannot be met.
    ImageError
        The samples hold NaN or infinity.
    """
    turned = turn.of(picture, layout)
    A = layouts.of_samples(picture.samples, layout, turned)
    m, n = A[0].shape[0], A[0].shape[1]
    notes: list[str] = []
    if target.kind == "max_error":
        from lowrank.stores import largest

        (ranks, exact), store = largest.of_picture(
            picture, A, target.value, layout, store,
            turned=turned, narrowest=partial(_narrowest_store, picture), certify=certify,
        )  # fmt: skip
        return Encoded(
            with_ranks(picture, exact, layout, store, turned=turned, ranks=ranks), (), exact
        )
    if target.kind in ("energy", "error"):
        (ranks, exact), store = _within(picture, A, target, store, certify=certify)
    elif target.kind == "size":
        (ranks, exact), store = _of_size(
            picture, A, target, layout, store, turned=turned is not None, certify=certify
        )
        if sum(ranks) == min(m, n) * len(A):
            notes.append(f"every term fits: kept all {sum(ranks)}")
    else:
        ranks, exact = _search(picture, A, target, certify=certify)
    if target.kind == "rank" and target.value > min(m, n):
        notes.append(at_most(m, n))
    parts = with_ranks(picture, exact, layout, store, turned=turned, ranks=ranks)
    store = parts.head.store
    if store != "float64" and picture.mode.bits == 32 and _beyond_float32(picture):
        notes.append(
            f"{store} factors hold 24 bits at most: samples beyond 16,777,216 are rounded; "
            "store float64 holds them."
        )
    return Encoded(parts, tuple(notes), exact)


def with_ranks(
    picture: Picture,
    exact: tuple[TruncatedSVD, ...],
    layout: str,
    store: str,
    *,
    turned: Turn | None = None,
    ranks: tuple[int, ...] | None = None,
) -> Parts:
    """Return the parts of a float file from exact decompositions, cut to `ranks` if given."""
    if store == AUTO:
        store = _narrowest_store(picture, exact)
    ranks = ranks or tuple(len(x.s) for x in exact)
    factors = tuple(_stored(x, k, store) for x, k in zip(exact, ranks, strict=True))
    return Parts(Head.of(picture, layout, store), Floats(factors, turned))


def _search(
    picture: Picture, A: list[NDArray[np.generic]], target: Target, *, certify: bool
) -> tuple[tuple[int, ...], tuple[TruncatedSVD, ...]]:
    """Ranks and decompositions of the matrices."""
    m, n = A[0].shape[0], A[0].shape[1]
    limit = min(m, n)
    if target.kind == "rank":
        ranks = (min(int(target.value), limit),) * len(A)
        return ranks, _of_ranks(A, ranks, certify=certify)
    # Other targets may take more than one decomposition.
    from lowrank.stores import growing
    from lowrank.targets import spectrum

    if target.kind == "auto":

        def thresholded(spectra: list[NDArray[np.float64]]) -> tuple[int, ...]:
            least = linalg.rounding(limit)
            return tuple(spectrum.gavish_donoho_rank(s, m, n, rounding=least) for s in spectra)

        return growing.of_spectra(A, thresholded, certify=certify)
    allowed = spectrum.tail_for_psnr(target.value, picture.peak, picture.samples.size)
    return growing.of_tail(A, allowed, certify=certify)


def _of_size(
    picture: Picture, A: list[NDArray[np.generic]], target: Target, layout: str, store: str,
    *, turned: bool, certify: bool,
) -> tuple[tuple[tuple[int, ...], tuple[TruncatedSVD, ...]], str]:  # fmt: skip
    """The most terms that fit; the store, which for `auto` is that with the smallest error.

    Raises
    ------
    UsageError
        Not even one term fits.
    """
    from lowrank.stores import growing
    from lowrank.targets import spectrum

    width = AUTO_WIDTH if store == AUTO else store
    head = Head.of(picture, layout, width)
    size = partial(lrk.float_file_size, head, turned=turned)
    terms = min(spectrum.terms_of_size(target, size), min(A[0].shape) * len(A))
    ranks, exact = growing.of_count(A, terms, certify=certify)
    kept = tuple(x.truncate(k) for x, k in zip(exact, ranks, strict=True))
    if store == AUTO and _narrowest_store(picture, kept) != AUTO_WIDTH:
        added = sum(rounding.of(x, AUTO_WIDTH).added(x.tail) for x in kept)
        width, fewer = rounding.nearest(
            [x.s for x in kept], [x.tail for x in kept], target, head, added,
            _floor(picture, kept),
            turned=turned,
        )  # fmt: skip
        if fewer < terms:
            ranks, exact = growing.cut(A, exact, fewer, certify=certify)
    return (ranks, exact), width


def _within(
    picture: Picture, A: list[NDArray[np.generic]], target: Target, store: str, *, certify: bool
) -> tuple[tuple[tuple[int, ...], tuple[TruncatedSVD, ...]], str]:
    """Fewest terms that keep an error or a share of the energy, once they are rounded; the store.

    Raises
    ------
    UsageError
        The store's rounding alone is more than may be lost.
    """
    from lowrank.stores import growing
    from lowrank.targets import spectrum

    norm = math.hypot(*threads.each(linalg.frobenius_norm, A))
    allowed = budget = spectrum.allowed_tail(target, norm, picture.peak, picture.samples.size)
    while True:
        found = ranks, exact = growing.of_tail(A, budget, certify=certify)
        width = _narrowest_store(picture, exact) if store == AUTO else store
        if allowed == 0.0:  # all terms are wanted, and are there
            return found, width
        kept = [x.truncate(k) for x, k in zip(exact, ranks, strict=True)]
        while True:
            error, rounded = rounding.most(kept, width)
            if error <= allowed * (1 + rounding.EXACT) or not rounded:
                return found, width
            if rounded < allowed:  # a little less may be left out: the rest is for rounding
                budget = math.sqrt(allowed**2 - rounded**2)
                break
            if store != AUTO:
                raise rounding.out_of_reach(target, store, rounded / norm)
            width = rounding.wider(width)


def _beyond_float32(picture: Picture) -> bool:
    """Whether there are integers that float32 does not hold."""
    if picture.mode.limits is None:
        return False
    return max(abs(int(picture.samples.min())), int(picture.samples.max())) > 1 << 24


def _of_ranks(
    A: list[NDArray[np.generic]], ranks: tuple[int, ...], *, certify: bool
) -> tuple[TruncatedSVD, ...]:
    """Decompositions of given ranks, of rank 1 where that is 0."""

    def factorise(job: tuple[NDArray[np.generic], int]) -> TruncatedSVD:
        return linalg.truncated_svd(job[0], max(job[1], 1), certify=certify)

    small = len(A) * A[0].size < threads.SMALL
    return tuple(threads.each(factorise, zip(A, ranks, strict=True), small=small))


def _stored(exact: TruncatedSVD, k: int, store: str) -> Factors:
    m, n = len(exact.U), exact.Vt.shape[1]
    dtype = np.dtype(store)
    s = exact.s
    return Factors(
        m, n, exact.norm, exact.sigma_next, exact.tail,
        s, exact.U.astype(dtype), exact.Vt.astype(dtype),
    ).truncate(k)  # fmt: skip


def _narrowest_store(picture: Picture, exact: tuple[TruncatedSVD, ...]) -> str:
    """Narrowest float type whose rounding does not show, over all matrices together."""
    tail = math.sqrt(sum(x.tail**2 for x in exact))
    allowed = max(tail * math.sqrt((1 + AUTO_EXCESS) ** 2 - 1), _floor(picture, exact))
    for store in ("float16", "float32"):
        if sum(rounding.of(x, store).added(x.tail) for x in exact) < allowed**2:
            return store
    return "float64"


def _floor(picture: Picture, exact: tuple[TruncatedSVD, ...]) -> float:
    """What rounding may add in any case.

    It is a share of full scale; of integers of no more than 16 bits of it, so that it is below a
    tenth of a level, and full ranks give integers of 32 bits back exactly, which factors in float32
    cannot. Of integers of 16 bits that differ by less than they are, it is one of what they are:
    that is no more than a tenth of a level, too, and what passes know of them.
    """
    scale = picture.peak if picture.mode.limits is None else min(picture.peak, 65535.0)
    if picture.mode.limits is not None and picture.mode.bits == 16:
        norm = math.hypot(*(x.norm for x in exact))
        scale = max(scale, norm / math.sqrt(picture.samples.size))
    return AUTO_FLOOR * scale * math.sqrt(picture.samples.size)
