"""Pictures <-> the parts of a `.lrk` file: the layout and the store of a target, then the store.

BLAS has one thread meanwhile, see `threads`: in a program of anybody's as on the command line.
"""

from __future__ import annotations

import math
import sys
from dataclasses import replace

import numpy as np

from lowrank import stores, threads
from lowrank.errors import ImageError, LimitError, UsageError
from lowrank.format.parts import Parts
from lowrank.limits import fits
from lowrank.names import AUTO, CHOICES, LAYOUTS
from lowrank.picture import Picture, Turn, mode_in
from lowrank.stores import Decoded, Encoded, Factored, Stated
from lowrank.targets import Target, choice

_BOUNDS = ("max_error", "error", "energy", "psnr", "psnr_worst")
"""Targets that say how far the samples may be from those of the source."""


@threads.one_blas_thread()
def encode(
    picture: Picture,
    target: Target,
    *,
    layout: str | None = None,
    store: str | None = None,
    certify: bool = False,
) -> Encoded:
    """Compress a picture.

    Parameters
    ----------
    picture : Picture
    target : Target
        Which terms to keep.
    layout : {"channels", "patches", "stack"}, optional
    store : {"auto", "float16", "float32", "float64", "packed"}, optional
        What is not said follows from the target, see `stores.resolve`.
    certify : bool
        Prove each decomposition.

    Raises
    ------
    UsageError
        The target cannot be met, or the three do not go together.
    ImageError
        The samples hold NaN or infinity.
    """
    choice(layout, "layout", LAYOUTS)
    choice(store, "store", CHOICES)
    if picture.frames is not None and layout is None:
        layout = "stack"
    if (layout == "stack") != (picture.frames is not None):
        raise UsageError(
            "layout stack is that of a stack, and its only one; one picture is channels or patches"
        )
    layout, store = stores.resolve(target, layout, store)
    store = roomy(picture, store)
    if target.kind in _BOUNDS and picture.mode.dtype == "float64" and store != "float64":
        target, store = _of_float64(picture, target, store)
    picture, notes = narrowed(picture, store)
    encoded = stores.of(store).encode(picture, target, layout=layout, store=store, certify=certify)
    return replace(encoded, notes=notes + encoded.notes) if notes else encoded


def _of_float64(picture: Picture, target: Target, store: str) -> tuple[Target, str]:
    """What is left of an error once samples are float32; or store float64 for `auto`."""
    from lowrank.stores import rounding  # where samples are float64 and an error is asked for

    kept, _ = narrowed(picture, store)
    lost, allowed = _lost(picture, kept, target)
    peak = picture.peak if target.kind.startswith("psnr") else 1.0
    return rounding.beside_samples(target, store, lost, allowed, peak)


def _lost(picture: Picture, kept: Picture, target: Target) -> tuple[float, float]:
    """How far samples are from those that are kept, and may be, as a target counts it."""
    from lowrank.targets import spectrum

    d = np.subtract(picture.samples, kept.samples, dtype=np.float64)
    if target.kind == "max_error":
        return float(np.abs(d, out=d).max()), target.value
    if target.kind in ("error", "energy"):
        norm = float(np.linalg.norm(picture.samples)) or 1.0
        return float(np.linalg.norm(d)) / norm, spectrum.allowed_share(target)
    frames = picture.each(d) if target.kind == "psnr_worst" else [d]
    worst = max(math.sqrt(float(np.mean(np.square(x, out=x)))) for x in frames)
    return worst, spectrum.tail_for_psnr(target.value, picture.peak, 1)


def narrowed(picture: Picture, store: str) -> tuple[Picture, tuple[str, ...]]:
    """Samples of float64 as float32, and what that does to them; store `float64` keeps them.

    Raises
    ------
    ImageError
        They are beyond float32, or all below it.
    """
    if picture.mode.dtype != "float64":
        return picture, ()
    with np.errstate(over="ignore"):
        samples = picture.samples.astype(np.float32)
    if not np.isfinite(samples).all():
        raise ImageError("samples beyond the range of float32, which no file holds; scale them")
    if not samples.any() and picture.samples.any():  # and the squares of such are nothing
        raise ImageError("samples below the range of float32, which no file holds; scale them")
    mode = mode_in(picture.mode, store)
    if mode == picture.mode:
        return picture, ()
    metadata = picture.metadata
    if metadata.nodata is not None:
        from lowrank.picture import gaps

        value = gaps.value_of(metadata)
        if value is not None and not gaps.is_held(value, samples.dtype):
            raise ImageError(
                f"no sample of float32 is {value:.9g}, the no-data value; store float64 keeps it"
            )
        metadata = replace(metadata, nodata=gaps.revalued(metadata.nodata, samples.dtype))
    exact = np.array_equal(samples, picture.samples)
    how = "kept as float32, which holds them exactly" if exact else "rounded to float32"
    notes = (f"Samples of float64 were {how}; store float64 keeps the type.",)
    return Picture(samples, mode, metadata), notes


def roomy(picture: Picture, store: str) -> str:
    """Store float64 in place of `auto` where float32 has no such value of pixels without data."""
    if store != AUTO or picture.mode.dtype != "float64" or picture.metadata.nodata is None:
        return store
    from lowrank.picture import gaps

    value = gaps.value_of(picture.metadata)
    held = value is None or gaps.is_held(value, np.dtype(np.float32))
    return store if held else "float64"


@threads.one_blas_thread()
def decode(parts: Parts, *, rank: int | None = None, filled: bool = False) -> Decoded:
    """Rebuild the picture from the first `rank` terms of each matrix (all by default).

    Pixels without data have their value again, unless they are wanted `filled`, for looks.

    Raises
    ------
    LimitError
        There is not the memory for so many samples.
    FormatError
        What the file holds is damaged behind checksums that hold.
    """
    head = parts.head
    try:
        taken = math.prod(head.samples_shape) * np.dtype(head.mode.dtype).itemsize
        if taken > sys.maxsize or not fits(taken):
            raise MemoryError
        decoded = stores.of(head.store).decode(parts, rank=rank)
        if filled or head.metadata.nodata is None:
            return decoded
        from lowrank.picture import gaps

        return replace(decoded, picture=gaps.restored(decoded.picture))
    except MemoryError as error:
        raise LimitError(
            f"not enough memory for an image of {head.width}x{head.height} pixels; decode it where "
            "there is more"
        ) from error


@threads.one_blas_thread()
def factors(parts: Parts) -> tuple[Turn | None, tuple[Factored, ...]]:
    """Return the rotation of the colours, and the matrices as stored and decoded."""
    return stores.of(parts.head.store).factors(parts)


def stated(parts: Parts) -> tuple[Stated, ...]:
    """Return what the file says of each matrix."""
    return stores.of(parts.head.store).stated(parts)


def relative_error(parts: Parts) -> float:
    """Frobenius error that the file states, relative to ||A||_F of the whole picture."""
    said = stated(parts)
    norm = math.hypot(*(x.norm for x in said))
    error = math.hypot(*(x.tail if x.error is None else x.error for x in said))
    return error / norm if norm else 0.0


def shorten(parts: Parts, target: Target) -> Parts:
    """Return a shorter file, made without pixels.

    Raises
    ------
    UsageError
        The store cannot be shortened, or not to this target.
    """
    return stores.of(parts.head.store).shorten(parts, target)
