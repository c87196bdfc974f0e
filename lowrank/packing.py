"""The packed store: the quantiser step that meets a target, and the parts around it.

One step serves the whole picture, so every target is a search on one dial, with real
encodings: the quality says the step outright, a PSNR and a size are met by a few.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from types import ModuleType
from typing import cast

import numpy as np
from numpy.typing import NDArray

from lowrank import format as lrk
from lowrank import layout as layouts
from lowrank import rank
from lowrank.errors import FormatError, UsageError
from lowrank.packed import patches
from lowrank.packed.norms import Norms
from lowrank.packed.samples import Samples
from lowrank.parts import PackedMatrix, Parts, matrix_shape
from lowrank.picture import Picture
from lowrank.pixels import compare
from lowrank.rank import Target

_STEP_AT_HALF = 56.0  # levels of 0-255, at quality 50: 75 is nearer to the image than JPEG 75
_FINEST, _COARSEST = -5.0, 11.0  # binary logarithms of the steps that a search tries
_GRID = 512  # steps to an octave that it tells apart
_PSNR_SLACK = 0.1  # dB above the target that a search accepts
_SIZE_SLACK = 0.97  # share of the size that a search wants used
_EXCESS, _EXCESS_SLACK = 0.01, 0.96  # share that -k may add to the squared error, and its use
_DIALS = "-q, --psnr, --size, --error or --energy"


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
    mode = picture.mode
    if mode.peak is None:
        raise UsageError("float samples have no packed store; use -k, --error or --energy")
    unit = mode.peak / 255
    coder = _coder(picture, layout, target)

    @cache
    def at(step: float) -> Parts:
        return _parts(picture, layout, coder(step * unit))

    if target.kind == "quality" and layout == "patches":
        step = step_of_quality(target.value) * unit
        return _parts(picture, layout, coder(step, measured=True)), ()
    notes: tuple[str, ...] = ()
    if target.kind == "quality":
        parts = at(step_of_quality(target.value))
    elif target.kind == "size":
        parts = _for_size(at, int(target.value))
    elif target.kind == "rank":
        parts, notes = _for_rank(picture, at, int(target.value))
    elif target.kind == "auto":
        raise UsageError(f"the packed store takes {_DIALS}, or a rank by its number")
    else:
        parts, notes = _for_psnr(picture, at, _psnr_of(picture, target))
    if layout == "patches":
        step = patches.read_header(parts.payload, *_size(parts)).step
        return _parts(picture, layout, coder(step, measured=True)), notes
    return replace(parts, packed=_stated(picture, parts)), notes


def _coder(picture: Picture, layout: str, target: Target) -> Callable[..., patches.Packed]:
    """What encodes the picture with a step in levels."""
    mode, samples = picture.mode, cast("Samples", picture.samples)
    alpha = "alpha" in mode.channels
    if layout == "channels":
        from lowrank.packed import channels

        rank = int(target.value) if target.kind == "rank" else None
        source = channels.prepare(samples, mode.bits, alpha=alpha, rank=rank)
        return partial(channels.encode, source)
    if target.kind == "rank":
        raise UsageError(f"packed patches take {_DIALS}; -k goes with --layout channels")
    return partial(patches.encode, samples, mode.bits, alpha=alpha)


def _parts(picture: Picture, layout: str, packed: patches.Packed) -> Parts:
    """Parts of a file; where norms are still to be stated, zeros take as many bytes."""
    limit = min(matrix_shape(picture.width, picture.height, layout))
    norms = packed.norms or (Norms(0.0, 0.0, 0.0, 0.0),) * len(packed.ranks)
    return Parts(
        picture.width,
        picture.height,
        picture.mode,
        layout,
        "packed",
        picture.metadata,
        packed=tuple(
            PackedMatrix(min(k, limit), x.norm, x.sigma_next, x.tail, x.error)
            for k, x in zip(packed.ranks, norms, strict=True)
        ),
        payload=packed.payload,
    )


def _stated(picture: Picture, parts: Parts) -> tuple[PackedMatrix, ...]:
    turn, factors = turn_and_factors(parts)
    matrices = layouts.matrices(picture, parts.layout, turn)
    stated = []
    for k, matrix, B in zip(parts.ranks, matrices, factors, strict=True):
        A = np.asarray(matrix, np.float64)
        s = _spectrum(A)
        sigma_next = float(s[k]) if k < len(s) else 0.0
        tail, error = float(np.linalg.norm(s[k:])), float(np.linalg.norm(A - B))
        stated.append(PackedMatrix(k, float(np.linalg.norm(A)), sigma_next, tail, error))
    return tuple(stated)


def _codec(parts: Parts) -> ModuleType:
    if parts.layout == "patches":
        return patches
    # Loaded where it is needed: patches, which are the rule, start the sooner.
    from lowrank.packed import channels

    return channels


def _size(parts: Parts) -> tuple[int, int, int]:
    return parts.height, parts.width, len(parts.mode.channels)


def turn_of(parts: Parts) -> bytes:
    """Return the colour rotation of a packed file; empty where nothing is rotated."""
    codec, size = _codec(parts), _size(parts)
    turn = codec.read_header(parts.payload, *size).turn
    return b"" if turn is None else np.array(turn, np.int8).tobytes()


def turn_and_factors(parts: Parts) -> tuple[bytes, list[NDArray[np.float64]]]:
    """Return the colour rotation of a packed file, and its decoded (m, n) matrices B."""
    codec, size = _codec(parts), _size(parts)
    return turn_of(parts), codec.factors(parts.payload, *size, parts.mode.bits)


def _spectrum(A: NDArray[np.float64]) -> NDArray[np.float64]:
    """Singular values, descending, from the Gram matrix of the shorter side."""
    gram = A.T @ A if A.shape[0] > A.shape[1] else A @ A.T
    s: NDArray[np.float64] = np.sqrt(np.maximum(np.linalg.eigvalsh(gram)[::-1], 0))
    return s


def _for_rank(
    picture: Picture, at: Callable[[float], Parts], k: int
) -> tuple[Parts, tuple[str, ...]]:
    """The coarsest step that adds at most 1% to the squared error of the truncation."""
    A = [x.astype(np.float64) for x in layouts.matrices(picture, "channels", b"")]
    least = sum(float(np.sum(_spectrum(x)[k:] ** 2)) for x in A)

    def excess(step: float) -> float:
        _, factors = turn_and_factors(at(step))
        error = sum(float(np.sum((x - B) ** 2)) for x, B in zip(A, factors, strict=True))
        return max(error / least - 1, 1e-9) if least else math.inf

    @cache
    def measured(octave: float) -> float:
        return -math.log(excess(2**octave))

    m, n = A[0].shape
    beyond = f"the {m}x{n} matrices have rank {min(m, n)} at most: kept {min(m, n)}"
    notes = (beyond,) if k > min(m, n) else ()
    low = -math.log(_EXCESS)
    noise = 255 / (picture.mode.peak or 1) * math.sqrt(_EXCESS * least / (len(A) * k * (m + n)))
    start = math.log2(max(4 * noise, 2**_FINEST))
    finer, _ = _meet(measured, low, low - math.log(_EXCESS_SLACK), slope=-1.4, start=start)
    if finer is not None:
        return at(2**finer), notes
    share = f"{excess(2**_FINEST):.1%}" if least else "some error where there was none"
    return at(2**_FINEST), (*notes, f"packed as finely as can be, which adds {share}")


def _psnr_of(picture: Picture, target: Target) -> float:
    """PSNR that an energy or error target comes to: ||A - B||_F^2 = samples x MSE."""
    if target.kind == "psnr":
        return target.value
    flat = picture.samples.reshape(-1)
    norm2 = sum(
        float(np.sum(flat[i : i + (1 << 20)].astype(np.float64) ** 2))
        for i in range(0, flat.size, 1 << 20)
    )
    peak = picture.mode.peak or 1.0
    mse = rank.allowed_tail(target, math.sqrt(norm2), peak, flat.size) ** 2 / flat.size
    return 10 * math.log10(peak**2 / mse) if mse else math.inf


def _for_psnr(
    picture: Picture, at: Callable[[float], Parts], psnr: float
) -> tuple[Parts, tuple[str, ...]]:
    @cache
    def measured(octave: float) -> float:
        value = compare(picture, decode(at(2**octave), None)).psnr_db
        return 1e3 if value is None else value

    # 6 dB an octave is the law of fine quantisation.
    finer, _ = _meet(measured, psnr, psnr + _PSNR_SLACK, slope=-6.0, start=(58 - psnr) / 6)
    if finer is None:
        return at(2**_FINEST), (
            f"{psnr:.2f} dB is out of reach: packed as finely as can be, "
            f"{measured(_FINEST):.2f} dB",
        )
    return at(2**finer), ()


def _for_size(at: Callable[[float], Parts], size: int) -> Parts:
    @cache
    def measured(octave: float) -> float:
        return math.log(len(lrk.serialize(at(2**octave))))

    high = math.log(size) + 1e-12
    low = high + math.log(_SIZE_SLACK)
    _, coarser = _meet(measured, low, high, slope=-0.7, start=4.0)
    if coarser is None:
        raise UsageError(
            f"{size} bytes do not hold this image; "
            f"{math.exp(measured(_COARSEST)):.0f} is the least that the packed store takes"
        )
    return at(2**coarser)


def _meet(
    value: Callable[[float], float], low: float, high: float, *, slope: float, start: float
) -> tuple[float | None, float | None]:
    """Find where a falling function lies between `low` and `high`.

    Parameters
    ----------
    value : callable
        Of the step's binary logarithm.
    slope : float
        A guess of its slope, until two values tell.
    start : float

    Returns
    -------
    finer, coarser : float or None
        The same place twice where one is found; else the coarsest known with a value of
        at least `low`, and the finest known with a value of at most `high`.
    """
    fine: tuple[float, float] | None = None
    coarse: tuple[float, float] | None = None
    aim, x = (low + high) / 2, min(max(start, _FINEST), _COARSEST)
    while True:
        x = round(x * _GRID) / _GRID
        v = value(x)
        if low <= v <= high:
            return x, x
        if v > high:
            fine = x, v
        else:
            coarse = x, v
        if fine and coarse:
            if coarse[0] - fine[0] < 1.5 / _GRID:
                return fine[0], coarse[0]
            x = fine[0] + (coarse[0] - fine[0]) * (fine[1] - aim) / (fine[1] - coarse[1])
            margin = max((coarse[0] - fine[0]) / 8, 1 / _GRID)
            x = min(max(x, fine[0] + margin), coarse[0] - margin)
        else:
            if x in (_FINEST, _COARSEST):
                return (fine and fine[0]), (coarse and coarse[0])
            ahead = (aim - v) / slope
            x += math.copysign(max(abs(ahead), 0.05), ahead) * 1.1
            x = min(max(x, _FINEST), _COARSEST)


def decode(parts: Parts, components: int | None) -> Picture:
    """Rebuild the picture from the first components, or from all.

    Raises
    ------
    FormatError
        The payload is damaged.
    """
    mode = parts.mode
    if mode.peak is None:
        raise FormatError("a packed file of float samples is not known to this version")
    decoded = _codec(parts).decode(
        parts.payload,
        *_size(parts),
        mode.bits,
        components=components,
        partial=parts.missing > 0,
    )
    return Picture(decoded.samples, mode, parts.metadata)
