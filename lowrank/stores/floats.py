"""The float stores: the leading terms as float16, float32 or float64.

Compression is: picture -> matrices (the layout) -> truncated SVD of each, with the
ranks that the target asks for -> factors in the store's float type. Decompression is
the product of the factors, rounded and clipped to samples.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lowrank import format as lrk
from lowrank import linalg, threads
from lowrank.errors import UsageError
from lowrank.format.parts import Factors, Floats, Head, Parts, matrix_shape
from lowrank.layouts import matrices, turn
from lowrank.limits import fits
from lowrank.linalg import TruncatedSVD
from lowrank.names import AUTO
from lowrank.picture.distance import full_scale
from lowrank.picture.value import Mode, Picture, Turn
from lowrank.stores import Decoded, Encoded, Factored, Stated, growing
from lowrank.targets import spectrum
from lowrank.targets.target import Target

AUTO_EXCESS = 1e-3
"""Store `auto`: rounding may add this share to the Frobenius error ..."""
AUTO_FLOOR = 1e-6
"""... or this share of full scale per sample (root mean square), if that is more."""
AUTO_WIDTH = "float16"
"""What `auto` counts with before anything is factorised: for a size it is the choice."""

_FLOAT32_MAX = float(np.finfo(np.float32).max)
_PATCHED = 24  # bytes that a sample of patches takes on its way, at least
_SLAB = 1 << 18  # samples reconstructed at a time: two megabytes of float64 stay in cache


# -- encoding --------------------------------------------------------------------------


def encode(
    picture: Picture, target: Target, *, layout: str, store: str, certify: bool = False
) -> Encoded:
    """Compress a picture.

    Parameters
    ----------
    picture : Picture
    target : Target
        Which terms to keep.
    layout : {"channels", "patches"}
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
    A = matrices.of_samples(picture.samples, layout, turned)
    m, n = matrix_shape(picture.width, picture.height, layout)
    (ranks, exact), notes = _search(
        picture, A, target, store, turned=turned is not None, certify=certify
    )
    if target.kind == "rank" and target.value > min(m, n):
        notes.append(f"the {m}x{n} matrices have rank {min(m, n)} at most: kept {min(m, n)}")
    if store == AUTO and target.kind == "size":
        store = AUTO_WIDTH
    parts = with_ranks(picture, exact, layout, store, turned=turned, ranks=ranks)
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
    head = Head(picture.width, picture.height, picture.mode, layout, store, picture.metadata)
    return Parts(head, Floats(factors, turned))


def _search(
    picture: Picture,
    A: list[NDArray[np.generic]],
    target: Target,
    store: str,
    *,
    turned: bool,
    certify: bool,
) -> tuple[growing.Found, list[str]]:
    """Ranks and decompositions of the matrices, and notes on how the target was met."""
    m, n = A[0].shape[0], A[0].shape[1]
    limit = min(m, n)
    if target.kind == "rank":
        ranks = (min(int(target.value), limit),) * len(A)
        return growing.of_ranks(A, ranks, certify=certify), []
    if target.kind == "auto":

        def thresholded(spectra: list[NDArray[np.float64]]) -> tuple[int, ...]:
            return tuple(spectrum.gavish_donoho_rank(s, m, n) for s in spectra)

        return growing.of_spectra(A, thresholded, certify=certify), []
    if target.kind == "size":
        width = AUTO_WIDTH if store == AUTO else store

        def size(terms: int) -> int:
            return lrk.float_file_size(
                (m, n), len(A), terms, width, picture.metadata, turned=turned
            )

        terms, total = spectrum.terms_that_fit(target, size(0), size(1)), limit * len(A)
        notes = [f"every term fits: kept all {total}"] if terms >= total else []
        return growing.of_count(A, min(terms, total), certify=certify), notes
    norm = math.hypot(*threads.each(linalg.frobenius_norm, A))
    allowed = spectrum.allowed_tail(target, norm, full_scale(picture), picture.samples.size)
    return growing.of_tail(A, allowed, certify=certify), []


def _stored(exact: TruncatedSVD, k: int, store: str) -> Factors:
    m, n = len(exact.U), exact.Vt.shape[1]
    dtype = np.dtype(store)
    s = exact.s
    return Factors(
        m, n, exact.norm, exact.sigma_next, exact.tail,
        s, exact.U.astype(dtype), exact.Vt.astype(dtype),
    ).truncate(k)  # fmt: skip


def _narrowest_store(picture: Picture, exact: tuple[TruncatedSVD, ...]) -> str:
    """Narrowest float type whose rounding does not show, over all matrices together.

    What rounding adds is orthogonal to the residual up to second order, so the
    squares of the two add up.
    """
    tail = math.sqrt(sum(x.tail**2 for x in exact))
    allowed = max(
        tail * math.sqrt((1 + AUTO_EXCESS) ** 2 - 1),
        AUTO_FLOOR * full_scale(picture) * math.sqrt(picture.samples.size),
    )
    for store in ("float16", "float32"):
        if math.sqrt(sum(_rounding_error(x, store) ** 2 for x in exact)) < allowed:
            return store
    return "float64"


