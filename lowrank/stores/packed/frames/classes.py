"""Classes of pixels: later maps predicted from those before, in each class in its own way.

Planes of a transform across the frames are uncorrelated over all pixels, but not over those of
one material: there each is nearly a linear function of those before. The nearest of some centres
tells the class of a pixel from its first maps as they were decoded; weights, a set for each class,
predict every later map from maps before it, and what is coded of it is what the prediction leaves.
Everything is in whole numbers, of sixteenths of a step.

References
----------
S. Lloyd, "Least squares quantization in PCM", IEEE Trans. Inf. Theory 28 (1982). J. Mielikainen,
P. Toivanen, "Clustered DPCM for the lossless compression of hyperspectral images", IEEE Trans.
Geosci. Remote Sens. 41 (2003): a linear predictor for each cluster of spectra.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import FormatError
from lowrank.stores.packed.coding.range_coder import BitReader, BitWriter
from lowrank.stores.packed.patches.contexts import CAP, UNIT, rows_of
from lowrank.stores.packed.patches.phases import Reader, Writer

Integers = NDArray[np.int64]
Planes = NDArray[np.signedinteger[Any]]
MOST, WIDEST = 64, 32
"""Classes, and maps that tell them, at most."""
_LARGEST = (1 << 23) - 1
"""Of a number that tells a class, and of a centre: sums of products stay below 2^53."""
_WRAP = 8
"""Bits of a number that tells a class, of 32, that are not there: what is beyond wraps around."""
_EXACT = 2.0**53
_PLANE = 2.0**31
_SLAB = 1 << 16
_TOLD = 1 << 12  # pixels whose classes are told at a time
_FIRST = 2  # magnitude that the first map's weights are expected to have


@dataclass(frozen=True, eq=False)
class Classes:
    """What tells the class of a pixel, and which maps predict which.

    Attributes
    ----------
    each : int
        So many maps have the same predictors: all that come before the first of them.
    unit : int
        Low bits of the first maps that tell no class.
    fine : int
        Bits that weights are coarser than the spread of what they multiply.
    coarse : tuple of int
        Of each of the first maps, low bits of the centres that are zero.
    centres : (classes, maps) ndarray
        In units of 2^unit sixteenths of a step.
    """

    each: int
    unit: int
    fine: int
    coarse: tuple[int, ...]
    centres: Integers

    @property
    def base(self) -> int:
        """How many maps tell the class, and are predicted by none."""
        return int(self.centres.shape[1])

    def reach(self, number: int) -> int:
        """How many maps predict a map, the first ones."""
        return self.base + (number - self.base) // self.each * self.each

    def stages(self, part: slice) -> Iterator[slice]:
        """Maps of a group that have the same predictors, as far as they have any."""
        start = max(part.start, self.base)
        while start < part.stop:
            stop = min(self.reach(start) + self.each, part.stop)
            yield slice(start, stop)
            start = stop


def write(out: BitWriter, classes: Classes) -> None:
    """The classes' fields of the header."""
    out.number(len(classes.centres), "classes")
    out.number(classes.base, "base")
    out.number(classes.each, "each")
    out.bits(classes.unit, 4)
    out.bits(classes.fine, 3)
    for coarse, column in zip(classes.coarse, classes.centres.T, strict=True):
        out.number(coarse, "coarse")
        before = 0
        for x in (column >> coarse).tolist():
            out.signed(x - before, "centre")
            before = x


def read(data: BitReader, maps: int, pixels: int) -> Classes:
    """What `write` wrote, of a stack of so many maps of so many samples."""
    count, base, each = (data.number(name) for name in ("classes", "base", "each"))
    if not (
        1 <= count <= MOST and 1 <= base <= min(WIDEST, maps) and each
        and count * (maps + 1) <= pixels
    ):  # fmt: skip
        raise FormatError(f"packed stream: {count} classes by {base} of {maps} maps")
    unit, fine = data.bits(4), data.bits(3)
    coarse, centres = [], np.zeros((count, base), np.int64)
    for j in range(base):
        coarse.append(data.number("coarse"))
        x = 0
        for c in range(count):
            x += data.signed("centre")
            if coarse[-1] > 22 or abs(x) << coarse[-1] > _LARGEST:
                raise FormatError("packed stream: a centre is out of range")
            centres[c, j] = x << coarse[-1]
    return Classes(each, unit, fine, tuple(coarse), centres)


