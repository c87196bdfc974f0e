"""Block Krylov: the leading eigenvectors of a matrix known by its products alone.

Musco and Musco (2015), "Randomized block Krylov methods for stronger and faster
approximate singular value decomposition": from a random block X, the space spanned by
X, HX, H^2 X, ... holds the leading eigenvectors of H after a few blocks. Here H = A A^T
is applied as two products with A, in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank import pace

Block = NDArray[np.float32]

BLOCK = 16
"""Rows of a block: fewer need more products, more grow the space faster than it converges."""
_CACHED = 1_500_000  # entries of A at a time, which a cache holds for a second product
_TILE = 800_000  # multiplications in a product of tiles, see `times`
_FIRST_DECAY = 1.5  # of the logarithm of the residuals in a step, at a guess
_LEAST_DECAY = 1.1  # when a second check has shown that it is slow: it will not stay so
_DEPTH = 512  # terms of a sum in float32 before it is added to the whole
_SLACK = 1e-5  # of the sum of all eigenvalues, known in float32 at worst
_TIE = 1e-6  # of an eigenvalue: nearer ones are one
_PROBES = 8  # products with H before a probe gives up
_SEEN = 1.13  # of G^T x in `_hides`: shorter has a probability below 1e-6
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


def leading_rows(
    apply: Callable[[Block], Block], size: int, count: int, *, tolerance: float, energy: float
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
    energy : float
        The sum of all eigenvalues.

    Returns
    -------
    (count, size) ndarray of float64, or None
        Rows orthonormal to working precision, leading first; None if the space grew to
        the limit without convergence, or may have passed over an eigenvector to which its
        first block happens to be orthogonal. An eigenvalue repeated more than `BLOCK` times
        is found only so many times: the caller must look for such runs.
    """
    block = min(BLOCK, size)
    capacity = min(size, 6 * count + 60 * block) // block * block
    if capacity < count:
        return None
    basis = np.empty((capacity, size), np.float32)
    projected = np.zeros((capacity, capacity))
    X = np.linalg.qr(scattered(size, block))[0].astype(np.float32)
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
        X, link = next_block(Z, known, scale)
        if filled < check:
            continue
        every, vectors = np.linalg.eigh(projected[:filled, :filled])
        every, vectors = every[::-1], vectors[:, ::-1]
        values = every[:count]
        # H y - theta y lies in the next block alone, with coefficients link y_last.
        coupling = link @ vectors[-block:]
        residuals = np.linalg.norm(coupling[:, :count], axis=0)
        # Below the rounding of H itself an eigenvalue is zero, and any vector will do.
        real = values > 8.0 * _EPS * values[0]
        worst = float(np.max(residuals[real] / (tolerance * values[real]), initial=0.0))
        if worst <= 1.0:
            floor = max(float(values[-1]), 8.0 * _EPS * float(values[0]))
            room = _room(floor, every[count:], coupling[:, count:])
            # No eigenvalue of what is beside the space is larger than all of them together.
            beside = energy * (1.0 + _SLACK) - float(every.sum())
            if beside > room and _hides(apply, known, room, _seed(Z)):
                return None
            return vectors[:, :count].T @ known.astype(np.float64)
        check = min(filled + _steps(previous, filled, worst, block) * block, capacity)
        previous = (filled, worst)
    return None


def _room(floor: float, others: NDArray[np.float64], coupling: NDArray[np.float64]) -> float:
    """What H may be beside a space, so that none but the wanted eigenvalues is above `floor`.

    Beside the wanted vectors, which are not coupled to anything, H is [[D, B^T], [B, C]] with D
    the other Ritz values and B what couples them to the next block, the first part of C. With
    C <= c I all of it is below f I where (f - c) I - B (f I - D)^-1 B^T is positive definite.
    """
    f = floor * (1.0 + _TIE)
    through = coupling / (f - others)
    return f - float(np.linalg.eigvalsh(through @ coupling.T)[-1])


def _hides(apply: Callable[[Block], Block], known: Block, room: float, seed: int) -> bool:
    """Whether H may be more than `room` beside the span of the rows of `known`.

    C is H on what is orthogonal to them. If it has an eigenvalue of `room` or more, with
    vector x, then every power of C / `room` leaves of a block G at least the length of G^T x,
    and that is short only by a rare accident: entries of G are uniform with variance 1, the
    density of G^T x is at most (2 / 12)^(1/2) in each of `BLOCK` dimensions (Rudelson and
    Vershynin 2015), and a ball of radius `_SEEN` has so little volume. G depends on the data:
    no matrix can be made for it, as one can for a start that is known beforehand.
    """
    if room <= 0.0:
        return True
    size = known.shape[1]
    G = (math.sqrt(3.0) * scattered(size, BLOCK, seed)).astype(np.float32)
    G -= transposed_times(known, times(known, G))
    for _ in range(_PROBES):
        G = apply(G)
        G -= transposed_times(known, times(known, G))
        G *= np.float32(1.0 / room)
        wide = G.astype(np.float64)
        if np.linalg.eigvalsh(wide.T @ wide)[-1] < _SEEN**2:
            return False
    return True


def _seed(Z: Block) -> int:
    """A number that depends on every bit of Z, and so, by its rounding, on all of H."""
    odd = np.arange(1, 2 * Z.size, 2, dtype=np.uint64)
    return int((np.ascontiguousarray(Z).view(np.uint32).ravel() * odd).sum()) >> 2


def next_block(Z: Block, known: Block, scale: float) -> tuple[Block, NDArray[Any]]:
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
    x = np.arange(start + 1, start + 1 + size * count, dtype=np.uint64) * np.uint64(
        0x9E3779B97F4A7C15
    )
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    x ^= x >> np.uint64(31)
    return ((x >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0).reshape(size, count)


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
