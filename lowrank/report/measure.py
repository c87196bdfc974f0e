"""Measured errors beside the bounds that no rank-k matrix can beat.

Eckart and Young (spectral norm, and Frobenius norm): for every B of rank at most k,
||A - B||_2 >= sigma_(k+1) and ||A - B||_F >= sqrt(sum of sigma_i^2, i > k). A report
holds, for each matrix, both errors of the factors *as stored and decoded*, measured on
A itself, beside both bounds, computed from A anew; and whether the singular values
behind the bounds are proved to be the leading ones.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank import codec, layouts, linalg, threads
from lowrank.errors import UsageError, number_of
from lowrank.format import float_file_size
from lowrank.format.parts import Head, Parts
from lowrank.layouts import turn
from lowrank.linalg import TruncatedSVD
from lowrank.picture import Loaded, Mode, Picture, Source, Turn, may_hold
from lowrank.picture.distance import frames, total
from lowrank.report import File, OfMatrix, Report, Storage
from lowrank.stores import Factored, Stated
from lowrank.stores.growing import proved


def file_facts(path: str | None, parts: Parts, size: int) -> File:
    """What a report says of a file of `size` bytes."""
    head = parts.head
    return File(path, size, head.layout, head.store, 8 * size / _pixels(head))


def check_same_image(loaded: Loaded, parts: Parts, name: str) -> None:
    """Refuse to compare a file with an image that it cannot have been made from."""
    a, b = loaded.picture, parts.head
    sizes = (a.frames, a.width, a.height), (b.frames, b.width, b.height)
    if sizes[0] != sizes[1] or not may_hold(b.mode, a.mode):
        raise UsageError(
            f"{name} is {_sized(a)}, the file {_sized(b)}; give the image that the file was made "
            "from"
        )


def _sized(x: Picture | Head) -> str:
    many = "" if x.frames is None else f"{number_of(x.frames, 'frame')} of "
    return f"{many}{x.width}x{x.height} {x.mode.title}"


def _pixels(x: Picture | Head) -> int:
    """Pixels of all frames together."""
    return x.width * x.height * (x.frames or 1)


@threads.one_blas_thread()
def measure(
    picture: Picture,
    parts: Parts,
    *,
    source: Source,
    file: File | None,
    file_bytes: int,
    exact: tuple[TruncatedSVD, ...] | None = None,
) -> Report:
    """Measure a file against the picture that it was made from.

    Parameters
    ----------
    picture : Picture
        The original.
    parts : Parts
        The file, as parsed.
    source, file : Source, File
        What to say of them.
    file_bytes : int
        Bytes that the file has, or would have.
    exact : tuple of TruncatedSVD, optional
        Certified decompositions of the picture's matrices, of at least the file's
        ranks, where the caller has them already.
    """
    original, picture = picture, as_kept(picture, parts)
    turned, B = codec.factors(parts)
    names = turn.names(picture.mode, parts.head.layout, turned)
    A = matrices(picture, parts, turned)

    def of_matrix(i: int) -> OfMatrix:
        k = parts.ranks[i]
        x = exact[i] if exact else linalg.truncated_svd(A[i], max(k, 1), certify=True)
        return bounded(names[i], at_rank(A[i], x, k), _residual_norms(A[i], B[i]))

    small = len(A) * A[0].size < threads.SMALL
    found = tuple(threads.each(of_matrix, range(len(A)), small=small))
    decoded = codec.decode(parts, filled=True).picture
    of = frames(original, decoded.each())
    stack = None
    if picture.frames is not None:
        from lowrank.report import stacks

        stack = stacks.measured(original, decoded, of, parts, file_bytes)
    return Report(
        source,
        file,
        found,
        storage(parts, found, file_bytes, source),
        total(of, original.peak),
        stack,
    )


def as_kept(picture: Picture, parts: Parts) -> Picture:
    """The picture with its samples in the type that a file has them in: what it states is of these.

    In levels of a packed file the rounding of float64 to float32 may be many.
    """
    return codec.narrowed(picture, parts.head.mode.dtype)[0]


def matrices(picture: Picture, parts: Parts, turned: Turn | None) -> list[NDArray[Any]]:
    """Matrices of the picture that a file was made from, as the file counts its samples."""
    samples = picture.samples
    if parts.lowest:
        samples = np.subtract(samples, parts.lowest, dtype=np.float64)
    return layouts.of_samples(samples, parts.head.layout, turned)


def _residual_norms(A: NDArray[np.generic], B: Factored) -> linalg.ResidualNorms:
    if isinstance(B, tuple):
        return linalg.residual_norms(A, *B)
    R = np.subtract(A, B)
    return linalg.ResidualNorms(linalg.spectral_norm(R), linalg.frobenius_norm(R))


def at_rank(A: NDArray[np.generic], x: TruncatedSVD, k: int) -> TruncatedSVD:
    """The decomposition of A at a lower rank k >= 0, its bounds moved down with it.

    A proof holds for its own rank: a lower one is proved anew, where `x` was proved.
    """
    if k >= len(x.s):
        return x
    cut = x.truncate(k)
    return proved((A, cut)) if x.certified else cut


def bounded(name: str, x: TruncatedSVD, measured: linalg.ResidualNorms) -> OfMatrix:
    """Bounds of the exact decomposition `x`, with the measured errors of factors of its rank."""
    k = len(x.s)
    found = OfMatrix(
        name=name,
        m=len(x.U),
        n=x.Vt.shape[1],
        k=k,
        norm=x.norm,
        sigma_1=float(x.s[0]) if k else x.sigma_next,
        sigma_next=x.sigma_next,
        spectral_error=measured.spectral,
        spectral_bound=x.sigma_next,
        frobenius_error=measured.frobenius,
        frobenius_bound=x.tail,
        relative_error=measured.frobenius / x.norm if x.norm else 0.0,
        energy=energy(x.norm, x.tail),
        certified=x.certified,
    )
    return replace(found, certified=False) if found.contradicts else found


def energy(norm: float, tail: float) -> float:
    """Share of ||A||_F^2 that is kept when `tail` is lost; a zero matrix loses nothing."""
    return 1 - min(tail / norm, 1.0) ** 2 if norm else 1.0


def storage(
    parts: Parts, found: tuple[OfMatrix, ...], file_bytes: int, source: Source | None
) -> Storage:
    """Storage of a file against its source."""
    head = parts.head
    return _storage(_pixels(head), head.mode, found, file_bytes, source.bytes if source else 0)


def _storage(
    pixels: int, mode: Mode, found: tuple[OfMatrix, ...], file_bytes: int, source_bytes: int
) -> Storage:
    m, n = found[0].m, found[0].n
    raw = -(-pixels * len(mode.channels) * mode.bits // 8)
    floats = sum(c.k * (c.m + c.n + 1) for c in found)
    original = sum(c.m * c.n for c in found)
    return Storage(
        floats=floats,
        original_floats=original,
        float_ratio=original / floats if floats else math.inf,
        bytes=file_bytes,
        raw_bytes=raw,
        byte_ratio=raw / file_bytes,
        source_ratio=source_bytes / file_bytes if source_bytes else None,
        break_even_rank=m * n / (m + n + 1),
    )


def unmeasured(shape: tuple[int, int], x: Stated) -> OfMatrix:
    """What is stated of a matrix, or follows from its spectrum: bounds, and nothing measured."""
    lost = x.tail if x.error is None else x.error
    return OfMatrix(
        x.name, *shape, x.k, x.norm, x.sigma_1, x.sigma_next,
        None, x.sigma_next, x.error, x.tail,
        lost / x.norm if x.norm else 0.0, energy(x.norm, x.tail), certified=False,
    )  # fmt: skip


def stated(parts: Parts, *, file: File) -> Report:
    """What a file states of itself, with no original at hand: bounds, and nothing measured."""
    found = tuple(unmeasured(parts.head.shape, x) for x in codec.stated(parts))
    stack = None
    if parts.head.frames is not None:
        from lowrank.report import stacks

        stack = stacks.stated(parts, file.bytes)
    return Report(None, file, found, storage(parts, found, file.bytes, None), None, stack)


def predict(
    picture: Picture,
    spectra: list[NDArray[np.float64]],
    k: int,
    *,
    source: Source,
    store: str,
) -> Report:
    """Bounds at rank k from the spectra alone: what exact factors would reach, unmeasured.

    Parameters
    ----------
    picture : Picture
    spectra : list of (N,) ndarray
        All singular values of each channel, or of the one matrix of a stack.
    k : int
        Rank, at most N.
    source : Source
    store : str
        Float type that the predicted bytes are counted in.
    """
    layout = "channels" if picture.frames is None else "stack"
    head = Head.of(picture, layout, store)

    def of_channel(name: str, s: NDArray[np.float64]) -> OfMatrix:
        norm, tail = float(np.linalg.norm(s)), float(np.linalg.norm(s[k:]))
        sigma_next = float(s[k]) if k < len(s) else 0.0
        return unmeasured(head.shape, Stated(name, k, norm, float(s[0]), sigma_next, None, tail))

    found = tuple(map(of_channel, turn.names(picture.mode, layout, None), spectra))
    size = float_file_size(head, k * len(spectra))
    stored = _storage(_pixels(picture), picture.mode, found, size, source.bytes)
    stack = None
    if picture.frames is not None:
        from lowrank.report import stacks

        stack = stacks.planned(picture)
    return Report(source, None, found, stored, None, stack)
