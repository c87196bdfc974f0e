"""The packed layout `stack`: a stack of frames as quantised planes and a basis across them.

A is (N, n), a frame in each row, its colours turned. A payload keeps B = U P: the columns
of U, one for each of K planes, are those of a Karhunen-Loève transform across the frames
(klt.py), quantised (basis.py), and the rows of P are planes that look like frames, coded
as the patches of a photograph are (patches/codec.py), with contexts from plane to plane
(order.py) and a quantiser with a trellis (trellis.py). Where frames have nothing to do with
each other the planes are the frames themselves, and U is the identity.

Payload (frames, height, width, channels and the type of samples are known from outside)
----------------------------------------------------------------------------------------
length    varint, 7 bits a byte, low first, at most 4 bytes: bytes of the header
header    range_coder.BitReader, fields in this order:
    version   6 bits of ones and 4 bits, 1 to 3; not there in the first files, of version 0
    step      16 bits: exponent e (6), mantissa m (10): (1 + m/1024) 2^(e - 16); e < 63
    basis     1 bit: U follows; else it is the identity and K = N
    turned    1 bit, of 3 channels or more: a colour rotation follows
    turn      3 x 8 bits, each plus 128, if turned: quaternion (127, a, b, c) (colour.py),
              of the first three channels
    lanes     number, 1..16384: interleaved coders (rans.py)
    late      number: batches whose signs stand in the coders' ends
    planes    number K, at most N, and K columns (basis.read_columns), if there is a basis
    transform 2 bits, not 0, in version 3: of whole patches (edges.py); then 1 bit for classes
    classes   classes.read, in version 2, or if there are
    slope     5 bits, of all profiles
    profiles  profile.read: of each map, which is a channel of a plane
    coarsest  signed differences, of each map: the coarsest one of its first component
              (means.py)
states    lanes x uint32, little-endian
words     uint16, little-endian, to the end: rANS, with raw bits between (rans.py)

The stream has the entries of U, column by column (basis.read_entries), then the maps in
groups of max(1, GROUP // (256 patches)) maps: of each group the first (mean) component of
each map, then all others in batches (order.batches). A batch has three phases as in patches
(contexts.py), and each phase flags, tokens, raw bits of magnitudes, signs. A level q of the
first quantiser is the value q, of the second sign(q)(|q| - 1/2), in steps; contexts take
twice its magnitude. Nothing is predicted and no basis of patches turned. The signs of the
last `late` batches of the last group stand in the ends of the coders.

In version 1 the patches at the far edges have as many rows and columns as there are samples:
edges.py says which components they have, and their basis; what a patch does not have is not
coded, as beyond the edge of a map, and leaves the state of its trellis. The length of what
escapes a token is itself a token of one more distribution (models.LENGTHS), learnt as the
others; 15 announces 5 raw bits. In version 0 planes are filled up to whole patches, and each
length is 5 raw bits.

In version 3 patches have another transform, and do not lap (edges.py).

With classes later maps are what is left of them beyond a prediction, from the maps before, by the
class of each pixel (classes.py). A group begins with the weights of its maps.

Planes are rounded to sixteenths of a step, the product with U is exact (samples.py), and
samples are its levels, colours turned back, rounded half up and clipped to their type.

A decoder must reject: lanes out of range, or so few that there are more than 2^17 symbols
a lane; an initial state below 2^16, or a last one of 2^17 or more; more late batches or
signs than there are; more planes than frames; a number, an exponent or an entry of U out of
range; a coarsest coefficient of 2^30 or a coefficient of 2^20 or more; a plane of 2^31
sixteenths or more; more than 64 classes, 32 maps that tell them, or so many that their number
times that of all maps is above the samples of a map; a centre out of range; sums of products
that could reach 2^53. A payload that ends early is cut;
every batch before the cut can be decoded, but for the late ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lowrank import pace, threads
from lowrank.errors import FormatError, LimitError, TruncatedError
from lowrank.layouts.lapped import SIZE, grid
from lowrank.limits import MAX_PRODUCTS, STACK, fits, give_back
from lowrank.picture import Mode, Turn
from lowrank.picture.levels import Scale
from lowrank.stores.packed.coding.payload import (
    SYMBOLS_PER_LANE,
    Coded,
    Decoded,
    Norms,
    Outline,
    Samples,
)
from lowrank.stores.packed.coding.rans import Cut, RansReader
from lowrank.stores.packed.coding.ranswriter import RansWriter
from lowrank.stores.packed.coding.start import LANES, coarse_step
from lowrank.stores.packed.frames import basis, classes, models, wanted
from lowrank.stores.packed.frames.apart import suit, told_apart
from lowrank.stores.packed.frames.closed import Closed
from lowrank.stores.packed.frames.edges import Edges
from lowrank.stores.packed.frames.header import (
    CLASSED,
    OTHER,
    PLAIN,
    Header,
    Shape,
    read_header,
    write_header,
)
from lowrank.stores.packed.frames.klt import LARGE, Stack
from lowrank.stores.packed.frames.order import batches
from lowrank.stores.packed.frames.plain import Plain, Written
from lowrank.stores.packed.frames.rates import BIT
from lowrank.stores.packed.frames.samples import (
    Plane,
    Synthesis,
    narrowed,
    planes_of,
    power,
)
from lowrank.stores.packed.frames.steering import Steering
from lowrank.stores.packed.frames.walk import Carried, Walk
from lowrank.stores.packed.patches.phases import Reader, Writer

GROUP = 1 << 21
"""Coefficients of the maps that are coded together."""
ZERO, RISE = 0.13, 0.11
"""What a bit is worth in a first component, in squared steps."""
BITS_PER_LANE = 2560
LARGEST = 1 << 20
"""Bound of levels, and of what a step may make of a coefficient."""
_FINEST = 2.0**-4  # of steps, in levels: a finer one gains nothing
_USUAL = 1.1
"""Squared error of predicted maps to what a plain quantiser leaves of them without."""


# -- encoding --------------------------------------------------------------------------


@threads.one_blas_thread()
def encode(stack: Stack, step: float, mode: Mode, *, planes: int | None = None) -> Coded:
    """Encode a stack with one quantiser step.

    Parameters
    ----------
    stack : Stack
    step : float
        In levels; one too fine for the range of coefficients is made coarser.
    mode : Mode
        Of integer samples.
    planes : int, optional
        How many, where their number is not to be chosen: the frames themselves are then
        no choice either.
    """
    suit(stack, step * stack.scale)
    if planes is not None or stack.weights is not None:
        return _encoded(stack, step * stack.scale, mode, planes=planes)
    apart = told_apart(stack, step)
    if apart is not None:
        return _encoded(stack, step, mode, apart=apart)
    across = _encoded(stack, step, mode)
    across.norms()
    across.payload()  # now its planes are not kept, which take memory
    cost = _cost(across, step)
    themselves = _encoded(stack, step, mode, apart=True)
    better = _cost(themselves, step) < cost
    stack.apart = step, better
    return themselves if better else across


def _cost(coded: Coded, step: float) -> float:
    """Squared error and bits of an encoding, in squared steps."""
    return (coded.norms()[0].error / step) ** 2 + BIT * 8 * coded.length


def _encoded(
    stack: Stack, step: float, mode: Mode, *, planes: int | None = None, apart: bool = False
) -> Coded:
    shape, channels = stack.grid, stack.channels
    step = coarse_step(max(step, stack.largest / LARGEST, _FINEST))[1]
    B, entries, columns, M = None, None, None, None
    count = stack.frames
    if not apart:
        kept = wanted.kept(stack, step, planes)
        entries, columns = wanted.quantised(stack, step, kept)
        B = entries * power(x.exponent for x in columns)
        M = wanted.matched(stack, B)
        count = len(kept)
    else:
        stack.forget()  # the frames themselves need none of the coefficients
    rans = RansWriter()
    coder = Writer(rans, zero=ZERO, rise=RISE, models=models.fresh())
    if entries is not None and columns is not None:
        basis.write_entries(rans, Writer(rans, zero=0, rise=0), entries, columns)
    edges = Edges(stack.height, stack.width, transform=stack.transform)
    maps, each = count * channels, group_of(shape)
    learnt = wanted.learnt(stack, M, step, maps)
    groups: Plain | Closed
    steering = None
    if learnt is None:
        groups = Plain(
            wanted.groups(stack, M, maps, each, step), coder, edges, (stack.height, stack.width)
        )
    else:
        steering = _steering(stack, step, B, learnt[1].error[:maps])
        groups = Closed(*learnt, edges, rans, coder, ZERO, RISE, each, steering)
    writers: list[Callable[[], Written]] = []
    written: list[Written] = []
    for start in range(0, maps, each):
        writers.append(groups.group(slice(start, min(start + each, maps))))
        if maps > each:  # what is to be written takes memory
            written.append(writers.pop()())
        if stack.samples.size >= LARGE:
            give_back()

    @cache
    @threads.one_blas_thread()
    def stream() -> bytes:
        wanted.release(stack)
        while writers:
            written.append(writers.pop()())
        symbols = sum(x.symbols for x in written)
        most = max(1, rans.bits / BITS_PER_LANE, symbols / SYMBOLS_PER_LANE)
        lanes = int(min(most, LANES))
        number, late = rans.late(written[-1].passes if written else [], lanes)
        version = OTHER if edges.transform else CLASSED if groups.classes else PLAIN
        header = Header(
            step, version, stack.turn, count, columns, lanes, number, groups.classes,
            edges.transform, groups.slope, groups.profiles, groups.coarsest,
        )  # fmt: skip
        return write_header(header, channels) + rans.finish(lanes, late)

    stack.lost = None if steering is None else steering.usual
    made = [_synthesis(columns, B, groups.finish(), step, stack.turn, stack.samples.shape)]
    rank = min(count, stack.frames, stack.pixels)

    @cache
    @threads.one_blas_thread()
    def norms() -> tuple[Norms, ...]:
        beyond = stack.plain.spectrum[0][rank:]
        tail = math.sqrt(float(np.sum(beyond**2)))
        norm = math.sqrt(max(float(np.trace(stack.plain.gram)), 0.0))
        next_ = float(beyond[0]) if len(beyond) else 0.0
        return (Norms(norm, next_, tail, max(_error(stack, made[0]), tail)),)

    def payload() -> bytes:
        if norms.cache_info().currsize:  # the planes, which take memory, have told what they can
            made.clear()
        return stream()

    def samples() -> Samples:
        if not made:
            return decode(stream(), stack.samples.shape, Scale(mode)).samples
        return made[0].samples(Scale(mode))

    def squared_error() -> float:
        return norms()[0].error ** 2

    return Coded(lambda: len(stream()), (rank,), payload, samples, norms, squared_error)


def _steering(
    stack: Stack, step: float, B: NDArray[np.float64] | None, plain: NDArray[np.float64]
) -> Steering | None:
    """What comes near to the error that is wanted of a stack, if one is."""
    if stack.aim is None or stack.weights is not None or B is None:
        return None
    whole = stack.aim * stack.frames * stack.pixels
    gains = np.repeat(np.square(B).sum(0), stack.channels)
    beyond = wanted.beyond(stack, B)
    expected, known = _USUAL * plain, stack.lost
    if known is not None:
        expected[: len(known)] = known[: len(expected)]
    return Steering(whole / step**2, beyond / step**2, expected, gains, sure=known is not None)


def group_of(shape: tuple[int, int]) -> int:
    """Maps of a group."""
    return max(1, GROUP // (SIZE * shape[0] * shape[1]))


def _synthesis(
    columns: list[basis.Column] | None, B: NDArray[np.float64] | None, planes: list[Plane],
    step: float, turn: Turn | None, size: Shape,
) -> Synthesis:  # fmt: skip
    unit = 1.0
    if columns:
        unit = math.ldexp(1.0, -max(x.exponent for x in columns))
    return Synthesis(planes, size, B, unit, step, turn)


def _error(stack: Stack, made: Synthesis) -> float:
    """||A - B||_F, before rounding."""
    error = 0.0
    for part in made.slabs():
        gap = stack.rows(part).transpose(3, 0, 1, 2) - made.turned(part)
        error += float(np.vdot(gap, gap))
    return math.sqrt(error)


# -- decoding --------------------------------------------------------------------------


def outline(payload: bytes, size: Shape) -> Outline:
    """The header of a payload, and its planes."""
    header, end = read_header(payload, size, grid(size[1], size[2]))
    return Outline(header.turn, (header.planes,), (header, end))


def decode(
    payload: bytes, size: Shape, scale: Scale,
    *, rank: int | None = None, partial: bool = False, outline: Outline | None = None,
) -> Decoded:  # fmt: skip
    """Decode a stack, or what its first planes show of it.

    Parameters
    ----------
    payload : bytes
    size : (frames, height, width, channels)
    scale : Scale
        What its levels stand for.
    rank : int, optional
        Planes to keep.
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
    made, total, done = synthesis(payload, size, rank=rank, partial=partial, outline=outline)
    return Decoded(made.samples(scale), total, done)


