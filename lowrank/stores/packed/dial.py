"""What encodes a picture, and the quantiser step that it is encoded with.

One step serves the whole picture, so every target is a search on one dial, with real
encodings: the quality says the step outright, a PSNR and a size are met by a few.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import UsageError, number_of
from lowrank.format.parts import Parts
from lowrank.layouts import turn
from lowrank.picture import Picture
from lowrank.stores.packed import search
from lowrank.stores.packed.coding.payload import ALPHA_FINER, Coded, Samples
from lowrank.stores.packed.tries import Ready, Tries
from lowrank.targets import Target

if TYPE_CHECKING:
    from lowrank.picture.levels import Levels

_STEP_AT_HALF = 56.0  # levels of 0-255, at quality 50: 75 is nearer to the image than JPEG 75
_EYE_STEP = 0.485  # of a step for PSNR: then a file has about as many bytes
_DEEP = 65535
_DIM = 0.5  # of 16 bits, below which a quality counts in what samples use of them
_DIM_MEAN = 1 / 32  # the same, of their root mean square, below which it keeps little of them
_LARGE = 1 << 22
"""Pixels above which a search for an error is guided by a forecast: these are not smoothed."""
_NOT_SMALL = 1 << 16
"""Pixels above which a search for a size is."""
_FORECAST = ("psnr", "psnr_worst", "size", "energy", "error")
_DIALS = "-q, --psnr, --size, --error, --max-error or --energy"


def step_of_quality(quality: float) -> float:
    """Return the quantiser step of a quality, in levels of 0-255.

    The scale is that of libjpeg's quantisation tables: quality 50 is 1, 75 a half,
    100 (almost) nothing, 25 two, 1 fifty.
    """
    scale = 2 - quality / 50 if quality >= 50 else 50 / quality
    return max(_STEP_AT_HALF * scale, 1.0)


def encode(picture: Picture, target: Target, *, layout: str) -> tuple[Parts, tuple[str, ...]]:
    """Compress a picture to the packed store.

    Returns
    -------
    parts : Parts
    notes : tuple of str
        Where the target could not be met exactly.

    Raises
    ------
    UsageError
        The target or the mode is not one that the packed store knows, or cannot be met.
    """
    _check(picture, target, layout)
    range_ = _range(picture)
    notes: tuple[str, ...] = ()
    if range_ is not None:
        if target.kind == "rank" and (range_.low or not range_.whole):
            raise UsageError(
                f"a rank of packed floats or negative samples is not that of their own matrix; "
                f"give {_DIALS}, or a float store"
            )
        if not range_.whole:
            notes = (
                f"Floats are packed as 65,536 levels from {range_.low:.7g} to {range_.high:.7g}: "
                f"{range_.unit:.3g} apart.",
            )
    ready = _prepared(picture, range_, layout, target)
    notes += ready.notes
    tries = Tries(picture, layout, range_, ready)
    if target.kind == "quality":
        parts, said = _of_quality(tries, target)
        return parts, notes + said + _coarser(tries.latest)
    step, said = _searched(tries, target, ready.spectra, range_.low if range_ else 0.0)
    return tries.parts(step), notes + said


def _check(picture: Picture, target: Target, layout: str) -> None:
    """Refuse what the packed store does not know, whatever the samples are."""
    if picture.mode.bits == 32 and picture.mode.limits is not None and layout != "stack":
        raise UsageError(
            "integers of 32 bits have no packed store; use -k, --error, --max-error or --energy, "
            "or give integers of 16 bits"
        )
    if target.kind == "auto":
        raise UsageError(f"rank auto is of float stores; for a packed one give {_DIALS}")
    if target.kind == "rank" and layout == "patches":
        raise UsageError(f"packed patches take {_DIALS}; -k goes with --layout channels")


def _searched(
    tries: Tries, target: Target, spectra: list[NDArray[np.float64]], lowest: float
) -> tuple[float, tuple[str, ...]]:
    """The step that meets a target, and where it could not be met exactly.

    Parameters
    ----------
    tries : Tries
    target : Target
        Of any kind but a quality, which is a step outright.
    spectra : list of (r,) ndarray
        All singular values of each matrix, where a rank is asked for.
    lowest : float
        What a level of 0 stands for.
    """
    from lowrank.stores.packed import steps

    if target.kind == "size":
        step = steps.for_size(tries, int(target.value))
        return step, _coarser(tries.at(step)) or _finest(step * tries.unit, step)
    if target.kind == "max_error":
        return steps.for_largest(tries, target.value), ()
    if target.kind == "rank":
        return steps.for_rank(tries, spectra, int(target.value))
    if target.kind == "psnr_worst":
        return steps.for_psnr(tries, target.value, worst=True)
    return steps.for_psnr(tries, steps.psnr_of(tries.picture, target, lowest, tries.peak))


def _of_quality(tries: Tries, target: Target) -> tuple[Parts, tuple[str, ...]]:
    """Parts of a quality, and what it counts in where that is not plain.

    Grey samples of 16 bits that use less than half of them, as those of cameras of 12 bits do, are
    seen in the range that they use, as all others of more than 8 bits are.
    """
    picture = tries.picture
    step = step_of_quality(target.value) * (_EYE_STEP if target.tune == "eye" else 1)
    if picture.mode.name != "I;16":
        return tries.parts(step), _from_zero(picture, tries.levels)
    span = tries.peak if picture.frames is not None else float(np.ptp(picture.samples))
    share = max(span, 1.0) / _DEEP
    if share < _DIM:
        far = number_of(round(span), "level")
        note = f"These samples are {far} apart at most: quality counts in that range."
        return tries.parts(step * share), (note,)
    parts = tries.parts(step)
    mean = parts.body.matrices[0].norm / math.sqrt(picture.samples.size)
    if mean >= _DIM_MEAN * _DEEP:
        return parts, ()
    return parts, (
        f"Quality counts in 16 bits, 0 to 65,535, and most of these samples use little of them "
        f"(root mean square {mean:.4g}); if the error is too large, give --error 1% or --size.",
    )


def _from_zero(picture: Picture, levels: Levels | None) -> tuple[str, ...]:
    """A note where quality counts from 0, and samples use little of the range up to there."""
    if levels is None or not levels.whole or picture.mode.peak is not None:
        return ()
    span = float(picture.samples.max()) - float(picture.samples.min())
    if span >= _DIM * levels.span:
        return ()
    return (
        f"Quality counts from {levels.low:,.0f} to {levels.high:,.0f}, and these samples are "
        f"{number_of(round(span), 'level')} apart at most; if the error is too large, give "
        "--psnr or --size.",
    )


def _coarser(coded: Coded) -> tuple[str, ...]:
    """A note where an encoding has a coarser step than was asked for."""
    if not coded.finest:
        return ()
    return (
        f"Steps of {coded.finest:.3g} levels are the finest for a stack whose samples lie so far "
        "from 0, and coarser than was asked for; take away what all of them have in common, or "
        "give a float store.",
    )


def _finest(levels: float, step: float) -> tuple[str, ...]:
    """A note where a size could not be used up, and something is lost all the same."""
    if step > 2**search.FINEST or levels <= 1:
        return ()
    return (
        f"It is packed as finely as can be, in steps of {levels:.3g} levels, and takes fewer bytes "
        "than it may; a float store may be nearer.",
    )


def _rank(target: Target) -> int | None:
    """How many terms each matrix, or tile, is to have, where that is asked for."""
    return int(target.value) if target.kind == "rank" else None


def _range(picture: Picture) -> Levels | None:
    """The range of a picture's samples, where its file states one."""
    if not picture.mode.ranged(stacked=picture.frames is not None):
        return None
    from lowrank.picture import levels

    return levels.of(picture)


