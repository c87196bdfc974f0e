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

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lowrank import pace, threads
from lowrank.errors import FormatError, LimitError, TruncatedError
from lowrank.layouts.turn import axes
from lowrank.limits import MAX_COEFFICIENTS, MAX_PRODUCTS, fits
from lowrank.stores.packed.channels import factorise, vectors
from lowrank.stores.packed.channels.factorise import Source, prepare
from lowrank.stores.packed.channels.header import Header, read_header, write_header
from lowrank.stores.packed.channels.sums import Outer
from lowrank.stores.packed.channels.symbols import Integers, Reader, Writer
from lowrank.stores.packed.channels.walk import Walk
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
    to_levels,
)
from lowrank.stores.packed.coding.rans import Cut, RansReader
from lowrank.stores.packed.coding.ranswriter import RansWriter
from lowrank.stores.packed.coding.smoothing import Filter
from lowrank.stores.packed.coding.start import LANES, coarse_step

__all__ = ["Source", "decode", "encode", "factors", "outline", "prepare"]

Size = tuple[int, int, int]
"""Height, width and channels."""
Floats = NDArray[np.float64]
MULTIPLIER = 0.09
"""What a bit is worth, in squared steps: the exchange rate of the quantiser."""
BITS_PER_LANE = 8192
"""A lane costs four bytes: 0.4%; more lanes decode in fewer steps."""
_ROW = 120
"""Bytes that the walk takes for each place of a row, at least."""
OFFSETS = (0, 0)
"""Written by this encoder: its dead zone leaves the centroids at the integers."""


def encode(source: Source, step: float) -> Coded:
    """Encode an image with one quantiser step, in levels.

    The vectors u are quantised in a first walk, which learns the costs of bits; then V
    is solved for them as quantised, and everything is coded in a second walk.
    """
    code, step = coarse_step(max(step, SMALLEST_STEP[source.bits]))
    m, n = source.shape
    channels = len(source.factors)
    refined = threads.each(lambda f: factorise.refine(f, source.rank, step), source.factors)
    ranks = tuple(x.U.shape[1] for x in refined)
    order = source.order(ranks)
    header = Header(
        step,
        source.turn,
        source.alpha,
        source.levels,
        OFFSETS,
        1,
        (0,) * channels,
        [x.switches for x in refined],
        order,
    )
    U = [vectors.forward(x.U, x.switches[0]).T / step for x in refined]
    V = [vectors.forward(x.V, x.switches[1]).T / step for x in refined]
    places = vectors.coefficients(m)
    U = [x[:, :places] for x in _walk(RansWriter(), header, source.shape, U, V)]

    def solved(c: int) -> tuple[Floats, Floats]:
        """V for the U of a channel as quantised, in steps; and what its errors carry."""
        u, v = refined[c].switches
        fixed = _directions(_sixteenths(U[c], OFFSETS).T, m, u)
        exact = factorise.solve(source.factors[c].A, fixed)
        return vectors.forward(exact, v).T / step, factorise.carried(fixed)

    both = threads.each(solved, range(channels))
    V, carry = [x for x, _ in both], [x for _, x in both]
    rans = RansWriter()
    coded = _walk(rans, header, source.shape, U, V, carry)
    symbols = len(order) * (m + n)
    lanes = int(min(max(1, rans.bits / BITS_PER_LANE, symbols / SYMBOLS_PER_LANE), LANES))
    plain = replace(header, lanes=lanes)
    body = rans.finish(lanes, np.empty(0, np.uint8))

    @cache
    def smoothed() -> tuple[Header, list[Outer], list[Filter] | None]:
        """The header with its strengths, the matrices, and the filters of their planes."""
        sums = [_sum(list(x.astype(np.int64)), header, c, m, n) for c, x in enumerate(coded)]
        if source.rank is not None or m * n > SMOOTHED:
            return plain, sums, None
        filters = [Filter(_plane(x), header.step) for x in sums]
        smooth = tuple(_strength(source, c, x) for c, x in enumerate(filters))
        return replace(plain, smooth=smooth), sums, filters

    @cache
    def payload() -> bytes:
        return write_header(smoothed()[0], code, channels) + body

    @cache
    def decoded() -> Samples:
        whole, sums, filters = smoothed()
        return _samples(whole, sums, (m, n, channels), source.bits, smooth=True, filters=filters)

    @cache
    def norms() -> tuple[Norms, ...]:
        return source.norms(ranks, _planes(*smoothed()[:2]))

    length = len(write_header(plain, code, channels)) + len(body)

    def squared_error() -> float:
        return sum(x.error**2 for x in norms())

    return Coded(lambda: length, ranks, payload, decoded, norms, squared_error)


def _strength(source: Source, channel: int, decoded: Filter) -> int:
    """How strongly a channel is best smoothed; alpha, which may be all edge, is not."""
    if source.alpha and channel == len(source.factors) - 1:
        return 0
    return decoded.best_strength(source.factors[channel].A)


