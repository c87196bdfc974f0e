"""The quantiser step that meets a target.

One step serves the whole picture, so every target is a search on one dial, with real
encodings: the quality says the step outright, a PSNR and a size are met by a few. What
decoding would give, and the norms that a file states, come from the encoder's own walk.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import cast

import numpy as np
from numpy.typing import NDArray

from lowrank import format as lrk
from lowrank.errors import UsageError
from lowrank.format.parts import Head, Packed, PackedMatrix, Parts
from lowrank.layouts import turn
from lowrank.picture import Picture, distance
from lowrank.picture import levels as ranges
from lowrank.picture.distance import Pixels, compare, full_scale
from lowrank.picture.levels import Levels
from lowrank.stores.packed.coding.payload import Coded, Norms, Samples
from lowrank.targets import Target

_STEP_AT_HALF = 56.0  # levels of 0-255, at quality 50: 75 is nearer to the image than JPEG 75
_FINEST, _COARSEST = -5.0, 11.0  # binary logarithms of the steps that a search tries
_GRID = 512  # steps to an octave that it tells apart
_PSNR_SLACK = 0.1  # dB above the target that a search accepts
_SIZE_SLACK = 0.97  # share of the size that a search wants used
_EXCESS, _EXCESS_SLACK = 0.01, 0.96  # share that -k may add to the squared error, and its use
_DIALS = "-q, --psnr, --size, --error, --max-error or --energy"
_REACHED = 0.97  # of a largest error: a search that comes so near ends


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
    if picture.mode.bits == 32 and picture.mode.limits is not None and layout != "stack":
        raise UsageError(
            "integers of 32 bits have no packed store; use -k, --error, --max-error or --energy, "
            "or give integers of 16 bits"
        )
    if target.kind == "auto":
        raise UsageError(f"the packed store takes {_DIALS}, or a rank by its number")
    if target.kind == "rank" and layout == "patches":
        raise UsageError(f"packed patches take {_DIALS}; -k goes with --layout channels")
    range_ = ranges.of(picture)
    counted = picture
    notes: tuple[str, ...] = ()
    if range_ is not None:
        if target.kind == "rank" and (range_.low or not range_.whole):
            raise UsageError(
                f"a rank of packed floats or negative samples is not that of their own matrix; "
                f"give {_DIALS}, or a float store"
            )
        counted = _counted(picture, range_)
        if not range_.whole:
            notes = (
                f"Floats are packed as 65,536 levels from {range_.low:.7g} to {range_.high:.7g}: "
                f"{range_.unit:.3g} apart.",
            )
    encoder, spectra, expect = _prepared(counted, layout, target)
    tries = _Tries(picture, layout, encoder, range_, expect)
    if target.kind == "quality":
        step = step_of_quality(target.value)
    elif target.kind == "size":
        step = _for_size(tries, int(target.value))
    elif target.kind == "rank":
        step, said = _for_rank(tries, spectra, int(target.value))
        notes += said
    elif target.kind == "psnr_worst":
        step, said = _for_psnr(tries, target.value, worst=True)
        notes += said
    elif target.kind == "max_error":
        step = _for_largest(tries, target.value)
    else:
        step, said = _for_psnr(tries, _psnr_of(picture, target))
        notes += said
    return tries.parts(step), notes


class _Tries:
    """Encodings of one picture with one step after another, the latest of them at hand."""

    def __init__(
        self, picture: Picture, layout: str, encode: Callable[[float], Coded],
        levels: Levels | None, expect: Callable[[float], tuple[float, float]] | None,
    ) -> None:  # fmt: skip
        self.picture, self.layout, self.levels = picture, layout, levels
        # Of data whose peak is their range: that range, in levels.
        deep = levels.span if levels is not None else full_scale(picture)
        self.unit = (picture.mode.peak or deep) / 255
        """Levels of the data for one of 0-255, the range that steps are said of."""
        self._encode = encode
        self._expect = expect
        self._latest: tuple[float, Coded] | None = None

    def at(self, step: float) -> Coded:
        """The picture encoded with a step in levels of 0-255."""
        if self._latest is None or self._latest[0] != step:
            self._latest = None  # before the next one, which takes as much memory
            self._latest = step, self._encode(step * self.unit)
        return self._latest[1]

    def size(self, step: float) -> int:
        """Bytes of the file, give or take one or two, see `Coded.length`."""
        coded = self.at(step)
        norms = (Norms(0.0, 0.0, 0.0, 0.0),) * len(coded.ranks)
        return lrk.file_size(self._parts(coded.ranks, norms, bytes(coded.length)))

    def decoded(self, step: float) -> Picture:
        """The decoded picture."""
        samples, mode = self.at(step).samples(), self.picture.mode
        if self.levels is not None:
            return Picture(self.levels.to_samples(samples, mode), mode)
        return Picture(samples, mode)

    def pixels(self, step: float) -> Pixels:
        """How far the decoded picture is off."""
        return compare(self.picture, self.decoded(step))

    def worst(self, step: float) -> float:
        """PSNR of the worst frame of the decoded stack, in dB; 1000 where all are exact."""
        off = distance.frames(self.picture, self.decoded(step))
        mse = max((x.squares / x.samples for x in off if x.samples), default=0.0)
        peak = full_scale(self.picture)
        return 10 * math.log10(peak**2 / mse) if mse else 1e3

    def psnr(self, step: float) -> float:
        """PSNR of the decoded picture, in dB; 1000 where it is exact."""
        value = self.pixels(step).psnr_db
        return 1e3 if value is None else value

    def expected(self, kind: int) -> Callable[[float], float] | None:
        """PSNR (0) or log of the size (1) that an octave comes to, about, where that is known."""
        expect = self._expect
        if expect is None:
            return None

        def psnr(octave: float) -> float:
            mse = expect(2**octave * self.unit)[0] / self.picture.samples.size + 1 / 12
            return 20 * math.log10(255 * self.unit) - 10 * math.log10(mse)

        def size(octave: float) -> float:
            return math.log(expect(2**octave * self.unit)[1] + 100)

        return cache(size if kind else psnr)

    def parts(self, step: float) -> Parts:
        """The file, its norms stated."""
        coded = self.at(step)
        return self._parts(coded.ranks, coded.norms(), coded.payload())

    def _parts(self, ranks: tuple[int, ...], norms: tuple[Norms, ...], payload: bytes) -> Parts:
        head = Head.of(self.picture, self.layout, "packed")
        stated = tuple(
            PackedMatrix(min(k, *head.shape), x.norm, x.sigma_next, x.tail, x.error)
            for k, x in zip(ranks, norms, strict=True)
        )
        return Parts(head, Packed(stated, payload, self.levels))


def _counted(picture: Picture, levels: Levels) -> Picture:
    """A picture whose samples are the levels of another's."""
    samples = levels.of_samples(picture.samples)
    return replace(picture, samples=samples, mode=levels.mode(samples.shape[-1]))


