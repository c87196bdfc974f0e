"""The quantiser step that meets each kind of target, by a search among real encodings."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lowrank import format as lrk
from lowrank.errors import UsageError, number_of
from lowrank.picture import Picture
from lowrank.stores import at_most
from lowrank.stores.packed import search
from lowrank.stores.packed.tries import Tries
from lowrank.targets import MOST_PSNR, Target, spectrum

_PSNR_SLACK = 0.1  # dB above the target that a search accepts
_REHEARSALS, _TRIES = 3, 3  # at most: what they tell hardly changes from step to step
_SIZE_SLACK = 0.97  # share of the size that a search wants used
_EXCESS, _EXCESS_SLACK = 0.01, 0.96  # share that -k may add to the squared error, and its use
_SURE, _SURE_SLACK = 0.01, 0.06  # dB above the target that an error told by coefficients must be
_TOLD = 2  # searches by what coefficients tell, each checked by decoding what it found
_REACHED = 0.97  # of a largest error: a search that comes so near ends


def for_rank(
    tries: Tries, spectra: list[NDArray[np.float64]], k: int
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

    notes = (at_most(m, n),) if k > min(m, n) else ()
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


def psnr_of(picture: Picture, target: Target, lowest: float, peak: float) -> float:
    """PSNR that an energy or error target comes to: ||A - B||_F^2 = samples x MSE.

    Of samples that are counted from their lowest, A and A less that have different norms; the
    smaller one is meant, so that the target is met by both.
    """
    if target.kind == "psnr":
        return target.value
    flat = picture.samples.reshape(-1)
    norm2 = min(
        sum(
            float(np.sum(np.subtract(flat[i : i + (1 << 20)], low, dtype=np.float64) ** 2))
            for i in range(0, flat.size, 1 << 20)
        )
        for low in {0.0, lowest}
    )
    mse = spectrum.allowed_tail(target, math.sqrt(norm2), peak, flat.size) ** 2 / flat.size
    return 10 * math.log10(peak**2 / mse) if mse else MOST_PSNR


def for_psnr(tries: Tries, psnr: float, *, worst: bool = False) -> tuple[float, tuple[str, ...]]:
    """The coarsest step with a PSNR of a picture, or of a stack, or of its worst frame."""

    def value(octave: float) -> float:
        return tries.worst(2**octave) if worst else tries.psnr(2**octave)

    measured, high = cache(value), psnr + _PSNR_SLACK
    if tries.rehearsal is not None:
        octave, beyond = _near_psnr(tries, psnr, worst=worst)
        if octave is not None:
            return 2**octave, ()

        def expected(octave: float) -> float:
            return tries.expected_psnr(2**octave) + beyond

        finer, coarser = search.meet(measured, expected, psnr, high, close=True)
        if finer is not None and finer != coarser:
            finer = _moved(finer, search.FINEST, lambda x: value(x) >= psnr)
    elif tries.is_fine(psnr):
        finer = _for_fine_psnr(tries, measured, psnr, high)
    else:
        guided = _for_psnr_told(tries, psnr)
        if guided is not None:
            return 2**guided, ()
        finer, _ = search.meet(measured, _usual_psnr, psnr, high)
    if finer is None:
        return 2**search.FINEST, (
            f"{psnr:.2f} dB is out of reach: packed as finely as can be, "
            f"{measured(search.FINEST):.2f} dB",
        )
    return 2**finer, ()


def _near_psnr(tries: Tries, psnr: float, *, worst: bool) -> tuple[float | None, float]:
    """A step for a stack, by tries that are told what is wanted; and what a try has beyond it.

    Each begins where the last one would have done. Where one that heeds no aim does not find it, or
    some that do, another search goes on, of tries that are told of none: the PSNR of these falls.
    """
    aim = psnr + _PSNR_SLACK / 2
    beyond, octave = _rehearsed(tries, aim), math.inf
    for _ in range(_TRIES):
        before, last = beyond, octave
        octave = search.solve(lambda x: tries.expected_psnr(2**x) + before, aim)  # noqa: B023
        if octave == last:
            break
        if not worst:
            tries.aim(aim)
        found = tries.worst(2**octave) if worst else tries.exact_psnr(2**octave)
        if psnr <= found <= psnr + _PSNR_SLACK:
            return octave, beyond
        beyond = found - tries.expected_psnr(2**octave)
        if not tries.steered:
            break
    tries.aim(None)
    return None, beyond


def _rehearsed(tries: Tries, aim: float) -> float:
    """What a rehearsal has beyond the PSNR in dB that is forecast of a stack, where it is one."""
    beyond = 0.0
    for _ in range(_REHEARSALS):
        before = beyond
        octave = search.solve(lambda x: tries.expected_psnr(2**x) + before, aim)  # noqa: B023
        found = tries.rehearsed_psnr(2**octave)
        beyond = found - tries.expected_psnr(2**octave)
        if abs(found - aim) < _PSNR_SLACK:
            break
    return beyond


def _usual_psnr(octave: float) -> float:
    """PSNR in dB that coefficients of photographs come to with a step.

    6 less an octave, by the law of fine quantisation, and not so much where most becomes zero.
    """
    return 52.5 - (6.0 if octave < 1 else 4.2) * (octave - 1)


def _for_fine_psnr(
    tries: Tries, measured: Callable[[float], float], low: float, high: float
) -> float | None:
    """The same near to lossless, where rounding to levels adds to errors or takes most of them.

    What rounding leaves falls ever more steeply. The error of coefficients that it was made of
    falls as that of any photograph does: it is what is searched for.
    """
    aims = tries.unrounded_psnr(low), tries.unrounded_psnr(high)
    finer, _ = search.meet(
        lambda x: tries.unrounded_psnr(measured(x)), _usual_psnr, *aims, close=True
    )
    return finer


def _for_psnr_told(tries: Tries, psnr: float) -> float | None:
    """The same by what coefficients tell; decoding has the last word, and may say no."""
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


def for_largest(tries: Tries, allowed: float) -> float:
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
    high = low - math.log2(_REACHED)
    start = 1 - low - math.log2(1e3 * nothing)
    line = search.line(low, high, slope=-1.0, start=start)
    finer, _ = search.meet(measured, line, low, high)
    if finer is None:
        least = tries.pixels(2**search.FINEST).max_abs_error
        raise UsageError(
            f"max_error {allowed:g} is out of reach of the packed store, whose finest step leaves "
            f"{least:.3g}; give a float store"
        )
    return 2 ** _moved(finer, search.FINEST, lambda x: tries.pixels(2**x).max_abs_error <= allowed)


def for_size(tries: Tries, size: int) -> float:
    """The finest step whose file has at most `size` bytes, or one that uses 97% of them."""

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
            f"{number_of(size, 'byte')} cannot hold this image; "
            f"{math.exp(measured(search.COARSEST)):.0f} is the least that the packed store takes"
        )
    return 2 ** _moved(coarser, search.COARSEST, lambda x: lrk.file_size(tries.parts(2**x)) <= size)


def _moved(octave: float, end: float, meets: Callable[[float], bool]) -> float:
    """A step that does meet a target, from one that should, twice as far towards `end` each time.

    An estimate may be a byte short or a rounding above; and what was learnt meanwhile, as classes
    and transforms are, may make it another encoding.
    """
    move = math.copysign(1 / search.GRID, end - octave)
    while octave != end and not meets(octave):
        octave = max(octave + move, end) if move < 0 else min(octave + move, end)
        move *= 2
    return octave
