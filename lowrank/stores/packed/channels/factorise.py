"""An image as matrices, and those as columns that suit a quantiser: the encoder's part."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lowrank import layouts, threads
from lowrank.layouts.turn import axes
from lowrank.picture import Turn
from lowrank.stores.packed.channels import vectors
from lowrank.stores.packed.coding.payload import ALPHA_FINER, Norms, Samples, levels_of

Floats = NDArray[np.float64]
ROUNDS = 2
_ROUND_UP = 0.42
"""Magnitudes are rounded up from 1 - this, until costs are known."""
_RIDGE = 1e-6
_WAVELETS_DEARER = 1.07
LEAST = 0.06
"""Components with sigma^2 below LEAST (m + n) step^2 are not tried."""
WORTH = 0.1
"""What a bit of a component must buy, in squared steps, or the component is dropped."""
BITS_EACH, _LARGE = 3.7, 0.6
"""Bits of a weak component, measured, for each coefficient above so many steps."""


@dataclass(frozen=True, eq=False)
class Factors:
    """A = U diag(s) V^T: all singular values, descending, and the vectors."""

    A: Floats
    U: Floats
    s: Floats
    V: Floats


@dataclass(frozen=True, eq=False)
class Refined:
    """Components of a matrix, ready to be quantised.

    Attributes
    ----------
    U : (m, k) ndarray of float64
        Columns as long as sigma, that suit the quantised V.
    V : (n, k) ndarray of float64
        Columns that suit those U quantised and divided by their lengths.
    switches : tuple of int
        How many components have wavelets for u, and for v.
    """

    U: Floats
    V: Floats
    switches: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Source:
    """An image factorised, ready to be encoded with any step.

    Attributes
    ----------
    samples : (height, width, channels) ndarray
    turn : Turn or None
        The rotation of the colours to their principal axes, if any.
    levels : tuple of int or None
        The two values of alpha, if it has no more.
    rank : int or None
        Components of each channel to keep, whatever they are worth.
    factors : list of Factors
        One for each channel, alpha's doubled.
    """

    samples: Samples
    bits: int
    alpha: bool
    turn: Turn | None
    levels: tuple[int, int] | None
    rank: int | None
    factors: list[Factors]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.samples.shape[0], self.samples.shape[1]

    @cached_property
    def spectra(self) -> list[Floats]:
        """All singular values of each matrix, alpha's not doubled, descending."""
        return [_singular_values(A) for A in self._matrices()]

    def norms(self, ranks: tuple[int, ...], decoded: list[Floats]) -> tuple[Norms, ...]:
        """Measure the matrices against those that were decoded, of given ranks."""
        found = []
        for k, s, A, B in zip(ranks, self.spectra, self._matrices(), decoded, strict=True):
            sigma_next = float(s[k]) if k < len(s) else 0.0
            tail, error = float(np.linalg.norm(s[k:])), float(np.linalg.norm(A - B))
            found.append(Norms(float(np.linalg.norm(A)), sigma_next, tail, error))
        return tuple(found)

    def _matrices(self) -> list[Floats]:
        A = layouts.of_samples(self.samples, "channels", self.turn)
        return [np.asarray(x, np.float64) for x in A]

    def order(self, ranks: tuple[int, ...]) -> tuple[int, ...]:
        """The channel of each of so many components, in descending sigma."""
        found = [
            (-float(s), c)
            for c, (f, k) in enumerate(zip(self.factors, ranks, strict=True))
            for s in f.s[:k]
        ]
        return tuple(c for _, c in sorted(found))


def prepare(
    samples: Samples, bits: int, *, alpha: bool, turn: Turn | None, rank: int | None = None
) -> Source:
    """Rotate the colours and factorise the channels.

    Parameters
    ----------
    samples : (height, width, channels) ndarray of uint8 or uint16
        Levels, of any number of channels.
    bits : int
        1, 8 or 16: samples are below 2^bits.
    alpha : bool
        The last channel is opacity: coded with half the step, and where it has one or
        two values, with those.
    turn : Turn or None
        The rotation of the colours.
    rank : int, optional
        Keep so many components of each channel, whatever they are worth. By default all
        channels' components have one threshold.
    """
    A = samples.astype(np.float64)
    R = axes(turn)
    if R is not None:
        A[:, :, :3] = A[:, :, :3] @ R.T
    levels = levels_of(samples) if alpha else None
    if alpha:
        A[:, :, -1] *= 0.0 if levels is not None and levels[0] == levels[1] else ALPHA_FINER
    factors = threads.each(lambda c: factorise(np.ascontiguousarray(A[:, :, c])), range(A.shape[2]))
    return Source(samples, bits, alpha, turn, levels, rank, factors)