class Sorted:
    """The pixels of a frame, those of a class beside each other.

    Parameters
    ----------
    classes : Classes
    Y : (base, pixels) ndarray of int32
        The first maps.
    """

    def __init__(self, classes: Classes, Y: Planes) -> None:
        self.classes = classes
        labels = np.empty(Y.shape[1], np.uint8)
        weights = -2.0 * classes.centres
        squares = np.square(classes.centres).sum(1)[:, None].astype(np.float64)
        for start in range(0, len(labels), _TOLD):
            part = slice(start, start + _TOLD)
            z = Y[:, part].astype(np.int32) >> classes.unit << _WRAP >> _WRAP
            labels[part] = (weights @ z.astype(np.float64) + squares).argmin(0)
        self.order = labels.argsort(kind="stable")
        """Pixel of each place."""
        counts = np.bincount(labels, minlength=len(classes.centres))
        self.ends = [0, *np.cumsum(counts).tolist()]
        self._means = np.empty((0, len(classes.centres)))
        self._exponents: list[list[int]] = []
        self._largest: list[NDArray[np.float64]] = []

    def sort(self, Y: Planes) -> None:
        """Put the pixels of planes in the order of the classes."""
        for plane in Y:
            plane[:] = plane[self.order]

    def restore(self, Y: Planes) -> None:
        """Put them where they belong."""
        for plane in Y:
            plane[self.order] = plane.copy()

    def spans(self) -> Iterator[tuple[int, slice]]:
        """Each class that has any pixels, and where they are; some at a time."""
        for c, (start, stop) in enumerate(zip(self.ends, self.ends[1:], strict=False)):
            for first in range(start, stop, _SLAB):
                yield c, slice(first, min(first + _SLAB, stop))

    def numbers(self, Y: Planes, count: int, c: int, part: slice) -> NDArray[np.float64]:
        """(count + 1, pixels) numbers that predict: maps beyond their mean in the class, and 1."""
        self._measure(Y, count)
        X = np.empty((count + 1, part.stop - part.start))
        np.subtract(Y[:count, part], self._means[:count, c, None], out=X[:count])
        X[count] = 1
        return X

    def _measure(self, Y: Planes, count: int) -> None:
        """What the weights of more maps are in units of, and how large these are."""
        classes = len(self.ends) - 1
        means = []
        for plane in Y[len(self._means) : count]:
            mean, largest, exponents = np.zeros(classes), np.zeros(classes), []
            for c, (start, stop) in enumerate(zip(self.ends, self.ends[1:], strict=False)):
                x = plane[start:stop].astype(np.int64)
                if len(x):
                    mean[c] = int(x.sum()) // len(x)
                    x -= int(mean[c])
                    np.abs(x, out=x)
                    largest[c] = x.max()
                exponents.append(self.exponent(int(x.sum()), len(x)))
            means.append(mean)
            self._largest.append(largest)
            self._exponents.append(exponents)
        if means:
            self._means = np.concatenate([self._means, means])

    def exponent(self, spread: int, pixels: int) -> int:
        """The exponent of the weights of a number, from the sum of its magnitudes."""
        coarser = pixels.bit_length() // 2 + self.classes.fine
        return max(spread.bit_length() - coarser, 0)

    def units(self, Y: Planes, count: int) -> Integers:
        """(classes, count + 1) exponents: weights are in units of 2^-exponent."""
        self._measure(Y, count)
        sizes = np.diff(self.ends).tolist()
        last = [self.exponent(size, size) for size in sizes]
        return np.array([*self._exponents[:count], last], np.int64).T

    def predict(
        self, Y: Planes, count: int, W: NDArray[np.int32], *, strict: bool = True
    ) -> NDArray[np.float64]:
        """(maps, pixels) of what weights make of the first maps, in whole sixteenths of a step.

        Parameters
        ----------
        Y : (maps, pixels) ndarray of int32
            Sorted.
        count : int
            How many of them predict.
        W : (classes, maps, count + 1) ndarray
        strict : bool
            Whether weights beyond exact arithmetic are an error; if not, they become 0.
        """
        units = self.units(Y, count)
        most = units.max(1)
        V = W * np.exp2((most[:, None] - units).astype(np.float64))[:, None]
        largest = np.array([*self._largest[:count], np.ones(len(V))]).T
        beyond = ((np.abs(V) * largest[:, None]).sum(2) >= _EXACT).any(1)
        if beyond.any():
            if strict:
                raise FormatError("packed stream: a prediction beyond exact arithmetic")
            W[beyond], V[beyond] = 0, 0
        out = np.zeros((W.shape[1], Y.shape[1]))
        for c, part in self.spans():
            x = V[c] @ self.numbers(Y, count, c, part)
            out[:, part] = np.rint(x * 2.0 ** -int(most[c]))
        return out

    def add(self, Y: Planes, some: slice, W: NDArray[np.int32]) -> None:
        """Add to maps what predicts them."""
        total = self.predict(Y, self.classes.reach(some.start), W)
        total += Y[some]
        if not (float(total.min()) >= -_PLANE and float(total.max()) < _PLANE):
            raise FormatError("packed stream: a plane is out of range")
        Y[some] = total


