"""A stack to a payload of layout `stack`: across its frames, or frame by frame where that is less.

The format, and its decoder, are in codec.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property

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
        return _Encoding(stack, step * stack.scale, mode, planes=planes).coded()
    apart = told_apart(stack, step)
    if apart is not None:
        return _Encoding(stack, step, mode, apart=apart).coded()
    across = _Encoding(stack, step, mode).coded()
    across.norms()
    across.payload()  # now its planes are not kept, which take memory
    cost = _cost(across, step)
    themselves = _Encoding(stack, step, mode, apart=True).coded()
    better = _cost(themselves, step) < cost
    stack.apart = step, better
    return themselves if better else across


def _cost(coded: Coded, step: float) -> float:
    """Squared error and bits of an encoding, in squared steps."""
    return (coded.norms()[0].error / step) ** 2 + BIT * 8 * coded.length()


class _Encoding:
    """One encoding of a stack: quantised as it is made, written where its payload is asked for.

    Parameters
    ----------
    stack : Stack
    step : float
        In levels of frames over their weights; one too fine is made coarser.
    mode : Mode
    planes : int, optional
        How many, where their number is not to be chosen.
    apart : bool
        They are the frames themselves.
    """

    def __init__(
        self, stack: Stack, step: float, mode: Mode, *, planes: int | None = None,
        apart: bool = False,
    ) -> None:  # fmt: skip
        self._stack, self._mode = stack, mode
        least = max(stack.largest / LARGEST, _FINEST)
        self._finest = step < least > _FINEST
        self._step = step = coarse_step(max(step, least))[1]
        self._rans = RansWriter()
        self._edges = Edges(stack.height, stack.width, transform=stack.transform)
        self._planes = stack.frames
        self._columns: list[basis.Column] | None = None
        B = M = None
        if apart:
            stack.forget()  # the frames themselves need none of the coefficients
        else:
            kept = wanted.kept(stack, step, planes)
            entries, columns = wanted.quantised(stack, step, kept)
            B = entries * power(x.exponent for x in columns)
            M = wanted.matched(stack, B)
            self._planes, self._columns = len(kept), columns
            basis.write_entries(self._rans, Writer(self._rans, zero=0, rise=0), entries, columns)
        self._rank: int = min(self._planes, stack.frames, stack.pixels)
        maps, each = self._planes * stack.channels, group_of(stack.grid)
        self._groups, steering = self._quantiser(B, M, maps, each)
        self._writers: list[Callable[[], Written]] = []
        self._written: list[Written] = []
        for start in range(0, maps, each):
            self._writers.append(self._groups.group(slice(start, min(start + each, maps))))
            if maps > each:  # what is to be written takes memory
                self._write()
            if stack.samples.size >= LARGE:
                give_back()
        stack.lost = None if steering is None else steering.usual
        self._made: Synthesis | None = Synthesis(
            self._groups.finish(), stack.samples.shape, B, basis.unit_of(self._columns), step,
            stack.turn,
        )  # fmt: skip

    def _quantiser(
        self, B: NDArray[np.float64] | None, M: NDArray[np.float64] | None, maps: int, each: int
    ) -> tuple[Plain | Closed, Steering | None]:
        """What quantises and writes the planes, as they are or predicted, and what steers it."""
        stack, step, rans, edges = self._stack, self._step, self._rans, self._edges
        coder = Writer(rans, zero=ZERO, rise=RISE, models=models.fresh())
        learnt = wanted.learnt(stack, M, step, maps)
        if learnt is None:
            groups = wanted.groups(stack, M, maps, each, step)
            return Plain(groups, coder, edges, (stack.height, stack.width)), None
        steering = None if B is None else _steering(stack, step, B, learnt[1].error[:maps])
        return Closed(*learnt, edges, rans, coder, ZERO, RISE, each, steering), steering

    def _write(self) -> None:
        """Write the groups that wait for it."""
        while self._writers:
            self._written.append(self._writers.pop()())

    @cached_property
    def _stream(self) -> bytes:
        wanted.release(self._stack)
        self._write()
        symbols = sum(x.symbols for x in self._written)
        most = max(1, self._rans.bits / BITS_PER_LANE, symbols / SYMBOLS_PER_LANE)
        lanes = int(min(most, LANES))
        number, late = self._rans.late(self._written[-1].passes, lanes)
        groups, transform = self._groups, self._edges.transform
        version = OTHER if transform else CLASSED if groups.classes else PLAIN
        header = Header(
            self._step, version, self._stack.turn, self._planes, self._columns, lanes, number,
            groups.classes, transform, groups.slope, groups.profiles, groups.coarsest,
        )  # fmt: skip
        return write_header(header, self._stack.channels) + self._rans.finish(lanes, late)

    @cached_property
    def _norms(self) -> Norms:
        plain, rank = self._stack.plain, self._rank
        beyond = plain.spectrum[0][rank:]
        tail = math.sqrt(float(np.sum(beyond**2)))
        norm = math.sqrt(max(float(np.trace(plain.gram)), 0.0))
        next_ = float(beyond[0]) if len(beyond) else 0.0
        if self._made is None:
            raise ValueError("the planes are not kept")
        return Norms(norm, next_, tail, max(_error(self._stack, self._made), tail))

    def _payload(self) -> bytes:
        if "_norms" in vars(self):  # the planes, which take memory, have told what they can
            self._made = None
        return self._stream

    def _samples(self) -> Samples:
        if self._made is None:
            return decode(self._stream, self._stack.samples.shape, Scale(self._mode)).samples
        return self._made.samples(Scale(self._mode))

    def coded(self) -> Coded:
        """The encoding as it is handed out."""
        return Coded(
            length=lambda: len(self._stream),
            ranks=(self._rank,),
            payload=self._payload,
            samples=self._samples,
            norms=lambda: (self._norms,),
            squared_error=lambda: self._norms.error**2,
            finest=self._step if self._finest else 0.0,
        )


def _steering(
    stack: Stack, step: float, B: NDArray[np.float64], plain: NDArray[np.float64]
) -> Steering | None:
    """What comes near to the error that is wanted of a stack, if one is."""
    if stack.aim is None or stack.weights is not None:
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
        gap = made.turned(part)
        gap -= stack.rows(part).transpose(3, 0, 1, 2)
        error += float(np.vdot(gap, gap))
        del gap  # before the next one
    return math.sqrt(error)
