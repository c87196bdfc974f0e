"""The quantiser step that meets a target.

One step serves the whole picture, so every target is a search on one dial, with real
encodings: the quality says the step outright, a PSNR and a size are met by a few. What
decoding would give, and the norms that a file states, come from the encoder's own walk.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from lowrank import format as lrk
from lowrank.errors import UsageError
from lowrank.format.parts import Head, Packed, PackedMatrix, Parts, matrix_shape
from lowrank.layouts import turn
from lowrank.picture import Picture
from lowrank.picture.distance import compare
from lowrank.stores.packed.coding.payload import Coded, Norms, Samples
from lowrank.targets import Target

if TYPE_CHECKING:
    from lowrank.stores.packed.patches.forecast import Forecast

_STEP_AT_HALF = 56.0  # levels of 0-255, at quality 50: 75 is nearer to the image than JPEG 75
_FINEST, _COARSEST = -5.0, 11.0  # binary logarithms of the steps that a search tries
_GRID = 512  # steps to an octave that it tells apart
_PSNR_SLACK = 0.1  # dB above the target that a search accepts
_SIZE_SLACK = 0.97  # share of the size that a search wants used
_EXCESS, _EXCESS_SLACK = 0.01, 0.96  # share that -k may add to the squared error, and its use
_LARGE = 1 << 22
"""Pixels above which a search is guided by a forecast: pictures that are not smoothed, either."""
_SURE, _SURE_SLACK = 0.01, 0.06  # dB above the target that an error told by coefficients must be
_TOLD = 2  # searches by what coefficients tell, each checked by decoding what it found
_COARSE_PSNR = 52.0  # dB below which rounding to levels is a small part of the error
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
    if picture.mode.peak is None:
        raise UsageError("float samples have no packed store; use -k, --error or --energy")
    if target.kind == "auto":
        raise UsageError(f"the packed store takes {_DIALS}, or a rank by its number")
    if target.kind == "rank" and layout == "patches":
        raise UsageError(f"packed patches take {_DIALS}; -k goes with --layout channels")
    encoder, spectra, forecast = _prepared(picture, layout, target)
    tries = _Tries(picture, layout, encoder, forecast)
    notes: tuple[str, ...] = ()
    if target.kind == "quality":
        step = step_of_quality(target.value)
    elif target.kind == "size":
        step = _for_size(tries, int(target.value))
    elif target.kind == "rank":
        step, notes = _for_rank(tries, spectra, int(target.value))
    else:
        step, notes = _for_psnr(tries, _psnr_of(picture, target))
    return tries.parts(step), notes


class _Tries:
    """Encodings of one picture with one step after another, the latest of them at hand."""

    def __init__(
        self,
        picture: Picture,
        layout: str,
        encode: Callable[[float], Coded],
        forecast: Forecast | None,
    ) -> None:
        self.picture, self.layout, self.forecast = picture, layout, forecast
        self._unit = (picture.mode.peak or 255.0) / 255
        self._encode = encode
        self._latest: tuple[float, Coded] | None = None
        self.beyond = 1 / 12
        """Mean squared error of samples beyond that of coefficients: that of rounding, at first."""

    def at(self, step: float) -> Coded:
        """The picture encoded with a step in levels of 0-255."""
        if self._latest is None or self._latest[0] != step:
            self._latest = None  # before the next one, which takes as much memory
            self._latest = step, self._encode(step * self._unit)
        return self._latest[1]

    def size(self, step: float) -> int:
        """Bytes of the file, give or take one or two, see `Coded.length`."""
        coded = self.at(step)
        norms = (Norms(0.0, 0.0, 0.0, 0.0),) * len(coded.ranks)
        return lrk.file_size(self._parts(coded.ranks, norms, bytes(coded.length)))

    def psnr(self, step: float) -> float:
        """PSNR of the decoded picture, in dB; 1000 where it is exact."""
        decoded = Picture(self.at(step).samples(), self.picture.mode)
        value = compare(self.picture, decoded).psnr_db
        return 1e3 if value is None else value

    def told_psnr(self, step: float) -> float:
        """PSNR in dB as the coefficients tell it: sooner than by decoding, and nearly right."""
        mean = self.at(step).squared_error() / self.picture.samples.size
        peak = self.picture.mode.peak or 1.0
        return 10 * math.log10(peak * peak / max(mean + self.beyond, 1e-9))

    def exact_psnr(self, step: float) -> float:
        """PSNR in dB, by decoding; what it is off from the one told is known from then on."""
        exact = self.psnr(step)
        peak = self.picture.mode.peak or 1.0
        mean = self.at(step).squared_error() / self.picture.samples.size
        self.beyond = peak * peak / 10 ** (exact / 10) - mean
        return exact

    def expected_psnr(self, step: float) -> float:
        """PSNR in dB that the forecast expects of a step."""
        if self.forecast is None:
            raise TypeError("there is no forecast")
        peak = self.picture.mode.peak or 1.0
        error = self.forecast.squared_error(step * self._unit) + 1 / 12
        return 10 * math.log10(peak * peak / error)

    def expected_size(self, step: float) -> float:
        """Logarithm of the bytes that the forecast expects of a step."""
        if self.forecast is None:
            raise TypeError("there is no forecast")
        bits = self.forecast.log_bits(step * self._unit)
        return bits + math.log(self.picture.samples.size / 8)

    def parts(self, step: float) -> Parts:
        """The file, its norms stated."""
        coded = self.at(step)
        return self._parts(coded.ranks, coded.norms(), coded.payload())

    def _parts(self, ranks: tuple[int, ...], norms: tuple[Norms, ...], payload: bytes) -> Parts:
        p = self.picture
        limit = min(matrix_shape(p.width, p.height, self.layout))
        head = Head(p.width, p.height, p.mode, self.layout, "packed", p.metadata)
        stated = tuple(
            PackedMatrix(min(k, limit), x.norm, x.sigma_next, x.tail, x.error)
            for k, x in zip(ranks, norms, strict=True)
        )
        return Parts(head, Packed(stated, payload))


def _prepared(
    picture: Picture, layout: str, target: Target
) -> tuple[Callable[[float], Coded], list[NDArray[np.float64]], Forecast | None]:
    """What encodes the picture with a step in levels.

    For a rank all singular values, too; for a search on a large picture a forecast.
    """
    mode, samples = picture.mode, cast("Samples", picture.samples)
    alpha, ranked = "alpha" in mode.channels, target.kind == "rank"
    turned = turn.of(picture, layout, packed=True, ranked=ranked)
    # Loaded where it is needed: each layout starts the sooner without the other.
    if layout == "channels":
        from lowrank.stores.packed.channels import codec as channels

        rank = int(target.value) if ranked else None
        factorised = channels.prepare(samples, mode.bits, alpha=alpha, turn=turned, rank=rank)
        return partial(channels.encode, factorised), factorised.spectra if ranked else [], None
    from lowrank.stores.packed.patches import codec as patches

    source = patches.prepare(samples, mode.bits, alpha=alpha, turn=turned)
    forecast = None
    # What is not coded as coefficients, alpha of two values, no coefficient tells.
    plain = not alpha and picture.metadata.nodata is None
    if target.kind != "quality" and plain and picture.width * picture.height > _LARGE:
        from lowrank.stores.packed.patches.forecast import Forecast

        forecast = Forecast(source.C)
    return partial(patches.encode, source, again=target.kind != "quality"), [], forecast


def _for_rank(
    tries: _Tries, spectra: list[NDArray[np.float64]], k: int
) -> tuple[float, tuple[str, ...]]:
    """The coarsest step that adds at most 1% to the squared error of the truncation."""
    picture = tries.picture
    m, n, channels = picture.samples.shape
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
    noise = 255 / (picture.mode.peak or 1) * math.sqrt(_EXCESS * least / (channels * k * (m + n)))
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
    peak = picture.mode.peak or 1.0
    mse = spectrum.allowed_tail(target, math.sqrt(norm2), peak, flat.size) ** 2 / flat.size
    return 10 * math.log10(peak**2 / mse) if mse else math.inf


def _for_psnr(tries: _Tries, psnr: float) -> tuple[float, tuple[str, ...]]:
    @cache
    def measured(octave: float) -> float:
        return tries.psnr(2**octave)

    guided = None
    if tries.forecast is not None and psnr < _COARSE_PSNR:
        guided = _for_psnr_told(tries, psnr)
    if guided is not None:
        return 2**guided, ()
    # 6 dB an octave is the law of fine quantisation.
    finer, _ = _meet(measured, psnr, psnr + _PSNR_SLACK, slope=-6.0, start=(58 - psnr) / 6)
    if finer is None:
        return 2**_FINEST, (
            f"{psnr:.2f} dB is out of reach: packed as finely as can be, "
            f"{measured(_FINEST):.2f} dB",
        )
    return 2**finer, ()


def _for_psnr_told(tries: _Tries, psnr: float) -> float | None:
    """The same by what coefficients tell; decoding has the last word, and may say no."""
    for _ in range(_TOLD):

        @cache
        def told(octave: float) -> float:
            return tries.told_psnr(2**octave)

        def expected(octave: float) -> float:
            return tries.expected_psnr(2**octave)

        found, _ = _meet_guided(told, expected, psnr + _SURE, psnr + _SURE_SLACK)
        if found is None:
            return None
        if psnr <= tries.exact_psnr(2**found) <= psnr + 1.5 * _PSNR_SLACK:
            return found
    return None


def _for_size(tries: _Tries, size: int) -> float:
    @cache
    def measured(octave: float) -> float:
        return math.log(tries.size(2**octave))

    high = math.log(size) + 1e-12
    low = high + math.log(_SIZE_SLACK)
    if tries.forecast is not None:
        _, coarser = _meet_guided(measured, lambda x: tries.expected_size(2**x), low, high)
    else:
        _, coarser = _meet(measured, low, high, slope=-0.7, start=4.0)
    if coarser is None:
        raise UsageError(
            f"{size} bytes do not hold this image; "
            f"{math.exp(measured(_COARSEST)):.0f} is the least that the packed store takes"
        )
    while lrk.file_size(tries.parts(2**coarser)) > size and coarser < _COARSEST:
        coarser += 1 / _GRID  # the estimate was a byte short
    return 2**coarser


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


def _meet_guided(
    value: Callable[[float], float], expected: Callable[[float], float], low: float, high: float
) -> tuple[float | None, float | None]:
    """The same as `_meet`, where something tells a value but for a part that changes slowly.

    That part is taken to be what it was at the last step, or to change evenly between two that
    have the aim between them; where that does not halve the bracket in two steps, halving does.

    Parameters
    ----------
    value, expected : callable
        Of the step's binary logarithm, both falling; `expected` costs next to nothing.
    """
    fine: tuple[float, float] | None = None
    coarse: tuple[float, float] | None = None
    aim, missing = (low + high) / 2, 0.0
    widths = [math.inf]
    least = 1 / 32  # octaves of a move without a bracket: twice as many each time
    while True:
        left, right = fine[0] if fine else _FINEST, coarse[0] if coarse else _COARSEST
        if fine and coarse:
            widths.append(right - left)
            if widths[-1] < 1.5 / _GRID:
                break
            ends = [one[1] - expected(one[0]) for one in (fine, coarse)]

            def even(x: float, left: float = left, ends: list[float] = ends) -> float:
                share = (x - left) / widths[-1]
                return expected(x) + ends[0] + share * (ends[1] - ends[0])

            x = _solve(even, aim, left, right)
            if len(widths) > 3 and widths[-1] > widths[-3] / 2:
                x = (left + right) / 2
            x = min(max(x, left + 1 / _GRID), right - 1 / _GRID)
        else:
            x = _solve(expected, aim - missing, left, right)
            if fine or coarse:
                x = max(x, left + least) if fine else min(x, right - least)
                x = min(max(x, _FINEST), _COARSEST)
                least *= 2
        x = round(x * _GRID) / _GRID
        v = value(x)
        if low <= v <= high:
            return x, x
        if v > high:
            fine = x, v
        else:
            coarse = x, v
        missing = v - expected(x)
        if (x == _FINEST and not fine) or (x == _COARSEST and not coarse):
            break
    return (fine and fine[0]), (coarse and coarse[0])


def _solve(falling: Callable[[float], float], aim: float, left: float, right: float) -> float:
    """Where a falling function comes nearest to a value, by halving."""
    while right - left > 1 / _GRID:
        middle = (left + right) / 2
        left, right = (middle, right) if falling(middle) > aim else (left, middle)
    return (left + right) / 2