def factors(
    payload: bytes, size: Shape, scale: Scale,
    *, partial: bool = False, outline: Outline | None = None,
) -> list[NDArray[np.float64]]:  # fmt: skip
    """The decoded (N, n) matrix, before rounding."""
    return [synthesis(payload, size, rank=None, partial=partial, outline=outline)[0].matrix()]


@threads.one_blas_thread()
def synthesis(
    payload: bytes, size: Shape, *, rank: int | None, partial: bool, outline: Outline | None
) -> tuple[Synthesis, int, int]:
    """Planes and basis, how many components there are, how many were decoded."""
    read = read_header(payload, size, grid(size[1], size[2])) if outline is None else outline.read
    header, position = read
    frames, height, width, channels = size
    patches = grid(height, width)
    maps = header.planes * channels
    kept = header.planes if rank is None else min(rank, header.planes)
    scales = [x.scales(header.slope) for x in header.profiles]
    total = maps + sum(x.last for x in header.profiles)
    if (header.columns or header.classes) and frames * maps * height * width > STACK * MAX_PRODUCTS:
        raise LimitError(
            f"{header.planes} planes of {frames} frames of {height}x{width} samples are more work "
            "than the limit allows"
        )
    per_group = group_of(patches)
    needed = 4 * maps * height * width + 16 * SIZE * patches[0] * patches[1] * min(per_group, maps)
    if not fits(needed):
        raise MemoryError
    Y: list[Plane] = []
    done = 0
    B, weights = None, []
    try:
        rans = RansReader(memoryview(payload)[position:], header.lanes)
        coder = Reader(rans, models.fresh(header.version))
        if header.columns is not None:
            entries = basis.read_entries(rans, Reader(rans), frames, header.columns)
            B = entries * power(x.exponent for x in header.columns)
        carried = Carried()
        filled = header.version == 0
        edges = Edges(height, width, filled=filled, transform=header.transform)
        symbols = 0
        sent = classes.Weights(Reader(rans), header.classes) if header.classes else None
        for first in range(0, maps, per_group):
            part = slice(first, min(first + per_group, maps))
            last = part.stop == maps
            if sent is not None:
                weights += sent.read(part)
            walk = Walk(patches, scales[part], header.coarsest[part], coder, edges, carried)
            symbols += walk.symbols
            if symbols > header.lanes * SYMBOLS_PER_LANE * 2:
                raise FormatError("packed stream: too few interleaved coders for its size")
            try:
                done += _read_group(walk, header, rans, last=last, scales=scales[part])
                walk.leave()
            except _Ended as error:
                done += error.done
                raise Cut from None
            finally:
                if done:
                    for c in range(len(walk.firsts), part.stop - first):
                        walk.empty_first(c)
                    Y += planes_of(walk, (height, width))
            del walk
    except Cut:
        if not (partial and done):
            raise TruncatedError(
                f"packed stream ends after {done} of {total} components", terms=done, total=total
            ) from None
    if header.classes is not None:
        Y = _restored(header.classes, Y, maps, weights)
    Y = Y[: kept * channels]
    if B is not None:
        B = B[:, :kept]
    there = header.planes if B is None else kept
    Y += [np.broadcast_to(np.int16(0), (height, width))] * (there * channels - len(Y))
    return _synthesis(header.columns, B, Y, header.step, header.turn, size), total, done