def _rows(known: NDArray[np.int32], width: int) -> NDArray[np.intp]:
    """Context rows of a map's weights, by those of the map before."""
    size = np.minimum(np.abs(known), CAP).astype(np.float32) * np.float32(UNIT)
    places = np.minimum(np.arange(width), known.shape[1] - 1)
    return rows_of(size[:, places].ravel()).astype(np.intp)


class Weights:
    """Weights of maps to and from the stream, one map after the other.

    Those of a class stand together: of 1, then of each map. Each is expected to be as large as
    that of the map before.
    """

    def __init__(self, coder: Reader | Writer, classes: Classes) -> None:
        self._coder, self._classes = coder, classes
        self._known = np.full((len(classes.centres), 1), _FIRST, np.int32)

    def code(self, number: int, W: NDArray[np.int32] | None = None) -> NDArray[np.int32]:
        """(classes, predictors + 1) weights of a map; written, where they are given."""
        coder = self._coder
        rows = _rows(self._known, self._classes.reach(number) + 1)
        flat = np.zeros(len(rows), np.int32)
        if W is None:
            hit, values = coder.phase(rows, None, signs=True)
            flat[hit] = values
        elif isinstance(coder, Writer):
            flat[:] = np.roll(W, 1, axis=1).ravel()
            hit = flat.nonzero()[0]
            coder.collect(rows, flat != 0, hit, flat[hit])
        coder.models.learn()
        self._known = flat.reshape(len(self._known), -1)
        return np.roll(self._known, -1, axis=1)

    def read(self, part: slice) -> list[tuple[slice, NDArray[np.int32]]]:
        """The weights of a group's maps: maps with the same predictors, and theirs."""
        return [
            (some, np.stack([self.code(k) for k in range(some.start, some.stop)], 1))
            for some in self._classes.stages(part)
        ]


def restore(classes: Classes, Y: Planes, weights: list[tuple[slice, NDArray[np.int32]]]) -> None:
    """Add to (maps, pixels) decoded maps what predicts them, as far as weights are there."""
    pixels = Sorted(classes, Y[: classes.base])
    pixels.sort(Y)
    for some, W in weights:
        pixels.add(Y, some, W)
    pixels.restore(Y)
