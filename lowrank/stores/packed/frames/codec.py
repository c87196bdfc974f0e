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

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank import pace, threads
from lowrank.errors import FormatError, LimitError, TruncatedError
from lowrank.layouts.lapped import SIZE, grid
from lowrank.limits import MAX_PRODUCTS, STACK, fits
from lowrank.picture.levels import Scale
from lowrank.stores.packed.coding.payload import SYMBOLS_PER_LANE, Decoded, Outline
from lowrank.stores.packed.coding.rans import Cut, RansReader
from lowrank.stores.packed.frames import basis, classes, models
from lowrank.stores.packed.frames.edges import Edges
from lowrank.stores.packed.frames.header import Header, Shape, read_header
from lowrank.stores.packed.frames.order import Plan, batches, group_of
from lowrank.stores.packed.frames.samples import (
    Maps,
    Plane,
    Synthesis,
    gathered,
    narrowed,
    planes_of,
    power,
)
from lowrank.stores.packed.frames.walk import Carried, Walk, widened
from lowrank.stores.packed.patches.order import Component
from lowrank.stores.packed.patches.phases import Reader


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
    return Decoded(made.spent(scale), total, done)


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
    """Planes and basis, how many components there are, how many were decoded; see `decode`."""
    read = read_header(payload, size, grid(size[1], size[2])) if outline is None else outline.read
    header, position = read
    _, height, width, channels = size
    maps = header.planes * channels
    total = maps + sum(x.last for x in header.profiles)
    _refuse(header, size)
    found = _Found((height, width))
    try:
        _read(found, header, size, memoryview(payload)[position:])
    except Cut:
        if not (partial and found.done):
            raise TruncatedError(
                f"packed stream ends after {found.done} of {total} components",
                terms=found.done, total=total,
            ) from None  # fmt: skip
    Y, B = found.planes, found.B
    if header.classes is not None:
        Y = _restored(header.classes, Y, maps, found.weights)
    kept = header.planes if rank is None else min(rank, header.planes)
    Y = Y[: kept * channels]
    if B is not None:
        B = B[:, :kept]
    there = header.planes if B is None else kept
    Y += [np.broadcast_to(np.int16(0), (height, width))] * (there * channels - len(Y))
    unit = basis.unit_of(header.columns)
    return Synthesis(Y, size, B, unit, header.step, header.turn), total, found.done


def _refuse(header: Header, size: Shape) -> None:
    """Refuse what would take more work or memory than there may be."""
    frames, height, width, channels = size
    maps, (rows, columns) = header.planes * channels, grid(height, width)
    if (header.columns or header.classes) and frames * maps * height * width > STACK * MAX_PRODUCTS:
        raise LimitError(
            f"{header.planes} planes of {frames} frames of {height}x{width} samples are more work "
            "than the limit allows"
        )
    group = 16 * SIZE * rows * columns * min(group_of((rows, columns)), maps)
    if not fits(4 * maps * height * width + group):
        raise MemoryError


@dataclass
class _Found:
    """What was decoded of a payload, as far as it goes.

    Attributes
    ----------
    frame : (height, width)
    B : (frames, K) ndarray or None
        The basis.
    planes : list of Plane
    weights : list
        Those of predictions (classes.py).
    done : int
        Components.
    """

    frame: tuple[int, int]
    B: NDArray[np.float64] | None = None
    planes: list[Plane] = field(default_factory=list)
    weights: list[tuple[slice, NDArray[np.int32]]] = field(default_factory=list)
    done: int = 0


def _read(found: _Found, header: Header, size: Shape, data: memoryview) -> None:
    """Decode the basis, and the maps group by group; Cut where the payload ends."""
    frames, height, width, channels = size
    rans = RansReader(data, header.lanes)
    coder = Reader(rans, models.fresh(header.version))
    if header.columns is not None:
        entries = basis.read_entries(rans, Reader(rans), frames, header.columns)
        found.B = entries * power(x.exponent for x in header.columns)
    carried = Carried()
    edges = Edges(height, width, filled=header.version == 0, transform=header.transform)
    sent = classes.Weights(Reader(rans), header.classes) if header.classes else None
    patches, maps, symbols = grid(height, width), header.planes * channels, 0
    each = group_of(patches)
    for first in range(0, maps, each):
        part = slice(first, min(first + each, maps))
        if sent is not None:
            found.weights += sent.read(part)
        scales = [x.scales(header.slope) for x in header.profiles[part]]
        walk = Walk(patches, scales, header.coarsest[part], coder, edges, carried)
        symbols += walk.symbols
        if symbols > header.lanes * SYMBOLS_PER_LANE * 2:
            raise FormatError("packed stream: too few interleaved coders for its size")
        plan = batches(scales, patches[0] * patches[1])
        _read_group(found, walk, plan, rans, header.late if part.stop == maps else 0)
        del walk, plan