def _prepared(
    picture: Picture, layout: str, target: Target
) -> tuple[
    Callable[[float], Coded],
    list[NDArray[np.float64]],
    Callable[[float], tuple[float, float]] | None,
]:
    """What encodes the picture with a step in levels; for a rank, all singular values, too.

    And what tells, of a stack, about what a step comes to: squared error and bytes.
    """
    mode, samples = picture.mode, cast("Samples", picture.samples)
    alpha, ranked = "alpha" in mode.channels, target.kind == "rank"
    turned = turn.of(picture, layout, packed=True, ranked=ranked)
    # Loaded where it is needed: each layout starts the sooner without the others.
    if layout == "stack":
        from lowrank.stores.packed.frames import codec as frames
        from lowrank.stores.packed.frames.klt import Stack

        stack = Stack(samples, turn.of_stack(picture))
        planes = int(target.value) if ranked else None
        spectra = [stack.spectrum[0]] if ranked else []
        encode = partial(frames.encode, stack, mode=mode, planes=planes)
        return encode, spectra, partial(frames.expected, stack)
    if layout == "channels":
        from lowrank.stores.packed.channels import codec as channels

        rank = int(target.value) if ranked else None
        factorised = channels.prepare(samples, mode.bits, alpha=alpha, turn=turned, rank=rank)
        spectra = factorised.spectra if ranked else []
        return partial(channels.encode, factorised), spectra, None
    from lowrank.stores.packed.patches import codec as patches

    source = patches.prepare(samples, mode.bits, alpha=alpha, turn=turned)
    return partial(patches.encode, source, again=target.kind != "quality"), [], None


def _for_rank(
    tries: _Tries, spectra: list[NDArray[np.float64]], k: int
) -> tuple[float, tuple[str, ...]]:
    """The coarsest step that adds at most 1% to the squared error of the truncation."""
    picture = tries.picture
    m, n, channels = picture.samples.shape[-3:]
    if picture.frames is not None:
        m, n, channels = picture.frames, m * n * channels, 1
    least = sum(float(np.sum(s[k:] ** 2)) for s in spectra)

    def excess(step: float) -> float:
        error = sum(x.error**2 for x in tries.at(step).norms())
        return max(error / least - 1, 1e-9) if least else math.inf

    @cache
    def measured(octave: float) -> float:
        return -math.log(excess(2**octave))

    beyond = f"the {m}x{n} matrices have rank {min(m, n)} at most: kept {min(m, n)}"
    notes = (beyond,) if k > min(m, n) else ()
    low = -math.log(_EXCESS)
    noise = math.sqrt(_EXCESS * least / (channels * k * (m + n))) / tries.unit
    start = math.log2(max(4 * noise, 2**_FINEST))
    finer, _ = _meet(measured, low, low - math.log(_EXCESS_SLACK), slope=-1.4, start=start)
    if finer is not None:
        return 2**finer, notes
    share = f"{excess(2**_FINEST):.1%}" if least else "some error where there was none"
    return 2**_FINEST, (*notes, f"packed as finely as can be, which adds {share}")