def _walk(
    rans: RansWriter,
    header: Header,
    shape: tuple[int, int],
    U: list[Floats],
    V: list[Floats],
    carry: list[Floats] | None = None,
) -> list[Floats]:
    """Quantise and collect all components.

    Parameters
    ----------
    U, V : lists of (k, coefficients) ndarray
        Of each channel, in steps.
    carry : list of (k, k) ndarray, optional
        What an error in a row of V does to those after it (factorise.carried). If given,
        U are integers already and stay as they are.

    Returns
    -------
    list of (k, coefficients) ndarray of integers as floats
        Of each channel, u and v side by side.
    """
    walk = Walk(*shape, header.switches)
    coder = Writer(rans, multiplier=MULTIPLIER)
    places = vectors.coefficients(shape[0])
    coder.exact = places if carry else 0
    errors = [np.zeros_like(v) for v in V]
    seen = [0] * len(U)
    result = [np.zeros((len(u), places + v.shape[1])) for u, v in zip(U, V, strict=True)]
    for c in pace.steps("coding", header.order):
        i = seen[c]
        v = V[c][i]
        if carry:
            v = v - carry[c][:i, i] @ errors[c][:i]
        coder.target = np.concatenate([U[c][i], v])
        result[c][i] = walk.component(coder, c)
        errors[c][i] = result[c][i, places:] - V[c][i]
        seen[c] += 1
    return result


def _sixteenths(q: NDArray[np.number[Any]], offsets: tuple[int, int]) -> Floats:
    """Coefficients in sixteenths of a step: magnitudes less the offsets."""
    size = np.abs(q).astype(np.int64)
    table = np.array([0, *offsets], np.int64)
    signed: NDArray[Any] = np.sign(q) * (size * FRACTION - table[np.minimum(size, 2)])
    return signed.astype(np.float64)


# -- decoding --------------------------------------------------------------------------


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
    return Decoded(_samples(header, sums, size, bits, smooth=whole), total, done)


def factors(
    payload: bytes, size: Size, bits: int,
    *, partial: bool = False, outline: Outline | None = None,
) -> list[NDArray[np.float64]]:  # fmt: skip
    """The decoded matrices of rank k, before the colours are rotated back."""
    header, sums, _ = _sums(payload, size, rank=None, partial=partial, start=outline)
    return _planes(header, sums)


def _planes(header: Header, sums: list[Outer]) -> list[Floats]:
    result = [_plane(x) for x in sums]
    if header.alpha:
        result[-1] /= ALPHA_FINER
    return result


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
    return header, [_sum(rows, header, c, height, width) for c, rows in enumerate(kept)], done


def _sum(rows: list[Integers], header: Header, channel: int, height: int, width: int) -> Outer:
    """The matrix of a channel's components: elementwise IEEE arithmetic, then exact."""
    places = vectors.coefficients(height)
    q = np.array(rows, np.int64).reshape(-1, places + vectors.coefficients(width)).T
    Y = _sixteenths(q, header.offsets)
    u, v = (min(x, len(rows)) for x in header.switches[channel])
    U = _directions(Y[:places], height, u) * (header.step / FRACTION)
    return Outer(U, vectors.inverse(Y[places:], width, v))


def _directions(Y: Floats, length: int, switch: int) -> Floats:
    """The columns whose coefficients these are, divided by the coefficients' lengths."""
    size = np.sqrt(_squares(np.abs(Y).astype(np.int64)))
    return vectors.inverse(Y, length, switch) / np.where(size > 0, size, 1.0)


def _squares(size: Integers) -> Floats:
    """Sums of squares of each column, of integers below 2^30, the same on every machine."""
    high, low = size >> 15, size & 0x7FFF
    # Each sum is an integer below 2^62; then three roundings in a fixed order.
    parts = [(x * y).sum(0).astype(np.float64) for x, y in ((high, high), (high, low), (low, low))]
    total: Floats = parts[0] * 2.0**30 + parts[1] * 2.0**16 + parts[2]
    return total


def _plane(total: Outer) -> Floats:
    return np.concatenate([rows for _, rows in total.slabs()])


def _parts(
    header: Header, sums: list[Outer], *, smooth: bool, filters: list[Filter] | None
) -> Iterator[tuple[slice, list[Floats]]]:
    """Rows of all channels, some at a time, or all at once where they are smoothed."""
    if smooth and any(header.smooth):
        filters = filters or [Filter(_plane(x), header.step) for x in sums]
        for one, strength in zip(filters, header.smooth, strict=True):
            one.apply(strength)
        yield slice(None), [cast("Floats", one.plane) for one in filters]
    else:
        for parts in zip(*(x.slabs() for x in sums), strict=True):
            yield parts[0][0], [x for _, x in parts]


def _samples(
    header: Header,
    sums: list[Outer],
    shape: tuple[int, int, int],
    bits: int,
    *,
    smooth: bool,
    filters: list[Filter] | None = None,
) -> Samples:
    """The picture of some terms; what is smoothed is in `filters`, where that is known already."""
    peak = (1 << bits) - 1
    if header.levels is not None and max(header.levels) > peak:
        raise FormatError("packed stream: a level of alpha is out of range")
    out = np.empty(shape, np.uint8 if bits <= 8 else np.uint16)
    R = axes(header.turn)
    for rows, X in _parts(header, sums, smooth=smooth, filters=filters):
        if R is not None:
            X[:3] = [X[0] * R[0, c] + X[1] * R[1, c] + X[2] * R[2, c] for c in range(3)]
        if header.alpha:
            X[-1] *= 1 / ALPHA_FINER
        for c, x in enumerate(X):
            x += 0.5
            out[rows, :, c] = np.clip(x, 0, peak, out=x)
    if header.levels is not None:
        to_levels(out[..., -1], header.levels)
    return out
