"""Leading singular triplets: which candidates are tried, and when one is accepted.

The dispatch, in full: the full SVD where the short side is at most 64; a block Krylov
space where it is more than 128 and at least 4 (k + 1); the eigenvectors of the Gram matrix
otherwise, or where the Krylov space leaves a doubt; the full SVD
where residuals or the proof fail even so. A Rayleigh-Ritz step in float64 makes triplets of
a subspace, and residual vectors, taken into the subspace, improve them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lowrank.linalg import krylov
from lowrank.linalg.certificate import ZERO, proved
from lowrank.linalg.matrix import NUMPY_SIDE, Floats, Matrix
from lowrank.linalg.tridiagonal import Tridiagonal

SHARE = 4
"""A Krylov space of k terms is the faster one up to this share of the short side."""
_SINGLE_EPS = float(np.finfo(np.float32).eps)
_TINY_SIDE = 64  # below it the full SVD costs nothing
_SMALL_SIDE = 128  # up to it the eigenvectors are faster than any space
_KRYLOV = 1e-4  # of a Ritz pair of the float32 Krylov space, against its eigenvalue
RESIDUAL = 2e-4  # of every triplet, against the last sigma, which half the square spoils
TOGETHER = 1e-4  # of all of them, against the tail, which half the square exceeds
POLISHING = 4  # Rayleigh-Ritz steps before a subspace is given up
_NEARLY = 1e-3  # of rows to orthonormal ones, so that one step by Cholesky makes them so
ROUNDING = 1e-14  # of such a residual in float64, against sigma_1
_CLEAR = 1e-3  # of the largest singular value, what float32 tells from rounding
_SPACES = 6  # Krylov spaces, each three orders of magnitude below the last
_SQUARED = 1e-7  # of the largest eigenvalue: a Gram matrix knows eigenvalues above it to 1e-9


class Triplets(NamedTuple):
    """Singular triplets of a `Matrix`: left (short, r), s (r,), right (r, long)."""

    left: Floats
    s: Floats
    right: Floats


def leading(
    matrix: Matrix, k: int, norm: float, *, proof: bool, form: Tridiagonal | None = None
) -> tuple[Triplets, bool]:
    """Compute min(k + 1, short) leading triplets by the cheapest route that is accepted.

    Parameters
    ----------
    matrix : Matrix
        Not zero.
    k : int
        At most ``matrix.short``.
    norm : float
        ||A||_F.
    proof : bool
        Accept only what `certificate.proved` proves, as long as there is another route.
    form : Tridiagonal, optional
        The Gram matrix in tridiagonal form, if it is known: its vectors come first then.

    Returns
    -------
    triplets : Triplets
    proved : bool
        Whether the proof was asked for and succeeded.
    """
    count = min(k + 1, matrix.short)

    def check(found: Triplets) -> bool:
        sigma_next = float(found.s[k]) if k < matrix.short else 0.0
        return proved(matrix, found.left[:, :k], found.s[:k], found.right[:k], sigma_next, norm)

    thin = matrix.short > max(_SMALL_SIDE, SHARE * count - 1)
    routes: list[Callable[[Matrix, int, float], Triplets | None]] = [partial(_by_gram, form=form)]
    if thin and form is None:
        routes.insert(0, _by_krylov)
    for route in routes if matrix.short > _TINY_SIDE else []:
        try:
            candidate = route(matrix, count, norm)
        except np.linalg.LinAlgError:  # an inner eigenvalue iteration gave up
            continue
        if candidate is not None and (not proof or check(candidate)):
            return candidate, proof
    found = _by_full_svd(matrix, count)
    return found, proof and check(found)


def _by_krylov(matrix: Matrix, count: int, norm: float) -> Triplets | None:
    """Leading triplets from block Krylov spaces in float32; None if in doubt.

    One space tells values above 1e-3 of its largest from rounding. Where more is wanted
    (smooth pictures of 16 bits or floats), the next space is that of the residual.
    """
    columns, exponent, seed = matrix.columns(), 0, krylov.seed_of(matrix.square_sums)
    known = np.empty((0, matrix.short))
    for _ in range(_SPACES):
        # Of a residual, what is missing, and some more lest what is known shows in it.
        wanted = min(count, count - len(known) + krylov.BLOCK)
        product = krylov.gram_product(columns)
        W = krylov.leading_rows(product, matrix.short, wanted, tolerance=_KRYLOV, seed=seed)
        if W is None:
            return None
        largest = np.ldexp(np.linalg.norm(columns @ W[0].astype(np.float32)), exponent)
        found = _ritz(matrix, np.vstack([known, W]), count)
        clear = found.s >= _CLEAR * largest
        if clear.all():
            break
        # A V V^T, not U U^T A: half a step further, V is as good as float64 can have it.
        known = matrix.right(found.right[clear])
        columns, exponent = matrix.residual_columns(known.T, found.right[clear])
        rest = float(np.linalg.norm(columns))
        seed = krylov.seed_of([*matrix.square_sums, rest])
        if np.ldexp(rest, exponent) <= ZERO * found.s[0]:
            break  # the rest is zero: A has no more rank
    return _refine(matrix, found, norm, None if len(known) else columns)


def _by_gram(matrix: Matrix, count: int, norm: float, form: Tridiagonal | None) -> Triplets | None:
    """Leading triplets from the eigenvectors of the Gram matrix; None if not accurate."""
    if form is None and matrix.short <= NUMPY_SIDE:
        vectors = np.linalg.eigh(matrix.gram())[1][:, -count:]
    else:
        vectors = (form or Tridiagonal(matrix.gram())).take_vectors(count)
    return _refine(matrix, _ritz(matrix, vectors.T, count), norm)


def _by_full_svd(matrix: Matrix, count: int) -> Triplets:
    """Leading triplets from the full SVD, divide and conquer, then QR iteration."""
    whole = matrix.whole()
    try:
        left, s, right = np.linalg.svd(whole, full_matrices=False)
    except np.linalg.LinAlgError:
        from scipy.linalg import svd

        left, s, right = svd(whole, full_matrices=False, lapack_driver="gesvd")
    return Triplets(left[:, :count], s[:count], right[:count])


def _ritz(matrix: Matrix, W: Floats, count: int) -> Triplets:
    """The best `count` triplets with left vectors in the span of the rows of W.

    Rayleigh-Ritz in float64. The SVD of W A gives orthonormal vectors on both sides
    whatever the spectrum.
    """
    W = _orthonormal(W)
    inner, s, right = _wide_svd(matrix.left(W))
    left = W.T @ inner[:, :count]
    return Triplets(left, s[:count], right[:count])


def _orthonormal(W: Floats) -> Floats:
    """Rows that span those of W; nearly orthonormal ones are mended the quick way."""
    squares = W @ W.T
    if np.abs(squares - np.eye(len(W))).max() > _NEARLY:
        return np.linalg.qr(W.T)[0].T
    mended: Floats = np.linalg.inv(np.linalg.cholesky(squares)) @ W
    return mended


def _wide_svd(Y: Floats) -> tuple[Floats, Floats, Floats]:
    """SVD of a matrix of few long rows; by its Gram matrix, twice as fast, if that will do.

    Squares lose eps (s_1 / s_r)^2 of the smallest value, and the right vectors are that far
    from orthogonal. To first order V (I - E / 2) is orthonormal, where E = V V^T - I.
    """
    squares, inner = np.linalg.eigh(Y @ Y.T)
    if not squares[0] > _SQUARED * squares[-1]:
        return np.linalg.svd(Y, full_matrices=False)
    inner = inner[:, ::-1]
    right = inner.T @ Y
    s = np.linalg.norm(right, axis=1)
    if (s[1:] > s[:-1]).any():  # rounding has parted equal ones, and what a file holds descends
        order = np.argsort(-s, kind="stable")
        inner, s, right = inner[:, order], s[order], right[order]
    right /= s[:, np.newaxis]
    E = right @ right.T
    np.fill_diagonal(E, 0.0)
    E *= 0.5
    right -= E @ right
    return inner, s, right


def _refine(
    matrix: Matrix, found: Triplets, norm: float, columns: NDArray[np.float32] | None = None
) -> Triplets | None:
    """Extend the span by residuals A v - s u until all of them are small; None if they stay.

    They are formed from `columns`, the matrix in float32, if given, where its rounding
    cannot hide them.
    """
    for _ in range(POLISHING):
        s = found.s
        exact = columns is None or _SINGLE_EPS * s[0] > RESIDUAL * s[-1]
        samples = None if exact else columns
        tail = math.sqrt(max(norm * norm - float(s @ s), 0.0) + float(s[-1]) ** 2)
        together, last = _estimated(matrix, found, samples)
        if together <= TOGETHER * tail and last <= RESIDUAL * s[-1]:
            return found
        residual = _image(matrix, found.right, samples) - (found.left * s).T
        allowed = min(RESIDUAL * s[-1], TOGETHER * tail / math.sqrt(s.size))
        large = np.linalg.norm(residual, axis=1) > allowed + ROUNDING * s[0]
        if not large.any():
            return found
        found = _ritz(matrix, np.vstack([found.left.T, residual[large]]), s.size)
    return None


def _estimated(
    matrix: Matrix, found: Triplets, columns: NDArray[np.float32] | None
) -> tuple[float, float]:
    """||A V - U S||_F of all residuals together, estimated, and the norm of the last one.

    From `krylov.BLOCK` random combinations: that their mean square is less than a ninth of
    what it should be has a probability below 1e-6.
    """
    count = found.s.size
    mix = np.zeros((krylov.BLOCK + 1, count))
    mix[:-1] = krylov.scattered(krylov.BLOCK, count) / math.sqrt(krylov.BLOCK / 3.0)
    mix[-1, -1] = 1.0
    residual = _image(matrix, mix @ found.right, columns) - mix @ (found.left * found.s).T
    return float(np.linalg.norm(residual[:-1])), float(np.linalg.norm(residual[-1]))


def _image(matrix: Matrix, Y: Floats, columns: NDArray[np.float32] | None) -> Floats:
    """``Y @ A.T``, in float32 if its `columns` are given."""
    if columns is None:
        return matrix.right(Y)
    if len(Y) > 2 * krylov.BLOCK:
        return (Y.astype(np.float32) @ columns).astype(np.float64)
    return krylov.transposed_times(columns, Y.T.astype(np.float32, order="C")).T.astype(np.float64)