def _psnr_of(picture: Picture, target: Target) -> float:
    """PSNR that an energy or error target comes to: ||A - B||_F^2 = samples x MSE."""
    if target.kind == "psnr":
        return target.value
    from lowrank.targets import spectrum

    flat = picture.samples.reshape(-1)
    norm2 = sum(
        float(np.sum(flat[i : i + (1 << 20)].astype(np.float64) ** 2))
        for i in range(0, flat.size, 1 << 20)
    )
    peak = full_scale(picture)
    mse = spectrum.allowed_tail(target, math.sqrt(norm2), peak, flat.size) ** 2 / flat.size
    return 10 * math.log10(peak**2 / mse) if mse else math.inf


def _for_psnr(tries: _Tries, psnr: float, *, worst: bool = False) -> tuple[float, tuple[str, ...]]:
    """The coarsest step with a PSNR of a picture, or of a stack, or of its worst frame."""

    @cache
    def measured(octave: float) -> float:
        return tries.worst(2**octave) if worst else tries.psnr(2**octave)

    # 6 dB an octave is the law of fine quantisation.
    start = _guided(measured, tries.expected(0), psnr, psnr + _PSNR_SLACK, (58 - psnr) / 6)
    finer, _ = _meet(measured, psnr, psnr + _PSNR_SLACK, slope=-6.0, start=start)
    if finer is None:
        return 2**_FINEST, (
            f"{psnr:.2f} dB is out of reach: packed as finely as can be, "
            f"{measured(_FINEST):.2f} dB",
        )
    return 2**finer, ()


def _for_largest(tries: _Tries, allowed: float) -> float:
    """A step at which no sample is further off; one 0.2% coarser is, or is more than 97% there.

    The largest error does not rise with every step, so a coarser one may do as well.
    """
    if tries.picture.mode.limits is not None:
        allowed = math.floor(allowed)
    nothing = 1e-3 * tries.unit * (tries.levels.unit if tries.levels else 1.0)

    def bits(error: float) -> float:
        return -math.log2(max(error, nothing))

    @cache
    def measured(octave: float) -> float:
        return bits(tries.pixels(2**octave).max_abs_error)

    low = bits(allowed)
    start = math.log2(max(allowed, nothing) / nothing * 1e-3) + 1
    finer, _ = _meet(measured, low, low - math.log2(_REACHED), slope=-1.0, start=start)
    if finer is None:
        least = tries.pixels(2**_FINEST).max_abs_error
        raise UsageError(
            f"max_error {allowed:g} is out of reach of the packed store, whose finest step leaves "
            f"{least:.3g}; give a float store"
        )
    while tries.pixels(2**finer).max_abs_error > allowed and finer > _FINEST:
        finer -= 1 / _GRID  # it was a rounding above
    return 2**finer


def _for_size(tries: _Tries, size: int) -> float:
    @cache
    def measured(octave: float) -> float:
        return math.log(tries.size(2**octave))

    high = math.log(size) + 1e-12
    low = high + math.log(_SIZE_SLACK)
    start = _guided(measured, tries.expected(1), low, high, 4.0)
    _, coarser = _meet(measured, low, high, slope=-0.7, start=start)
    if coarser is None:
        raise UsageError(
            f"{size} bytes do not hold this image; "
            f"{math.exp(measured(_COARSEST)):.0f} is the least that the packed store takes"
        )
    while lrk.file_size(tries.parts(2**coarser)) > size and coarser < _COARSEST:
        coarser += 1 / _GRID  # the estimate was a byte short
    return 2**coarser


def _guided(
    value: Callable[[float], float],
    expected: Callable[[float], float] | None,
    low: float,
    high: float,
    start: float,
) -> float:
    """Where to start the search for a value between `low` and `high`, if it is not found here.

    What is expected of a step is wrong by about as much for one step as for the next: two
    encodings are mostly enough.
    """
    if expected is None:
        return start
    aim, off, x = (low + high) / 2, 0.0, start
    for _ in range(3):
        fine, coarse = _FINEST, _COARSEST
        while coarse - fine > 0.5 / _GRID:
            x = (fine + coarse) / 2
            fine, coarse = (x, coarse) if expected(x) + off > aim else (fine, x)
        x = round(x * _GRID) / _GRID
        found = value(x)
        if low <= found <= high:
            break
        off = found - expected(x)
    return x


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
