"""Block Krylov: the leading eigenvectors of a matrix known by its products alone.

Musco and Musco (2015), "Randomized block Krylov methods for stronger and faster
approximate singular value decomposition": from a random block X, the space spanned by
X, HX, H^2 X, ... holds the leading eigenvectors of H after a few blocks. Here H = A A^T
is applied as two products with A, in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank import pace

Block = NDArray[np.float32]

BLOCK = 16
"""Rows of a block: fewer need more products, more grow the space faster than it converges."""
_CACHED = 1_500_000  # entries of A at a time, which a cache holds for a second product
_TILE = 800_000  # multiplications in a product of tiles, see `times`
_NEAR = 5e-4  # of an eigenvalue: to those nearer the space is slow to give vectors of their own
_CROWD = 4  # such eigenvalues, of which a block may have missed some, or mixed them up
_FIRST_DECAY = 1.5  # of the logarithm of the residuals in a step, at a guess
_LEAST_DECAY = 1.1  # when a second check has shown that it is slow: it will not stay so
_DEPTH = 512  # terms of a sum in float32 before it is added to the whole
_EPS = float(np.finfo(np.float32).eps)


def gram_product(columns: NDArray[np.float32]) -> Callable[[Block], Block]:
    """X -> A A^T X, for `leading_rows`.

    Parameters
    ----------
    columns : (long, short) ndarray of float32
        The transpose of A, contiguous: each piece of it is read from memory once, for both
        products, and memory is what limits them.
    """

    def apply(X: Block) -> Block:
        out = np.zeros_like(X)
        height = max(_CACHED // columns.shape[1], 1)
        for start in range(0, len(columns), height):
            piece = columns[start : start + height]
            out += transposed_times(piece, times(piece, X))
        return out

    return apply


def seed_of(sums: Iterable[float]) -> int:
    """A number for `leading_rows` that depends on every bit of some sums over the data.

    An eigenvector x is passed over where the first block G is orthogonal to it. Entries of G
    are uniform with variance 1: the density of G^T x is at most (2 / 12)^(1/2) in each of
    `BLOCK` dimensions (Rudelson and Vershynin 2015), so that it is shorter than 1e-3 with a
    probability below 1e-50. But that is of G and x that know nothing of each other: for a
    start that is always the same, there are matrices that it is wrong for each time.
    """
    bits = np.fromiter(sums, np.float64).view(np.uint64)
    odd = np.arange(1, 2 * bits.size, 2, dtype=np.uint64)
    return int((_hashes(bits) * odd).sum()) >> 2


def leading_rows(
    apply: Callable[[Block], Block], size: int, count: int, *, tolerance: float, seed: int
) -> NDArray[np.float64] | None:
    """Approximate the `count` leading eigenvectors of a symmetric semidefinite H.

    Parameters
    ----------
    apply : function
        Maps X of shape (size, b) to ``H @ X``, in float32.
    size : int
        Order of H.
    count : int
        Eigenvectors wanted.
    tolerance : float
        Stop when the residual of every pair is below ``tolerance * eigenvalue``.
    seed : int
        What the first block is drawn from; `seed_of` the data.

    Returns
    -------
    (count, size) ndarray of float64, or None
        Rows orthonormal to working precision, leading first; None if the space grew to
        the limit without convergence, or if wanted eigenvalues stand in a crowd. Of equal
        ones no more than `BLOCK` are found, and those that nearly are take much longer to
        be told apart than to be found.
    """
    block = min(BLOCK, size)
    capacity = min(size, 6 * count + 60 * block) // block * block
    if capacity < count:
        return None
    basis = np.empty((capacity, size), np.float32)
    projected = np.zeros((capacity, capacity))
    X = np.linalg.qr(scattered(size, block, seed))[0].astype(np.float32)
    check = min(capacity, _multiple(1.6 * count + 4 * block, block))
    previous: tuple[int, float] | None = None
    scale = 0.0
    for filled in range(block, capacity + 1, block):
        pace.at("subspace", filled // block, max(check, filled) // block)
        basis[filled - block : filled] = X.T
        known = basis[:filled]
        Z = apply(X)
        scale = max(scale, float(np.linalg.norm(Z)))
        coefficients = times(known, Z)
        projected[:filled, filled - block : filled] = coefficients
        projected[filled - block : filled, :filled] = coefficients.T
        Z -= transposed_times(known, coefficients)
        X, link = _next_block(Z, known, scale)
        if filled < check:
            continue
        every, vectors = np.linalg.eigh(projected[:filled, :filled])
        every, vectors = every[::-1], vectors[:, : -count - 1 : -1]
        values = every[:count]
        # H y - theta y lies in the next block alone, with coefficients link y_last.
        residuals = np.linalg.norm(link @ vectors[-block:], axis=0)
        # Below the rounding of H itself an eigenvalue is zero, and any vector will do.
        real = values > 8.0 * _EPS * values[0]
        worst = float(np.max(residuals[real] / (tolerance * values[real]), initial=0.0))
        if worst <= 1.0:
            if _longest_run(every, int(np.count_nonzero(real))) >= _CROWD:
                return None
            return vectors.T @ known.astype(np.float64)
        check = min(filled + _steps(previous, filled, worst, block) * block, capacity)
        previous = (filled, worst)
    return None


def _longest_run(values: NDArray[np.float64], wanted: int) -> int:
    """The most values that nearly agree with one of the `wanted` first, which descend."""
    first = values[:wanted]
    after = np.searchsorted(-values, -first * (1.0 - _NEAR), side="right")
    before = np.searchsorted(-values, -first * (1.0 + _NEAR), side="left")
    return int((after - before).max(initial=0))


def _next_block(Z: Block, known: Block, scale: float) -> tuple[Block, NDArray[Any]]:
    """Orthonormal X and `link` with ``Z = X @ link`` beside the span of the rows of `known`.

    Columns of Z with nothing new above the rounding of H, of norm `scale`, are replaced by
    scattered directions: a space that is exhausted (low rank, the identity) grows on.
    """
    X, link = _orthonormal(Z)
    # A second pass: the first left rounding errors behind, and a column of which little is
    # new has more of them than of anything else once it is scaled up.
    X, again = _orthonormal(X - transposed_times(known, times(known, X)))
    link = again @ link
    exhausted = np.abs(np.diag(link)) <= _EPS * scale
    if exhausted.any():
        X[:, exhausted] = scattered(len(X), X.shape[1], known.size)[:, exhausted]
        for _ in range(2):
            X = _orthonormal(X - transposed_times(known, times(known, X)))[0]
    return X, link


def _orthonormal(Z: Block) -> tuple[Block, NDArray[Any]]:
    """Orthonormal X and upper triangular `link` with ``Z = X @ link``.

    From the Cholesky factor of ``Z.T @ Z``, several times as fast as Householder's way: in
    float64 the squares of float32 columns lose nothing, unless they are dependent.
    """
    wide = Z.astype(np.float64)
    try:
        link = np.linalg.cholesky(wide.T @ wide).T
        return (wide @ np.linalg.inv(link)).astype(np.float32), link
    except np.linalg.LinAlgError:
        X, link = np.linalg.qr(wide)
        return X.astype(np.float32), link


def scattered(size: int, count: int, start: int = 0) -> NDArray[np.float64]:
    """(size, count) numbers spread over [-1, 1) without a pattern, the same on every machine.

    Hashes of a counter above `start` (splitmix64, of Steele, Lea and Flood 2014): loading
    numpy's generators would take longer than the factorisation of a small picture.
    """
    x = _hashes(np.arange(start + 1, start + 1 + size * count, dtype=np.uint64))
    return ((x >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0).reshape(size, count)


def _hashes(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = x * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    return x ^ (x >> np.uint64(31))


def _steps(previous: tuple[int, float] | None, filled: int, worst: float, block: int) -> int:
    """Blocks until the next check, from the decay of the worst residual so far.

    It grows steeper towards the end, and a check costs about as much as two blocks.
    """
    if previous is None:
        return max(1, int(math.log(worst) / _FIRST_DECAY))
    rows, before = previous
    decay = math.log(before / worst) * block / (filled - rows)
    return max(1, math.ceil(math.log(worst) / max(decay / 0.6, _LEAST_DECAY)))


def _multiple(value: float, block: int) -> int:
    return math.ceil(value / block) * block


def times(A: NDArray[Any], X: NDArray[Any]) -> NDArray[Any]:
    """``A @ X`` for A in row order and X of few columns.

    A product as thin as this is bound by reading A, and BLAS copies A into an order of its
    own first, at twice the price. For tiles of less than a million multiplications it does
    not; so the product is cut into such.
    """
    m, n = A.shape
    b = X.shape[1]
    out = np.zeros((m, b), A.dtype)
    height = max(1, _TILE // (_DEPTH * b))
    whole = m // height * height
    for start in range(0, n, _DEPTH):
        columns = slice(start, start + _DEPTH)
        tiles = A[:whole, columns].reshape(whole // height, height, len(X[columns]))
        out[:whole] += np.matmul(tiles, X[columns]).reshape(whole, b)
        out[whole:] += A[whole:, columns] @ X[columns]
    return out


def transposed_times(A: NDArray[Any], X: NDArray[Any]) -> NDArray[Any]:
    """``A.T @ X`` for A in row order and X of few columns, as `times`."""
    m, n = A.shape
    b = X.shape[1]
    out = np.zeros((n, b), A.dtype)
    depth = _DEPTH // 2  # rows far apart in memory: fewer of them stay in cache
    width = max(1, _TILE // (2 * depth * b))
    whole = n // width * width
    for start in range(0, m, depth):
        rows = slice(start, start + depth)
        tiles = A[rows, :whole].T.reshape(whole // width, width, len(X[rows]))
        out[:whole] += np.matmul(tiles, X[rows]).reshape(whole, b)
        out[whole:] += A[rows, whole:].T @ X[rows]
    return out
