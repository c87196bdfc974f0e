"""A photograph to a payload of layout `patches`: what is decided, and the one walk that codes it.

The format, and its decoder, are in codec.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lowrank import pace, threads
from lowrank.layouts.colour import rotation
from lowrank.layouts.lapped import Floats, analyse, grid
from lowrank.layouts.turn import axes, luminous
from lowrank.picture import Turn
from lowrank.stores.packed.coding import wavelet
from lowrank.stores.packed.coding.payload import (
    ALPHA_FINER,
    SMALLEST_STEP,
    SMOOTHED,
    SYMBOLS_PER_LANE,
    Coded,
    Norms,
    Samples,
    levels_of,
)
from lowrank.stores.packed.coding.ranswriter import RansWriter
from lowrank.stores.packed.coding.smoothing import Filter
from lowrank.stores.packed.coding.start import LANES, coarse_step
from lowrank.stores.packed.patches import chroma, rotations
from lowrank.stores.packed.patches.header import (
    SQUARED,
    Header,
    is_squared,
    write_header,
)
from lowrank.stores.packed.patches.norms import error_of, measure
from lowrank.stores.packed.patches.order import batches, order
from lowrank.stores.packed.patches.phases import Writer
from lowrank.stores.packed.patches.samples import filters_of, planes_of, samples_of
from lowrank.stores.packed.patches.select import scales_of
from lowrank.stores.packed.patches.walk import Walk, leaves_of

ZERO, RISE = 0.07, 0.06
"""What a bit is worth, in squared steps: the quantiser's rates of exchange."""
FARTHER_FROM = 20.0
"""Levels of 8 bits: of coarser steps rare values are taken a sixteenth farther from zero."""
HIDDEN = 6
"""Non-zeros to a sign that is hidden: 5 to 8 are alike."""
BITS_PER_LANE = 2560
MANY_LANES = 512
"""Beyond these, twice as many: what costs 0.3% of the bytes saves a tenth of the time."""

TOGETHER = 1 << 21
"""Coefficients from which on channels are analysed in threads: of fewer what those save of the
time costs as much again of the processor."""

_TURNED = 1 << 16
"""Pixels whose colours are turned at once."""

Planes = tuple[Floats, list[dict[str, Floats]]]
"""The coarsest map of a first component, and its bands."""


