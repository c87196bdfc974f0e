"""The packed layout `patches`: an image as quantised low-rank factors of its patches.

Each channel, after a rotation of the colours, is a matrix A of one row for each patch
of 16 x 16 samples and one column for each frequency (lapped.py). A payload keeps k of
the columns of A V, quantised: B = Q V^T, where V is orthonormal, the cosines turned a
little toward the singular vectors (rotations.py), and the columns of Q, one for each
component, are maps with one value for each patch.

Payload (height, width, channels and bits per sample are known from outside)
----------------------------------------------------------------------------
length    varint, 7 bits a byte, low first, at most 4 bytes: bytes of the header
header    range_coder.BitReader, fields in this order:
    step      16 bits: exponent e (6), mantissa m (10): (1 + m/1024) 2^(e - 16)
    turned    1 bit: a colour rotation follows; only with 3 or 4 channels
    alpha     1 bit: the last channel is opacity; only with 2 or 4 channels
    turn      3 x 8 bits, each plus 128, if turned: quaternion (127, a, b, c) (colour.py)
    levels    1 bit if alpha; if set, 2 x 16 bits: alpha takes these two values only
    version   number 0, then 4 bits: 3, or 4 if weighed for the eye; then 1 bit: luma tells of
              chroma (chroma.py); 2 bits, less 1: sixteenths that rare values are farther from zero
              than they say (walk.py); 4 bits: non-zeros to a sign that is hidden, or 0 (hiding.py),
              which version 2 has not. In version 1 luma does, and none is there; in version 0 not,
              nor is any of this
    lanes     number, 1..16384: interleaved coders (rans.py); 2^15 more if weighed for the eye
    late      number: batches whose signs stand in the coders' ends (below)
    smooth    twice 4 bits for each channel: strengths of the filter, in eighths, of differences as
              they are and cut (cutting.py). Before version 2 once: of another filter (smoothing.py)
    power     5 bits, if weighed: of frequencies, of the first channel of squares from version 4 on
              (eye.py)
    gains     signed differences, if weighed: the coarsest map of the gains (eye.py)
    then for each channel:
    scales    order.read_scales: per frequency 0 (dropped) or a size in half octaves
    turns     number, at most 255; for each rotation of V 8 bits i, 8 bits j > i >= 1,
              8 bits angle + 64, in units of pi/256
    coarsest  signed differences: the coarsest map of the first component (means.py)
states    lanes x uint32, little-endian
words     uint16, little-endian, to the end: rANS, with raw bits between (rans.py)

If weighed, the gains come first. Components come in this order: the first (mean) of each
channel, then all others by
descending scale, channel, frequency, in batches (order.batches). A batch has three
phases (contexts.py), and each phase, for all its maps: flags, tokens, raw bits of the
magnitudes, signs that are not hidden. Some low frequencies are predicted, and q is what is left
(prediction.py). The models (models.py) learn at the end of a batch, or of a band of a
first component. Alpha has half the step.

When all has been read, each coder is left with a state of 2^16 plus 16 bits. Together
these are the signs of the last `late` batches in which nothing is predicted: they stand
there, in order, and not with their magnitudes.

Samples are rebuilt exactly as synthesis.py and samples.py say: V Q^T and the lapped
filter's inverse, the smoothing (if all components are there), the colours rotated back,
rounded half up and clipped; if levels are given, alpha takes the nearer one.

Every step and table of a decoder is in docs/PACKED.md.

A decoder must reject: a flag that does not fit the channels; a version above 4; luma that tells
of chroma without a colour rotation; lanes out of range, or so
few that the maps have more than 2^17 symbols a lane; an initial state below 2^16, or a
last one of 2^17 or more; more late batches or signs than there are; a header number
above 2^32 - 2; a coarsest coefficient of 2^30 or a coefficient of 2^20 or more; a
rotation that is none; smoothing of more than 2^22 pixels; levels above the largest
sample. A payload that ends early is cut; every batch before the cut can be decoded, but
for the late ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from lowrank import pace, threads
from lowrank.errors import FormatError, TruncatedError
from lowrank.layouts.lapped import SIZE, Floats, analyse, grid
from lowrank.layouts.turn import axes
from lowrank.limits import fits
from lowrank.picture import Turn
from lowrank.stores.packed.coding import wavelet
from lowrank.stores.packed.coding.payload import (
    ALPHA_FINER,
    FRACTION,
    SMALLEST_STEP,
    SMOOTHED,
    SYMBOLS_PER_LANE,
    Coded,
    Decoded,
    Norms,
    Outline,
    Samples,
    levels_of,
)
from lowrank.stores.packed.coding.rans import Cut, RansReader
from lowrank.stores.packed.coding.ranswriter import RansWriter
from lowrank.stores.packed.coding.smoothing import Filter
from lowrank.stores.packed.coding.start import LANES, coarse_step
from lowrank.stores.packed.patches import chroma, prediction, rotations
from lowrank.stores.packed.patches.header import (
    HIDING,
    SQUARED,
    Header,
    is_squared,
    read_header,
    write_header,
)
from lowrank.stores.packed.patches.norms import error_of, measure
from lowrank.stores.packed.patches.order import Component, batches, order
from lowrank.stores.packed.patches.phases import Reader, Writer
from lowrank.stores.packed.patches.samples import filters_of, planes_of, samples_of
from lowrank.stores.packed.patches.select import scales_of
from lowrank.stores.packed.patches.walk import Walk

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

Levels = tuple[Floats, list[dict[str, Floats]]]
Size = tuple[int, int, int]
"""Height, width and channels."""


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

    @cached_property
    def planes(self) -> Floats:
        """(channels, height, width) samples, their colours turned."""
        planes = self.samples.astype(self.C.dtype).transpose(2, 0, 1)
        R = axes(self.turn)
        if R is not None:
            planes[:3] = np.tensordot(R.astype(planes.dtype), planes[:3], 1)
        return planes


def prepare(samples: Samples, bits: int, *, alpha: bool, turn: Turn | None) -> Source:
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
    """
    dtype = np.dtype(np.float32 if bits <= 8 else np.float64)
    C = analyse(samples, axes(turn), dtype)
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
    """
    samples, bits, levels = source.samples, source.bits, source.levels
    height, width, channels = samples.shape
    code, step = coarse_step(max(step, SMALLEST_STEP[bits]))
    C = np.empty_like(source.C) if again else source.C
    shape = grid(height, width)

    rans = RansWriter()
    coder = Writer(rans, zero=ZERO, rise=RISE, hidden=HIDDEN)
    gains = lowest = scale = None
    divided: list[Floats] = []
    power, version = 0, HIDING
    if tune == "eye":
        from lowrank.stores.packed.patches import eye

        power, version = eye.POWER, SQUARED
        squared = [is_squared(version, c) for c in range(channels)]
        divided = [(1 / eye.spread(power, squared=x)).astype(C.dtype) for x in squared]
        lowest, target = eye.forward(eye.busy(source.C[:, :, 0]))
        gains = eye.code(shape, coder, lowest, C.dtype, target)
        scale = (1 / eye.factors(gains)).astype(C.dtype)

    def analysed(c: int) -> tuple[rotations.Turns, NDArray[np.int64], Levels]:
        d = step / ALPHA_FINER if source.alpha and c == channels - 1 else step
        maps = C[:, :, c]
        np.multiply(source.C[:, :, c], C.dtype.type(1 / d), out=maps)
        turns = rotations.search(maps)
        rotations.turn(maps, turns)
        seen = tune == "eye" and not (source.alpha and c == channels - 1)
        if seen and scale is not None:
            maps[1:] *= scale
            maps[1:] *= divided[c][1:, None, None]
        return turns, scales_of(maps, seen=seen), wavelet.forward(C[0, :, c].copy())

    found = threads.each(analysed, range(channels), small=C.size < TOGETHER)
    turns, scales, firsts = [x[0] for x in found], [x[1] for x in found], [x[2] for x in found]
    if levels is not None and levels[0] == levels[1]:
        scales[-1][:] = 0
        firsts[-1] = wavelet.forward(np.zeros(shape, C.dtype))
    coarsest = [np.rint(low).astype(np.int64) for low, _ in firsts]
    smooth = (0,) * channels
    header = Header(
        step, source.turn, source.alpha, levels, 0, 0, smooth, scales, turns, coarsest,
        power, lowest, version=version, farther=_farther(step, bits, height * width),
        hidden=HIDDEN,
    )  # fmt: skip
    groups = batches(order(scales), shape[0] * shape[1])
    if source.turn is not None and chroma.pays(C, scales):
        header = replace(header, crossed=True)
    walk = Walk(shape, header, groups, coder, bits, gains)
    for c in range(channels):
        walk.first(c, firsts[c][1])
    passes = []
    for batch in pace.steps("coding", groups):
        coder.signs = []
        walk.next(batch, [walk.quarters.scatter(C[x.index, :, x.channel]) for x in batch])
        passes.append(coder.signs)
    lanes = _lanes(rans.bits, walk.symbols)
    late: list[NDArray[np.uint8]] = []
    room = 16 * lanes
    count = 0
    for number in reversed(_leaves(groups, header)):
        room -= sum(rans.length(one) for one in passes[number])
        if room < 0:
            break
        late = [rans.withdraw(one) for one in passes[number]] + late
        count += 1
    body = rans.finish(lanes, np.concatenate(late) if late else np.empty(0, np.uint8))
    plain = walk.header = replace(header, late=count)

    @cache
    def length() -> int:
        return len(write_header(plain, code, lanes)) + len(body)

    @cache
    def smoothed() -> tuple[Floats, list[Filter]] | tuple[None, None]:
        """Planes and their filters, whose strengths the header has from now on."""
        if height * width > SMOOTHED:
            return None, None
        planes = planes_of(walk, bits)[:, :height, :width]
        filters = filters_of(planes, header)
        walk.header = replace(walk.header, smooth=_strengths(source, filters))
        return planes, filters

    @cache
    def payload() -> bytes:
        smoothed()
        return write_header(walk.header, code, lanes) + body

    @cache
    def decoded() -> Samples:
        pace.at("measuring", 0)
        planes, filters = smoothed()
        return samples_of(walk, height, width, bits, smooth=True, planes=planes, filters=filters)

    @cache
    def norms() -> tuple[Norms, ...]:
        pace.at("measuring", 0)
        return tuple(measure(C[:, :, c], walk, c) for c in range(channels))

    def squared_error() -> float:
        return sum(error_of(C[:, :, c], walk, c) for c in range(channels))

    ranks = tuple(1 + int((s > 0).sum()) for s in scales)
    return Coded(length, ranks, payload, decoded, norms, squared_error)


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


def _leaves(groups: list[list[Component]], header: Header) -> list[int]:
    """Batches whose signs predict nothing."""
    pairs = chroma.pairs(header.scales) if header.crossed else frozenset()
    return [
        number
        for number, batch in enumerate(groups)
        if pairs.isdisjoint(batch) and not any(prediction.weights(x.index) for x in batch)
    ]


def _strengths(source: Source, filters: list[Filter]) -> tuple[int, ...]:
    """How strongly each channel is best smoothed; alpha, which may be all edge, is not."""
    last = len(filters) - 1
    planes = source.planes

    def strength(c: int) -> int:
        return 0 if source.alpha and c == last else filters[c].best_strength(planes[c])

    filters[0].kinds()  # which chroma has, too
    # In one thread: several would only wait for each other, as a filter is many short calls.
    return tuple(map(strength, range(len(filters))))


def decode(
    payload: bytes, size: Size, bits: int,
    *, rank: int | None = None, partial: bool = False, outline: Outline | None = None,
) -> Decoded:  # fmt: skip
    """Decode an image, or what the first terms of its matrices show of it.

    Parameters
    ----------
    payload : bytes
    size : (height, width, channels)
    bits : int
    rank : int, optional
        Terms of each matrix to keep: its first, and the largest by scale.
    partial : bool
        Of a payload that is cut, decode the whole components before the cut.
    outline : Outline, optional
        What `outline` gives, where it is known already.

    Raises
    ------
    TruncatedError
        The payload ends early (with `partial`, before its first component).
    FormatError
        The payload is not one.
    """
    walk, total, done, whole = _decode_maps(
        payload, size, bits, rank=rank, partial=partial, start=outline
    )
    samples = samples_of(walk, size[0], size[1], bits, smooth=whole)
    return Decoded(samples, total, done)


def _kept(plan: list[Component], rank: int | None, size: Size) -> set[Component]:
    """The components after the first ones that make up so many terms of each matrix.

    A matrix has no more terms than rows, however many components add up to them.
    """
    rows, columns = grid(*size[:2])
    if rank is None or rank >= rows * columns:
        return set(plan)
    seen = [1] * size[2]
    kept = set()
    for one in plan:
        if seen[one.channel] < rank:
            kept.add(one)
            seen[one.channel] += 1
    return kept


def _decode_maps(
    payload: bytes, size: Size, bits: int,
    *, rank: int | None, partial: bool, start: Outline | None = None,
) -> tuple[Walk, int, int, bool]:  # fmt: skip
    """The maps of the components, how many there are, how many were decoded, whether all are kept.

    What is decoded goes by the order of the stream; what is kept, by `_kept`.
    """
    height, width, channels = size
    shape = grid(height, width)
    header, position = (start or outline(payload, size)).read
    if any(header.smooth) and height * width > SMOOTHED:
        raise FormatError("packed stream: the picture is too large to be smoothed")
    plan = order(header.scales)
    total = channels + len(plan)
    kept = _kept(plan, rank, size)
    groups = batches(plan, shape[0] * shape[1])
    leaves = _leaves(groups, header)
    if header.late > len(leaves):
        raise FormatError("packed stream: more late signs than components")
    late = leaves[len(leaves) - header.late :]
    # Batches whose signs stand with their magnitudes, from the first.
    signed = min(late, default=len(groups))
    needed = max((i + 1 for i, batch in enumerate(groups) if kept.intersection(batch)), default=0)
    done = whole = 0
    walk = None
    try:
        if not fits(total * shape[0] * shape[1] * ((5 if bits <= 8 else 9) + 2 * header.crossed)):
            raise MemoryError
        rans = RansReader(payload[position:], header.lanes)
        reader = Reader(rans, hidden=header.hidden)
        kind = np.dtype(np.float32 if bits <= 8 else np.float64)
        gains = None
        if header.gains is not None:
            from lowrank.stores.packed.patches import eye

            gains = eye.code(shape, reader, header.gains, kind)
        walk = Walk(shape, header, groups, reader, bits, gains)
        if walk.symbols > header.lanes * SYMBOLS_PER_LANE * 2:
            raise FormatError("packed stream: too few interleaved coders for its size")
        for c in range(channels):
            walk.first(c)
            done += 1
        whole = channels + sum(len(batch) for batch in groups[:signed])
        read = groups[: needed if needed <= signed else None]
        for number, batch in enumerate(pace.steps("decoding", read)):
            walk.next(batch, signs=number not in late)
            done += len(batch)
        if header.late and done == total:
            walk.sign(rans.tail())
    except Cut:
        if walk is None or not (partial and done):
            raise TruncatedError(
                f"packed stream ends after {done} of {total} components", terms=done, total=total
            ) from None
        done = min(done, whole) if done > channels else done
    for c in range(len(walk.firsts), channels):
        walk.empty_first(c)
    decoded = [one for batch in groups for one in batch][: max(done - channels, 0)]
    shown = kept.intersection(decoded)
    if len(shown) < sum(map(len, walk.indices)):
        walk.keep(shown)
    return walk, total, done, len(shown) == len(plan)


def factors(
    payload: bytes, size: Size, bits: int,
    *, partial: bool = False, outline: Outline | None = None,
) -> list[NDArray[np.float64]]:  # fmt: skip
    """The decoded matrices of rank k, in the coordinates of `matrices`, before rounding."""
    walk, *_ = _decode_maps(payload, size, bits, rank=None, partial=partial, start=outline)
    result = []
    for c, mean in enumerate(walk.firsts):
        d = walk.header.step_of(c)
        B = np.zeros((mean.size, SIZE))
        B[:, 0] = mean.ravel() * d
        # Of a stream that is cut there are maps without a component.
        maps = walk.maps[c][: len(walk.indices[c])]
        for index, q in zip(walk.indices[c], maps, strict=True):
            B[:, index] = q.ravel() * (d / FRACTION)
        spread, factors = walk.scales_of(c)
        if spread is not None and factors is not None:
            B[:, 1:] *= factors.reshape(-1, 1) * spread[1:]
        rotations.turn(B.T, walk.header.turns[c], inverse=True)
        result.append(B)
    return result


def outline(payload: bytes, size: Size) -> Outline:
    """The rotation of the colours that a payload states, and its components of each channel."""
    header, end = read_header(payload, grid(*size[:2]), size[2])
    components = tuple(1 + int((s > 0).sum()) for s in header.scales)
    return Outline(header.turn, components, (header, end))
