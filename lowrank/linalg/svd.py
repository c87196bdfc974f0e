"""Truncated SVD with a proof, full spectrum, norms: linear algebra without images.

The public face of several modules: `matrix` reads A slab by slab, `krylov` finds leading
subspaces and `tridiagonal` larger ones, `triplets` chooses the route and makes singular
triplets, `certificate` proves that nothing larger was missed. All of it may run in several
threads; scipy is loaded only where numpy has no match.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import ImageError, UsageError
from lowrank.linalg import krylov
from lowrank.linalg.certificate import SLACK, ZERO, norm_below, positive_definite
from lowrank.linalg.matrix import NUMPY_SIDE, Floats, Matrix, square_sum
from lowrank.linalg.tridiagonal import Tridiagonal
from lowrank.linalg.triplets import Triplets, leading

GRAM_ROUNDING = 1e-7  # against sigma_1: what a Gram matrix makes of zeros, at most 5e-8
_EXACT_SPECTRUM = 1500  # below it the spectrum comes from an SVD, above from the Gram matrix
_LONG = 4  # short sides in a slab at least: what comes again with each is a fifth of it
_WHOLE = 1 << 22  # entries that may be copied, twice, as float64
_TOP = 3e-5  # residual at which the Krylov space has found the top vector
_LARGEST_PRODUCT = 1e30  # of factors, in units in which A has entries up to 2^20
CANCELLED = 1e-6  # share of ||A||_F^2 below which a difference of squares loses the tail


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

    def truncate(self, k: int) -> TruncatedSVD:
        """The decomposition at a lower rank k >= 0, its bounds moved down with it.

        A proof holds for its own rank only.
        """
        if k >= len(self.s):
            return self
        return replace(
            self,
            U=self.U[:, :k],
            s=self.s[:k],
            Vt=self.Vt[:k],
            sigma_next=float(self.s[k]),
            tail=math.hypot(self.tail, float(np.linalg.norm(self.s[k:]))),
            certified=False,
        )


class ResidualNorms(NamedTuple):
    """Norms of A - U diag(s) Vt, in the units of A."""

    spectral: float
    frobenius: float


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
    Frobenius optimum, sigma_(k+1) is good to 1e-7 and in a crowd of values, less than 1% apart and
    far below sigma_1, to 1e-6, both relative, beyond 1e-13 ||A||_F, the rounding of A. Where such a
    crowd lies below 1e-4 sigma_1, squares do not tell its vectors apart: without `certify` both
    are good to 2e-4 there. The last of `s` are good to 1e-7 sigma_1: of themselves, in such a
    crowd, to 1e-4. No vector is missed for
    being orthogonal to what a search starts from: a probe that depends on A looks for such, and
    fails once in a million times.
    """
    if k < 1:
        raise UsageError(f"a rank is at least 1, not {k}")
    return _truncated(Matrix(A).contiguous(), int(k), certify=certify)


