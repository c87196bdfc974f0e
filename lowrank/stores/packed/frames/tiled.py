"""A large stack encoded tile by tile, each read where it is used: of the samples no more is held.

All tiles have one step, so that their quality is one, and each has the basis, the planes and the
classes that suit it. The norms of the whole are those of the sums: A A^T is the sum of the
tiles' own, and squared errors add up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank import pace
from lowrank.errors import UsageError
from lowrank.layouts import turn
from lowrank.layouts.lapped import SIDE, grid
from lowrank.limits import give_back, let_go
from lowrank.picture import Mode, Picture, Turn, distance, gaps
from lowrank.picture.distance import OfFrame
from lowrank.picture.levels import Levels, Scale
from lowrank.stores.packed.coding.payload import Coded, Norms
from lowrank.stores.packed.frames import codec, encoder, noise, tiles
from lowrank.stores.packed.frames.edges import LAPPED
from lowrank.stores.packed.frames.header import Shape
from lowrank.stores.packed.frames.klt import Stack
from lowrank.stores.packed.frames.learn import Learnt
from lowrank.stores.packed.frames.rehearsal import Rehearsal
from lowrank.stores.packed.frames.tiles import Box

LARGEST = 1 << 27
"""Samples of the largest stack that is coded whole, and of a tile: at 12 bytes each 1.6 GB."""
_TOLD = 1 << 23
"""Samples that tell what a step will lose and cost, about."""
_KEPT = 1 << 27
"""Bytes of Gram matrices that are kept from try to try."""


def sides(size: Shape, largest: int) -> tuple[int, int]:
    """Rows and columns of patches of tiles that have so many samples at most: the fewest tiles."""
    frames, _, _, channels = size
    rows, columns = grid(size[1], size[2])
    patches = max(largest // (frames * channels * SIDE * SIDE), 1)
    best: tuple[float, int, int, int] = (math.inf, 0, 0, 0)
    for cut in range(1, columns + 1):
        across = -(-columns // cut)
        down = min(patches // across, rows)
        if not down:
            continue
        down = -(-rows // -(-rows // down))
        count = -(-rows // down) * -(-columns // across)
        best = min(best, (count, down + across, down, across))
    return best[2], best[3]


@dataclass(eq=False)
class _Known:
    """What is kept of a tile from try to try."""

    gram: NDArray[np.float64] | None = None
    spectrum: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    apart: tuple[float, bool] | None = None
    learnt: tuple[float, Learnt | None] | None = None
    transform: int = LAPPED
    suited: float | None = None


class Tiled:
    """A stack whose tiles are encoded one after the other.

    Parameters
    ----------
    picture : Picture
        Its samples may be mapped.
    levels : Levels or None
        The range that its samples are counted in.
    planes : int, optional
        How many each tile keeps, where their number is not to be chosen.
    weighted : bool
        Frames are divided by their noise.
    measured : bool
        Tiles are decoded, and how far they are off is known.
    """

    def __init__(
        self, picture: Picture, levels: Levels | None, *, planes: int | None = None,
        weighted: bool = False, measured: bool = False,
    ) -> None:  # fmt: skip
        self.picture, self.levels, self.planes, self.measured = picture, levels, planes, measured
        samples = picture.samples
        self.size: Shape = samples.shape[0], samples.shape[1], samples.shape[2], samples.shape[3]
        self.down, self.across = sides(self.size, LARGEST)
        self.boxes = tiles.boxes(self.size, self.down, self.across)
        if len(self.boxes) > tiles.MOST:
            raise UsageError(
                f"a packed stack of so many samples would have {len(self.boxes)} tiles, and "
                f"{tiles.MOST} is the most; use -k, or --frames for a part of it"
            )
        self.mode: Mode = picture.mode if levels is None else levels.mode(self.size[3])
        self.turn: Turn | None = turn.of_stack(picture)
        self.weights = noise.weights(samples) if weighted else None
        self._known = [_Known() for _ in self.boxes]
        self._gram: NDArray[np.float64] | None = None
        let_go(samples)

    # -- what is read ------------------------------------------------------------------

    def _window(self, box: Box) -> NDArray[Any]:
        """Samples of a tile, read."""
        found = self.picture.samples[:, box.rows, box.columns].copy()
        let_go(self.picture.samples)
        return found

    def _counted(self, window: NDArray[Any]) -> NDArray[Any]:
        return window if self.levels is None else self.levels.of_samples(window)

    def _stack(self, i: int, window: NDArray[Any]) -> Stack:
        stack = Stack(self._counted(window), self.turn, self.weights)
        known = self._known[i]
        stack.apart, stack.learnt = known.apart, known.learnt
        stack.transform, stack.suited = known.transform, known.suited
        if known.gram is not None and known.spectrum is not None:
            stack.gram, stack.spectrum = known.gram, known.spectrum
        stack.once = True
        return stack

    def _keep(self, i: int, stack: Stack) -> None:
        """What the next try need not find again."""
        known = self._known[i]
        known.apart, known.learnt = stack.apart, stack.learnt
        known.transform, known.suited = stack.transform, stack.suited
        if 2 * len(self.boxes) * stack.gram.nbytes <= _KEPT:
            known.gram, known.spectrum = stack.gram, stack.spectrum

    @cached_property
    def peak(self) -> float:
        """Peak of a PSNR of the picture."""
        mode = self.picture.mode
        if mode.peak is not None and mode.bits <= 8:
            return mode.peak
        if self.levels is not None:
            return self.levels.high - self.levels.low or 1.0
        low, high = math.inf, -math.inf
        for box in self.boxes:
            window = self._window(box)
            low, high = min(low, float(window.min())), max(high, float(window.max()))
        return high - low or 1.0

    @cached_property
    def _gaps(self) -> NDArray[np.bool_] | None:
        return gaps.of(self.picture)

    def spectra(self) -> list[NDArray[np.float64]]:
        """Singular values of each tile."""
        found = []
        for i, box in enumerate(self.boxes):
            pace.inside(f"tile {i + 1} of {len(self.boxes)}")
            stack = self._stack(i, self._window(box))
            found.append(stack.spectrum[0])
            self._keep(i, stack)
        return found

    def forecast(self) -> Rehearsal:
        """What a step will lose and cost, from a window of each tile."""
        frames, _, _, channels = self.size
        each = _TOLD // (frames * channels * len(self.boxes))
        side = max(math.isqrt(max(each, 1)) // SIDE, 2) * SIDE
        every = max(frames * channels * side * side * len(self.boxes) // (4 * _TOLD), 1)
        width = min(side, *(b.size(self.size)[2] for b in self.boxes))
        parts = []
        for box in self.boxes[:: min(every, len(self.boxes))]:
            _, height, wide, _ = box.size(self.size)
            top = box.rows.start + max(height - side, 0) // 2 // SIDE * SIDE
            left = box.columns.start + (wide - width) // 2 // SIDE * SIDE
            bottom = min(top + side, box.rows.stop)
            parts.append(self._window(Box(slice(top, bottom), slice(left, left + width))))
        return Rehearsal(Stack(self._counted(np.concatenate(parts, 1)), self.turn, self.weights))

    # -- encoding ----------------------------------------------------------------------

    def encode(self, step: float) -> Coded:
        """Encode all tiles with one quantiser step, in levels; see encoder.encode."""
        payloads: list[bytes] = []
        planes, error, finest = 0, 0.0, 0.0
        off: list[OfFrame] = []
        gram = np.zeros((self.size[0],) * 2) if self._gram is None else None
        for i, box in enumerate(self.boxes):
            pace.inside(f"tile {i + 1} of {len(self.boxes)}")
            read = self._window(box)
            stack = self._stack(i, read)
            window = read if self.measured else None  # of levels only these are held
            del read
            coded = encoder.encode(stack, step, self.mode, planes=self.planes)
            payloads.append(coded.payload())
            planes += codec.outline(payloads[-1], box.size(self.size)).components[0]
            error += coded.squared_error()
            finest = max(finest, coded.finest)
            if gram is not None:
                gram += stack.plain.gram
            self._keep(i, stack)
            if window is not None:
                off = _added(off, self._off(box, window, coded))
            del window, stack, coded
            give_back()
        if gram is not None:
            self._gram = gram
        payload = tiles.write(self.down, self.across, planes, payloads)
        del payloads
        rank = min(planes, self.size[0], self.picture.samples[0].size)

        def norms() -> tuple[Norms, ...]:
            return (self._norms(rank, error),)

        def samples() -> NDArray[Any]:
            return tiles.decode(payload, self.size, Scale(self.mode)).samples

        return Coded(
            lambda: len(payload),
            (rank,),
            lambda: payload,
            samples,
            norms,
            lambda: error,
            lambda: off,
            finest,
        )

    @cached_property
    def _spectrum(self) -> NDArray[np.float64]:
        """Squares of all singular values, descending."""
        if self._gram is None:
            raise ValueError("nothing was encoded")
        found: NDArray[np.float64] = np.maximum(np.linalg.eigvalsh(self._gram)[::-1], 0)
        return found[: min(len(found), self.picture.samples[0].size)]

    def _norms(self, rank: int, error: float) -> Norms:
        squares = self._spectrum
        tail = math.sqrt(float(squares[rank:].sum()))
        next_ = math.sqrt(float(squares[rank])) if rank < len(squares) else 0.0
        norm = 0.0 if self._gram is None else math.sqrt(max(float(np.trace(self._gram)), 0.0))
        return Norms(norm, next_, tail, max(math.sqrt(error), tail))

    def _off(self, box: Box, window: NDArray[Any], coded: Coded) -> list[OfFrame]:
        found: Iterable[NDArray[Any]] = coded.samples()
        mode, levels = self.picture.mode, self.levels
        if levels is not None:
            found = (levels.to_samples(x, mode) for x in found)
        empty = None if self._gaps is None else self._gaps[:, box.rows, box.columns]
        return distance.frames(Picture(window, mode), found, empty)


def _added(a: list[OfFrame], b: list[OfFrame]) -> list[OfFrame]:
    """Errors of frames of which two parts are known."""
    if not a:
        return b
    return [
        OfFrame(x.squares + y.squares, x.samples + y.samples, max(x.largest, y.largest))
        for x, y in zip(a, b, strict=True)
    ]
