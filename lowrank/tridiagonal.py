"""Leading eigenvectors of a large symmetric matrix, by way of a tridiagonal one.

LAPACK's steps taken one by one: Householder reflections to a tridiagonal matrix of the
same eigenvalues (dsytrd), some of its eigenvectors by relatively robust representations
(dstemr), and the reflections back (dormqr). The drivers that numpy and scipy offer compute
all vectors, or find some of them by bisection, and take half as long again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_BY_INDEX = 2  # dstemr: eigenvectors from one index to another


def leading_vectors(matrix: Floats, count: int) -> Floats:
    """Eigenvectors of the `count` largest eigenvalues of a symmetric `matrix`, overwritten.

    Returns
    -------
    (n, count) ndarray of float64
        Orthonormal columns, the eigenvalues ascending.
    """
    from scipy.linalg import lapack

    n = len(matrix)
    work = int(lapack.dsytrd_lwork(n, lower=1)[0])
    # LAPACK reads columns first; of a symmetric matrix that is the transpose, uncopied.
    reflections, diagonal, beside, tau, info = lapack.dsytrd(
        matrix.T, lower=1, lwork=work, overwrite_a=1
    )
    _check(info)
    _, _, z, info = lapack.dstemr(
        diagonal, np.append(beside, 0.0), _BY_INDEX, 0.0, 0.0, n - count + 1, n
    )
    _check(info)
    vectors: Floats = np.array(z[:, :count], order="F")
    del z  # of order n, and so is the next
    below = np.asfortranarray(reflections[1:, :-1])
    rest = np.asfortranarray(vectors[1:])
    space = lapack.dormqr("L", "N", below, tau, rest, -1)[1]
    vectors[1:], _, info = lapack.dormqr("L", "N", below, tau, rest, int(space[0]), overwrite_c=1)
    _check(info)
    return vectors


def _check(info: int) -> None:
    if info:
        raise np.linalg.LinAlgError(f"LAPACK gave up on a tridiagonal matrix ({info})")
