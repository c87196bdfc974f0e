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
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lowrank import pace, threads
from lowrank.errors import FormatError, LimitError, TruncatedError
from lowrank.layouts.lapped import SIZE, grid
from lowrank.limits import MAX_PRODUCTS, STACK, fits, give_back
from lowrank.picture import Mode, Turn
from lowrank.stores.packed.coding.payload import (
    FRACTION,
    SYMBOLS_PER_LANE,
    Coded,
    Decoded,
    Norms,
    Outline,
    Samples,
)
from lowrank.stores.packed.coding.rans import Cut, RansReader, RansWriter
from lowrank.stores.packed.coding.start import LANES, coarse_step
from lowrank.stores.packed.frames import basis, classes, learn, models, select
from lowrank.stores.packed.frames.apart import share_apart, suit
from lowrank.stores.packed.frames.closed import Closed
from lowrank.stores.packed.frames.edges import Edges
from lowrank.stores.packed.frames.forecast import worth
from lowrank.stores.packed.frames.header import (
    CLASSED,
    OTHER,
    PLAIN,
    Header,
    Shape,
    read_header,
    write_header,
)
from lowrank.stores.packed.frames.klt import Stack
from lowrank.stores.packed.frames.order import batches
from lowrank.stores.packed.frames.plain import Plain, Written
from lowrank.stores.packed.frames.rates import BIT
from lowrank.stores.packed.frames.samples import (
    EXACT,
    Plane,
    Synthesis,
    narrowed,
    planes_of,
    power,
)
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
_LARGE = 1 << 21  # samples of a stack that takes more memory than Python itself
_DOUBT = 0.08  # share by which an estimate may be wrong


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
    if stack.apart is not None and stack.apart[0] / 2 < step < stack.apart[0] * 2:
        return _encoded(stack, step, mode, apart=stack.apart[1])
    share = share_apart(stack, step)
    if abs(share - 1) > _DOUBT:
        stack.apart = step, share < 1
        return _encoded(stack, step, mode, apart=share < 1)
    across = _encoded(stack, step, mode)
    cost = _cost(across, step)
    stack.forget()  # the frames themselves need none of the coefficients
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
        kept = _kept(stack, step, planes)
        entries, columns = _quantised(stack, step, kept)
        B = entries * power(x.exponent for x in columns)
        M = _matched(stack, B)
        count = len(kept)
    rans = RansWriter()
    coder = Writer(rans, zero=ZERO, rise=RISE, models=models.fresh())
    if entries is not None and columns is not None:
        basis.write_entries(rans, Writer(rans, zero=0, rise=0), entries, columns)
    edges = Edges(stack.height, stack.width, transform=stack.transform)
    maps, each = count * channels, group_of(shape)
    learnt = _learnt(stack, M, step, maps)
    groups: Plain | Closed
    if learnt is None:
        groups = Plain(_groups(stack, M, maps, step), coder, edges, (stack.height, stack.width))
    else:
        groups = Closed(*learnt, edges, rans, coder, ZERO, RISE, each)
    writers: list[Callable[[], Written]] = []
    written: list[Written] = []
    for start in range(0, maps, each):
        writers.append(groups.group(slice(start, min(start + each, maps))))
        if maps > each:  # what is to be written takes memory
            written.append(writers.pop()())
        if stack.samples.size >= _LARGE:
            give_back()

    @cache
    @threads.one_blas_thread()
    def payload() -> bytes:
        while writers:
            written.append(writers.pop()())
        symbols = sum(x.symbols for x in written)
        wanted = max(1, rans.bits / BITS_PER_LANE, symbols / SYMBOLS_PER_LANE)
        lanes = int(min(wanted, LANES))
        late: list[NDArray[np.uint8]] = []
        room, number = 16 * lanes, 0
        for batch in reversed(written[-1].passes if written else []):
            room -= sum(rans.length(one) for one in batch)
            if room < 0:
                break
            late = [rans.withdraw(one) for one in batch] + late
            number += 1
        version = OTHER if edges.transform else CLASSED if groups.classes else PLAIN
        header = Header(
            step, version, stack.turn, count, columns, lanes, number, groups.classes,
            edges.transform, groups.slope, groups.profiles, groups.coarsest,
        )  # fmt: skip
        body = rans.finish(lanes, np.concatenate(late) if late else np.empty(0, np.uint8))
        return write_header(header, channels) + body

    made = _synthesis(columns, B, groups.finish(), step, stack.turn, stack.samples.shape)
    rank = min(count, stack.frames, stack.pixels)

    @cache
    @threads.one_blas_thread()
    def norms() -> tuple[Norms, ...]:
        beyond = stack.plain.spectrum[0][rank:]
        tail = math.sqrt(float(np.sum(beyond**2)))
        norm = math.sqrt(max(float(np.trace(stack.plain.gram)), 0.0))
        next_ = float(beyond[0]) if len(beyond) else 0.0
        return (Norms(norm, next_, tail, max(_error(stack, made), tail)),)

    def samples() -> Samples:
        return made.samples(mode)

    def squared_error() -> float:
        return norms()[0].error ** 2

    return Coded(lambda: len(payload()), (rank,), payload, samples, norms, squared_error)


