"""A basis of a Krylov space in float32, with the algebra of float64.

Rows that are rounded to float32 are orthonormal to 1e-7 only. Taken for what they are, with
their products, they span their space as exactly as float64 can say, and nothing of a small
eigenvalue is lost beside a large one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lowrank.linalg import krylov
from lowrank.linalg.matrix import Floats

_NOTHING = 1e-7  # of the longest column: rounding of float32, and nothing new
_CHUNK = 1 << 16  # columns of a basis that are turned at a time


class Basis:
    """Nearly orthonormal rows in float32, which are taken for exactly what they are.

    Parameters
    ----------
    capacity, size : int
        Most rows, and their length.
    """

    def __init__(self, capacity: int, size: int) -> None:
        self._rows = np.empty((capacity, size), np.float32)
        self._products = np.zeros((capacity, capacity))  # of the rows with each other
        self._filled = 0

    def append(self, X: NDArray[np.float32]) -> None:
        """Add columns as rows."""
        before, self._filled = self._filled, self._filled + X.shape[1]
        self._rows[before : self._filled] = X.T
        new = slice(before, self._filled)
        self._products[: self._filled, new] = self.times(X.astype(np.float64))
        self._products[new, : self._filled] = self._products[: self._filled, new].T

    def times(self, Z: Floats) -> Floats:
        """Products of the rows with columns, in float64 and without a copy of the rows."""
        out = np.zeros((self._filled, Z.shape[1]))
        for a in range(0, len(Z), _CHUNK):
            some = slice(a, a + _CHUNK)
            out += self._rows[: self._filled, some].astype(np.float64) @ Z[some]
        return out

    def turned(self, vectors: Floats) -> Floats:
        """Rows ``vectors.T @ rows`` in float64."""
        out = np.empty((vectors.shape[1], self._rows.shape[1]))
        for a in range(0, out.shape[1], _CHUNK):
            some = slice(a, a + _CHUNK)
            out[:, some] = vectors.T @ self._rows[: self._filled, some].astype(np.float64)
        return out

    def beside(self, Z: Floats) -> tuple[NDArray[np.float32], Floats]:
        """Orthonormal columns X and `link`: Z is X link and what the rows span.

        Columns with nothing new are replaced by scattered ones: a space that is exhausted grows
        on.
        """
        largest = np.linalg.norm(Z, axis=0).max(initial=0.0)
        link = np.eye(Z.shape[1])
        for _ in range(2):  # the first time leaves rounding behind
            Z = Z - self._spanned(Z)
            Z, more = np.linalg.qr(Z)
            link = more @ link
        exhausted = np.abs(np.diag(link)) <= _NOTHING * largest
        if exhausted.any():
            fresh = krylov.scattered(len(Z), Z.shape[1], self._rows.size + self._filled)
            Z[:, exhausted] = fresh[:, exhausted]
            for _ in range(2):
                Z = np.linalg.qr(Z - self._spanned(Z))[0]
        return Z.astype(np.float32), link

    def _spanned(self, Z: Floats) -> Floats:
        known = self._products[: self._filled, : self._filled]
        inside: Floats = np.asarray(np.linalg.solve(known, self.times(Z)), np.float64)
        return self.turned(inside).T

    def eigh(self, H: Floats) -> tuple[Floats, Floats]:
        """Ritz values, descending, and coefficients of orthonormal Ritz vectors in the rows."""
        lower = np.linalg.cholesky(self._products[: self._filled, : self._filled])
        inverse = np.linalg.inv(lower)
        values, vectors = np.linalg.eigh(inverse @ H @ inverse.T)
        return values[::-1], inverse.T @ vectors[:, ::-1]