def _rounding_error(exact: TruncatedSVD, store: str) -> float:
    """||A_k - B||_F, where B is A_k with its vectors rounded to the store's type.

    With u + du and v + dv the rounded vectors, A_k - B = -(U S dV^T + dU S (V + dV)^T),
    the product X Y^T of two thin matrices; ||X Y^T||_F^2 = tr(X^T X Y^T Y). Nothing
    cancels in it, so that float32 will do.
    """
    U, s, Vt = exact.U, exact.s, exact.Vt
    scale = float(s[0]) or 1.0
    dU = U.astype(store).astype(np.float64) - U
    V = Vt.astype(store).astype(np.float64)
    X = (np.hstack([U, dU]) * np.tile(s / scale, 2)).astype(np.float32)
    Y = np.vstack([V - Vt, V]).astype(np.float32)
    return scale * math.sqrt(max(float(np.vdot(X.T @ X, Y @ Y.T)), 0.0))


# -- decoding --------------------------------------------------------------------------


def decode(parts: Parts, *, rank: int | None = None) -> Decoded:
    """Rebuild the picture from the first `rank` terms of each matrix (all by default).

    Float64 products of fixed slabs of rows, so that the samples are the same on any
    machine and for any number of threads.
    """
    head, body = parts.head, _body(parts)
    mode = head.mode
    factors = [f if rank is None else f.truncate(rank) for f in body.factors]
    if not any(f.k for f in factors):
        nothing = np.zeros((head.height, head.width, len(mode.channels)), mode.dtype)
        return Decoded(Picture(nothing, mode, head.metadata), _lost(parts))
    scaled = [(f.U.astype(np.float64) * f.s, f.Vt.astype(np.float64)) for f in factors]
    shape = head.height, head.width, len(mode.channels)
    if head.layout == "patches" and not fits(_PATCHED * math.prod(shape)):
        raise MemoryError
    samples = np.empty(shape, mode.dtype)
    picture = Picture(samples, mode, head.metadata)
    if head.layout == "patches":
        B = matrices.samples_of_patches(
            [US @ Vt for US, Vt in scaled], head.height, head.width, body.turn
        )
        samples[:] = _rounded(B, mode)
        return Decoded(picture, _lost(parts))
    rows = max(_SLAB // head.width, 1)

    def slab(top: int) -> None:
        for c, (US, Vt) in enumerate(scaled):
            samples[top : top + rows, :, c] = _rounded(US[top : top + rows] @ Vt, mode)

    threads.each(slab, range(0, head.height, rows))
    return Decoded(picture, _lost(parts))


def _lost(parts: Parts) -> tuple[str, ...]:
    if parts.missing is None:
        return ()
    here = sum(parts.ranks)
    return (f"the file ends early: decoded {here} of {here + parts.missing.count} terms",)


def _rounded(B: NDArray[np.float64], mode: Mode) -> NDArray[np.float64]:
    """Round and clip to the mode's samples, in place."""
    if mode.peak is None:
        return np.clip(B, -_FLOAT32_MAX, _FLOAT32_MAX, out=B)
    np.rint(B, out=B)
    return np.clip(B, 0, mode.peak, out=B)


# -- what a file says ------------------------------------------------------------------


def factors(parts: Parts) -> tuple[Turn | None, tuple[Factored, ...]]:
    """Return the rotation of the colours, and U, s and Vt of each matrix."""
    body = _body(parts)
    return body.turn, tuple((f.U, f.s, f.Vt) for f in body.factors)


def stated(parts: Parts) -> tuple[Stated, ...]:
    """Return what the file says of each matrix; its error is the tail, but for rounding."""
    body = _body(parts)
    return tuple(
        Stated(
            name, f.k, f.norm, float(f.s[0]) if f.k else f.sigma_next, f.sigma_next, None, f.tail
        )
        for name, f in zip(turn.names(parts.head.mode, body.turn), body.factors, strict=True)
    )


def shorten(parts: Parts, target: Target) -> Parts:
    """Drop terms of a float file without touching pixels.

    The ranks follow from the singular values in the file and from the stated tail.

    Raises
    ------
    UsageError
        The file cannot meet the target, or does not know what it asks for.
    """
    head, body = parts.head, _body(parts)
    spectra = [f.s for f in body.factors]
    if target.kind == "rank":
        ranks = tuple(min(int(target.value), f.k) for f in body.factors)
    elif target.kind == "size":
        count, turned = len(body.factors), body.turn is not None

        def size(terms: int) -> int:
            return lrk.float_file_size(
                head.shape, count, terms, head.store, head.metadata, turned=turned
            )

        terms = spectrum.terms_that_fit(target, size(0), size(1))
        ranks = spectrum.ranks_of_leading(spectra, terms)
    else:
        norm = math.sqrt(sum(f.norm**2 for f in body.factors))
        lost = math.sqrt(sum(f.tail**2 for f in body.factors))
        peak = head.mode.peak
        if target.kind not in ("energy", "error") and (target.kind != "psnr" or peak is None):
            raise UsageError(f"{target.kind} needs the source image; give that, or -k, --energy")
        samples = head.width * head.height * len(body.factors)
        allowed = spectrum.allowed_tail(target, norm, peak or 1.0, samples)
        if allowed < lost:
            raise UsageError(
                f"the file itself is {lost / norm if norm else 0:.4%} from its source, more than "
                "is asked for; compress the source again"
            )
        terms = spectrum.terms_for_tail(spectra, math.sqrt(allowed**2 - lost**2))
        ranks = spectrum.ranks_of_leading(spectra, terms)
    shorter = tuple(f.truncate(k) for f, k in zip(body.factors, ranks, strict=True))
    return replace(parts, body=replace(body, factors=shorter))


def _body(parts: Parts) -> Floats:
    """The body of a float file, for the type checker."""
    if not isinstance(parts.body, Floats):
        raise TypeError(f"store {parts.head.store} is not a float store")
    return parts.body