def _restored(
    found: classes.Classes, Y: list[Plane], maps: int,
    weights: list[tuple[slice, NDArray[np.int32]]],
) -> list[Plane]:  # fmt: skip
    """All planes, of which these were left of them by a prediction."""
    frame = Y[0].shape
    whole = gathered(Y, maps, 1)
    classes.restore(found, whole.reshape(maps, -1), weights)
    planes: list[Plane] = []
    for last in reversed(range(maps)):
        planes.append(narrowed(whole[last].reshape(frame)))
        whole.resize((last, *whole.shape[1:]), refcheck=False)
    return planes[::-1]


class _Levels:
    """The levels of some maps, in half steps, as they come from the stream.

    Those of most maps take 8 bits.

    Parameters
    ----------
    plan : Plan
        The batches that will come.
    maps : int
    patches : (rows, columns)

    Attributes
    ----------
    indices : list of list of int
        Components of each map that are there.
    """

    def __init__(self, plan: Plan, maps: int, patches: tuple[int, int]) -> None:
        counts = plan.counts(maps)
        size = patches[0] * patches[1]
        self.indices: list[list[int]] = [[] for _ in counts]
        self._maps: list[NDArray[Any]] = [np.zeros((n, size), np.int8) for n in counts]

    def add(self, batch: list[Component], halves: NDArray[Any]) -> None:
        """Keep the levels of a batch."""
        if halves.itemsize > 1:
            most = np.maximum(halves.max(1), -halves.min(1)).tolist()
            for x, one in zip(batch, most, strict=True):
                self._maps[x.channel] = widened(self._maps[x.channel], one)
        for x, row in zip(batch, halves, strict=True):
            indices = self.indices[x.channel]
            self._maps[x.channel][len(indices)] = row
            indices.append(x.index)

    def of(self, c: int) -> NDArray[Any]:
        """(components, patches) levels of a map, which is forgotten."""
        found, self._maps[c] = self._maps[c], self._maps[c][:0].copy()
        return found[: len(self.indices[c])]


def _read_group(found: _Found, walk: Walk, plan: Plan, rans: RansReader, late: int) -> None:
    """Decode a group, of which the last batches have late signs; where it is cut, what is there."""
    levels = _Levels(plan, walk.planes, walk.shape)
    try:
        _read_levels(found, walk, plan, levels, rans, late)
    except Cut:
        if found.done:
            for c in range(len(walk.firsts), walk.planes):
                walk.empty_first(c)
            found.planes += _planes(found, walk, levels)
        raise
    walk.leave()
    found.planes += _planes(found, walk, levels)


def _planes(found: _Found, walk: Walk, levels: _Levels) -> list[Plane]:
    """The planes of a group."""
    maps = Maps(walk.shape, walk.edges, levels.indices, walk.firsts, levels.of)
    return planes_of(maps, found.frame)


def _read_levels(
    found: _Found, walk: Walk, plan: Plan, levels: _Levels, rans: RansReader, late: int
) -> None:
    """Decode the components of a group; each that is whole is counted."""
    signed = len(plan) - late
    if signed < 0:
        raise FormatError("packed stream: more late signs than components")
    unsigned: list[tuple[list[Component], NDArray[Any]]] = []
    for c in range(walk.planes):
        walk.first(c)
        found.done += 1
    for number, batch in enumerate(pace.steps("decoding", plan)):
        halves = walk.next(batch, signs=number < signed)
        if number < signed:
            levels.add(batch, halves)
            found.done += len(batch)
        else:
            unsigned.append((batch, halves))
    if late:
        walk.sign(rans.tail())
    for batch, halves in unsigned:
        levels.add(batch, halves)
        found.done += len(batch)
