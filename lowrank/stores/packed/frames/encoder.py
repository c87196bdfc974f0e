"""A stack to a payload of layout `stack`: across its frames, or frame by frame where that is less.

The format, and its decoder, are in codec.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lowrank.limits import give_back
from lowrank.picture import Mode
from lowrank.picture.levels import Scale
from lowrank.stores.packed.coding.payload import SYMBOLS_PER_LANE, Coded, Norms, Samples
from lowrank.stores.packed.coding.ranswriter import RansWriter
from lowrank.stores.packed.coding.start import LANES, coarse_step
from lowrank.stores.packed.frames import basis, models, wanted
from lowrank.stores.packed.frames.apart import suit, told_apart
from lowrank.stores.packed.frames.closed import Closed
from lowrank.stores.packed.frames.codec import decode
from lowrank.stores.packed.frames.edges import Edges
from lowrank.stores.packed.frames.header import CLASSED, OTHER, PLAIN, Header, write_header
from lowrank.stores.packed.frames.klt import LARGE, Stack
from lowrank.stores.packed.frames.order import group_of
from lowrank.stores.packed.frames.plain import Plain, Written
from lowrank.stores.packed.frames.rates import BIT
from lowrank.stores.packed.frames.samples import Synthesis, power
from lowrank.stores.packed.frames.steering import Steering
from lowrank.stores.packed.patches.phases import Writer

ZERO, RISE = 0.13, 0.11
"""What a bit is worth in a first component, in squared steps."""
BITS_PER_LANE = 2560
LARGEST = 1 << 20
"""Bound of levels, and of what a step may make of a coefficient."""
_FINEST = 2.0**-4  # of steps, in levels: a finer one gains nothing
_USUAL = 1.1
"""Squared error of predicted maps to what a plain quantiser leaves of them without."""


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
    return (coded.norms()[0].error / step) ** 2 + BIT * 8 * coded.length()


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
    groups, steering = _groups(stack, step, B, M, maps, edges, rans, coder)
    writers: list[Callable[[], Written]] = []
    written: list[Written] = []
    for start in range(0, maps, each):
        writers.append(groups.group(slice(start, min(start + each, maps))))
        if maps > each:  # what is to be written takes memory
            written.append(writers.pop()())
        if stack.samples.size >= LARGE:
            give_back()

    @cache
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
    made = [
        Synthesis(groups.finish(), stack.samples.shape, B, basis.unit_of(columns), step, stack.turn)
    ]
    rank = min(count, stack.frames, stack.pixels)

    @cache
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


def _groups(
    stack: Stack, step: float, B: NDArray[np.float64] | None, M: NDArray[np.float64] | None,
    maps: int, edges: Edges, rans: RansWriter, coder: Writer,
) -> tuple[Plain | Closed, Steering | None]:  # fmt: skip
    """What quantises and writes the planes, as they are or predicted, and what steers it."""
    each = group_of(stack.grid)
    learnt = wanted.learnt(stack, M, step, maps)
    if learnt is None:
        groups = wanted.groups(stack, M, maps, each, step)
        return Plain(groups, coder, edges, (stack.height, stack.width)), None
    steering = _steering(stack, step, B, learnt[1].error[:maps])
    return Closed(*learnt, edges, rans, coder, ZERO, RISE, each, steering), steering


def _steering(
    stack: Stack, step: float, B: NDArray[np.float64] | None, plain: NDArray[np.float64]
) -> Steering | None:
    """What comes near to the error that is wanted of a stack, if one is."""
    if stack.aim is None or stack.weights is not None or B is None:
        return None
    whole = stack.aim * stack.frames * stack.pixels
    gains, beyond = wanted.gains(stack, B), wanted.beyond(stack, B)
    expected, known = _USUAL * plain, stack.lost
    if known is not None:
        expected[: len(known)] = known[: len(expected)]
    return Steering(whole / step**2, beyond / step**2, expected, gains, sure=known is not None)


def _error(stack: Stack, made: Synthesis) -> float:
    """||A - B||_F, before rounding."""
    error = 0.0
    for part in made.slabs():
        gap = stack.rows(part).transpose(3, 0, 1, 2) - made.turned(part)
        error += float(np.vdot(gap, gap))
    return math.sqrt(error)
