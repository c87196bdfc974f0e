"""Sums of terms whose samples depend neither on what is asked for nor on the machine.

A sample is sum of (U_ij s_j) V_jp over j = 1, 2, ..., k in this order, each product and each
sum rounded to float64, then rounded to the samples' type. A BLAS adds in an order that depends
on the shape of its operands, so that a frame computed alone would differ in last bits from the
same frame of a whole stack. But two sums of the same k products are never farther apart than
2 gamma_k sum |U_ij s_j V_jp|, gamma_k = k u / (1 - k u) (Higham, Accuracy and Stability of
Numerical Algorithms, section 3.1), and that sum is at most the norm of row i of U diag(s) times
that of bounds of V's rows (Cauchy and Schwarz), which takes no memory of the size of U. Where both
ends of that interval round to one sample, the BLAS has found it, and the few others are summed
again, term by term.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from lowrank import threads
from lowrank.errors import FormatError
from lowrank.format.fields import MAX_ENTRY
from lowrank.picture import Mode

_BLOCK = 1 << 18  # samples at a time: two megabytes of float64 stay in cache
_ENTRIES = 1 << 19  # of V at a time, four megabytes of float64
_SMALL = 1 << 21  # products that take less time than a thread
_FEW = 1 << 14  # samples at a time of few columns: memory new to the process takes time
_COLUMNS = 1 << 15  # of a row at a time: few terms of them stay in cache
_ROUND = 2.0**-53


def scaled(U: NDArray[np.floating], s: NDArray[np.float64]) -> NDArray[np.float64]:
    """U diag(s), which `samples` takes; a view into a mapped file will do.

    Terms lie one after the other in a file: they are read so, and not across.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # seen in the products
        rows = U.T.astype(np.float64)
        rows *= s[:, np.newaxis]
    return rows.T


def norms_of(US: NDArray[np.float64]) -> NDArray[np.float64]:
    """Norm of each row, which bounds how far its sums are from those of another order."""
    with np.errstate(invalid="ignore", over="ignore"):
        found: NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->i", US, US))
    return found


