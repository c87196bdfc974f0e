"""The packed layout `channels`: the truncated SVD of each channel, quantised.

Each channel, after a rotation of the colours where the header says so, is a matrix A of
height x width. A payload keeps k terms of it: B = step U V^T. The columns of V have
integers (less an offset) for coefficients in a wavelet or lapped basis, and so have those
of U, but divided by the length of their coefficients. So the length of u says nothing,
sigma is that of the column of V, and one step serves all components.

Payload (height, width, channels and bits per sample are known from outside)
----------------------------------------------------------------------------
length    2 bytes, little-endian: bytes of the header
header    range_coder.BitReader, fields in this order:
    step      16 bits: exponent e (6), mantissa m (10): (1 + m/1024) 2^(e - 16)
    turned    1 bit: a colour rotation follows; only with 3 or 4 channels
    alpha     1 bit: the last channel is opacity; only with 2 or 4 channels
    turn      3 x 8 bits, each plus 128, if turned: quaternion (127, a, b, c) (colour.py)
    levels    1 bit if alpha; if set, 2 x 16 bits: alpha takes these two values only
    offsets   2 x 3 bits: sixteenths of a step taken off |q| = 1, and off |q| > 1
    lanes     number, 1..16384: interleaved coders (rans.py)
    smooth    4 bits for each channel: strength of the filter, in eighths (smoothing.py)
    switches  2 numbers for each channel: so many components, from the first, have
              wavelets for u, and for v; the others have lapped blocks (vectors.py)
    terms     number: components in all
    channel   of each component: a bit for each channel but the last, until one is set,
              in the context of the channel of the component before (at first 0)
states    lanes x uint32, little-endian
words     uint16, little-endian, to the end: rANS, with raw bits between (rans.py)

Components come in descending sigma. Each is one row of integers, those of u, then those
of v, in four phases (vectors.py), in contexts (walk.py): of each phase the flags, the
second flags, the tokens and their raw bits (symbols.py); at the end of the component the
signs of its non-zeros, in order. The models learn after every pass (mixture.py, tokens.py).

Alpha is doubled before all this, and halved after. Samples are the sums of sums.py,
smoothed (if all components are there), rotated back, rounded half up and clipped; if
levels are given, alpha takes the nearer. A file of a rank that was asked for is not
smoothed: its picture is the matrix of that rank.

Every step and table of a decoder is in docs/PACKED.md.

A decoder must reject: a flag that does not fit the channels; lanes out of range, or so
few that the components have more than 2^17 places a lane; more components of a channel
than min(height, width); a header number above 2^32 - 2; an initial state below 2^16; a
magnitude of 2^26 or more; smoothing of more than 2^22 pixels; levels above the largest
sample. A payload that ends early is cut; every component before the cut can be decoded.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lowrank import pace
from lowrank.errors import FormatError, LimitError, TruncatedError
from lowrank.limits import MAX_COEFFICIENTS, MAX_PRODUCTS, fits
from lowrank.stores.packed.channels.header import Header, read_header
from lowrank.stores.packed.channels.samples import samples_of
from lowrank.stores.packed.channels.sums import Outer
from lowrank.stores.packed.channels.symbols import Integers, Reader
from lowrank.stores.packed.channels.terms import matrix_of, planes_of
from lowrank.stores.packed.channels.walk import Walk
from lowrank.stores.packed.coding.payload import SMOOTHED, SYMBOLS_PER_LANE, Decoded, Outline
from lowrank.stores.packed.coding.rans import Cut, RansReader

Size = tuple[int, int, int]
"""Height, width and channels."""
_ROW = 120
"""Bytes that the walk takes for each place of a row, at least."""


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
        Terms of each matrix to keep.
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
    header, sums, done = _sums(payload, size, rank=rank, partial=partial, start=outline)
    total = len(header.order)
    whole = sum(x.rank for x in sums) == total
    return Decoded(samples_of(header, sums, size, bits, smooth=whole), total, done)


def factors(
    payload: bytes, size: Size, bits: int,
    *, partial: bool = False, outline: Outline | None = None,
) -> list[NDArray[np.float64]]:  # fmt: skip
    """The decoded matrices of rank k, before the colours are rotated back."""
    header, sums, _ = _sums(payload, size, rank=None, partial=partial, start=outline)
    return planes_of(header, sums)


def outline(payload: bytes, size: Size) -> Outline:
    """The rotation of the colours that a payload states, and its components of each channel."""
    header, end = read_header(payload, *size)
    components = tuple(header.order.count(c) for c in range(size[2]))
    return Outline(header.turn, components, (header, end))


def _sums(
    payload: bytes, size: Size, *, rank: int | None, partial: bool, start: Outline | None = None
) -> tuple[Header, list[Outer], int]:
    """The header, the matrices of the terms that are kept, and how many components were decoded."""
    height, width, channels = size
    header, position = (start or outline(payload, size)).read
    if any(header.smooth) and height * width > SMOOTHED:
        raise FormatError("packed stream: the picture is too large to be smoothed")
    total = len(header.order)
    if total * (height + width) > header.lanes * SYMBOLS_PER_LANE * 2:
        raise FormatError("packed stream: too few interleaved coders for its size")
    places = total * (height + width)
    if places > MAX_COEFFICIENTS or total * height * width > MAX_PRODUCTS:
        raise LimitError(
            f"{total} components of {height}x{width} samples are more work than the limit allows"
        )
    if not fits(_ROW * channels * (height + width) + 3 * 8 * places + channels * height * width):
        raise MemoryError
    found: list[list[Integers]] = [[] for _ in range(channels)]
    missing = [header.order.count(c) for c in range(channels)]
    if rank is not None:
        missing = [min(k, rank) for k in missing]
    done = 0
    try:
        coder = Reader(RansReader(payload[position:], header.lanes))
        walk = Walk(height, width, header.switches)
        for c in pace.steps("decoding", header.order):
            if not any(missing):
                break
            found[c].append(walk.component(coder, c))
            done += 1
            missing[c] = max(missing[c] - 1, 0)
    except Cut:
        if not (partial and done):
            raise TruncatedError(
                f"packed stream ends after {done} of {total} components", terms=done, total=total
            ) from None
    kept = [rows[:rank] for rows in found]
    return header, [matrix_of(rows, header, c, height, width) for c, rows in enumerate(kept)], done
