"""The float stores: the leading terms as float16, float32 or float64.

Decompression is the product of the factors, rounded and clipped to samples.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np

from lowrank import format as lrk
from lowrank import layouts, threads
from lowrank.errors import UsageError
from lowrank.format.parts import Factors, Floats, Parts
from lowrank.layouts import turn
from lowrank.limits import fits
from lowrank.names import AUTO, FLOAT_STORES
from lowrank.picture import ARRAY, Picture, Turn
from lowrank.picture.distance import compare
from lowrank.stores import Decoded, Encoded, Factored, Stated, lost, rows_at_once
from lowrank.targets import Target

_SAME_DB = 1e-9  # by which sums in another order may differ
_ROUNDED_SAMPLE = 1 / 12  # square of what rounding to a level adds to a sample, in the mean
_PATCHED = 24  # bytes that a sample of patches takes on its way, at least


def encode(
    picture: Picture, target: Target, *, layout: str, store: str, certify: bool = False
) -> Encoded:
    """Compress a picture, as `truncation.encode` does, which loads when it is needed.

    A PSNR is that of the decoded samples, rounded and clipped: it is measured, and where it is
    missed, for the rounding of factors and of samples, asked for again as much higher.

    Raises
    ------
    UsageError
        The target cannot be met.
    """
    from lowrank.stores import rounding, truncation
    from lowrank.targets import spectrum

    wish = target
    while True:
        encoded = truncation.encode(picture, wish, layout=layout, store=store, certify=certify)
        if target.kind != "psnr":
            return encoded
        parts = encoded.parts
        psnr = compare(picture, decode(parts).picture).psnr_db
        if psnr is None or psnr >= target.value - _SAME_DB:
            return encoded
        tail = math.hypot(*(f.tail for f in _body(parts).factors))
        if tail > 0.0:
            reached = spectrum.psnr_of_tail(tail, picture.peak, picture.samples.size)
            wish = replace(target, value=reached + target.value - psnr)
        elif store != AUTO or parts.head.store == FLOAT_STORES[-1]:
            raise UsageError(
                f"psnr {target.value:g} is out of reach of {parts.head.store} factors: with all "
                f"terms it is {psnr:.5g} dB; give a wider store, or --max-error"
            )
        else:
            store = rounding.wider(parts.head.store)


# -- decoding --------------------------------------------------------------------------


def decode(parts: Parts, *, rank: int | None = None) -> Decoded:
    """Rebuild the picture from the first `rank` terms of each matrix (all by default).

    Float64 products of fixed slabs of rows, so that the samples are the same on any
    machine and for any number of threads; those of a stack as `sums` has them, which are the
    same for any part of it, and so those of floats in mode `array`.
    """
    head, body = parts.head, _body(parts)
    mode = head.mode
    factors = [f if rank is None else f.truncate(rank) for f in body.factors]
    if not any(f.k for f in factors):
        nothing = np.zeros(head.samples_shape, mode.dtype)
        return Decoded(Picture(nothing, mode, head.metadata), _lost(parts))
    if head.layout == "stack" or (
        head.layout == "channels" and mode.name == ARRAY and not mode.limits
    ):
        from lowrank.stores import sums

        exact = np.empty(head.samples_shape, mode.dtype)
        A = layouts.of_samples(exact, head.layout, None)
        for f, matrix in zip(factors, A, strict=True):
            sums.samples(sums.scaled(f.U, f.s), f.Vt, mode, matrix)
        return Decoded(Picture(exact, mode, head.metadata), _lost(parts))
    scaled = [(f.U.astype(np.float64) * f.s, f.Vt.astype(np.float64)) for f in factors]
    shape = head.samples_shape
    if head.layout == "patches" and not fits(_PATCHED * math.prod(shape)):
        raise MemoryError
    samples = np.empty(shape, mode.dtype)
    picture = Picture(samples, mode, head.metadata)
    if head.layout == "patches":
        B = layouts.samples_of_patches(
            [US @ Vt for US, Vt in scaled], head.height, head.width, body.turn
        )
        samples[:] = mode.rounded(B)
        return Decoded(picture, _lost(parts))
    m, n = head.shape
    rows = rows_at_once(n)
    A = layouts.of_samples(samples, head.layout, None)

    def slab(top: int) -> None:
        for matrix, (US, Vt) in zip(A, scaled, strict=True):
            matrix[top : top + rows] = mode.rounded(US[top : top + rows] @ Vt)

    threads.each(slab, range(0, m, rows))
    return Decoded(picture, _lost(parts))


def _lost(parts: Parts) -> tuple[str, ...]:
    here = sum(parts.ranks)
    return lost(parts, here, here + (parts.missing.count if parts.missing else 0), "term")


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
        for name, f in zip(
            turn.names(parts.head.mode, parts.head.layout, body.turn), body.factors, strict=True
        )
    )


def shorten(parts: Parts, target: Target) -> Parts:
    """Drop terms of a float file without touching pixels.

    The ranks follow from the singular values in the file and from the stated tail.

    Raises
    ------
    UsageError
        The file cannot meet the target, or does not know what it asks for.
    """
    from lowrank.stores import rounding
    from lowrank.targets import spectrum

    head, body = parts.head, _body(parts)
    spectra = [f.s for f in body.factors]
    if target.kind == "rank":
        ranks = tuple(min(int(target.value), f.k) for f in body.factors)
    elif target.kind == "size":
        size = partial(lrk.float_file_size, head, turned=body.turn is not None)
        terms = spectrum.terms_of_size(target, size)
        ranks = spectrum.ranks_of_leading(spectra, terms)
    else:
        norm = math.sqrt(sum(f.norm**2 for f in body.factors))
        lost = math.sqrt(sum(f.tail**2 for f in body.factors))
        peak = head.mode.peak if head.frames is None or head.mode.bits <= 8 else None
        if target.kind not in ("energy", "error") and (target.kind != "psnr" or peak is None):
            raise UsageError(
                f"{parts.name} is compressed already; -k, --energy or --error shorten it, and "
                f"{target.kind} needs the image that it was made from"
            )
        samples = math.prod(head.samples_shape)
        allowed = spectrum.allowed_tail(target, norm, peak or 1.0, samples)
        if allowed < lost:
            raise UsageError(
                f"the file itself is {lost / norm if norm else 0:.4%} from its source, more than "
                "is asked for; compress the source again"
            )
        left = math.sqrt(allowed**2 - lost**2)
        rounded = [rounding.of_stored(f.U, f.s, f.Vt) for f in body.factors]
        if target.kind == "psnr" and head.mode.limits is not None:
            left = math.sqrt(max(left**2 - samples * _ROUNDED_SAMPLE, 0.0))
        terms = spectrum.terms_for_tail(spectra, left)
        while terms < sum(map(len, spectra)):
            ranks = spectrum.ranks_of_leading(spectra, terms)
            tails = (s[k:] for s, k in zip(spectra, ranks, strict=True))
            added = sum(x[k] for x, k in zip(rounded, ranks, strict=True))
            if sum(float(s @ s) for s in tails) + added <= left**2:
                break
            terms += 1
        ranks = spectrum.ranks_of_leading(spectra, terms)
    shorter = tuple(map(_without_last, body.factors, ranks))
    return replace(parts, body=replace(body, factors=shorter))


def _body(parts: Parts) -> Floats:
    """The body of a float file, for the type checker."""
    if not isinstance(parts.body, Floats):
        raise TypeError(f"store {parts.head.store} is not a float store")
    return parts.body


def _without_last(f: Factors, k: int) -> Factors:
    """Keep k terms: the others leave one by one, so that no stop between changes the tail."""
    for rank in range(f.k - 1, k - 1, -1):
        f = f.truncate(rank)
    return f
