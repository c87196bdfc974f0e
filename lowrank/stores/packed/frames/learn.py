"""Classes that suit a stack: their centres, their weights, and whether they pay.

Centres are those of k-means, by splitting. Weights are a least squares problem in each class
with a price for their size, rounded one after the other: the later ones make up for what
rounding did to those before.

References
----------
Y. Linde, A. Buzo, R. M. Gray, "An algorithm for vector quantizer design", IEEE Trans. Commun. 28
(1980): splitting. L. Babai, "On Lovász' lattice reduction and the nearest lattice point problem",
Combinatorica 6 (1986): rounding with what is left made up for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lowrank.stores.packed.coding.payload import FRACTION
from lowrank.stores.packed.frames.classes import WIDEST, Classes, Planes, Sorted
from lowrank.stores.packed.frames.edges import analyse
from lowrank.stores.packed.frames.klt import Stack
from lowrank.stores.packed.frames.rates import BIT
from lowrank.stores.packed.frames.select import Choice

Single = NDArray[np.float32]
COUNTS = (32, 8)
"""Numbers of classes that are tried, the later ones unless the first does much."""
BASE, EACH = 4, 2
"""Planes that tell the class; planes that have the same predictors."""
_FINE = 4
_PRICE = 0.12 * FRACTION**2  # of the square of a small weight; of a large one it is that of all
_PASSES = 2
_ROUND = 0.4
_SEEN = 1 << 14  # pixels that centres are found from
_ROUNDS, _LAST = 3, 12  # of k-means, after each split and at the end
_LARGEST = 1 << 24  # a sample of a plane, in sixteenths of a step, that may be predicted
_WEIGHT = (1 << 20) - 1
_GAIN = 0.985  # share of the cost that classes may leave
_MUCH = 0.9  # share below which no other number is tried
_HOPE = 0.8  # share that classes may leave of maps not yet looked at
_ALIKE = 1.06  # times a step: so much coarser or finer nothing is learnt anew
_NUMBERS = 1 << 17  # of equations that are solved at once
_FIXED = 300.0  # bits that classes take at least, about
_TOGETHER = 16  # maps that are looked at at a time
_PIXELS = 1 << 12  # whose distances from all centres are known at a time


@dataclass(frozen=True, eq=False)
class Learnt:
    """Classes, and what the components of maps come to when they are predicted."""

    classes: Classes
    square: NDArray[np.float64]
    kept: NDArray[np.bool_]
    error: NDArray[np.float64]
    """Squared error of each map that is not predicted, quantised plainly, in squared steps."""


def targets(stack: Stack, M: NDArray[np.float64], step: float) -> Planes:
    """(maps, height, width) planes that suit the basis, in sixteenths of a step.

    In 16 bits, where they hold them all.
    """
    planes, channels = len(M), stack.channels
    out: Planes = np.empty((planes, channels, stack.height, stack.width), np.int16)
    T = (M @ stack.spectrum[1][:, : M.shape[1]].T) * (FRACTION / step)
    for part in stack.slabs():
        X = stack.weighted(part)
        Z = np.rint(T @ X.reshape(stack.frames, -1)).reshape(planes, *X.shape[1:])
        if out.itemsize == 2 and max(Z.max(), -Z.min()) >= 1 << 15:
            out = out.astype(np.int32)
        out[:, :, part] = Z.transpose(0, 3, 1, 2)
    return out.reshape(-1, stack.height, stack.width)


def learn(stack: Stack, Y: Planes, step: float) -> Learnt | None:
    """The classes that suit a stack best, where any are worth their bits.

    Parameters
    ----------
    Y : (maps, height, width) ndarray
        What `targets` gives.
    """
    base, pixels = BASE * stack.channels, stack.height * stack.width
    counts = [x for x in COUNTS if x * (len(Y) + 1) <= pixels]
    if base > WIDEST or len(Y) <= base or max(int(Y.max()), -int(Y.min())) >= _LARGEST:
        return None
    if stack.learnt is not None:
        before, known = stack.learnt
        alike = before / _ALIKE < step < before * _ALIKE
        if known is not None and alike and len(Y) <= known.square.shape[1]:
            return _scaled(known, before / step, len(Y))
        if before / 2 < step < before * 2:
            counts = [x for x in counts if known is not None and x == len(known.classes.centres)]
    if not counts:
        return None
    some = (slice(a, a + _TOGETHER) for a in range(0, len(Y), _TOGETHER))
    whole = _joined(_weigh((_planes(Y[part]) for part in some), stack.transform))
    alone = next(_weigh(iter([_planes(Y[:base])]), stack.transform))  # what no class predicts
    total = float(whole.cost.sum())
    least, best = _GAIN * total, None
    for count in counts:
        fresh = classes_of(Y[:base], count, EACH * stack.channels)
        found = _tried(fresh, Y, whole, float(alone.cost.sum()), least, stack.transform)
        if found is not None:
            least, best = found
        if least < _MUCH * total:
            break
    stack.learnt = step, best
    return best


def _scaled(known: Learnt, ratio: float, maps: int) -> Learnt:
    """What was learnt with a step that was so many times as large."""
    classes = known.classes
    coarse = np.array(classes.coarse)
    centres = np.rint(classes.centres * ratio / 2.0**coarse).astype(np.int64) << coarse
    square = known.square[:, :maps] * ratio**2
    classes = replace(classes, centres=centres)
    return Learnt(classes, square, known.kept[:, :maps], known.error[:maps])


class Weighed(NamedTuple):
    """Of some maps what select.py says of them, and their cost in squared steps."""

    square: NDArray[np.float64]
    kept: NDArray[np.bool_]
    error: NDArray[np.float64]
    cost: NDArray[np.float64]


def _weigh(Y: Iterator[Single], transform: int) -> Iterator[Weighed]:
    """What planes come to, some at a time, which are forgotten before the next ones come."""
    for planes in Y:
        C = analyse(planes, transform=transform)
        del planes  # before what takes as much memory
        choice = Choice(C)
        del C
        yield Weighed(choice.square, choice.kept, choice.error, choice.cost)


def _joined(parts: Iterable[Weighed]) -> Weighed:
    """The same of all maps."""
    return Weighed(*(np.concatenate(one, axis=-1) for one in zip(*parts, strict=True)))


def _planes(Y: Planes) -> Single:
    """(height, width, maps) planes in steps, of those in sixteenths."""
    planes = Y.transpose(1, 2, 0).astype(np.float32, order="C")
    planes *= np.float32(1 / FRACTION)
    return planes


def coefficients(Y: Planes, transform: int) -> Single:
    """(SIZE, rows, maps, columns) of planes in sixteenths of a step, in steps."""
    return analyse(_planes(Y), transform=transform)


def _tried(
    classes: Classes, Y: Planes, whole: Weighed, spent: float, least: float, transform: int
) -> tuple[float, Learnt] | None:
    """What a stack costs with classes, and these; nothing unless that is below `least`.

    The maps are predicted as they are. `spent` is what the first ones cost, which tell the
    class. Later maps have more predictors, and take most of the time: they are not looked at
    where those before them tell that classes do not pay. The pixels of Y are sorted
    meanwhile, and afterwards as they were: a copy takes memory.
    """
    base, shape = classes.base, Y.shape[1:]
    flat = Y.reshape(len(Y), -1)
    pixels = Sorted(classes, flat[:base])
    pixels.sort(flat)
    bits = _FIXED + 10.0 * classes.centres.size

    def left() -> Iterator[Single]:
        """What the prediction of the other maps leaves."""
        nonlocal bits
        for stages in _batches(classes, len(Y)):
            begin = stages[0].start
            planes = np.empty((flat.shape[1], stages[-1].stop - begin), np.float32)
            for some in stages:
                W = weights(pixels, flat, some, flat[some])
                told = pixels.predict(flat, classes.reach(some.start), W, strict=False)
                gap = flat[some] - told.astype(np.int32)
                planes[pixels.order, some.start - begin : some.stop - begin] = gap.T
                bits += float((2 * np.log2(1 + np.abs(W))).sum() + 0.3 * W.size)
            planes *= np.float32(1 / FRACTION)
            held = [planes.reshape(*shape, -1)]
            del planes, gap, told  # whoever takes the planes is the only one that has them
            yield held.pop()

    parts, seen = [], base
    for part in _weigh(left(), transform):
        parts.append(part)
        spent += float(part.cost.sum())
        seen += len(part.cost)
        if spent + BIT * bits + _HOPE * float(whole.cost[seen:].sum()) >= least:
            pixels.restore(flat)
            return None
    pixels.restore(flat)
    others = _joined(parts)
    square = np.concatenate([whole.square[:, :base], others.square], 1)
    kept = np.concatenate([whole.kept[:, :base], others.kept], 1)
    return spent + BIT * bits, Learnt(classes, square, kept, whole.error)


def _batches(classes: Classes, maps: int) -> Iterator[list[slice]]:
    """Predicted maps that are looked at together: those with the same predictors, and others."""
    some: list[slice] = []
    for stage in classes.stages(slice(0, maps)):
        some.append(stage)
        if stage.stop - some[0].start >= _TOGETHER or stage.stop == maps:
            yield some
            some = []


def weights(pixels: Sorted, Y: Planes, some: slice, target: Planes) -> NDArray[np.int32]:
    """(classes, maps, predictors + 1) weights of maps with the same predictors.

    Parameters
    ----------
    pixels : Sorted
    Y : (maps, pixels) ndarray
        Sorted, as far as they are decoded.
    some : slice
        Which maps.
    target : (maps, pixels) ndarray
        What these are to be.
    """
    count = pixels.classes.reach(some.start)
    units = np.exp2(-pixels.units(Y, count).astype(np.float64))
    classes, maps = len(units), len(target)
    result = np.empty((classes, maps, count + 1), np.int32)
    each = max(1, _NUMBERS // (maps * (count + 1) ** 2))
    for first in range(0, classes, each):
        part = slice(first, min(first + each, classes))
        H = np.zeros((part.stop - first, count + 1, count + 1))
        b = np.zeros((part.stop - first, count + 1, maps))
        for c, here in pixels.spans():
            if part.start <= c < part.stop:
                X = pixels.numbers(Y, count, c, here)
                H[c - first] += X @ X.T
                b[c - first] += X @ target[:, here].T
        unit = units[part]
        H *= unit[:, :, None] * unit[:, None, :]
        b *= unit[:, :, None]
        result[part] = _rounded(H, b)
    return result


def _rounded(H: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.int32]:
    """(classes, maps, numbers) weights in whole units, of sums of products of the numbers."""
    classes, count, maps = len(H), H.shape[1] - 1, b.shape[2]
    # The last one is rounded first: 1, then the first maps, which weigh most.
    turned = np.arange(count + 1)
    turned[:count] = turned[:count][::-1].copy()
    H, b = H[:, turned][:, :, turned], b[:, turned]
    price = np.full((classes, maps, count + 1), _PRICE)
    full = np.repeat(H[:, None], maps, axis=1)
    diagonal = np.einsum("...ii->...i", full)  # a view
    squares = diagonal.copy()
    for _ in range(_PASSES):
        np.add(squares, price, out=diagonal)
        w = np.linalg.solve(full, b.transpose(0, 2, 1)[..., None])[..., 0]
        price = _PRICE / (1 + w * w)
    L = np.linalg.cholesky(full)
    q = np.zeros_like(w)
    for j in range(count, -1, -1):
        gap = w[..., j + 1 :] - q[..., j + 1 :]
        x = w[..., j] + (L[..., j + 1 :, j] * gap).sum(-1) / L[..., j, j]
        q[..., j] = np.copysign(np.floor(np.abs(x) + _ROUND), x)
    np.clip(q, -_WEIGHT, _WEIGHT, out=q)
    return np.ascontiguousarray(q[..., turned]).astype(np.int32)


def classes_of(Y: Planes, count: int, each: int) -> Classes:
    """Classes by k-means on the first maps."""
    base = len(Y)
    flat = Y.reshape(base, -1)
    Z = flat[:, :: max(1, flat.shape[1] // _SEEN)].T.astype(np.float64)
    centres = _means(Z, count)
    centres = centres[np.argsort(centres[:, 0], kind="stable")]
    spread = np.sqrt(np.square(Z - Z.mean(0)).mean(0))
    unit = max(math.ceil(math.log2(np.abs(Z).max() + 1)) - 22, 0)
    coarse = tuple(
        min(max(math.floor(math.log2(max(x, 1.0))) - 5 - unit, 0), 20) for x in spread.tolist()
    )
    scale = np.array([2.0 ** (unit + k) for k in coarse])
    whole = np.rint(centres / scale).astype(np.int64) << np.array(coarse)
    return Classes(each, unit, _FINE, coarse, whole)


def _means(Z: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Centres of k-means: the class with the largest error is split along its axis."""
    centres: NDArray[np.float64] = Z.mean(0)[None]
    labels = np.zeros(len(Z), np.intp)
    while len(centres) < count:
        gap = np.square(Z - centres[labels]).sum(1)
        worst = int(np.bincount(labels, gap, len(centres)).argmax())
        X = Z[labels == worst] - centres[worst]
        squares, axes = np.linalg.eigh(X.T @ X)
        move = math.sqrt(max(float(squares[-1]), 0.0) / max(len(X), 1)) * axes[:, -1]
        move *= 1 if move[np.abs(move).argmax()] > 0 else -1
        centres = np.concatenate([centres, centres[worst][None] + move])
        centres[worst] -= move
        for _ in range(_ROUNDS if len(centres) < count else _LAST):
            squares = np.square(centres).sum(1)
            for start in range(0, len(Z), _PIXELS):
                gaps = Z[start : start + _PIXELS] @ centres.T
                gaps *= -2
                gaps += squares
                labels[start : start + _PIXELS] = gaps.argmin(1)
            sizes = np.bincount(labels, minlength=len(centres))
            sums = np.stack([np.bincount(labels, z, len(centres)) for z in Z.T], 1)
            some = sizes > 0
            centres[some] = sums[some] / sizes[some, None]
    return centres