def _truncated(
    matrix: Matrix, k: int, *, certify: bool, form: Tridiagonal | None = None
) -> TruncatedSVD:
    k = min(k, matrix.short)
    norm = matrix.frobenius()
    if norm == 0.0:
        m, n = matrix.short, matrix.long
        m, n = (n, m) if matrix.transposed else (m, n)
        return TruncatedSVD(np.eye(m, k), np.zeros(k), np.eye(k, n), 0.0, 0.0, 0.0, certify)
    found, certified = leading(matrix, k, norm, proof=certify, form=form)
    found.s[found.s <= ZERO * found.s[0]] = 0.0  # lost in the rounding of A: beyond its rank
    sigma_next = float(found.s[k]) if k < matrix.short else 0.0
    tail = _tail(matrix, found, k, norm) if sigma_next > 0.0 else 0.0
    s, left, right = found.s[:k], found.left[:, :k], found.right[:k]
    U, Vt = (right.T, left.T) if matrix.transposed else (left, right)
    signs = _signs(U)
    U *= signs
    Vt *= signs[:, np.newaxis]
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
    the absolute error eps sigma_1^2 / sigma_i, at most 5e-8 sigma_1; values above 1e-4
    sigma_1 are good to about 1e-8, relative.
    """
    return Spectrum(A).s


def rounding(size: int) -> float:
    """Share of sigma_1 below which values of `spectrum` are rounding; `size` is min(m, n)."""
    return GRAM_ROUNDING if size > _EXACT_SPECTRUM else ZERO


class Spectrum:
    """All singular values of A, and what makes some of its vectors cheap once they are known.

    Parameters
    ----------
    A : (m, n) array of real numbers

    Attributes
    ----------
    s : (min(m, n),) ndarray of float64
        As `spectrum` gives them.
    large : bool
        They come from the Gram matrix. It is kept in tridiagonal form, at 8 min(m, n)^2
        bytes, until `truncate` takes its vectors.
    """

    def __init__(self, A: NDArray[Any]) -> None:
        matrix = Matrix(A)
        self._A = A
        self._form: Tridiagonal | None = None
        self.large = matrix.short > _EXACT_SPECTRUM
        if self.large:
            self._form = Tridiagonal(matrix.gram())
            values = np.sqrt(np.maximum(self._form.values()[::-1], 0.0))
        else:
            values = _values(matrix)
        self.s: Floats = np.ldexp(values, matrix.exponent)

    def truncate(self, k: int, *, certify: bool = False) -> TruncatedSVD:
        """As `truncated_svd`, several times as fast at high ranks of a large matrix."""
        form, self._form = self._form, None
        if form is None:
            return truncated_svd(self._A, k, certify=certify)
        return _truncated(Matrix(self._A), k, certify=certify, form=form)


def _values(matrix: Matrix) -> Floats:
    """All singular values, to some eps of the largest.

    A matrix and R of its QR factorisation have the same; slab after slab, R is that of all before.
    """
    R: Any = np.empty((0, matrix.short))
    if matrix.long < _LONG * matrix.short or matrix.short * matrix.long <= _WHOLE:
        R = matrix.whole()
    else:
        for _, slab in matrix.slabs(_LONG * matrix.short):
            R = np.linalg.qr(np.concatenate((R, slab.T)), mode="r")
    values: Floats = np.linalg.svd(R, compute_uv=False)
    return values


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
    if norm == 0.0:  # no tau is above ||E||_2 = 0 by rounding; nothing is left to prove
        return not (values.any() or bound)
    if np.abs(np.linalg.svd(image, compute_uv=False) - values).max(initial=0.0) > 1e-9 * norm:
        return False
    gram = matrix.residual_gram(left, right)
    low = bound * (1.0 - SLACK) - ZERO * norm
    if low > 0.0 and positive_definite(gram.copy(), low):
        return False
    return norm_below(gram, bound, norm)


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
    largest = k * float(np.abs(left).max(initial=0.0)) * float(np.abs(right).max(initial=0.0))
    if not largest < _LARGEST_PRODUCT:  # NaN too
        raise ImageError("the factors hold NaN, infinity or values far beyond the image")
    if matrix.short <= NUMPY_SIDE:
        gram = matrix.residual_gram(left, right)
        frobenius = math.sqrt(float(np.trace(gram)))
        spectral = math.sqrt(max(float(np.linalg.eigvalsh(gram)[-1]), 0.0))
    else:
        residual = np.empty((matrix.long, matrix.short), np.float32).T
        square = 0.0
        for columns, E in matrix.residual_slabs(left, right):
            residual[:, columns] = E
            square += square_sum(E)
        frobenius = math.sqrt(square)
        spectral = _spectral(residual, frobenius)
    return ResidualNorms(
        spectral=math.ldexp(spectral, matrix.exponent),
        frobenius=math.ldexp(frobenius, matrix.exponent),
    )


def _spectral(residual: NDArray[np.float32], frobenius: float) -> float:
    """||E||_2: a Krylov space finds the vectors, a product in float64 the value."""
    if frobenius == 0.0:
        return 0.0
    matrix = Matrix(residual)
    product, seed = krylov.gram_product(matrix.columns()), krylov.seed_of([frobenius])
    W = krylov.leading_rows(product, matrix.short, 1, tolerance=_TOP, seed=seed)
    if W is None:
        from scipy.linalg import eigvalsh

        last = matrix.short - 1
        top = eigvalsh(matrix.gram(), subset_by_index=[last, last], overwrite_a=True)[0]
        return math.ldexp(math.sqrt(max(float(top), 0.0)), matrix.exponent)
    Y = matrix.left(np.linalg.qr(W.T)[0].T)
    return math.ldexp(float(np.linalg.norm(Y)), matrix.exponent)


def _tail(matrix: Matrix, found: Triplets, k: int, norm: float) -> float:
    """sqrt(||A||_F^2 - sum s^2), or the residual itself where the difference cancels."""
    difference = norm * norm - float(np.dot(found.s[:k], found.s[:k]))
    if difference > CANCELLED * norm * norm:
        return math.sqrt(difference)
    left = np.ascontiguousarray(found.left[:, :k])
    return matrix.residual_frobenius(left, found.s[:k, np.newaxis] * found.right[:k])


def _signs(U: Floats) -> Floats:
    """Signs that make the first entry of largest magnitude of every column positive."""
    peaks = U[np.abs(U).argmax(axis=0), np.arange(U.shape[1])]
    return np.where(peaks < 0.0, -1.0, 1.0)
