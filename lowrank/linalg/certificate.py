"""The proof of a truncated SVD: a Cholesky factorisation that cannot succeed otherwise.

For E = A - A_k, the matrix tau^2 I - E E^T is positive definite, and has a Cholesky
factorisation, if and only if ||E||_2 < tau. With tau = sigma_(k+1) (1 + 1e-6), where
sigma_(k+1) is a Ritz value and so a lower bound, success encloses sigma_(k+1): the
triplets are the leading ones and A_k is optimal (theorem 43), up to rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank.linalg.matrix import NUMPY_SIDE, Floats, Matrix

SLACK = 1e-6  # of the proof, against sigma_(k+1)
ZERO = 1e-13  # against ||A||_F: zero to working precision
GRAM_FLOOR = 3e-4  # of sigma_(k+1) / sigma_1, for a proof on A A^T, which squares it


def proved(
    matrix: Matrix, left: Floats, s: Floats, right: NDArray[Any], sigma_next: float, norm: float
) -> bool:
    """Whether ||A - left diag(s) right||_2 <= sigma_next (1 + 1e-6).

    Parameters
    ----------
    matrix : Matrix
    left, s, right : (short, k), (k,), (k, long) ndarray
        Ritz triplets: ``left.T @ A == diag(s) @ right``, both sides orthonormal.
    sigma_next : float
        The next Ritz value, 0.0 if there is none.
    norm : float
        ||A||_F, for the rounding of 1e-13 ||A||_F that is allowed on top.
    """
    scaled = left * s
    if sigma_next < GRAM_FLOOR * s[0]:
        gram = matrix.residual_gram(scaled, right)
    else:
        # With P = I - U U^T: P (tau^2 I - G + U D U^T) P = tau^2 P - P G P for any D. Twice
        # S^2 keeps the small coupling of U and P in G from spoiling definiteness.
        gram = matrix.gram()
        for start in range(0, matrix.short, 512):  # by rows: no second matrix of that size
            rows = slice(start, start + 512)
            gram[rows] -= (2.0 * scaled[rows]) @ scaled.T
    return norm_below(gram, sigma_next, norm)


def norm_below(gram: Floats, sigma: float, norm: float) -> bool:
    """Whether ||E||_2 < sigma, with the slack of the proof; overwrites `gram` = E E^T."""
    return positive_definite(gram, sigma * (1.0 + SLACK) + ZERO * norm)


def positive_definite(gram: Floats, tau: float) -> bool:
    """Whether tau^2 I - gram has a Cholesky factorisation; overwrites `gram`."""
    shifted = np.negative(gram, out=gram)
    shifted[np.diag_indices_from(shifted)] += tau * tau
    if shifted.shape[0] <= NUMPY_SIDE:
        try:
            np.linalg.cholesky(shifted)
        except np.linalg.LinAlgError:
            return False
        return True
    from scipy.linalg.lapack import dpotrf  # in place; numpy would take two copies more

    info: int = dpotrf(shifted.T, overwrite_a=True, clean=False)[1]
    return info == 0