@dataclass(frozen=True, eq=False)
class Source:
    """An image as the coefficients of its patches, ready to be encoded with any step.

    Attributes
    ----------
    samples : (height, width, channels) ndarray
    bits : int
    alpha : bool
    turn : Turn or None
        The rotation of the colours to their principal axes, if any.
    levels : tuple of int or None
        The two values of alpha, if it has no more.
    C : (SIZE, rows, channels, columns) ndarray
        Coefficients in levels, by frequency and patch.
    """

    samples: Samples
    bits: int
    alpha: bool
    turn: Turn | None
    levels: tuple[int, int] | None
    C: Floats

    def planes(self) -> Floats:
        """(channels, height, width) samples, their colours turned; they are not kept."""
        planes = self.samples.astype(self.C.dtype).transpose(2, 0, 1)
        R = axes(self.turn)
        if R is not None:
            R = R.astype(planes.dtype)
            step = max(_TURNED // planes.shape[2], 1)  # all at once they take twice the memory
            for top in range(0, planes.shape[1], step):
                some = planes[:3, top : top + step]
                some[:] = np.tensordot(R, some, 1)
        return planes

    def is_alpha(self, channel: int) -> bool:
        """Whether a channel is opacity."""
        return self.alpha and channel == self.samples.shape[2] - 1


def prepare(
    samples: Samples, bits: int, *, alpha: bool, turn: Turn | None, tune: str = "psnr"
) -> Source:
    """Rotate the colours and take the lapped transform.

    Parameters
    ----------
    samples : (height, width, channels) ndarray of uint8 or uint16
        Levels, of any number of channels.
    bits : int
        1, 8 or 16: samples are below 2^bits.
    alpha : bool
        The last channel is opacity: coded apart with half the step, exact where it
        has one value, and with no values of its own where it has two.
    turn : Turn or None
        The rotation of the colours.
    tune : {"psnr", "eye"}
        What it will be encoded for. For the eye colours may be turned anew (luminance.py).
    """
    dtype = np.dtype(np.float32 if bits <= 8 else np.float64)
    C = analyse(samples, axes(turn), dtype)
    if tune == "eye" and turn is not None and samples.shape[2] - alpha == 3:
        from lowrank.stores.packed.patches.luminance import pays

        other = luminous(samples)
        if other is not None and pays(C, rotation(turn), rotation(other), 2.0**bits - 1):
            del C
            turn, C = other, analyse(samples, axes(other), dtype)
    levels = levels_of(samples) if alpha else None
    return Source(samples, bits, alpha, turn, levels, C)


def encode(source: Source, step: float, *, again: bool = False, tune: str = "psnr") -> Coded:
    """Encode an image with one quantiser step.

    Parameters
    ----------
    source : Source
    step : float
        Quantiser step in levels, for every component of the orthonormal transform.
    again : bool
        The source will be encoded again: otherwise its coefficients are overwritten, which
        saves the memory of a copy.
    tune : {"psnr", "eye"}
        What is weighed: nothing, or frequencies and patches as the eye sees them (eye.py).
    """
    height, width, channels = source.samples.shape
    code, step = coarse_step(max(step, SMALLEST_STEP[source.bits]))
    shape = grid(height, width)
    rans = RansWriter()
    coder = Writer(rans, zero=ZERO, rise=RISE, hidden=HIDDEN)
    seen = _Seen(source, coder, shape) if tune == "eye" else None
    C = np.empty_like(source.C) if again else source.C
    turns, scales, firsts = _analysed(source, C, step, seen)
    coarsest = [np.rint(low).astype(np.int64) for low, _ in firsts]
    header = Header(
        step, source.turn, source.alpha, source.levels, 0, 0, (0,) * channels, scales, turns,
        coarsest, farther=_farther(step, source.bits, height * width), hidden=HIDDEN,
    )  # fmt: skip
    if seen is not None:
        header = replace(header, power=seen.power, gains=seen.coarsest, version=SQUARED)
    if source.turn is not None and chroma.pays(C, scales):
        header = replace(header, crossed=True)
    groups = batches(order(scales), shape[0] * shape[1])
    walk = Walk(shape, header, groups, coder, source.bits, seen.gains if seen else None)
    for c, (_, bands) in enumerate(firsts):
        walk.first(c, bands)
    signs = []
    for batch in pace.steps("coding", groups):
        coder.signs = []
        walk.next(batch, [walk.quarters.scatter(C[x.index, :, x.channel]) for x in batch])
        signs.append(coder.signs)
    lanes = _lanes(rans.bits, walk.symbols)
    count, late = rans.late([signs[i] for i in leaves_of(groups, header)], lanes)
    walk.header = replace(header, late=count)
    return _coded(source, C, walk, code, lanes, rans.finish(lanes, late))


class _Seen:
    """What the eye makes of an image: its gains, coded, and what they and the weights come to.

    Attributes
    ----------
    power : int
        Of the frequencies.
    coarsest, gains : ndarray of int64
        The coarsest map of the gains, and the gains of all patches.
    """

    def __init__(self, source: Source, coder: Writer, shape: tuple[int, int]) -> None:
        # Loaded where it is needed: other files start the sooner without it.
        from lowrank.stores.packed.patches import eye

        kind = source.C.dtype
        self.power = eye.POWER
        self.coarsest, bands = eye.forward(eye.busy(source.C[:, :, 0]))
        self.gains = eye.code(shape, coder, self.coarsest, kind, bands)
        self._patches = (1 / eye.factors(self.gains)).astype(kind)
        squared = [is_squared(SQUARED, c) for c in range(source.samples.shape[2])]
        self._spreads = [(1 / eye.spread(self.power, squared=x)).astype(kind) for x in squared]

    def weigh(self, maps: Floats, channel: int) -> None:
        """Weigh the components of a channel, but the first, in place."""
        maps[1:] *= self._patches
        maps[1:] *= self._spreads[channel][1:, None, None]


def _analysed(
    source: Source, C: Floats, step: float, seen: _Seen | None
) -> tuple[list[rotations.Turns], list[NDArray[np.int64]], list[Planes]]:
    """Fill C with coefficients in steps; the turns, scales and first components of the channels."""

    def analysed(c: int) -> tuple[rotations.Turns, NDArray[np.int64], Planes]:
        d = step / ALPHA_FINER if source.is_alpha(c) else step
        maps = C[:, :, c]
        np.multiply(source.C[:, :, c], C.dtype.type(1 / d), out=maps)
        turns = rotations.search(maps)
        rotations.turn(maps, turns)
        weighed = seen is not None and not source.is_alpha(c)
        if seen is not None and weighed:
            seen.weigh(maps, c)
        return turns, scales_of(maps, seen=weighed), wavelet.forward(C[0, :, c].copy())

    channels = range(source.samples.shape[2])
    found = threads.each(analysed, channels, small=C.size < TOGETHER)
    turns, scales, firsts = [x[0] for x in found], [x[1] for x in found], [x[2] for x in found]
    levels = source.levels
    if levels is not None and levels[0] == levels[1]:
        scales[-1][:] = 0
        firsts[-1] = wavelet.forward(np.zeros_like(C[0, :, -1]))
    return turns, scales, firsts


def _farther(step: float, bits: int, pixels: int) -> int:
    """How much farther from zero than they say rare values are: the filter takes from them.

    Without it they are best where the means are of what becomes them.
    """
    if pixels > SMOOTHED:
        return -1
    return int(step >= FARTHER_FROM * 2.0 ** (bits - 8))


def _lanes(bits: float, symbols: int) -> int:
    """Interleaved coders of a stream."""
    lanes = bits / BITS_PER_LANE
    lanes += max(lanes - MANY_LANES, 0)
    return int(min(max(1, lanes, symbols / SYMBOLS_PER_LANE), LANES))


def _coded(source: Source, C: Floats, walk: Walk, code: int, lanes: int, body: bytes) -> Coded:
    """What was encoded; what its decoder will find is found where it is asked for, and once."""
    height, width, channels = source.samples.shape
    bits, plain = source.bits, walk.header

    @cache
    def length() -> int:
        return len(write_header(plain, code, lanes)) + len(body)

    held: list[tuple[Floats, list[Filter]]] = []

    @cache
    def smooth() -> None:
        """Find planes and their filters, whose strengths the header has from now on."""
        if height * width <= SMOOTHED:
            planes = planes_of(walk, bits)[:, :height, :width]
            filters = filters_of(planes, plain)
            walk.header = replace(plain, smooth=_strengths(source, filters))
            held.append((planes, filters))

    @cache
    def payload() -> bytes:
        smooth()
        return write_header(walk.header, code, lanes) + body

    @cache
    def decoded() -> Samples:
        pace.at("measuring", 0)
        smooth()
        planes, filters = held.pop() if held else (None, None)  # samples tell all that they do
        return samples_of(walk, height, width, bits, smooth=True, planes=planes, filters=filters)

    @cache
    def norms() -> tuple[Norms, ...]:
        pace.at("measuring", 0)
        return tuple(measure(C[:, :, c], walk, c) for c in range(channels))

    def squared_error() -> float:
        return sum(error_of(C[:, :, c], walk, c) for c in range(channels))

    ranks = tuple(1 + int((s > 0).sum()) for s in plain.scales)
    return Coded(length, ranks, payload, decoded, norms, squared_error)


def _strengths(source: Source, filters: list[Filter]) -> tuple[int, ...]:
    """How strongly each channel is best smoothed; alpha, which may be all edge, is not."""
    planes = source.planes()

    def strength(c: int) -> int:
        return 0 if source.is_alpha(c) else filters[c].best_strength(planes[c])

    filters[0].kinds()  # which chroma has, too
    # In one thread: several would only wait for each other, as a filter is many short calls.
    return tuple(map(strength, range(len(filters))))
