"""Truncated SVD with a proof, full spectrum, norms: linear algebra without images.

`truncated_svd` proposes a subspace (`krylov.leading_rows`, or the eigenvectors of the
Gram matrix), turns it into singular triplets by a Rayleigh-Ritz step in float64, and
accepts them only if every residual is small; where asked, a Cholesky factorisation
proves that nothing larger was missed. What is not accepted falls through to the full
SVD. Functions hold no state and may run in several threads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank import krylov
from lowrank.errors import ImageError, UsageError
from lowrank.matrix import Floats, Matrix

_EPS = float(np.finfo(np.float64).eps)
_TINY_SIDE = 64  # below it the full SVD costs nothing
_NUMPY_EIGH = 700  # above it scipy's eigenvectors of a subset outrun numpy's of all
_EXACT_SPECTRUM = 1500  # below it the spectrum comes from an SVD, above from the Gram matrix
_KRYLOV = 1e-4  # of a Ritz pair of the float32 Krylov space, against its eigenvalue
_RESIDUAL = 3e-5  # of a triplet, against its sigma
_SLACK = 1e-6  # of the certificate, against sigma_(k+1)
_ZERO = 1e-13  # against ||A||_F: zero to working precision


@dataclass(frozen=True, eq=False)
class TruncatedSVD:
    """The k leading singular triplets of a matrix A and what is left out.

    Attributes
    ----------
    U : (m, k) ndarray of float64
        Orthonormal columns; in each the entry of largest magnitude is positive.
    s : (k,) ndarray of float64
        Singular values, descending.
    Vt : (k, n) ndarray of float64
        Orthonormal rows.
    sigma_next : float
        sigma_(k+1) = ||A - A_k||_2 (theorem 43); 0.0 when k = min(m, n).
    tail : float
        sqrt(sum_{i>k} sigma_i^2) = ||A - A_k||_F (theorem 44).
    norm : float
        ||A||_F.
    certified : bool
        The proof was asked for and succeeded, see `certify`.
    """

    U: Floats
    s: Floats
    Vt: Floats
    sigma_next: float
    tail: float
    norm: float
    certified: bool


@dataclass(frozen=True)
class ResidualNorms:
    """Norms of A - U diag(s) Vt, in the units of A."""

    spectral: float
    frobenius: float


@dataclass(frozen=True, eq=False)
class _Triplets:
    """Ritz triplets of a `Matrix`: left (short, r), s (r,), right (r, long)."""

    left: Floats
    s: Floats
    right: Floats


def truncated_svd(A: NDArray[Any], k: int, *, certify: bool = False) -> TruncatedSVD:
    """Compute the k leading singular triplets of A and sigma_(k+1).

    Parameters
    ----------
    A : (m, n) array of real numbers
        Any real dtype, any strides; not modified.
    k : int
        Rank, at least 1; beyond min(m, n) it means min(m, n).
    certify : bool
        Prove by a Cholesky factorisation that ||A - A_k||_2 <= sigma_(k+1) (1 + 1e-6).

    Returns
    -------
    TruncatedSVD

    Raises
    ------
    UsageError
        If `k` < 1, or `A` is not a matrix of real numbers.
    ImageError
        If `A` holds NaN or infinity.

    Notes
    -----
    Deterministic for a fixed number of BLAS threads. The factors are within 1e-8 of the
    Frobenius optimum, sigma_(k+1) is good to 1e-7, both relative.
    """
    if k < 1:
        raise UsageError(f"a rank is at least 1, not {k}")
    matrix = Matrix(A)
    k = min(int(k), matrix.short)
    norm = matrix.frobenius()
    if norm == 0.0:
        m, n = A.shape
        return TruncatedSVD(np.eye(m, k), np.zeros(k), np.eye(k, n), 0.0, 0.0, 0.0, certify)
    found, certified = _solve(matrix, k, norm, proof=certify)
    left, s, right = _fix_signs(matrix, found.left[:, :k], found.s[:k], found.right[:k])
    sigma_next = float(found.s[k]) if k < matrix.short else 0.0
    tail = _tail(matrix, found, k, norm)
    U, Vt = (right.T, left.T) if matrix.transposed else (left, right)
    unit = matrix.exponent
    return TruncatedSVD(
        U=np.ascontiguousarray(U),
        s=np.ldexp(s, unit),
        Vt=np.ascontiguousarray(Vt),
        sigma_next=math.ldexp(sigma_next, unit),
        tail=math.ldexp(tail, unit),
        norm=math.ldexp(norm, unit),
        certified=certified,
    )


def spectrum(A: NDArray[Any]) -> Floats:
    """All min(m, n) singular values of A, descending.

    Notes
    -----
    Up to 1500 on the short side they come from an SVD: absolute error of some eps
    sigma_1. Beyond, from the eigenvalues of the Gram matrix, six times faster: sigma_i has
    the absolute error eps sigma_1^2 / sigma_i, at most 1e-8 sigma_1; values above 1e-4
    sigma_1 are good to about 1e-8, relative.
    """
    matrix = Matrix(A)
    if matrix.short <= _EXACT_SPECTRUM:
        values = np.linalg.svd(matrix.whole(np.float64), compute_uv=False)
    else:
        values = np.sqrt(np.maximum(np.linalg.eigvalsh(matrix.gram())[::-1], 0.0))
    return np.ldexp(values, matrix.exponent)


def frobenius_norm(A: NDArray[Any]) -> float:
    """||A||_F = sqrt(sum A_ij^2) (definition 37)."""
    matrix = Matrix(A)
    return math.ldexp(matrix.frobenius(), matrix.exponent)


def spectral_norm(A: NDArray[Any]) -> float:
    """||A||_2 = sigma_1 (definition 41, proposition 42)."""
    return float(truncated_svd(A, 1).s[0])


def certify(A: NDArray[Any], U: Floats, s: Floats, sigma_next: float) -> bool:
    """Prove that U, s, sigma_next are leading singular values and vectors of A.

    Parameters
    ----------
    A : (m, n) array of real numbers
    U : (m, k) ndarray of float64
        Claimed left singular vectors.
    s : (k,) ndarray of float64
        Claimed singular values.
    sigma_next : float
        Claimed sigma_(k+1).

    Returns
    -------
    bool
        True if U is orthonormal, the singular values of U^T A are `s`, and
        sigma_next (1 - 1e-6) < ||A - U U^T A||_2 <= sigma_next (1 + 1e-6),
        up to rounding of 1e-13 ||A||_F.

    Notes
    -----
    With E = A - U U^T A, the matrix tau^2 I - E E^T is positive definite, and has a
    Cholesky factorisation, if and only if ||E||_2 < tau. By theorem 43 sigma_(k+1) <=
    ||E||_2, and equality makes A_k = U U^T A optimal.
    """
    matrix = Matrix(A)
    U = np.asarray(U, dtype=np.float64)
    values = np.ldexp(np.asarray(s, dtype=np.float64), -matrix.exponent)
    bound = math.ldexp(sigma_next, -matrix.exponent)
    m, n = np.shape(A)
    k = values.size
    if U.shape != (m, k):
        raise UsageError(f"U of shape {U.shape} does not fit {k} values of a {m} x {n} matrix")
    if not (np.isfinite(U).all() and np.isfinite(values).all() and math.isfinite(bound)):
        return False
    if np.abs(U.T @ U - np.eye(k)).max(initial=0.0) > 1e-10:
        return False
    if matrix.transposed:  # the residual is taken on the short side: A - (A V) V^T
        right = np.ascontiguousarray(U.T)
        left = matrix.right(right).T
        image = left.T
    else:
        left = np.ascontiguousarray(U)
        right = matrix.left(np.ascontiguousarray(U.T))
        image = right
    norm = matrix.frobenius()
    if np.abs(np.linalg.svd(image, compute_uv=False) - values).max(initial=0.0) > 1e-9 * norm:
        return False
    gram = matrix.residual_gram(left, right)
    if not _norm_below(gram, bound, norm):
        return False
    low = bound * (1.0 - _SLACK) - _ZERO * norm
    return low <= 0.0 or not _positive_definite(gram, low)


def residual_norms(
    A: NDArray[Any], U: NDArray[Any], s: NDArray[Any], Vt: NDArray[Any]
) -> ResidualNorms:
    """Spectral and Frobenius norm of A - U diag(s) Vt for any factors.

    Parameters
    ----------
    A : (m, n) array of real numbers
    U : (m, k) array of float16, float32 or float64
    s : (k,) array
    Vt : (k, n) array of float16, float32 or float64

    Returns
    -------
    ResidualNorms
        Frobenius from the residual itself, spectral good to 1e-6 relative.

    Raises
    ------
    UsageError
        If the shapes do not fit.
    ImageError
        If `A` or the factors hold NaN or infinity.
    """
    matrix = Matrix(A)
    m, n = np.shape(A)
    k = np.size(s)
    if U.shape != (m, k) or Vt.shape != (k, n):
        raise UsageError(
            f"factors of shapes {U.shape}, {np.shape(s)}, {Vt.shape} do not fit a {m} x {n} matrix"
        )
    scaled = np.ldexp(np.asarray(s, dtype=np.float64), -matrix.exponent)
    left = np.asarray(U if not matrix.transposed else Vt.T, dtype=np.float64) * scaled
    right = Vt if not matrix.transposed else U.T
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise ImageError("the factors hold NaN or infinity")
    gram = matrix.residual_gram(left, right)
    frobenius = math.sqrt(float(np.trace(gram)))
    spectral = math.sqrt(max(float(_top_eigenvalue(gram)), 0.0))
    return ResidualNorms(
        spectral=math.ldexp(spectral, matrix.exponent),
        frobenius=math.ldexp(frobenius, matrix.exponent),
    )


def _top_eigenvalue(gram: Floats) -> float:
    if gram.shape[0] <= _NUMPY_EIGH:
        return float(np.linalg.eigvalsh(gram)[-1])
    from scipy.linalg import eigh

    last = gram.shape[0] - 1
    return float(eigh(gram, eigvals_only=True, subset_by_index=[last, last])[0])


def _solve(matrix: Matrix, k: int, norm: float, *, proof: bool) -> tuple[_Triplets, bool]:
    """min(k + 1, short) triplets by the cheapest route whose result is accepted."""
    count = min(k + 1, matrix.short)
    routes = [_by_krylov, _by_gram] if 6 * count <= matrix.short else [_by_gram]
    if matrix.short > _TINY_SIDE:
        for route in routes:
            found = route(matrix, count)
            if found is not None and not proof:
                return found, False
            if found is not None and _proved(matrix, found, k, norm):
                return found, True
    found = _by_full_svd(matrix, count)
    return found, proof and _proved(matrix, found, k, norm)


def _by_krylov(matrix: Matrix, count: int) -> _Triplets | None:
    """Leading triplets from a block Krylov space in float32; None if in doubt."""
    samples = matrix.whole(np.float32)
    W = krylov.leading_rows(
        lambda W: (W @ samples) @ samples.T,
        matrix.short,
        count,
        dtype=np.float32,
        tolerance=_KRYLOV,
    )
    if W is None:
        return None
    del samples
    found = _refine(matrix, W)
    if found is None or _longest_run(found.s) >= krylov.block_size(matrix.short, count):
        return None
    return found


def _longest_run(s: Floats) -> int:
    """Largest number of nonzero singular values that agree to 1e-3."""
    s = s[s > _ZERO * s[0]]
    ends = np.searchsorted(-s, -s * (1.0 - 1e-3), side="right")
    return int((ends - np.arange(s.size)).max(initial=0))


def _by_gram(matrix: Matrix, count: int) -> _Triplets | None:
    """Leading triplets from the eigenvectors of the Gram matrix; None if not accurate."""
    gram = matrix.gram()
    if matrix.short <= _NUMPY_EIGH:
        vectors = np.linalg.eigh(gram)[1][:, -count:]
    else:
        from scipy.linalg import eigh

        last = matrix.short - 1
        _, vectors = eigh(gram, subset_by_index=[last - count + 1, last], overwrite_a=True)
    return _refine(matrix, np.ascontiguousarray(vectors.T))


def _by_full_svd(matrix: Matrix, count: int) -> _Triplets:
    """Leading triplets from the full SVD, divide and conquer, then QR iteration."""
    whole = matrix.whole(np.float64)
    try:
        left, s, right = np.linalg.svd(whole, full_matrices=False)
    except np.linalg.LinAlgError:
        from scipy.linalg import svd

        left, s, right = svd(whole, full_matrices=False, lapack_driver="gesvd")
    return _Triplets(left[:, :count], s[:count], right[:count])


def _refine(matrix: Matrix, W: Floats) -> _Triplets | None:
    """Rayleigh-Ritz on the span of the rows of W; None if a residual stays large."""
    W = np.linalg.qr(W.T)[0].T
    inner, s, right = np.linalg.svd(matrix.left(W), full_matrices=False)
    left = inner.T @ W
    residual = matrix.right(right) - s[:, np.newaxis] * left
    sizes = np.linalg.norm(residual, axis=1)
    if np.all(sizes <= _RESIDUAL * s + _ZERO * s[0]):
        return _Triplets(np.ascontiguousarray(left.T), s, right)
    return None


def _proved(matrix: Matrix, found: _Triplets, k: int, norm: float) -> bool:
    """Whether no singular value beyond sigma_(k+1) is left in the residual.

    The Ritz values are lower bounds of the singular values, so that a proved upper bound
    encloses sigma_(k+1).
    """
    sigma_next = float(found.s[k]) if k < matrix.short else 0.0
    left = np.ascontiguousarray(found.left[:, :k])
    gram = matrix.residual_gram(left, found.s[:k, np.newaxis] * found.right[:k])
    return _norm_below(gram, sigma_next, norm)


def _norm_below(gram: Floats, sigma: float, norm: float) -> bool:
    return _positive_definite(gram, sigma * (1.0 + _SLACK) + _ZERO * norm)


def _positive_definite(gram: Floats, tau: float) -> bool:
    """Whether tau^2 I - gram has a Cholesky factorisation."""
    shifted = -gram
    shifted[np.diag_indices_from(shifted)] += tau * tau
    try:
        np.linalg.cholesky(shifted)
    except np.linalg.LinAlgError:
        return False
    return True


def _tail(matrix: Matrix, found: _Triplets, k: int, norm: float) -> float:
    """sqrt(||A||_F^2 - sum s^2), or the residual itself where the difference cancels."""
    difference = norm * norm - float(np.dot(found.s[:k], found.s[:k]))
    if difference > 1e-6 * norm * norm:
        return math.sqrt(difference)
    left = np.ascontiguousarray(found.left[:, :k])
    return matrix.residual_frobenius(left, found.s[:k, np.newaxis] * found.right[:k])


def _fix_signs(
    matrix: Matrix, left: Floats, s: Floats, right: Floats
) -> tuple[Floats, Floats, Floats]:
    """Make the first entry of largest magnitude of every column of U positive."""
    U = right.T if matrix.transposed else left
    peaks = np.abs(U).argmax(axis=0)
    signs = np.where(U[peaks, np.arange(s.size)] < 0.0, -1.0, 1.0)
    return left * signs, s, right * signs[:, np.newaxis]
