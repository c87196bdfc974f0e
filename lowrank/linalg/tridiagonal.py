"""Eigenvalues of a large symmetric matrix, and leading eigenvectors, by a tridiagonal one.

LAPACK's steps taken one by one: Householder reflections to a tridiagonal matrix of the
same eigenvalues (dsytrd), all of these (dsterf), some of its eigenvectors by relatively
robust representations (dstemr), and the reflections back (dormqr). The first step is most
of the work, and serves values and vectors; the drivers that numpy and scipy offer take it
for each.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_BY_INDEX = 2  # dstemr: eigenvectors from one index to another


class Tridiagonal:
    """A symmetric matrix in tridiagonal form.

    Parameters
    ----------
    matrix : (n, n) ndarray of float64
        Symmetric, n at least 2; its memory is taken over.
    """

    def __init__(self, matrix: Floats) -> None:
        from scipy.linalg import lapack

        n = len(matrix)
        work = int(lapack.dsytrd_lwork(n, lower=1)[0])
        # LAPACK reads columns first; of a symmetric matrix that is the transpose, uncopied.
        self._reflections, self._diagonal, self._beside, self._tau, info = lapack.dsytrd(
            matrix.T, lower=1, lwork=work, overwrite_a=1
        )
        _check(info)

    def values(self) -> Floats:
        """All eigenvalues, ascending."""
        from scipy.linalg import lapack

        values: Floats
        values, info = lapack.dsterf(self._diagonal, self._beside)
        _check(info)
        return values

    def take_vectors(self, count: int) -> Floats:
        """Eigenvectors of the `count` largest eigenvalues; gives up the form's memory.

        Returns
        -------
        (n, count) ndarray of float64
            Orthonormal columns, the eigenvalues ascending.
        """
        from scipy.linalg import lapack

        n = len(self._diagonal)
        _, _, z, info = lapack.dstemr(
            self._diagonal, np.append(self._beside, 0.0), _BY_INDEX, 0.0, 0.0, n - count + 1, n
        )
        _check(info)
        vectors: Floats = np.zeros((n, count), order="F")
        first = z[0, :count].copy()
        vectors[:-1] = z[1:, :count]
        del z  # of order n
        # The reflections leave the first row alone: they stand below the diagonal. As columns
        # of n entries that begin one row further down they end in one of the row above the
        # diagonal, which nothing needs any more: 0 there, and they act on all rows but the last.
        reflections, self._reflections = self._reflections, None
        reflections[0, 1:] = 0.0
        below = reflections.ravel(order="K")[1 : 1 + n * (n - 1)].reshape(n, n - 1, order="F")
        space = lapack.dormqr("L", "N", below, self._tau, vectors, -1)[1]
        vectors, _, info = lapack.dormqr(
            "L", "N", below, self._tau, vectors, int(space[0]), overwrite_c=1
        )
        _check(info)
        vectors[1:] = vectors[:-1]
        vectors[0] = first
        return vectors


def _check(info: int) -> None:
    if info:
        raise np.linalg.LinAlgError(f"LAPACK gave up on a tridiagonal matrix ({info})")
