"""Chroma from luma: what a patch's colour owes to its brightness, and no byte says so.

Principal axes take from the colours what they have in common in the whole picture, not what they
have in one place: a red roof is dark where its tiles end. So in each patch the chroma that is
coded is compared with luma of the same frequencies, there and in the patches around it; their
regression tells what luma of the next frequency makes of chroma. What is quantised is the
difference. Both sides know all of it, and nothing is signalled.

Sums are of integers below 2^53, a quotient of two of them is rounded once: exact in float64, the
same on every machine.

References
----------
L. Trudeau, N. Egge, D. Barr, "Predicting chroma from luma in AV1", Data Compression Conference
(2018): there with a signalled factor. J. Chen et al., "Chroma intra prediction by reconstructed
luma samples", JCTVC-E266 (2011): regression over what is decoded.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank.layouts.lapped import Floats
from lowrank.stores.packed.coding.payload import FRACTION
from lowrank.stores.packed.patches.contexts import Quarters
from lowrank.stores.packed.patches.order import Component

MOST = 8191
"""Levels of luma, guesses, and sixteenths of chroma that are learnt from are at most this."""
DAMPING = 4
"""Squared levels of luma that a patch must have beyond what it has: of little, little follows."""
FORGOTTEN = 3
"""Of what was learnt one part in 2 to this power is forgotten with each component: frequencies
that are coded one after the other have more in common."""
_MARGIN = 2
"""Zeros around a map, of both sides together."""
_WORTH = 8
"""Guesses must take away one part in so many of the squares of chroma to be asked for."""


def pairs(scales: list[NDArray[np.int64]]) -> frozenset[Component]:
    """Components of chroma that are guessed, and those of luma that tell of them."""
    found = set()
    for c in (1, 2):
        both = (scales[c] > 0) & (scales[0] >= scales[c])
        for index in both.nonzero()[0].tolist():
            found |= {Component(c, index), Component(0, index)}
    return frozenset(found)


class FromLuma:
    """Guesses of chroma, and what is learnt from how they came out.

    Parameters
    ----------
    shape : Quarters
    pairs : frozenset of Component
        Those that tell of others or are told of.
    kind : dtype
        The float of the picture.
    """

    def __init__(self, shape: Quarters, pairs: frozenset[Component], kind: np.dtype[Any]) -> None:
        self._shape, self._pairs, self._kind = shape, pairs, kind
        self._luma: dict[int, NDArray[np.int16]] = {}
        # With a margin of zeros: sums of L R and of L L over the components of each patch. What
        # is forgotten keeps them below 2^FORGOTTEN MOST^2, and those of three below 2^31.
        size = (2, shape.height + _MARGIN, shape.width + _MARGIN)
        self._sums = np.zeros((2, *size), np.int32)

    def guess(self, x: Component) -> Floats | None:
        """(size,) guesses of a chroma component, in whole sixteenths; None where nothing tells."""
        if not x.channel or x not in self._pairs or x.index not in self._luma:
            return None
        guess = _guess(_around(self._sums[x.channel - 1]), self._luma[x.index])
        return self._shape.scatter(guess[:, :-_MARGIN].astype(self._kind))

    def learn(self, x: Component, coded: Floats, guess: Floats | None) -> None:
        """Compare a component with luma.

        Parameters
        ----------
        x : Component
        coded : (size,) ndarray
            What was coded of it, in sixteenths of a step: beyond what was predicted.
        guess : (size,) ndarray or None
            What was guessed of it.
        """
        shape = (self._shape.height, self._shape.width)
        if x.channel == 0:
            levels = self._shape.gather(coded, np.empty(shape, coded.dtype))
            levels *= coded.dtype.type(1 / FRACTION)
            luma = np.zeros((shape[0], shape[1] + _MARGIN), np.int16)
            luma[:, :-_MARGIN] = _cut(levels)
            self._luma[x.index] = luma
        elif x.index in self._luma:
            whole = coded if guess is None else coded + guess
            R = _cut(self._shape.gather(whole, np.empty(shape, whole.dtype))).astype(np.int32)
            L = self._luma[x.index][:, :-_MARGIN].astype(np.int32)
            sums = self._sums[x.channel - 1]
            sums -= sums >> FORGOTTEN
            R *= L
            L *= L
            sums[0, 1:-1, 1:-1] += R
            sums[1, 1:-1, 1:-1] += L


def _cut(values: NDArray[Any]) -> NDArray[Any]:
    """Cut values to MOST, in place."""
    return np.clip(values, -MOST, MOST, out=values)


def _around(sums: NDArray[Any]) -> NDArray[np.float64]:
    """Sums over 3 x 3 patches, of sums with a margin: in each row _MARGIN of no meaning at the end.

    In rows without gaps numpy takes half the time.
    """
    count, rows, pitch = sums.shape
    flat = sums.reshape(count, -1)
    three = flat[:, : -2 * pitch] + flat[:, pitch:-pitch]
    three += flat[:, 2 * pitch :]
    total: NDArray[np.float64] = three.astype(np.float64)
    total[:, :-1] += three[:, 1:]
    total[:, :-2] += three[:, 2:]
    return total.reshape(count, rows - _MARGIN, pitch)


def _guess(around: NDArray[np.float64], luma: NDArray[np.int16]) -> NDArray[np.float64]:
    """Sixteenths of chroma that go with levels of luma, by the regression around each patch."""
    share, power = around
    share *= luma
    power += DAMPING
    share /= power
    share += 0.5
    return _cut(np.floor(share, out=share))


def pays(C: Floats, scales: list[NDArray[np.int64]]) -> bool:
    """Whether guesses would take away more squares than they add, each told by its neighbours.

    Parameters
    ----------
    C : (SIZE, rows, channels, columns) ndarray
        Coefficients, in steps.
    scales : list of (SIZE,) ndarray
        Of each channel, 0 where a component is dropped.
    """
    gain = squares = 0.0
    some = pairs(scales)
    for c in (1, 2):
        sums = np.zeros((2, C.shape[1] + _MARGIN, C.shape[3] + _MARGIN))
        own = sums[:, 1:-1, 1:-1]
        for i in sorted(x.index for x in some if x.channel == c):
            L, R = np.rint(C[i, :, 0]), C[i, :, c]
            own[0] += L * R
            own[1] += L * L
            squares += float(np.vdot(R, R))
        # Of the patches around each one, without itself.
        told = _around(sums)[..., :-_MARGIN] - own
        slope = told[0] / (told[1] + DAMPING)
        gain += float((slope * (2 * own[0] - slope * own[1])).sum())
    return gain * _WORTH > squares
