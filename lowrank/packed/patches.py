"""The packed layout `patches`: an image as quantised low-rank factors of its patches.

Each channel, after a rotation of the colours, is a matrix A of one row for each patch
of 16 x 16 samples and one column for each frequency (lapped.py). A payload keeps k of
the columns of A V, quantised: B = Q V^T, where V is orthonormal, the cosines turned a
little toward the singular vectors (rotations.py), and the columns of Q, one for each
component, are maps with one value for each patch.

Payload (height, width, channels and bits per sample are known from outside)
----------------------------------------------------------------------------
length    varint, 7 bits a byte, low first, at most 4 bytes: bytes of the header
header    header.BitReader, fields in this order:
    step      16 bits: exponent e (6), mantissa m (10): (1 + m/1024) 2^(e - 16)
    turned    1 bit: a colour rotation follows; only with 3 or 4 channels
    alpha     1 bit: the last channel is opacity; only with 2 or 4 channels
    turn      3 x 8 bits, each plus 128, if turned: quaternion (127, a, b, c) (colour.py)
    levels    1 bit if alpha; if set, 2 x 16 bits: alpha takes these two values only
    lanes     number, 1..16384: interleaved coders (entropy.py)
    late      number: batches whose signs stand in the coders' ends (below)
    smooth    4 bits for each channel: strength of the filter, in eighths (smoothing.py)
    then for each channel:
    scales    components.read_scales: per frequency 0 (dropped) or a size in half octaves
    turns     number, at most 255; for each rotation of V 8 bits i, 8 bits j > i >= 1,
              8 bits angle + 64, in units of pi/256
    coarsest  signed differences: the coarsest map of the first component (first.py)
states    lanes x uint32, little-endian
words     uint16, little-endian, to the end: rANS, with raw bits between (entropy.py)

Components come in this order: the first (mean) of each channel, then all others by
descending scale, channel, frequency, in batches (components.batches). A batch has three
phases (contexts.py), and each phase, for all its maps: flags, tokens, raw bits of the
magnitudes, signs. Some low frequencies are predicted, and q is what is left
(prediction.py). The models (models.py) learn at the end of a batch, or of a band of a
first component. Alpha has half the step.

When all has been read, each coder is left with a state of 2^16 plus 16 bits. Together
these are the signs of the last `late` batches in which nothing is predicted: they stand
there, in order, and not with their magnitudes.

Samples are rebuilt exactly as synthesis.py and samples.py say: V Q^T and the lapped
filter's inverse, the smoothing (if all components are there), the colours rotated back,
rounded half up and clipped; if levels are given, alpha takes the nearer one.

A decoder must reject: a flag that does not fit the channels; lanes out of range, or so
few that the maps have more than 2^17 symbols a lane; an initial state below 2^16, or a
last one of 2^17 or more; more late batches or signs than there are; a header number
above 2^32 - 2; a coarsest coefficient of 2^30 or a coefficient of 2^20 or more; a
rotation that is none; smoothing of more than 2^22 pixels; levels above the largest
sample. A payload that ends early is cut; every batch before the cut can be decoded, but
for the late ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import FormatError, TruncatedError
from lowrank.packed import prediction, rotations, stream, wavelet
from lowrank.packed.choice import scales_of
from lowrank.packed.colour import principal, rotation
from lowrank.packed.components import Component, batches, order
from lowrank.packed.entropy import Cut, RansReader, RansWriter
from lowrank.packed.lapped import SIZE, analyse, grid
from lowrank.packed.maps import Reader, Writer
from lowrank.packed.norms import Norms, measure
from lowrank.packed.samples import Samples, channel_of, planes_of, samples_of
from lowrank.packed.smoothing import best_strength
from lowrank.packed.stream import ALPHA_FINER, LANES, Header, coarse_step
from lowrank.packed.synthesis import FRACTION
from lowrank.packed.walk import Walk

ZERO, RISE = 0.08, 0.07
"""What a bit is worth, in squared steps: the quantiser's rates of exchange."""
BITS_PER_LANE = 2560
MANY_LANES = 512
"""Beyond these, twice as many: what costs 0.3% of the bytes saves a tenth of the time."""
SYMBOLS_PER_LANE = 1 << 16
SMOOTHED = 1 << 22
"""Pixels of the largest picture that is smoothed: beyond, it would take too long."""
SMALLEST_STEP = {1: 2.0**-8, 8: 2.0**-4, 16: 1.0}
"""By bits per sample: finer steps gain nothing, and coefficients stay in range."""


