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

import numpy as np
from numpy.typing import NDArray

from lowrank import pace
from lowrank.errors import FormatError, TruncatedError
from lowrank.layouts.lapped import SIZE, grid
from lowrank.limits import fits
from lowrank.stores.packed.coding.payload import (
    FRACTION,
    SMOOTHED,
    SYMBOLS_PER_LANE,
    Decoded,
    Outline,
)
from lowrank.stores.packed.coding.rans import Cut, RansReader
from lowrank.stores.packed.patches import rotations
from lowrank.stores.packed.patches.header import read_header
from lowrank.stores.packed.patches.order import Component, batches, order
from lowrank.stores.packed.patches.phases import Reader
from lowrank.stores.packed.patches.samples import samples_of
from lowrank.stores.packed.patches.walk import Walk, leaves_of

Size = tuple[int, int, int]
"""Height, width and channels."""


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
    leaves = leaves_of(groups, header)
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
