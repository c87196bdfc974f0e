"""A basis of a Krylov space in float32, with the algebra of float64.

Rows that are rounded to float32 are orthonormal to 1e-7 only. Taken for what they are, with
their products, they span their space as exactly as float64 can say, and nothing of a small
eigenvalue is lost beside a large one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from lowrank.linalg import krylov
from lowrank.linalg.matrix import NUMPY_SIDE, Floats
from lowrank.linalg.tridiagonal import Tridiagonal

_NOTHING = 1e-7  # of the longest column: rounding of float32, and nothing new
_NEW = 1e-3  # of the longest column: so much that is new is orthogonal after one projection
_CHUNK = 1 << 16  # columns of a basis that are taken as float64 at a time, at most
_TAKEN = 1 << 24  # entries of them, 128 MB


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
        for some in self._chunks():
            out += self._rows[: self._filled, some].astype(np.float64) @ Z[some]
        return out

    def turned(self, vectors: Floats) -> Floats:
        """Rows ``vectors.T @ rows`` in float64."""
        out = np.empty((vectors.shape[1], self._rows.shape[1]))
        for some in self._chunks():
            out[:, some] = vectors.T @ self._rows[: self._filled, some].astype(np.float64)
        return out

    def _chunks(self) -> Iterator[slice]:
        size = self._rows.shape[1]
        step = min(_CHUNK, max(_TAKEN // max(self._filled, 1), 1))
        return (slice(a, a + step) for a in range(0, size, step))

    def beside(self, Z: Floats, products: Floats) -> tuple[NDArray[np.float32], Floats]:
        """Orthonormal columns X and `link`: Z is X link and what the rows span.

        `products` are those of the rows with Z. Columns with nothing new are replaced by
        scattered ones: a space that is exhausted grows on.
        """
        largest = np.linalg.norm(Z, axis=0).max(initial=0.0)
        Z, link = np.linalg.qr(Z - self._spanned(products))
        new = np.abs(np.diag(link)).min(initial=np.inf)
        if not new >= _NEW * largest:  # what is left of such a column is rounding, in part
            Z, more = np.linalg.qr(Z - self._spanned(self.times(Z)))
            link = more @ link
        exhausted = np.abs(np.diag(link)) <= _NOTHING * largest
        if exhausted.any():
            fresh = krylov.scattered(len(Z), Z.shape[1], len(Z) * self._filled)
            Z[:, exhausted] = fresh[:, exhausted]
            for _ in range(2):
                Z = np.linalg.qr(Z - self._spanned(self.times(Z)))[0]
        return Z.astype(np.float32), link

    def _spanned(self, products: Floats) -> Floats:
        known = self._products[: self._filled, : self._filled]
        inside = products
        for _ in range(2):  # known is the identity to 1e-7, and this its inverse to 1e-20
            inside = products + (inside - known @ inside)
        return self.turned(inside).T

    def ritz(self, H: Floats) -> tuple[Floats, Callable[[int], Floats]]:
        """Ritz values, descending; what makes coefficients of leading Ritz vectors, once.

        These are of the rows, as columns, and the vectors orthonormal.
        """
        lower = np.linalg.cholesky(self._products[: self._filled, : self._filled])
        inverse = np.linalg.inv(lower)
        values, vectors = leading_of(inverse @ H @ inverse.T)
        return values, lambda count: inverse.T @ vectors(count)

    def restarted(self, vectors: Floats, values: Floats) -> Floats:
        """Keep some Ritz vectors alone; what H is between their roundings, for their `values`.

        What rounding adds to such a vector is known in the span of the others. Beyond it, it is
        multiplied by values that are smaller than all of these.
        """
        kept = self.turned(vectors)
        self._filled = 0
        self.append(kept.T.astype(np.float32))
        inside = self.times(kept.T)
        return (inside * values) @ inside.T


def leading_of(square: Floats) -> tuple[Floats, Callable[[int], Floats]]:
    """Eigenvalues of a symmetric matrix, descending, and what makes its leading vectors, once.

    Columns; the memory of a large matrix is taken over.
    """
    if len(square) <= NUMPY_SIDE:
        values, vectors = np.linalg.eigh(square)
        return values[::-1], lambda count: vectors[:, ::-1][:, :count]
    form = Tridiagonal(square)
    return form.values()[::-1], lambda count: form.take_vectors(count)[:, ::-1]