def _restored(
    found: classes.Classes, Y: list[Plane], maps: int,
    weights: list[tuple[slice, NDArray[np.int32]]],
) -> list[Plane]:  # fmt: skip
    """All planes, of which these were left of them by a prediction."""
    frame = Y[0].shape
    whole = np.zeros((maps, Y[0].size), np.int32)
    for i in range(len(Y)):
        whole[i] = Y.pop(0).ravel()
    classes.restore(found, whole, weights)
    return [narrowed(plane.reshape(frame)) for plane in whole]


class _Ended(Exception):  # noqa: N818 - a state of the stream, not a fault
    """The stream ends within a group, after so many of its components."""

    def __init__(self, done: int) -> None:
        super().__init__(done)
        self.done = done


def _read_group(
    walk: Walk, header: Header, rans: RansReader, *, last: bool, scales: list[NDArray[np.int64]]
) -> int:
    """Decode a group; components that it has."""
    shape = walk.shape
    plan = batches(scales, shape[0] * shape[1])
    signed = len(plan) - header.late if last else len(plan)
    if signed < 0:
        raise FormatError("packed stream: more late signs than components")
    done = whole = 0
    try:
        for c in range(len(scales)):
            walk.first(c)
            done = whole = done + 1
        for number, batch in enumerate(pace.steps("decoding", plan)):
            walk.next(batch, signs=number < signed)
            done += len(batch)
            whole = done if number < signed else whole
        if last and header.late:
            walk.sign(rans.tail())
    except Cut:
        walk.forget(max(whole - len(scales), 0))
        raise _Ended(whole) from None
    return done