def _counted(picture: Picture, levels: Levels) -> Picture:
    """A picture whose samples are the levels of another's."""
    samples = levels.of_samples(picture.samples)
    return replace(picture, samples=samples, mode=levels.mode(samples.shape[-1]))


def _prepared(picture: Picture, levels: Levels | None, layout: str, target: Target) -> Ready:
    """What encodes a picture; each layout loads where it is needed, and starts the sooner."""
    if layout == "stack":
        from lowrank.stores.packed.frames import tiled

        if picture.samples.size > tiled.LARGEST:
            return _tiles(picture, levels, target)
    counted = picture if levels is None else _counted(picture, levels)
    if layout == "stack":
        return _stack(counted, target)
    if layout == "channels":
        return _channels(counted, target)
    # A forecast counts in levels of 0 to the peak, and does not know what no coefficient tells.
    return _patches(counted, target, told=levels is None and picture.metadata.nodata is None)


def _tiles(picture: Picture, levels: Levels | None, target: Target) -> Ready:
    """What encodes a stack that is too large to be coded whole."""
    from lowrank.stores.packed.frames.tiled import Tiled

    rank = _rank(target)
    tiles = Tiled(
        picture, levels, planes=rank, weighted=target.weights == "noise",
        measured=target.kind not in ("quality", "size", "rank"),
    )  # fmt: skip
    if rank is not None:
        each = number_of(rank, "term")
        note = f"It is coded in {len(tiles.boxes)} tiles, each of {each}."
        return Ready(tiles.encode, tiles.spectra(), peak=tiles.peak, notes=(note,))
    told = tiles.forecast() if target.kind in _FORECAST else None
    return Ready(tiles.encode, rehearsal=told, peak=tiles.peak)


