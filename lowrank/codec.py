"""Pictures <-> the parts of a `.lrk` file.

Compression is: picture -> matrices (the layout) -> truncated SVD of each, with the
ranks that the target asks for -> factors in the store's float type. Decompression is
the product of the factors, rounded and clipped to samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lowrank import format as lrk
from lowrank import linalg, rank, threads
from lowrank.errors import UsageError
from lowrank.parts import Factors, Parts
from lowrank.picture import Picture
from lowrank.rank import Target

AUTO_EXCESS = 1e-3
"""Store `auto`: rounding may add this share to the Frobenius error ..."""
AUTO_FLOOR = 1e-6
"""... or this share of full scale per sample (root mean square), if that is more."""

_SLAB = 1 << 18  # samples reconstructed at a time: two megabytes of float64 stay in cache


@dataclass(frozen=True, eq=False)
class Encoded:
    """Parts of a file, and the exact decompositions that they were made from.

    Attributes
    ----------
    parts : Parts
    exact : tuple of TruncatedSVD
        One for each matrix; a matrix of rank 0 has one of rank 1 here.
    notes : tuple of str
        What the user should know, a plain sentence each.
    """

    parts: Parts
    exact: tuple[linalg.TruncatedSVD, ...]
    notes: tuple[str, ...] = ()


def resolve(target: Target, layout: str | None, store: str | None) -> tuple[str, str]:
    """Layout and store that a target means, unless they are asked for by name."""
    packed = target.kind in ("quality", "psnr", "size")
    if store is None:
        store = "packed" if packed and layout != "channels" else "auto"
    if layout is None:
        layout = "patches" if store == "packed" else "channels"
    if target.kind == "quality" and store != "packed":
        raise UsageError("quality is a target of the packed store; use --psnr, --error or -k")
    return layout, store


def matrices(picture: Picture, layout: str) -> list[NDArray[np.generic]]:
    """Return the matrices of a picture: in layout `channels`, its channels as they are."""
    return [picture.samples[:, :, c] for c in range(len(picture.mode.channels))]


def encode(
    picture: Picture, target: Target, *, layout: str, store: str, certify: bool = False
) -> Encoded:
    """Compress a picture to factors in a float store.

    Parameters
    ----------
    picture : Picture
    target : Target
        Which terms to keep.
    layout : str
        `channels`.
    store : str
        `auto`, `float16`, `float32` or `float64`. `auto` is the narrowest whose
        rounding adds less than `AUTO_EXCESS` to the Frobenius error.
    certify : bool
        Prove each decomposition.

    Raises
    ------
    UsageError
        The target cannot be met.
    ImageError
        The samples hold NaN or infinity.
    """
    A = matrices(picture, layout)
    shape = A[0].shape[0], A[0].shape[1]
    limit = min(shape)
    ranks, notes = _ranks(picture, A, target, layout, store)
    if target.kind == "rank" and target.value > limit:
        notes.append(f"the {shape[0]}x{shape[1]} channels have rank {limit} at most: kept {limit}")

    def factorise(job: tuple[NDArray[np.generic], int]) -> linalg.TruncatedSVD:
        return linalg.truncated_svd(job[0], max(job[1], 1), certify=certify)

    exact = tuple(threads.each(factorise, zip(A, ranks, strict=True)))
    if store == "auto" and target.kind == "size":
        store = "float16"
    parts = with_ranks(picture, exact, layout, store, ranks)
    return Encoded(parts, exact, tuple(notes))


def with_ranks(
    picture: Picture,
    exact: tuple[linalg.TruncatedSVD, ...],
    layout: str,
    store: str,
    ranks: tuple[int, ...] | None = None,
) -> Parts:
    """Return the parts of a float file from exact decompositions, cut to `ranks` if given."""
    if store == "auto":
        store = _narrowest_store(picture, exact)
    ranks = ranks or tuple(len(x.s) for x in exact)
    return Parts(
        picture.width,
        picture.height,
        picture.mode,
        layout,
        store,
        picture.metadata,
        tuple(_stored(x, k, store) for x, k in zip(exact, ranks, strict=True)),
    )


def _ranks(
    picture: Picture, A: list[NDArray[np.generic]], target: Target, layout: str, store: str
) -> tuple[tuple[int, ...], list[str]]:
    """Ranks of the matrices, and notes on how the target was met."""
    limit = min(A[0].shape)
    if target.kind == "rank":
        return (min(int(target.value), limit),) * len(A), []
    spectra = threads.each(linalg.spectrum, A)
    if target.kind == "auto":
        m, n = A[0].shape
        return tuple(rank.gavish_donoho_rank(s, m, n) for s in spectra), []
    if target.kind == "size":
        width = "float16" if store == "auto" else store

        def size(terms: int) -> int:
            return lrk.float_file_size(
                (A[0].shape[0], A[0].shape[1]), len(A), terms, width, picture.metadata
            )

        terms = _terms_that_fit(target, size(0), size(1))
        total = limit * len(A)
        notes = [f"every term fits: kept all {total}"] if terms >= total else []
        return rank.ranks_of_leading(spectra, min(terms, total)), notes
    terms = rank.terms_for_tail(spectra, _allowed_tail(picture, spectra, target))
    return rank.ranks_of_leading(spectra, terms), []


def _terms_that_fit(target: Target, empty: int, one: int) -> int:
    """Terms in a file of the target's size, given the bytes of files of 0 terms and of 1."""
    terms = int(target.value - empty) // (one - empty)
    if terms < 1:
        raise UsageError(
            f"{target.value:.0f} bytes hold no term of this image; a file of one takes {one} bytes"
        )
    return terms


