"""Measured errors beside the bounds that no rank-k matrix can beat: the Report value.

Eckart and Young (spectral norm, and Frobenius norm): for every B of rank at most k,
||A - B||_2 >= sigma_(k+1) and ||A - B||_F >= sqrt(sum of sigma_i^2, i > k). A report
holds, for each matrix, both errors of the factors *as stored and decoded*, measured on
A itself, beside both bounds, computed from A anew; and whether the singular values
behind the bounds are proved to be the leading ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lowrank import codec, layout, linalg, threads
from lowrank.format import float_file_size
from lowrank.linalg import TruncatedSVD
from lowrank.parts import Factors, PackedMatrix, Parts
from lowrank.picture import Mode, Picture, Source
from lowrank.pixels import Pixels, compare


@dataclass(frozen=True)
class File:
    """The `.lrk` file that a report is about."""

    path: str
    bytes: int
    layout: str
    store: str
    bits_per_pixel: float


@dataclass(frozen=True)
class Channel:
    """One matrix: errors in levels of the source, beside their bounds.

    What was not measured, or is not stated by a file alone, is None.
    `norm` is ||A||_F, and `energy` the share of its square that the best rank-k matrix keeps.
    """

    name: str
    m: int
    n: int
    k: int
    norm: float
    sigma_1: float | None
    sigma_next: float
    spectral_error: float | None
    spectral_bound: float
    frobenius_error: float | None
    frobenius_bound: float
    relative_error: float
    energy: float
    certified: bool


@dataclass(frozen=True)
class Storage:
    """What is stored against what was there; ratios are original over ours.

    `floats` is the sum of k(m+n+1), `original_floats` that of mn; `raw_bytes` the
    samples uncompressed; `break_even_rank` the rank mn/(m+n+1) from which on the
    factors hold more floats than the matrix.
    """

    floats: int
    original_floats: int
    float_ratio: float
    bytes: int
    raw_bytes: int
    byte_ratio: float
    source_ratio: float | None
    break_even_rank: float


@dataclass(frozen=True)
class Report:
    """What `lowrank report` says of one file, or of one rank."""

    source: Source | None
    file: File | None
    channels: tuple[Channel, ...]
    storage: Storage
    pixels: Pixels | None


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
    packed = parts.store == "packed"
    if packed:
        from lowrank import packing

        turn, B = packing.turn_and_factors(parts)
    else:
        turn = parts.turn
    names = layout.names(picture.mode, parts.layout, turn)
    A = layout.matrices(picture, parts.layout, turn)

    def channel(i: int) -> Channel:
        k = parts.ranks[i]
        x = exact[i] if exact else linalg.truncated_svd(A[i], max(k, 1), certify=True)
        if packed:
            R = A[i] - B[i]
            norms = linalg.ResidualNorms(linalg.spectral_norm(R), linalg.frobenius_norm(R))
        else:
            f = parts.factors[i]
            norms = linalg.residual_norms(A[i], f.U, f.s, f.Vt)
        return channel_bounds(names[i], at_rank(A[i], x, k), norms)

    channels = tuple(threads.each(channel, range(len(A))))
    return Report(
        source,
        file,
        channels,
        storage(parts, channels, file_bytes, source),
        compare(picture, codec.decode(parts)),
    )


def at_rank(A: NDArray[np.generic], x: TruncatedSVD, k: int) -> TruncatedSVD:
    """The decomposition of A at a lower rank k >= 0, its bounds moved down with it.

    A proof holds for its own rank: a lower one is proved anew, where `x` was proved.
    """
    if k >= len(x.s):
        return x
    cut = x.truncate(k)
    proved = x.certified and linalg.certify(A, cut.U, cut.s, cut.sigma_next)
    return replace(cut, certified=proved)


def channel_bounds(name: str, x: TruncatedSVD, measured: linalg.ResidualNorms | None) -> Channel:
    """Bounds of the exact decomposition `x`, with the measured errors of rivals of its rank."""
    k = len(x.s)
    error = measured.frobenius if measured else x.tail
    return Channel(
        name=name,
        m=len(x.U),
        n=x.Vt.shape[1],
        k=k,
        norm=x.norm,
        sigma_1=float(x.s[0]) if k else x.sigma_next,
        sigma_next=x.sigma_next,
        spectral_error=measured.spectral if measured else None,
        spectral_bound=x.sigma_next,
        frobenius_error=measured.frobenius if measured else None,
        frobenius_bound=x.tail,
        relative_error=error / x.norm if x.norm else 0.0,
        energy=energy(x.norm, x.tail),
        certified=x.certified,
    )


def energy(norm: float, tail: float) -> float:
    """Share of ||A||_F^2 that is kept when `tail` is lost; a zero matrix loses nothing."""
    return 1 - min(tail / norm, 1.0) ** 2 if norm else 1.0


def storage(
    parts: Parts, channels: tuple[Channel, ...], file_bytes: int, source: Source | None
) -> Storage:
    """Storage of a file against its source."""
    return _storage(
        parts.width * parts.height, parts.mode, channels, file_bytes, source.bytes if source else 0
    )


def _storage(
    pixels: int, mode: Mode, channels: tuple[Channel, ...], file_bytes: int, source_bytes: int
) -> Storage:
    m, n = channels[0].m, channels[0].n
    raw = -(-pixels * len(mode.channels) * mode.bits // 8)
    floats = sum(c.k * (c.m + c.n + 1) for c in channels)
    original = sum(c.m * c.n for c in channels)
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


def stated(parts: Parts, *, file: File) -> Report:
    """What a file states of itself, with no original at hand: bounds, and nothing measured."""
    m, n = parts.shape

    def of_float(name: str, f: Factors) -> Channel:
        sigma_1 = float(f.s[0]) if f.k else f.sigma_next
        return Channel(
            name, m, n, f.k, f.norm, sigma_1, f.sigma_next,
            None, f.sigma_next, None, f.tail,
            f.tail / f.norm if f.norm else 0.0, energy(f.norm, f.tail), certified=False,
        )  # fmt: skip

    def of_packed(name: str, p: PackedMatrix) -> Channel:
        return Channel(
            name, m, n, p.k, p.norm, None, p.sigma_next,
            None, p.sigma_next, p.error, p.tail,
            p.error / p.norm if p.norm else 0.0, energy(p.norm, p.tail), certified=False,
        )  # fmt: skip

    names = layout.names(parts.mode, parts.layout)
    if parts.store == "packed":
        from lowrank import packing

        names = layout.names(parts.mode, parts.layout, packing.turn_of(parts))
        channels = tuple(map(of_packed, names, parts.packed))
    else:
        channels = tuple(map(of_float, names, parts.factors))
    return Report(None, file, channels, storage(parts, channels, file.bytes, None), None)


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
        All singular values of each channel.
    k : int
        Rank, at most N.
    source : Source
    store : str
        Float type that the predicted bytes are counted in.
    """
    m, n = picture.height, picture.width

    def channel(name: str, s: NDArray[np.float64]) -> Channel:
        norm, tail = float(np.linalg.norm(s)), float(np.linalg.norm(s[k:]))
        sigma_next = float(s[k]) if k < len(s) else 0.0
        return Channel(
            name, m, n, k, norm, float(s[0]), sigma_next, None, sigma_next, None, tail,
            tail / norm if norm else 0.0, energy(norm, tail), certified=False,
        )  # fmt: skip

    channels = tuple(map(channel, picture.mode.channels, spectra))
    size = float_file_size((m, n), len(spectra), k * len(spectra), store, picture.metadata)
    stored = _storage(m * n, picture.mode, channels, size, source.bytes)
    return Report(source, None, channels, stored, None)
