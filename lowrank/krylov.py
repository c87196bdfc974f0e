"""Block Krylov: the leading eigenvectors of a matrix known by its products alone.

Musco and Musco (2015), "Randomized block Krylov methods for stronger and faster
approximate singular value decomposition": from a random block W, the space spanned by
W, HW, H^2 W, ... holds the leading eigenvectors of H after a few blocks. Here H = A A^T
is applied as two products with A, in float32; vectors are rows, the orientation in which
such products are fast.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[Any]  # of the working precision, float32 or float64

_SEED = 20150614  # any; fixed so that equal input gives equal output


def block_size(count: int) -> int:
    """Rows of a block: small ones need fewer products, large ones run faster."""
    if count <= 32:
        return 8
    return 16 if count <= 128 else 24


def gram_product(samples: NDArray[np.float32]) -> Callable[[Rows], Rows]:
    """W -> W A A^T, for `krylov.leading_rows`."""
    # As columns: BLAS is up to twice as fast at a tall product as at its transpose.
    return lambda W: (samples @ (samples.T @ W.T)).T


def leading_rows(
    apply: Callable[[Rows], Rows],
    size: int,
    count: int,
    *,
    dtype: type[np.float32] | type[np.float64],
    tolerance: float,
) -> NDArray[np.float64] | None:
    """Approximate the `count` leading eigenvectors of a symmetric semidefinite H.

    Parameters
    ----------
    apply : function
        Maps W of shape (b, size) to ``W @ H``, in `dtype`.
    size : int
        Order of H.
    count : int
        Eigenvectors wanted.
    dtype : numpy.float32 or numpy.float64
        Working precision.
    tolerance : float
        Stop when the residual of every pair is below ``tolerance * eigenvalue``.

    Returns
    -------
    (count, size) ndarray of float64, or None
        Rows orthonormal to working precision, leading first; None if the space grew to
        the limit without convergence. An eigenvalue repeated more than `block_size` times
        is found only so many times: the caller must look for such runs.
    """
    block = block_size(count)
    capacity = min(size, 6 * count + 60 * block) // block * block
    if capacity < count:
        return None
    rng = np.random.default_rng(_SEED)
    basis = np.empty((capacity, size), dtype)
    projected = np.zeros((capacity, capacity))
    W = np.linalg.qr(rng.standard_normal((size, block)))[0].T.astype(dtype)
    check = min(capacity, _multiple(2.2 * count + 5 * block, block))
    previous: tuple[int, float] | None = None
    scale = 0.0
    for filled in range(block, capacity + 1, block):
        basis[filled - block : filled] = W
        known = basis[:filled]
        Z = apply(W)
        scale = max(scale, float(np.linalg.norm(Z)))
        coefficients = known @ Z.T
        projected[:filled, filled - block : filled] = coefficients
        projected[filled - block : filled, :filled] = coefficients.T
        Z -= coefficients.T @ known
        W, link = _next_block(Z, known, scale, rng)
        if filled < check:
            continue
        values, vectors = np.linalg.eigh(projected[:filled, :filled])
        values, vectors = values[: -count - 1 : -1], vectors[:, : -count - 1 : -1]
        # H y - theta y lies in the next block alone, with coefficients link^T y_last.
        residuals = np.linalg.norm(link.T @ vectors[-block:], axis=0)
        # Below the rounding of H itself an eigenvalue is zero, and any vector will do.
        real = values > 8.0 * float(np.finfo(dtype).eps) * values[0]
        worst = float(np.max(residuals[real] / (tolerance * values[real]), initial=0.0))
        if worst <= 1.0:
            return vectors.T @ known.astype(np.float64)
        check = filled + _steps(previous, filled, worst, block) * block
        previous = (filled, worst)
    return None


def _next_block(
    Z: Rows, known: Rows, scale: float, rng: np.random.Generator
) -> tuple[Rows, NDArray[Any]]:
    """Orthonormal W and `link` with ``Z = link @ W`` beside the span of `known`.

    Rows of Z with nothing new above the rounding of H, of norm `scale`, are replaced by
    random directions: a space that is exhausted (low rank, the identity) grows on.
    """
    Z = Z - (Z @ known.T) @ known  # a second pass: the first left rounding errors behind
    Q, R = np.linalg.qr(Z.T)
    W = np.ascontiguousarray(Q.T)
    exhausted = np.abs(np.diag(R)) <= np.finfo(Z.dtype).eps * scale
    if exhausted.any():
        W[exhausted] = rng.standard_normal((int(exhausted.sum()), Z.shape[1]))
        for _ in range(2):
            W -= (W @ known.T) @ known
            W = np.ascontiguousarray(np.linalg.qr(W.T)[0].T)
    return W, R.T.astype(np.float64)


def _steps(previous: tuple[int, float] | None, filled: int, worst: float, block: int) -> int:
    """Blocks until the next check, from the decay of the worst residual so far."""
    if previous is None or worst >= previous[1]:
        return max(1, filled // (8 * block))
    rows, before = previous
    per_row = math.log(before / worst) / (filled - rows)
    return min(max(1, math.ceil(math.log(worst) / per_row / block)), 1 + filled // (4 * block))


def _multiple(value: float, block: int) -> int:
    return math.ceil(value / block) * block
