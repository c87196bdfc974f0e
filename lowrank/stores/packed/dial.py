"""The quantiser step that meets a target.

One step serves the whole picture, so every target is a search on one dial, with real
encodings: the quality says the step outright, a PSNR and a size are met by a few. What
decoding would give, and the norms that a file states, come from the encoder's own walk.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from lowrank import format as lrk
from lowrank import pace, threads
from lowrank.errors import UsageError
from lowrank.format.parts import Head, Packed, PackedMatrix, Parts
from lowrank.layouts import turn
from lowrank.picture import Picture
from lowrank.stores.packed.coding.payload import ALPHA_FINER, Coded, Norms, Samples
from lowrank.targets import Target

if TYPE_CHECKING:
    from typing import Protocol

    from lowrank.picture.distance import OfFrame, Pixels
    from lowrank.picture.levels import Levels
    from lowrank.stores.packed.frames.tiled import Tiled

    class Forecast(Protocol):
        """What a step will lose and cost, but for a part that changes slowly."""

        def squared_error(self, step: float) -> float:
            """Of a sample, in squared levels."""

        def log_bits(self, step: float) -> float:
            """Logarithm of the bits of a sample."""


_STEP_AT_HALF = 56.0  # levels of 0-255, at quality 50: 75 is nearer to the image than JPEG 75
_EYE_STEP = 0.485  # of a step for PSNR: then a file has about as many bytes
_PSNR_SLACK = 0.1  # dB above the target that a search accepts
_SIZE_SLACK = 0.97  # share of the size that a search wants used
_EXCESS, _EXCESS_SLACK = 0.01, 0.96  # share that -k may add to the squared error, and its use
_LARGE = 1 << 22
"""Pixels above which a search for an error is guided by a forecast: these are not smoothed."""
_NOT_SMALL = 1 << 16
"""Pixels above which a search for a size is."""
_SURE, _SURE_SLACK = 0.01, 0.06  # dB above the target that an error told by coefficients must be
_TOLD = 2  # searches by what coefficients tell, each checked by decoding what it found
_COARSE_PSNR = 52.0  # dB below which rounding to levels is a small part of the error
_FORECAST = ("psnr", "psnr_worst", "size", "energy", "error")
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
    tiled = _tiled(picture, range_, target) if layout == "stack" else None
    if tiled is not None:
        spectra = tiled.spectra() if target.kind == "rank" else []
        told = tiled.forecast() if target.kind in _FORECAST else None
        tries = _Tries(picture, layout, tiled.encode, range_, told, tiled.peak)
        if target.kind == "rank":
            notes += (f"It is coded in {len(tiled.boxes)} tiles, each of {target.value:g} terms.",)
    else:
        counted = picture if range_ is None else _counted(picture, range_)
        encoder, spectra, forecast = _prepared(counted, layout, target)
        if range_ is not None and layout != "stack":
            forecast = None  # it counts in levels of 0 to the peak
        tries = _Tries(picture, layout, encoder, range_, forecast)
    if target.kind == "quality":
        step = step_of_quality(target.value) * (_EYE_STEP if target.tune == "eye" else 1)
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
        lowest = range_.low if range_ else 0.0
        step, said = _for_psnr(tries, _psnr_of(picture, target, lowest, tries.peak))
        notes += said
    return tries.parts(step), notes


class _Tries:
    """Encodings of one picture with one step after another, the latest of them at hand."""

    def __init__(
        self, picture: Picture, layout: str, encode: Callable[[float], Coded],
        levels: Levels | None, forecast: Forecast | None, peak: float | None = None,
    ) -> None:  # fmt: skip
        self.picture, self.layout, self.levels = picture, layout, levels
        self.forecast = forecast
        self._peak = peak
        # Of data whose peak is their range: that range, in levels.
        deep = levels.span if levels is not None else self.peak
        self.unit = (picture.mode.peak or deep) / 255
        """Levels of the data for one of 0-255, the range that steps are said of."""
        self._encode = encode
        self._latest: tuple[float, Coded] | None = None
        self._count = 0
        self._means: dict[float, float] = {}
        self.beyond = 1 / 12
        """Mean squared error of samples beyond that of coefficients: that of rounding, at first."""

    @cached_property
    def peak(self) -> float:
        """Peak of a PSNR."""
        return self.picture.peak if self._peak is None else self._peak

    def at(self, step: float) -> Coded:
        """The picture encoded with a step in levels of 0-255."""
        if self._latest is None or self._latest[0] != step:
            self._latest = None  # before the next one, which takes as much memory
            self._count += 1
            pace.begin(f"try {self._count}" if self._count > 1 else "")
            self._latest = step, self._encode(step * self.unit)
        return self._latest[1]

    def size(self, step: float) -> int:
        """Bytes of the file, give or take one or two, see `Coded.size`."""
        coded = self.at(step)
        norms = (Norms(0.0, 0.0, 0.0, 0.0),) * len(coded.ranks)
        return lrk.file_size(self._parts(coded.ranks, norms, bytes(coded.length)))

    def decoded(self, step: float) -> Picture:
        """The decoded picture."""
        samples, mode = self.at(step).samples(), self.picture.mode
        if self.levels is not None:
            return Picture(self.levels.to_samples(samples, mode), mode)
        return Picture(samples, mode)

    @threads.one_blas_thread()  # several stall on sums as short as these
    def off(self, step: float) -> list[OfFrame]:
        """How far each decoded frame is off."""
        from lowrank.picture import distance

        known = self.at(step).off
        return distance.frames(self.picture, self.decoded(step)) if known is None else known()

    def pixels(self, step: float) -> Pixels:
        """How far the decoded picture is off."""
        from lowrank.picture.distance import total

        return total(self.off(step), self.peak)

    def worst(self, step: float) -> float:
        """PSNR of the worst frame of the decoded stack, in dB; 1000 where all are exact."""
        mse = max((x.squares / x.samples for x in self.off(step) if x.samples), default=0.0)
        return 10 * math.log10(self.peak**2 / mse) if mse else 1e3

    def psnr(self, step: float) -> float:
        """PSNR of the decoded picture, in dB; 1000 where it is exact."""
        value = self.pixels(step).psnr_db
        return 1e3 if value is None else value

    def told_psnr(self, step: float) -> float:
        """PSNR in dB as the coefficients tell it: sooner than by decoding, and nearly right."""
        peak = 255 * self.unit
        return 10 * math.log10(peak * peak / max(self._mean(step) + self.beyond, 1e-9))

    def exact_psnr(self, step: float) -> float:
        """PSNR in dB, by decoding; what it is off from the one told is known from then on."""
        exact = self.psnr(step)
        peak = 255 * self.unit
        self.beyond = peak * peak / 10 ** (exact / 10) - self._mean(step)
        return exact

    def _mean(self, step: float) -> float:
        """Mean squared error of the coefficients, which is looked at more than once."""
        if step not in self._means:
            self._means[step] = self.at(step).squared_error() / self.picture.samples.size
        return self._means[step]

    def expected_psnr(self, step: float) -> float:
        """PSNR in dB that the forecast expects of a step."""
        if self.forecast is None:
            raise TypeError("there is no forecast")
        error = self.forecast.squared_error(step * self.unit) + 1 / 12
        peak = self.peak / (1.0 if self.levels is None else self.levels.unit)
        return 10 * math.log10(peak**2 / error)

    def expected_size(self, step: float) -> float:
        """Logarithm of the bytes that the forecast expects of a step."""
        if self.forecast is None:
            raise TypeError("there is no forecast")
        bits = self.forecast.log_bits(step * self.unit)
        return bits + math.log(self.picture.samples.size / 8)

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


def _tiled(picture: Picture, levels: Levels | None, target: Target) -> Tiled | None:
    """What encodes a stack that is too large to be coded whole; None of others."""
    from lowrank.stores.packed.frames import tiled

    if picture.samples.size <= tiled.LARGEST:
        return None
    return tiled.Tiled(
        picture, levels, planes=int(target.value) if target.kind == "rank" else None,
        weighted=target.weights == "noise", measured=target.kind not in ("quality", "size", "rank"),
    )  # fmt: skip


def _prepared(
    picture: Picture, layout: str, target: Target
) -> tuple[Callable[[float], Coded], list[NDArray[np.float64]], Forecast | None]:
    """What encodes the picture with a step in levels.

    For a rank all singular values, too; for a search on a large picture a forecast.
    """
    mode, samples = picture.mode, cast("Samples", picture.samples)
    alpha, ranked = "alpha" in mode.channels, target.kind == "rank"
    turned = turn.of(picture, layout, packed=True, ranked=ranked)
    # Loaded where it is needed: each layout starts the sooner without the others.
    if layout == "stack":
        from lowrank.stores.packed.frames import codec as frames
        from lowrank.stores.packed.frames.forecast import Forecast
        from lowrank.stores.packed.frames.klt import Stack
        from lowrank.stores.packed.frames.noise import weights

        by_noise = weights(samples) if target.weights == "noise" else None
        stack = Stack(samples, turn.of_stack(picture), by_noise)
        stack.once = target.kind == "quality"
        planes = int(target.value) if ranked else None
        spectra = [stack.spectrum[0]] if ranked else []
        told = None if ranked or target.kind == "quality" else Forecast(stack)
        return partial(frames.encode, stack, mode=mode, planes=planes), spectra, told
    if layout == "channels":
        from lowrank.stores.packed.channels import codec as channels

        rank = int(target.value) if ranked else None
        factorised = channels.prepare(samples, mode.bits, alpha=alpha, turn=turned, rank=rank)
        return partial(channels.encode, factorised), factorised.spectra if ranked else [], None
    from lowrank.stores.packed.patches import codec as patches

    source = patches.prepare(samples, mode.bits, alpha=alpha, turn=turned)
    forecast = None
    # What is not coded as coefficients no coefficient tells.
    plain = picture.metadata.nodata is None
    many = _LARGE if target.kind != "size" else _NOT_SMALL
    if target.kind != "quality" and plain and picture.width * picture.height > many:
        from lowrank.stores.packed.patches import forecast as patched

        forecast = patched.Forecast(source.C, ALPHA_FINER if alpha else 1.0)
    coder = partial(patches.encode, source, again=target.kind != "quality", tune=target.tune)
    return coder, [], forecast


def _for_rank(
    tries: _Tries, spectra: list[NDArray[np.float64]], k: int
) -> tuple[float, tuple[str, ...]]:
    """The coarsest step that adds at most 1% to the squared error of the truncation."""
    from lowrank.stores.packed import search

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
    start = math.log2(max(4 * noise, 2**search.FINEST))
    high = low - math.log(_EXCESS_SLACK)
    line = search.line(low, high, slope=-1.4, start=start)
    finer, _ = search.meet(measured, line, low, high)
    if finer is not None:
        return 2**finer, notes
    share = f"{excess(2**search.FINEST):.1%}" if least else "some error where there was none"
    return 2**search.FINEST, (*notes, f"packed as finely as can be, which adds {share}")


def _psnr_of(picture: Picture, target: Target, lowest: float, peak: float) -> float:
    """PSNR that an energy or error target comes to: ||A - B||_F^2 = samples x MSE.

    Of samples that are counted from their lowest, A and A less that have different norms; the
    smaller one is meant, so that the target is met by both.
    """
    if target.kind == "psnr":
        return target.value
    from lowrank.targets import spectrum

    flat = picture.samples.reshape(-1)
    norm2 = min(
        sum(
            float(np.sum(np.subtract(flat[i : i + (1 << 20)], low, dtype=np.float64) ** 2))
            for i in range(0, flat.size, 1 << 20)
        )
        for low in {0.0, lowest}
    )
    mse = spectrum.allowed_tail(target, math.sqrt(norm2), peak, flat.size) ** 2 / flat.size
    return 10 * math.log10(peak**2 / mse) if mse else math.inf


def _for_psnr(tries: _Tries, psnr: float, *, worst: bool = False) -> tuple[float, tuple[str, ...]]:
    """The coarsest step with a PSNR of a picture, or of a stack, or of its worst frame."""
    from lowrank.stores.packed import search

    stacked = tries.layout == "stack"

    @cache
    def measured(octave: float) -> float:
        return tries.worst(2**octave) if worst else tries.psnr(2**octave)

    if tries.forecast is not None and stacked:
        finer, _ = search.meet(
            measured, lambda octave: tries.expected_psnr(2**octave), psnr, psnr + _PSNR_SLACK
        )
    else:
        guided = _for_psnr_told(tries, psnr) if psnr < _COARSE_PSNR else None
        if guided is not None:
            return 2**guided, ()
        finer, _ = search.meet(measured, _usual_psnr, psnr, psnr + _PSNR_SLACK)
    if finer is None:
        return 2**search.FINEST, (
            f"{psnr:.2f} dB is out of reach: packed as finely as can be, "
            f"{measured(search.FINEST):.2f} dB",
        )
    return 2**finer, ()


def _usual_psnr(octave: float) -> float:
    """PSNR in dB that photographs come to with a step.

    6 less an octave, by the law of fine quantisation, and not so much where most becomes zero.
    """
    return 52.5 - (6.0 if octave < 1 else 4.2) * (octave - 1)


def _for_psnr_told(tries: _Tries, psnr: float) -> float | None:
    """The same by what coefficients tell; decoding has the last word, and may say no."""
    from lowrank.stores.packed import search

    if tries.forecast is None:
        return None
    for _ in range(_TOLD):

        @cache
        def told(octave: float) -> float:
            return tries.told_psnr(2**octave)

        def expected(octave: float) -> float:
            return tries.expected_psnr(2**octave)

        found, _ = search.meet(told, expected, psnr + _SURE, psnr + _SURE_SLACK)
        if found is None:
            return None
        if psnr <= tries.exact_psnr(2**found) <= psnr + 1.5 * _PSNR_SLACK:
            return found
    return None


def _for_largest(tries: _Tries, allowed: float) -> float:
    """A step at which no sample is further off; one 0.2% coarser is, or is more than 97% there.

    The largest error does not rise with every step, so a coarser one may do as well.
    """
    from lowrank.stores.packed import search

    if tries.picture.mode.limits is not None:
        allowed = math.floor(allowed)
    nothing = 1e-3 * tries.unit * (tries.levels.unit if tries.levels else 1.0)

    def bits(error: float) -> float:
        return -math.log2(max(error, nothing))

    @cache
    def measured(octave: float) -> float:
        return bits(tries.pixels(2**octave).max_abs_error)

    low = bits(allowed)
    high = low - math.log2(_REACHED)
    start = math.log2(max(allowed, nothing) / nothing * 1e-3) + 1
    line = search.line(low, high, slope=-1.0, start=start)
    finer, _ = search.meet(measured, line, low, high)
    if finer is None:
        least = tries.pixels(2**search.FINEST).max_abs_error
        raise UsageError(
            f"max_error {allowed:g} is out of reach of the packed store, whose finest step leaves "
            f"{least:.3g}; give a float store"
        )
    while tries.pixels(2**finer).max_abs_error > allowed and finer > search.FINEST:
        finer -= 1 / search.GRID  # it was a rounding above
    return 2**finer


def _for_size(tries: _Tries, size: int) -> float:
    from lowrank.stores.packed import search

    @cache
    def measured(octave: float) -> float:
        return math.log(tries.size(2**octave))

    high = math.log(size) + 1e-12
    low = high + math.log(_SIZE_SLACK)
    if tries.forecast is not None:
        _, coarser = search.meet(measured, lambda x: tries.expected_size(2**x), low, high)
    else:
        line = search.line(low, high, slope=-0.7, start=4.0)
        _, coarser = search.meet(measured, line, low, high)
    if coarser is None:
        raise UsageError(
            f"{size} bytes do not hold this image; "
            f"{math.exp(measured(search.COARSEST)):.0f} is the least that the packed store takes"
        )
    while lrk.file_size(tries.parts(2**coarser)) > size and coarser < search.COARSEST:
        coarser += 1 / search.GRID  # the estimate was a byte short
    return 2**coarser