def _singular_values(A: Floats) -> Floats:
    """Singular values, descending, from the Gram matrix of the shorter side."""
    gram = A.T @ A if A.shape[0] > A.shape[1] else A @ A.T
    s: Floats = np.sqrt(np.maximum(np.linalg.eigvalsh(gram)[::-1], 0))
    return s


def factorise(A: Floats) -> Factors:
    """The singular value decomposition by the Gram matrix of the shorter side.

    Notes
    -----
    Values below about 1e-7 sigma_1 are noise: far below what is ever quantised.
    """
    if A.shape[0] < A.shape[1]:
        turned = factorise(A.T)
        return Factors(A, turned.V, turned.s, turned.U)
    values, V = np.linalg.eigh(A.T @ A)
    s, V = np.sqrt(np.maximum(values[::-1], 0.0)), V[:, ::-1]
    U = A @ V
    U /= np.where(s > 0, s, 1.0)
    return Factors(A, U, s, V)


def solve(A: Floats, U: Floats) -> Floats:
    """V of least ||A - U V^T||_F, (n, k): the gradient 2 U^T (U V^T - A) vanishes."""
    Vt: Floats = np.linalg.solve(gram(U), U.T @ A).astype(np.float64, copy=False)
    return Vt.T


def gram(U: Floats) -> Floats:
    """U^T U, a little regularised: columns may be zero, or each other's."""
    G: Floats = U.T @ U
    diagonal = np.diag_indices(len(G))
    G[diagonal] += _RIDGE * (G[diagonal] + _RIDGE)
    return G


def carried(U: Floats) -> Floats:
    """N, unit upper triangular with U^T U = N D N^T.

    An error E of V costs tr(E^T U^T U E) = sum_j d_j |e_j + sum_{i<j} n_ij e_i|^2: having
    quantised rows before j, row j does best to take up their errors times -n_ij.
    """
    L = np.linalg.cholesky(gram(U)[::-1, ::-1])
    N: Floats = (L / np.diag(L))[::-1, ::-1]
    return N


def unit(X: Floats) -> Floats:
    """Columns divided by their lengths."""
    length = np.sqrt(np.einsum("ij,ij->j", X, X))
    quotient: Floats = X / np.where(length > 0, length, 1.0)
    return quotient


def _rounded(X: Floats, step: float, switch: int) -> Floats:
    """The columns as quantised coefficients will show them."""
    Y = vectors.forward(X, switch) / step
    return vectors.inverse(np.copysign(np.floor(np.abs(Y) + _ROUND_UP), Y), len(X), switch)


def refine(factors: Factors, rank: int | None, step: float) -> Refined:
    """Prepare the components of a matrix for a quantiser.

    Alternating least squares, each factor solved for the other one as quantised. A first
    round tells which transform suits which components and, if no rank is given, which
    components are worth their bits.
    """
    A, s = factors.A, factors.s
    k = int((s * s > LEAST * sum(A.shape) * step * step).sum()) if rank is None else rank
    X = factors.U[:, :k] * s[:k]
    switches = _switch(X, step), _switch(factors.V[:, :k] * s[:k], step)
    for i in range(ROUNDS):
        U = unit(_rounded(X, step, switches[0]))
        V = solve(A, U)
        if i == 0 and rank is None:
            k = _worthy(X, U, V, step, switches)
            V, switches = V[:, :k], (min(switches[0], k), min(switches[1], k))
        X = solve(A.T, unit(_rounded(V, step, switches[1])))
    return Refined(X, solve(A, unit(_rounded(X, step, switches[0]))), switches)


def _switch(X: Floats, step: float) -> int:
    """How many columns, from the first, take fewer bits as wavelets than as blocks."""
    k = X.shape[1]
    bits = [np.log2(1 + (vectors.forward(X, j) / (step * _LARGE)) ** 2).sum(0) for j in (k, 0)]
    # Of equal estimates, blocks are the easier to predict.
    gain = np.cumsum(_WAVELETS_DEARER * bits[0] - bits[1])
    return int(np.argmin(np.concatenate([[0.0], gain])))


def _worthy(X: Floats, U: Floats, V: Floats, step: float, switches: tuple[int, int]) -> int:
    """How many components buy more than `WORTH` squared steps with each bit."""
    x, v = (
        np.abs(vectors.forward(columns, switch)) / step
        for columns, switch in zip((X, V), switches, strict=True)
    )
    q = np.floor(v + _ROUND_UP)
    # What leaving one out costs when the others are solved anew.
    gain = (q * (2 * v - q)).sum(0) / np.diag(np.linalg.inv(gram(U)))
    bits = BITS_EACH * ((x > _LARGE).sum(0) + (v > _LARGE).sum(0))
    return int((gain > WORTH * bits).sum())