def _stack(picture: Picture, target: Target) -> Ready:
    from lowrank.stores.packed.frames import encoder as frames
    from lowrank.stores.packed.frames.klt import Stack
    from lowrank.stores.packed.frames.noise import weights
    from lowrank.stores.packed.frames.rehearsal import Rehearsal

    samples = cast("Samples", picture.samples)
    by_noise = weights(samples) if target.weights == "noise" else None
    stack = Stack(samples, turn.of_stack(picture), by_noise)
    stack.once = target.kind == "quality"
    encode = partial(frames.encode, stack, mode=picture.mode, planes=_rank(target))
    if target.kind == "rank":
        return Ready(encode, [stack.spectrum[0]])
    return Ready(encode, rehearsal=None if target.kind == "quality" else Rehearsal(stack))


def _channels(picture: Picture, target: Target) -> Ready:
    from lowrank.stores.packed.channels import encoder

    mode, rank = picture.mode, _rank(target)
    ranked = rank is not None
    source = encoder.prepare(
        cast("Samples", picture.samples), mode.bits, alpha="alpha" in mode.channels,
        turn=turn.of(picture, "channels", packed=True, ranked=ranked),
        rank=rank,
    )  # fmt: skip
    return Ready(partial(encoder.encode, source), source.spectra if ranked else [])


def _patches(picture: Picture, target: Target, *, told: bool) -> Ready:
    """What encodes a photograph; its coefficients may tell what a step comes to."""
    from lowrank.stores.packed.patches import encoder

    mode, searched = picture.mode, target.kind != "quality"
    alpha = "alpha" in mode.channels
    source = encoder.prepare(
        cast("Samples", picture.samples), mode.bits, alpha=alpha,
        turn=turn.of(picture, "patches", packed=True), tune=target.tune,
    )  # fmt: skip
    encode = partial(encoder.encode, source, again=searched, tune=target.tune)
    many = _LARGE if target.kind != "size" else _NOT_SMALL
    if not (searched and told and picture.width * picture.height > many):
        return Ready(encode)
    from lowrank.stores.packed.patches.forecast import Forecast

    return Ready(encode, forecast=Forecast(source.C, ALPHA_FINER if alpha else 1.0))