def group_of(shape: tuple[int, int]) -> int:
    """Maps of a group."""
    return max(1, GROUP // (SIZE * shape[0] * shape[1]))


def _kept(stack: Stack, step: float, planes: int | None) -> NDArray[np.intp]:
    """Which planes are kept: so many, or those that are worth their bits."""
    s = stack.spectrum[0]
    if planes is not None:
        return np.arange(min(planes, len(s)))
    return np.flatnonzero(worth(stack, step).net > 0)


def _quantised(
    stack: Stack, step: float, kept: NDArray[np.intp]
) -> tuple[NDArray[np.int64], list[basis.Column]]:
    """Entries of the basis, and how its columns are coded."""
    s, U = stack.spectrum
    # No product may leave exact arithmetic: planes are at most as long as columns of A.
    longest = math.sqrt(stack.frames * len(kept)) * max(
        float(np.abs(stack.samples.max())), float(np.abs(stack.samples.min())), 1.0
    )
    most = int(math.log2(EXACT) - 4 - math.log2(longest * FRACTION / step))
    plain = step * select.FINER
    exponents = [min(basis.exponent_of(plain, float(s[k])), max(most, 0)) for k in kept]
    B = U[:, kept] if stack.weights is None else U[:, kept] * stack.weights[:, None]
    entries = np.rint(B / power(iter(exponents))).astype(np.int64)
    return entries, basis.plan(entries, exponents)


def _matched(stack: Stack, B: NDArray[np.float64]) -> NDArray[np.float64]:
    """What makes the planes of U those that suit the quantised basis, by least squares."""
    if stack.weights is not None:
        B = B / stack.weights[:, None]
    C = stack.coefficients(1)
    known = stack.spectrum[1][:, : C.shape[2] // stack.channels]
    return np.asarray(np.linalg.lstsq(B.T @ B, B.T @ known, rcond=None)[0], np.float64)


def _learnt(
    stack: Stack, M: NDArray[np.float64] | None, step: float, maps: int
) -> tuple[classes.Planes, learn.Learnt] | None:
    """What planes are to be and the classes of their pixels, where these pay."""
    if M is None or learn.BASE * stack.channels >= maps:
        return None
    if stack.once and stack.samples.size >= _LARGE:
        stack.forget()  # what is tried takes as much memory again
    Y = learn.targets(stack, M, step)
    found = learn.learn(stack, Y, step)
    if found is not None:
        return Y, found
    del Y
    stack.coefficients(M.shape[1])
    return None


def _groups(
    stack: Stack, M: NDArray[np.float64] | None, maps: int, step: float
) -> Iterator[NDArray[np.float32]]:
    """The coefficients of each group; of a stack that is encoded once, instead of its own."""
    each = group_of(stack.grid)
    parts = [slice(i, min(i + each, maps)) for i in range(0, maps, each)]
    if M is None or not stack.once:
        yield from (_coefficients(stack, M, part, step) for part in parts)
        return
    all_ = [_coefficients(stack, M, part, step) for part in parts]
    stack.forget()
    while all_:
        yield all_.pop(0)


def _coefficients(
    stack: Stack, M: NDArray[np.float64] | None, part: slice, step: float
) -> NDArray[np.float32]:
    """(SIZE, rows, maps, columns) coefficients of a group, in steps."""
    channels = stack.channels
    first, last = part.start // channels, -(-part.stop // channels)
    inside = slice(part.start - first * channels, part.stop - first * channels)
    if M is None:
        C = stack.frame_coefficients(slice(first, last))[:, :, inside]
        C *= np.float32(1 / step)
        return C
    C = stack.coefficients(1)
    size, rows, _, columns = C.shape
    weights = (M[first:last] / step).astype(C.dtype)
    out = np.empty((size, rows, last - first, channels, columns), np.float32)
    for row in range(rows):
        one = C[:, row].reshape(size, -1, channels * columns)
        out[:, row] = (weights @ one).reshape(size, last - first, channels, columns)
    return out.reshape(size, rows, -1, columns)[:, :, inside]


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
    payload: bytes, size: Shape, mode: Mode,
    *, rank: int | None = None, partial: bool = False, outline: Outline | None = None,
) -> Decoded:  # fmt: skip
    """Decode a stack, or what its first planes show of it.

    Parameters
    ----------
    payload : bytes
    size : (frames, height, width, channels)
    mode : Mode
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
    return Decoded(made.samples(mode), total, done)


def factors(
    payload: bytes, size: Shape, mode: Mode,
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