def samples(
    US: NDArray[np.float64], Vt: NDArray[np.floating], mode: Mode,
    out: NDArray[np.generic] | None = None, *, norms: NDArray[np.float64] | None = None,
) -> NDArray[np.generic]:  # fmt: skip
    """Samples of any rows and columns of a matrix.

    Parameters
    ----------
    US : (m, k) ndarray of float64
        Rows that are asked for, `scaled`.
    Vt : (k, n) ndarray
        Columns that are asked for; a view into a mapped file will do.
    mode : Mode
    out : (m, n) ndarray, optional
        Of the mode's dtype.
    norms : (m,) ndarray of float64, optional
        `norms_of` US, where they are known.

    Returns
    -------
    (m, n) ndarray of the mode's dtype

    Raises
    ------
    FormatError
        Factors are infinite, or no numbers.
    """
    (m, k), n = US.shape, Vt.shape[1]
    if out is None:
        out = np.empty((m, n), mode.dtype)
    most = norms_of(US) if norms is None else norms
    small = m * n * k < _SMALL
    width = max(min(_ENTRIES // max(k, 1), n), 1)
    height = max((_FEW if n * k < _FEW else _BLOCK) // width, 1)

    def block(left: int) -> None:
        columns = slice(left, left + width)
        with np.errstate(invalid="ignore"):
            V = Vt[:, columns].astype(np.float64)
        largest = _largest(V) if _is_fine(mode) else np.full(k, float(MAX_ENTRY))
        for top in range(0, m, height):
            rows = slice(top, top + height)
            with np.errstate(invalid="ignore", over="ignore"):
                B = US[rows] @ V
            out[rows, columns] = _rounded(B, US[rows], V, most[rows], largest, mode)

    if small:
        for left in range(0, n, width):
            block(left)
    else:
        threads.each(block, range(0, n, width))
    return out


class Row:
    """The same samples of one row and all columns, from terms that come in any order.

    Whoever reads the terms uses them while they are in cache, and the disk has the next to find.
    It pays where they have to be read, there are some, and one row alone is asked for: else a
    product of all takes less time. Of samples of float64 there is no other order.

    Parameters
    ----------
    U : (m, k) ndarray
    row : slice or ndarray
        Which row is asked for.
    s : (k,) ndarray of float64
    Vt : (k, n) ndarray
        As U a view into a mapped file, and used where terms are added.
    mode : Mode
    """

    def __init__(
        self, U: NDArray[np.floating], row: slice | NDArray[np.intp], s: NDArray[np.float64],
        Vt: NDArray[np.floating], mode: Mode,
    ) -> None:  # fmt: skip
        self._U, self._row, self._s, self._Vt, self._mode = U, row, s, Vt, mode
        k, n = Vt.shape
        self._US = np.zeros((1, k))
        self._B = np.zeros((1, n))
        self._lefts = range(0, n, _COLUMNS)
        self._largest = np.full((len(self._lefts), k), float(MAX_ENTRY))
        self._lock = threading.Lock()

    def add(self, terms: slice) -> None:
        """Add some terms, each once; several threads may."""
        US = scaled(self._U[:, terms][self._row], self._s[terms])
        self._US[:, terms] = US
        for i, left in enumerate(self._lefts):
            columns = slice(left, left + _COLUMNS)
            with np.errstate(invalid="ignore", over="ignore"):
                V = self._Vt[terms, columns].astype(np.float64)
                B = US @ V
                with self._lock:
                    self._B[:, columns] += B
            if _is_fine(self._mode):
                self._largest[i, terms] = _largest(V)

    def samples(self) -> NDArray[np.generic]:
        """Samples, once all terms are there.

        Returns
        -------
        (1, n) ndarray of the mode's dtype

        Raises
        ------
        FormatError
            Factors are infinite, or no numbers.
        """
        out = np.empty(self._B.shape, self._mode.dtype)
        norms = norms_of(self._US)

        def block(i: int) -> None:
            columns = slice(self._lefts[i], self._lefts[i] + _COLUMNS)
            B, V = self._B[:, columns], self._Vt[:, columns]
            out[:, columns] = _rounded(B, self._US, V, norms, self._largest[i], self._mode)

        threads.each(block, range(len(self._lefts)), small=out.size < _SMALL)
        return out


def _is_fine(mode: Mode) -> bool:
    """Whether samples are fine enough that bounds of V should be near."""
    return np.dtype(mode.dtype).itemsize > 2


def _largest(V: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bounds of each row of V."""
    most: NDArray[np.float64] = np.maximum(V.max(axis=1, initial=0.0), -V.min(axis=1, initial=0.0))
    return most


def _rounded(
    B: NDArray[np.float64], US: NDArray[np.float64], V: NDArray[np.floating],
    norms: NDArray[np.float64], largest: NDArray[np.float64], mode: Mode,
) -> NDArray[np.generic]:  # fmt: skip
    """Samples from their sums in whatever order, and from the terms where these leave doubt."""
    k = len(V)
    if not np.isfinite(B).all():
        raise FormatError("factors that are no unit vectors; get the file again from its source")
    if mode.dtype == "float64":  # no rounding hides the order
        products = (US[:, j, np.newaxis] * V[j] for j in range(k))
        return _cast(_in_order(products, B.shape), mode)
    most = norms * np.linalg.norm(largest)
    apart = (2.02 * (k + 1) * _ROUND) * most[:, np.newaxis]
    found, upper = _cast(B - apart, mode), _cast(B + apart, mode)
    rows, columns = np.nonzero(found != upper)
    if rows.size:
        products = (US[rows, j] * V[j, columns] for j in range(k))
        found[rows, columns] = _cast(_in_order(products, rows.shape), mode)
    return found


def _in_order(
    products: Iterable[NDArray[np.float64]], shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Sum of arrays of a shape, the first one first."""
    total = np.zeros(shape)
    for product in products:
        total += product
    return total


def _cast(B: NDArray[np.float64], mode: Mode) -> NDArray[np.generic]:
    """Round and clip to the mode's samples; no zero is negative."""
    cast: NDArray[np.generic] = mode.rounded(B).astype(mode.dtype) + np.zeros((), mode.dtype)
    return cast
