"""Singular vectors as coefficients, and the places of their neighbours.

A vector is filled up with its last sample to a multiple of blocks.SIDE, and taken by one
of two transforms. The first components of a channel are smooth with a few edges: the 9/7
wavelet, until SMALLEST samples or fewer are left or six times; the coarsest samples come
first, then the bands, coarse to fine. Later ones oscillate: lapped blocks (blocks.py), one
band for each frequency. A component is one row: the coefficients of u, then those of v.

A row is coded in four phases. Of wavelets: the even places of the coarse bands (all but
the two finest), the odd ones, then so of the two finest. Of blocks: the even places of
even frequencies, their odd places, then so of odd frequencies. Odd places so know both
neighbours of their band; later bands know their kin, the coefficients of nearby
frequencies at the same part of the vector: the parent in the band before, or the two
frequencies around.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lowrank.stores.packed.channels import blocks
from lowrank.stores.packed.channels.blocks import SIDE
from lowrank.stores.packed.coding import wavelet

Index = NDArray[np.intp]
Floats = NDArray[np.float64]
SMALLEST = 8
MOST_LEVELS = 6
PHASES = 4
KINDS = WAVELET, BLOCKS = 0, 1
_FINE = 2
# Of lapped blocks: the depth of the wavelet band that a frequency lies in.
_OCTAVE = (4, 3, 2, 2, 1, 1, 1, 1, *[0] * 8)


def coefficients(length: int) -> int:
    """Coefficients of a vector."""
    return -(-length // SIDE) * SIDE


def band_sizes(length: int) -> list[int]:
    """Sizes of a wavelet's coarsest samples and of its bands, coarse to fine."""
    highs: list[int] = []
    while length > SMALLEST and len(highs) < MOST_LEVELS:
        highs.append(length // 2)
        length -= length // 2
    return [length, *highs[::-1]]


def forward(X: Floats, switch: int) -> Floats:
    """Coefficients of the columns of X: the first `switch` by wavelets, the others by blocks."""
    missing = coefficients(len(X)) - len(X)
    X = np.concatenate([X, np.repeat(X[-1:], missing, axis=0)])
    low, bands = X[:, :switch], []
    for _ in band_sizes(len(X))[1:]:
        halves = wavelet.split(low)
        low = halves[0].astype(np.float64, copy=False)
        bands.append(halves[1].astype(np.float64, copy=False))
    return np.hstack([np.concatenate([low, *bands[::-1]]), blocks.forward(X[:, switch:])])


def inverse(Y: Floats, length: int, switch: int) -> Floats:
    """The columns of integer coefficients below 2^30: the same bits on every machine."""
    sizes = band_sizes(len(Y))
    at = sizes[0]
    X: Floats = Y[:at, :switch]
    for size in sizes[1:]:
        X = wavelet.join(X, Y[at : at + size, :switch]).astype(np.float64, copy=False)
        at += size
    return np.hstack([X, blocks.inverse(Y[:, switch:])])[:length]


class Places:
    """The places of a row: phases and neighbours, for a transform of u and one of v.

    Attributes
    ----------
    size : int
        Coefficients of a row. Index `size` stands for a neighbour that does not exist.
    left, right : (size,) ndarray of int
        Neighbours in the band.
    kin : pair of (size,) ndarray of int
        Coefficients of nearby frequencies.
    depth : (size,) ndarray of int
        Octaves below the finest, at most 5; 6 for a wavelet's coarsest samples.
    phases : list of (count,) ndarray of int
        The places of each phase.
    sets : list of (count,) ndarray of int
        For each of them, PHASES times the kind of transform, plus the phase.
    heads : list of int
        How many places of each phase belong to u: they come first.
    octave : (size,) ndarray of int
        If u and v were wavelets: the place of the same part and octave.
    """

    def __init__(self, m: int, n: int, kinds: tuple[int, int]) -> None:
        lengths = coefficients(m), coefficients(n)
        self.size = sum(lengths)
        self.left, self.right, *kin = (np.full(self.size, self.size) for _ in range(4))
        self.kin = kin[0], kin[1]
        self.depth = np.zeros(self.size, np.int8)
        self.octave = np.arange(self.size)
        phase = np.zeros(self.size, np.int8)
        kind_of = np.repeat(np.array(kinds, np.int8), lengths)
        start = 0
        for length, kind in zip(lengths, kinds, strict=True):
            place = self._wavelet if kind == WAVELET else self._blocks
            place(start, length, phase)
            start += length
        self.phases = [(phase == p).nonzero()[0] for p in range(PHASES)]
        self.heads = [int((at < lengths[0]).sum()) for at in self.phases]
        self.sets = [PHASES * kind_of[at] + p for p, at in enumerate(self.phases)]

    def _band(self, at: Index) -> None:
        self.left[at[1:]], self.right[at[:-1]] = at[:-1], at[1:]

    def _wavelet(self, start: int, length: int, phase: NDArray[np.int8]) -> None:
        sizes = band_sizes(length)
        before = start
        for b, size in enumerate(sizes):
            at = np.arange(start, start + size)
            self._band(at)
            depth = len(sizes) - 1 - b if b else MOST_LEVELS
            self.depth[at] = depth
            phase[at] = 2 * (depth < _FINE)
            phase[at[1::2]] += 1
            if b:
                part = np.arange(size) // (2 if b > 1 else 1)
                self.kin[0][at] = np.minimum(before + part, start - 1)
            before = start
            start += size

    def _blocks(self, start: int, length: int, phase: NDArray[np.int8]) -> None:
        count = length // SIDE
        sizes = band_sizes(length)
        starts = np.cumsum([0, *sizes])
        for f in range(SIDE):
            at = np.arange(start + f * count, start + (f + 1) * count)
            self._band(at)
            self.depth[at] = _OCTAVE[f]
            phase[at] = 2 * (f % 2)
            phase[at[1::2]] += 1
            if f > 0:
                self.kin[0][at] = at - count
            if f < SIDE - 1:
                self.kin[1][at] = at + count
            # The middle of block b is sample 16 b + 8, of 2^(depth + 1) to a coefficient.
            band = max(len(sizes) - 1 - _OCTAVE[f], 0)
            part = (SIDE * np.arange(count) + SIDE // 2) >> (_OCTAVE[f] + 1)
            self.octave[at] = start + starts[band] + np.minimum(part, sizes[band] - 1)
