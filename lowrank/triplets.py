"""Leading singular triplets: which candidates are tried, and when one is accepted.

The dispatch, in full: the full SVD where the short side is at most 64; a block Krylov
space where it is more than 128 and at least 5 (k + 1); the eigenvectors of the Gram matrix
otherwise, or where the Krylov space leaves a doubt; the full SVD where residuals or the
proof fail even so. A Rayleigh-Ritz step in float64 makes triplets of a subspace, and
residual vectors, taken into the subspace, improve them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowrank import krylov, tridiagonal
from lowrank.certificate import ZERO, proved
from lowrank.matrix import NUMPY_SIDE, Floats, Matrix

SHARE = 5
"""A Krylov space of k terms is the faster one up to this share of the short side."""
_SINGLE_EPS = float(np.finfo(np.float32).eps)
_TINY_SIDE = 64  # below it the full SVD costs nothing
_SMALL_SIDE = 128  # up to it the eigenvectors are faster than any space
_KRYLOV = 5e-5  # of a Ritz pair of the float32 Krylov space, against its eigenvalue
_RESIDUAL = 1e-4  # of every triplet, against the last sigma: the tail sees them all
_POLISHING = 4  # Rayleigh-Ritz steps before a subspace is given up
_ROUNDING = 1e-14  # of such a residual in float64, against sigma_1
_CLEAR = 1e-3  # of the largest singular value, what float32 tells from rounding
_SPACES = 6  # Krylov spaces, each three orders of magnitude below the last
_SQUARED = 1e-7  # of the largest eigenvalue: a Gram matrix knows eigenvalues above it to 1e-9
_RUN = 1e-3  # singular values that differ by less may be one, repeated


@dataclass(frozen=True, eq=False)
class Triplets:
    """Singular triplets of a `Matrix`: left (short, r), s (r,), right (r, long)."""

    left: Floats
    s: Floats
    right: Floats


def leading(matrix: Matrix, k: int, norm: float, *, proof: bool) -> tuple[Triplets, bool]:
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
    routes = [_by_krylov, _by_gram] if thin else [_by_gram]
    for route in routes if matrix.short > _TINY_SIDE else []:
        try:
            candidate = route(matrix, count)
        except np.linalg.LinAlgError:  # an inner eigenvalue iteration gave up
            continue
        if candidate is not None and (not proof or check(candidate)):
            return candidate, proof
    found = _by_full_svd(matrix, count)
    return found, proof and check(found)


def _by_krylov(matrix: Matrix, count: int) -> Triplets | None:
    """Leading triplets from block Krylov spaces in float32; None if in doubt.

    One space tells values above 1e-3 of its largest from rounding. Where more is wanted
    (smooth pictures of 16 bits or floats), the next space is that of the residual.
    """
    samples, exponent = matrix.whole(np.float32), 0
    known = np.empty((0, matrix.short))
    for _ in range(_SPACES):
        # Of a residual, what is missing, and some more lest what is known shows in it.
        wanted = min(count, count - len(known) + krylov.BLOCK)
        W = krylov.leading_rows(
            krylov.gram_product(samples), matrix.short, wanted, dtype=np.float32, tolerance=_KRYLOV
        )
        if W is None:
            return None
        largest = np.ldexp(np.linalg.norm(W[0].astype(np.float32) @ samples), exponent)
        found = _ritz(matrix, np.vstack([known, W]), count)
        clear = found.s >= _CLEAR * largest
        if clear.all():
            break
        # A V V^T, not U U^T A: half a step further, V is as good as float64 can have it.
        known = matrix.right(found.right[clear])
        samples, exponent = matrix.residual_samples(known.T, found.right[clear])
        if np.ldexp(np.linalg.norm(samples), exponent) <= ZERO * found.s[0]:
            break  # the rest is zero: A has no more rank
    refined = _refine(matrix, found, None if len(known) else samples)
    # A generic block of b vectors meets a space of equal singular values in b dimensions:
    # more of them than b are seen as a run of b. Where all values are one run, a Krylov
    # space is slow to tell them apart.
    longest = min(krylov.BLOCK, max(count, 4))
    if refined is None or _longest_run(refined.s) >= longest:
        return None
    return refined


def _longest_run(s: Floats) -> int:
    """Largest number of nonzero singular values that agree closely."""
    s = s[s > ZERO * s[0]]
    ends = np.searchsorted(-s, -s * (1.0 - _RUN), side="right")
    return int((ends - np.arange(s.size)).max(initial=0))


def _by_gram(matrix: Matrix, count: int) -> Triplets | None:
    """Leading triplets from the eigenvectors of the Gram matrix; None if not accurate."""
    gram = matrix.gram()
    if matrix.short <= NUMPY_SIDE:
        vectors = np.linalg.eigh(gram)[1][:, -count:]
    else:
        vectors = tridiagonal.leading_vectors(gram, count)
    return _refine(matrix, _ritz(matrix, vectors.T, count))


def _by_full_svd(matrix: Matrix, count: int) -> Triplets:
    """Leading triplets from the full SVD, divide and conquer, then QR iteration."""
    whole = matrix.whole(np.float64)
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
    W = np.linalg.qr(W.T)[0].T
    inner, s, right = _wide_svd(matrix.left(W))
    left = W.T @ inner[:, :count]
    return Triplets(left, s[:count], right[:count])


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
    right /= s[:, np.newaxis]
    E = right @ right.T
    np.fill_diagonal(E, 0.0)
    right -= 0.5 * (E @ right)
    return inner, s, right


def _refine(
    matrix: Matrix, found: Triplets, samples: NDArray[np.float32] | None = None
) -> Triplets | None:
    """Extend the span by residuals A v - s u until all of them are small; None if they stay.

    They are formed from `samples`, the matrix in float32, if given, where its rounding
    cannot hide them.
    """
    for _ in range(_POLISHING):
        s = found.s
        if samples is None or _SINGLE_EPS * s[0] > _RESIDUAL * s[-1]:
            image = matrix.right(found.right)
        else:
            image = (samples @ found.right.T.astype(np.float32)).T.astype(np.float64)
        residual = image - (found.left * s).T
        large = np.linalg.norm(residual, axis=1) > _RESIDUAL * s[-1] + _ROUNDING * s[0]
        if not large.any():
            return found
        found = _ritz(matrix, np.vstack([found.left.T, residual[large]]), s.size)
    return None