@dataclass(frozen=True)
class Packed:
    """An encoded image."""

    payload: bytes
    ranks: tuple[int, ...]
    components: int
    norms: tuple[Norms, ...] | None = None


@dataclass(frozen=True)
class Decoded:
    """A decoded image."""

    samples: Samples
    total: int
    decoded: int


def encode(
    samples: Samples, bits: int, step: float, *, alpha: bool | None = None, measured: bool = False
) -> Packed:
    """Encode an image with one quantiser step.

    Parameters
    ----------
    samples : (height, width, channels) ndarray of uint8 or uint16
        One to four channels.
    bits : int
        1, 8 or 16: samples are below 2^bits.
    step : float
        Quantiser step in levels, for every component of the orthonormal transform.
    alpha : bool, optional
        The last channel is opacity: coded apart with half the step, exact where it
        has one value, and with no values of its own where it has two. By default so
        for 2 and 4 channels; False for CMYK.
    measured : bool
        Measure the matrices, too.
    """
    height, width, channels = samples.shape
    if alpha is None:
        alpha = channels in (2, 4)
    code, step = coarse_step(max(step, SMALLEST_STEP[bits]))
    turn = None
    if channels >= 3:
        pixels = samples[:: max(1, height // 256), :: max(1, width // 256), :3].reshape(-1, 3)
        turn = principal(pixels)
    dtype = np.dtype(np.float32 if bits <= 8 else np.float64)
    C = analyse(samples, None if turn is None else rotation(turn), dtype)
    levels = None
    if alpha:
        low, high = int(samples[..., -1].min()), int(samples[..., -1].max())
        if low == high or np.isin(samples[..., -1], (low, high)).all():
            levels = (low, high)
    shape = grid(height, width)
    scales, turns, firsts = [], [], []
    for c in range(channels):
        d = step / ALPHA_FINER if alpha and c == channels - 1 else step
        C[:, :, c] *= dtype.type(1 / d)
        turns.append(rotations.search(C[:, :, c]))
        rotations.turn(C[:, :, c], turns[-1])
        scales.append(scales_of(C[:, :, c]))
        firsts.append(wavelet.forward(C[0, :, c].copy()))
    if levels is not None and levels[0] == levels[1]:
        scales[-1][:] = 0
        firsts[-1] = wavelet.forward(np.zeros(shape, dtype))
    coarsest = [np.rint(low).astype(np.int64) for low, _ in firsts]
    smooth = (0,) * channels
    header = Header(step, turn, alpha, levels, 0, 0, smooth, scales, turns, coarsest)
    rans = RansWriter()
    coder = Writer(rans, zero=ZERO, rise=RISE)
    plan = order(scales)
    walk = Walk(shape, header, plan, coder, bits)
    for c in range(channels):
        walk.first(c, firsts[c][1])
    groups = batches(plan, shape[0] * shape[1])
    passes = []
    for batch in groups:
        coder.signs = []
        walk.next(batch, [walk.quarters.scatter(C[x.index, :, x.channel]) for x in batch])
        passes.append(coder.signs)
    lanes = _lanes(rans.bits, walk.symbols)
    late: list[NDArray[np.uint8]] = []
    room = 16 * lanes
    count = 0
    for number in reversed(_leaves(groups)):
        room -= sum(rans.length(one) for one in passes[number])
        if room < 0:
            break
        late = [rans.withdraw(one) for one in passes[number]] + late
        count += 1
    body = rans.finish(lanes, np.concatenate(late) if late else np.empty(0, np.uint8))
    smooth = _strengths(walk, samples, bits) if height * width <= SMOOTHED else header.smooth
    payload = stream.write(replace(header, late=count, smooth=smooth), code, lanes) + body
    ranks = tuple(1 + int((s > 0).sum()) for s in scales)
    norms = tuple(measure(C[:, :, c], walk, c) for c in range(channels)) if measured else None
    return Packed(payload, ranks, channels + len(plan), norms)


def _lanes(bits: float, symbols: int) -> int:
    """Interleaved coders of a stream."""
    lanes = bits / BITS_PER_LANE
    lanes += max(lanes - MANY_LANES, 0)
    return int(min(max(1, lanes, symbols / SYMBOLS_PER_LANE), LANES))


def _leaves(groups: list[list[Component]]) -> list[int]:
    """Batches whose signs predict nothing."""
    return [
        number
        for number, batch in enumerate(groups)
        if not any(prediction.weights(x.index) for x in batch)
    ]


def _strengths(walk: Walk, samples: Samples, bits: int) -> tuple[int, ...]:
    """How strongly each channel is best smoothed; alpha, which may be all edge, is not."""
    height, width, channels = samples.shape
    header = walk.header
    decoded = planes_of([channel_of(walk, c, bits) for c in range(channels)], walk.float)
    original = samples.astype(walk.float).transpose(2, 0, 1)
    if header.turn is not None:
        R = rotation(header.turn).astype(walk.float)
        original[:3] = np.tensordot(R, original[:3], 1)
    return tuple(
        0
        if header.alpha and c == channels - 1
        else best_strength(original[c], decoded[c, :height, :width], header.step_of(c))
        for c in range(channels)
    )


def decode(
    payload: bytes,
    height: int,
    width: int,
    channels: int,
    bits: int,
    *,
    components: int | None = None,
    partial: bool = False,
) -> Decoded:
    """Decode an image, or what its first components show of it.

    Parameters
    ----------
    components : int, optional
        Decode no more than these, of the order of the stream.
    partial : bool
        Of a payload that is cut, decode the whole components before the cut.

    Raises
    ------
    TruncatedError
        The payload ends early (with `partial`, in its header).
    FormatError
        The payload is not one.
    """
    walk, total, done = _decode_maps(
        payload, height, width, channels, bits, components=components, partial=partial
    )
    samples = samples_of(walk, height, width, bits, smooth=done == total)
    return Decoded(samples, total, done)


def _decode_maps(
    payload: bytes,
    height: int,
    width: int,
    channels: int,
    bits: int,
    *,
    components: int | None,
    partial: bool,
) -> tuple[Walk, int, int]:
    shape = grid(height, width)
    header, position = stream.split(payload, shape, channels)
    if any(header.smooth) and height * width > SMOOTHED:
        raise FormatError("packed stream: the picture is too large to be smoothed")
    plan = order(header.scales)
    total = channels + len(plan)
    patches = shape[0] * shape[1]
    wanted = total if components is None else min(max(components, 0), total)
    done = whole = 0
    walk = None
    try:
        rans = RansReader(payload[position:], header.lanes)
        walk = Walk(shape, header, plan, Reader(rans), bits)
        if walk.symbols > header.lanes * SYMBOLS_PER_LANE * 2:
            raise FormatError("packed stream: too few interleaved coders for its size")
        for c in range(min(channels, wanted)):
            walk.first(c)
            done += 1
        groups = batches(plan, patches)
        leaves = _leaves(groups)
        if header.late > len(leaves):
            raise FormatError("packed stream: more late signs than components")
        late = set(leaves[len(leaves) - header.late :])
        whole = channels + sum(len(batch) for batch in groups[: min(late, default=None)])
        for number, batch in enumerate(groups):
            if done >= (wanted if wanted <= whole else total):
                break
            walk.next(batch, signs=number not in late)
            done += len(batch)
        if header.late and done == total:
            walk.sign(rans.tail())
    except Cut:
        if not partial:
            raise TruncatedError(
                f"packed stream ends after {done} of {total} components", terms=done, total=total
            ) from None
        done = min(done, whole)
        wanted = min(wanted, done)
    if walk is None:
        raise TruncatedError("packed stream ends in its header", terms=0, total=total)
    for c in range(len(walk.firsts), channels):
        walk.empty_first(c)
    if done > wanted:
        # A batch is decoded whole; what was not asked for is left out again.
        walk.keep([one for batch in batches(plan, patches) for one in batch][: wanted - channels])
        done = wanted
    return walk, total, done


def factors(
    payload: bytes, height: int, width: int, channels: int, bits: int
) -> list[NDArray[np.float64]]:
    """The decoded matrices of rank k, in the coordinates of `matrices`, before rounding."""
    walk, _, _ = _decode_maps(
        payload, height, width, channels, bits, components=None, partial=False
    )
    result = []
    for c, mean in enumerate(walk.firsts):
        d = walk.header.step_of(c)
        B = np.zeros((mean.size, SIZE))
        B[:, 0] = mean.ravel() * d
        for index, q in zip(walk.indices[c], walk.maps[c], strict=True):
            B[:, index] = q.ravel() * (d / FRACTION)
        rotations.turn(B.T, walk.header.turns[c], inverse=True)
        result.append(B)
    return result


def read_header(payload: bytes, height: int, width: int, channels: int) -> Header:
    """What a payload says before its coefficients."""
    return stream.split(payload, grid(height, width), channels)[0]
