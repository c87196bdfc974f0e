"""Pictures <-> the parts of a `.lrk` file.

Compression is: picture -> matrices (the layout) -> truncated SVD of each, with the
ranks that the target asks for -> factors in the store's float type. Decompression is
the product of the factors, rounded and clipped to samples.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowrank import format as lrk
from lowrank import layout as layouts
from lowrank import linalg, rank, search, threads
from lowrank.errors import LimitError, UsageError
from lowrank.parts import Factors, Parts, matrix_shape
from lowrank.picture import Mode, Picture
from lowrank.pixels import full_scale
from lowrank.rank import Target

AUTO_EXCESS = 1e-3
"""Store `auto`: rounding may add this share to the Frobenius error ..."""
AUTO_FLOOR = 1e-6
"""... or this share of full scale per sample (root mean square), if that is more."""

_FLOAT32_MAX = float(np.finfo(np.float32).max)
_SLAB = 1 << 18  # samples reconstructed at a time: two megabytes of float64 stay in cache


@dataclass(frozen=True, eq=False)
class Encoded:
    """Parts of a file, and the exact decompositions that they were made from.

    Attributes
    ----------
    parts : Parts
    notes : tuple of str
        What the user should know, a plain sentence each.
    exact : tuple of TruncatedSVD
        One for each matrix of a float file; a matrix of rank 0 has one of rank 1 here.
    """

    parts: Parts
    notes: tuple[str, ...] = ()
    exact: tuple[linalg.TruncatedSVD, ...] = ()


def resolve(target: Target, layout: str | None, store: str | None) -> tuple[str, str]:
    """Layout and store that a target means, unless they are asked for by name."""
    packed = target.kind in ("quality", "psnr", "size")
    if store is None:
        store = "packed" if packed and layout != "channels" else "auto"
    if layout is None:
        layout = "patches" if store == "packed" and target.kind != "rank" else "channels"
    if target.kind == "quality" and store != "packed":
        raise UsageError("quality is a target of the packed store; use --psnr, --error or -k")
    return layout, store


def encode(
    picture: Picture, target: Target, *, layout: str, store: str, certify: bool = False
) -> Encoded:
    """Compress a picture.

    Parameters
    ----------
    picture : Picture
    target : Target
        Which terms to keep.
    layout : str
        `channels` or `patches`.
    store : str
        `packed`, `auto`, `float16`, `float32` or `float64`. `auto` is the narrowest whose
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
    if store == "packed":
        from lowrank import packing

        return Encoded(*packing.encode(picture, target, layout=layout))
    turn = layouts.principal_turn(picture, layout)
    A = layouts.matrices(picture, layout, turn)
    m, n = matrix_shape(picture.width, picture.height, layout)
    (ranks, exact), notes = _search(picture, A, target, store, turned=bool(turn), certify=certify)
    if target.kind == "rank" and target.value > min(m, n):
        notes.append(f"the {m}x{n} matrices have rank {min(m, n)} at most: kept {min(m, n)}")
    if store == "auto" and target.kind == "size":
        store = "float16"
    parts = with_ranks(picture, exact, layout, store, turn=turn, ranks=ranks)
    return Encoded(parts, tuple(notes), exact)


def with_ranks(
    picture: Picture,
    exact: tuple[linalg.TruncatedSVD, ...],
    layout: str,
    store: str,
    *,
    turn: bytes = b"",
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
        turn=turn,
    )


def _search(
    picture: Picture,
    A: list[NDArray[np.generic]],
    target: Target,
    store: str,
    *,
    turned: bool,
    certify: bool,
) -> tuple[search.Found, list[str]]:
    """Ranks and decompositions of the matrices, and notes on how the target was met."""
    m, n = A[0].shape[0], A[0].shape[1]
    limit = min(m, n)
    if target.kind == "rank":
        ranks = (min(int(target.value), limit),) * len(A)
        return search.of_ranks(A, ranks, certify=certify), []
    if target.kind == "auto":

        def thresholded(spectra: list[NDArray[np.float64]]) -> tuple[int, ...]:
            return tuple(rank.gavish_donoho_rank(s, m, n) for s in spectra)

        return search.of_spectra(A, thresholded, certify=certify), []
    if target.kind == "size":
        width = "float16" if store == "auto" else store

        def size(terms: int) -> int:
            return lrk.float_file_size(
                (m, n), len(A), terms, width, picture.metadata, turned=turned
            )

        terms, total = rank.terms_that_fit(target, size(0), size(1)), limit * len(A)
        notes = [f"every term fits: kept all {total}"] if terms >= total else []
        return search.of_count(A, min(terms, total), certify=certify), notes
    norm = math.hypot(*threads.each(linalg.frobenius_norm, A))
    allowed = rank.allowed_tail(target, norm, full_scale(picture), picture.samples.size)
    return search.of_tail(A, allowed, certify=certify), []


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


# -- pixels ----------------------------------------------------------------------------


def decode(parts: Parts, *, rank: int | None = None) -> Picture:
    """Rebuild the picture from the first `rank` terms of each matrix (all by default).

    Float64 products of fixed slabs of rows, so that the samples are the same on any
    machine and for any number of threads.

    Raises
    ------
    LimitError
        There is not the memory for so many samples.
    """
    try:
        return _decode(parts, rank)
    except MemoryError as error:
        raise LimitError(
            f"not enough memory for an image of {parts.width}x{parts.height} pixels"
        ) from error


def _decode(parts: Parts, rank: int | None) -> Picture:
    mode = parts.mode
    shape = parts.height, parts.width, len(mode.channels)
    if math.prod(shape) * np.dtype(mode.dtype).itemsize > sys.maxsize:
        raise MemoryError
    if parts.store == "packed":
        from lowrank import packing

        return packing.decode(parts, rank)
    factors = [f if rank is None else f.truncate(rank) for f in parts.factors]
    scaled = [(f.U.astype(np.float64) * f.s, f.Vt.astype(np.float64)) for f in factors]
    samples = np.empty(shape, mode.dtype)
    if parts.layout == "patches":
        B = layouts.samples_of_patches(
            [US @ Vt for US, Vt in scaled], parts.height, parts.width, parts.turn
        )
        samples[:] = _rounded(B, mode)
        return Picture(samples, mode, parts.metadata)
    rows = max(_SLAB // parts.width, 1)

    def slab(top: int) -> None:
        for c, (US, Vt) in enumerate(scaled):
            samples[top : top + rows, :, c] = _rounded(US[top : top + rows] @ Vt, mode)

    threads.each(slab, range(0, parts.height, rows))
    return Picture(samples, mode, parts.metadata)


def _rounded(B: NDArray[np.float64], mode: Mode) -> NDArray[np.float64]:
    """Round and clip to the mode's samples, in place."""
    if mode.peak is None:
        return np.clip(B, -_FLOAT32_MAX, _FLOAT32_MAX, out=B)
    np.rint(B, out=B)
    return np.clip(B, 0, mode.peak, out=B)
