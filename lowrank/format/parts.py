"""The parts that a `.lrk` file is made of: values, and the identities between them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lowrank.picture.value import Metadata, Mode, Turn

PATCH = 16
"""Side of a patch, of layout `patches`."""


@dataclass(frozen=True)
class Head:
    """What every `.lrk` file says first.

    Attributes
    ----------
    width, height : int
        Pixels.
    mode : Mode
    layout, store : str
        One of `names.LAYOUTS`, one of `names.STORES`.
    metadata : Metadata
    """

    width: int
    height: int
    mode: Mode
    layout: str
    store: str
    metadata: Metadata = field(default_factory=Metadata)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows m and columns n of each matrix."""
        return matrix_shape(self.width, self.height, self.layout)


@dataclass(frozen=True, eq=False)
class Factors:
    """The k leading terms of one m x n matrix A, as a float store holds them.

    Attributes
    ----------
    m, n : int
        Shape of A.
    norm : float
        ||A||_F.
    sigma_next : float
        sigma_(k+1) of A; 0 when k = min(m, n).
    tail : float
        sqrt(sum of sigma_i^2 for i > k): no rank-k matrix is nearer to A.
    s : (k,) ndarray of float64
        Singular values, descending.
    U, Vt : (m, k) and (k, n) ndarray
        Singular vectors in the store's float type.
    """

    m: int
    n: int
    norm: float
    sigma_next: float
    tail: float
    s: NDArray[np.float64]
    U: NDArray[np.floating]
    Vt: NDArray[np.floating]

    @property
    def k(self) -> int:
        """Number of terms."""
        return len(self.s)

    def truncate(self, k: int) -> Factors:
        """Keep the first `k` terms; what is dropped joins the tail."""
        if k >= self.k:
            return self
        tail = math.hypot(self.tail, float(np.linalg.norm(self.s[k:])))
        return replace(
            self,
            sigma_next=float(self.s[k]),
            tail=tail,
            s=self.s[:k],
            U=self.U[:, :k],
            Vt=self.Vt[:k],
        )


@dataclass(frozen=True)
class PackedMatrix:
    """What a packed file states of one matrix: its rank, and norms rounded up by < 0.07%.

    Attributes
    ----------
    k : int
        Terms kept.
    norm, sigma_next, tail : float
        ||A||_F, sigma_(k+1) and sqrt(sum of sigma_i^2, i > k), in levels.
    error : float
        ||A - B||_F of the decoded factors B.
    """

    k: int
    norm: float
    sigma_next: float
    tail: float
    error: float


@dataclass(frozen=True, eq=False)
class Floats:
    """The body of a float file.

    Attributes
    ----------
    factors : tuple of Factors
        One for each matrix.
    turn : Turn or None
        The colour rotation of layout `patches`, three int8.
    """

    factors: tuple[Factors, ...]
    turn: Turn | None = None

    @property
    def matrices(self) -> tuple[Factors, ...]:
        """What is said of each matrix."""
        return self.factors


@dataclass(frozen=True, eq=False)
class Packed:
    """The body of a packed file.

    Attributes
    ----------
    stated : tuple of PackedMatrix
        One for each matrix.
    payload : bytes
        The entropy-coded factors.
    """

    stated: tuple[PackedMatrix, ...]
    payload: bytes = b""

    @property
    def matrices(self) -> tuple[PackedMatrix, ...]:
        """What is said of each matrix."""
        return self.stated


@dataclass(frozen=True)
class Missing:
    """What a file that ends early announced and lost: so many terms, or bytes of a payload."""

    what: Literal["terms", "bytes"]
    count: int


@dataclass(frozen=True, eq=False)
class Parts:
    """All that a `.lrk` file holds: a head and a body.

    Attributes
    ----------
    head : Head
    body : Floats or Packed
        As the head's store says.
    missing : Missing or None
        What is not there of a file that was cut.
    name : str
        What messages call the file.
    """

    head: Head
    body: Floats | Packed
    missing: Missing | None = None
    name: str = "the file"

    @property
    def ranks(self) -> tuple[int, ...]:
        """Number of terms of each matrix."""
        return tuple(x.k for x in self.body.matrices)


def matrix_shape(width: int, height: int, layout: str) -> tuple[int, int]:
    """Rows m and columns n of each matrix of an image in a layout."""
    if layout == "channels":
        return height, width
    return -(-height // PATCH) * -(-width // PATCH), PATCH * PATCH


def term_order(sigmas: list[NDArray[np.float64]]) -> list[tuple[int, int]]:
    """Order of the terms of several matrices: descending sigma, then matrix, then index.

    The singular values of a block-diagonal matrix are the union of its blocks', so
    the first j of this list are the best j terms of the whole image.

    Returns
    -------
    list of (matrix, index)
    """
    s = np.concatenate([*sigmas, np.empty(0)])
    matrix = np.concatenate([np.full(len(x), i) for i, x in enumerate(sigmas)] + [np.empty(0)])
    index = np.concatenate([np.arange(len(x)) for x in sigmas] + [np.empty(0)])
    order = np.lexsort((index, matrix, -s))
    return [(int(matrix[j]), int(index[j])) for j in order]