def _allowed_tail(picture: Picture, spectra: list[NDArray[np.float64]], target: Target) -> float:
    """Largest Frobenius error, in levels, that meets an energy, error or PSNR target."""
    norm = math.sqrt(sum(float(s @ s) for s in spectra))
    if target.kind == "energy":
        return norm * math.sqrt(1 - target.value)
    if target.kind == "error":
        return norm * target.value
    return rank.tail_for_psnr(target.value, full_scale(picture), picture.samples.size)


def full_scale(picture: Picture) -> float:
    """Peak of a PSNR: the largest sample of the mode, or the range of float samples."""
    if picture.mode.peak is not None:
        return picture.mode.peak
    return float(np.ptp(picture.samples)) or 1.0


def _stored(exact: linalg.TruncatedSVD, k: int, store: str) -> Factors:
    m, n = len(exact.U), exact.Vt.shape[1]
    dtype = np.dtype(store)
    s = exact.s
    return Factors(
        m, n, exact.norm, exact.sigma_next, exact.tail,
        s, exact.U.astype(dtype), exact.Vt.astype(dtype),
    ).truncate(k)  # fmt: skip


def _narrowest_store(picture: Picture, exact: tuple[linalg.TruncatedSVD, ...]) -> str:
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


def _rounding_error(exact: linalg.TruncatedSVD, store: str) -> float:
    """||A_k - B||_F, where B is A_k with its vectors rounded to the store's type.

    With u + du and v + dv the rounded vectors, A_k - B = -(U S dV^T + dU S (V + dV)^T),
    the product X Y^T of two thin matrices; ||X Y^T||_F^2 = tr(X^T X Y^T Y).
    """
    U, s, Vt = exact.U, exact.s, exact.Vt
    dU = U.astype(store).astype(np.float64) - U
    V = Vt.astype(store).astype(np.float64)
    X = np.hstack([U * s, dU * s])
    Y = np.vstack([V - Vt, V])
    return math.sqrt(max(float(np.sum((X.T @ X) * (Y @ Y.T))), 0.0))


# -- pixels ----------------------------------------------------------------------------


def decode(parts: Parts, *, rank: int | None = None) -> Picture:
    """Rebuild the picture from the first `rank` terms of each matrix (all by default).

    Float64 products of fixed slabs of rows, so that the samples are the same on any
    machine and for any number of threads.
    """
    mode = parts.mode
    samples = np.empty((parts.height, parts.width, len(mode.channels)), mode.dtype)
    scaled = []
    for f in parts.factors:
        kept = f if rank is None else f.truncate(rank)
        scaled.append((kept.U.astype(np.float64) * kept.s, kept.Vt.astype(np.float64)))
    rows = max(_SLAB // parts.width, 1)

    def slab(top: int) -> None:
        for c, (US, Vt) in enumerate(scaled):
            B = US[top : top + rows] @ Vt
            if mode.peak is not None:
                np.rint(B, out=B)
                np.clip(B, 0, mode.peak, out=B)
            samples[top : top + rows, :, c] = B

    threads.each(slab, range(0, parts.height, rows))
    return Picture(samples, mode, parts.metadata)


def truncate(parts: Parts, target: Target) -> Parts:
    """Drop terms of a float file without touching pixels.

    The ranks follow from the singular values in the file and from the stated tail.
    """
    if parts.store == "packed":
        raise UsageError("a packed file cannot be shortened; compress its source again")
    spectra = [f.s for f in parts.factors]
    if target.kind == "rank":
        ranks = tuple(min(int(target.value), f.k) for f in parts.factors)
    elif target.kind == "size":
        matrices_, rotated = len(parts.factors), bool(parts.rotation)

        def size(terms: int) -> int:
            return lrk.float_file_size(
                parts.shape, matrices_, terms, parts.store, parts.metadata, rotation=rotated
            )

        terms = _terms_that_fit(target, size(0), size(1))
        ranks = rank.ranks_of_leading(spectra, terms)
    else:
        norm = math.sqrt(sum(f.norm**2 for f in parts.factors))
        lost = math.sqrt(sum(f.tail**2 for f in parts.factors))
        if target.kind == "energy":
            allowed = norm * math.sqrt(1 - target.value)
        elif target.kind == "error":
            allowed = norm * target.value
        elif target.kind == "psnr" and parts.mode.peak is not None:
            samples = parts.width * parts.height * len(parts.factors)
            allowed = rank.tail_for_psnr(target.value, parts.mode.peak, samples)
        else:
            raise UsageError(f"{target.kind} needs the source image; give that, or -k, --energy")
        if allowed < lost:
            raise UsageError(
                f"the file itself is {lost / norm if norm else 0:.4%} from its source, more than "
                "is asked for; compress the source again"
            )
        terms = rank.terms_for_tail(spectra, math.sqrt(allowed**2 - lost**2))
        ranks = rank.ranks_of_leading(spectra, terms)
    return replace(
        parts, factors=tuple(f.truncate(k) for f, k in zip(parts.factors, ranks, strict=True))
    )
