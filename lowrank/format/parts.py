"""The parts that a `.lrk` file is made of: values, and the identities between them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import number_of
from lowrank.picture import Metadata, Mode, Picture, Turn

if TYPE_CHECKING:
    from lowrank.picture.levels import Levels

PATCH = 16
"""Side of a patch, of layout `patches`."""
_ROUNDING = 1e-6  # share of ||A||_F that the numbers of a float file may be wrong by
_PACKED_ROUNDING = 1e-5  # and those of a packed file, from the squares of its coefficients
_PACKED_STEP = 1.002  # which are also rounded up, by less than 0.07%


@dataclass(frozen=True)
class Head:
    """What every `.lrk` file says first.

    Attributes
    ----------
    width, height : int
        Pixels of a frame.
    mode : Mode
    layout, store : str
        One of `names.LAYOUTS`, one of `names.STORES`.
    metadata : Metadata
    frames : int or None
        Of layout `stack`.
    """

    width: int
    height: int
    mode: Mode
    layout: str
    store: str
    metadata: Metadata = field(default_factory=Metadata)
    frames: int | None = None

    @classmethod
    def of(cls, picture: Picture, layout: str, store: str) -> Head:
        """The head of a picture's file."""
        p = picture
        return cls(p.width, p.height, p.mode, layout, store, p.metadata, p.frames)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows m and columns n of each matrix."""
        if self.frames is not None:
            return self.frames, self.height * self.width * len(self.mode.channels)
        return matrix_shape(self.width, self.height, self.layout)

    @property
    def samples_shape(self) -> tuple[int, ...]:
        """Shape of the samples of its picture."""
        one = self.height, self.width, len(self.mode.channels)
        return one if self.frames is None else (self.frames, *one)

    @property
    def matrices(self) -> int:
        """Number of matrices: one for each channel, or one for a whole stack."""
        return len(self.mode.channels) if self.frames is None else 1


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


class PackedMatrix(NamedTuple):
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
    levels : Levels or None
        What range of samples the levels of the payload are, where it is not that of the mode.
        The numbers in `stated` are in levels.
    """

    stated: tuple[PackedMatrix, ...]
    payload: bytes = b""
    levels: Levels | None = None

    @property
    def matrices(self) -> tuple[PackedMatrix, ...]:
        """What is said of each matrix."""
        return self.stated


@dataclass(frozen=True)
class Missing:
    """What a file announced and does not hold whole: its end, or all from some damage on.

    Attributes
    ----------
    what : {"terms", "bytes"}
        Terms, or bytes of a payload.
    count : int
        0 where all is there but what marks its end.
    why : {"ends early", "is damaged"}
    checked : bool
        Checksums stand behind what is there: not behind the start of a payload that has
        one only, at the end.
    """

    what: Literal["terms", "bytes"]
    count: int
    why: Literal["ends early", "is damaged"] = "ends early"
    checked: bool = True


@dataclass(frozen=True, eq=False)
class Parts:
    """All that a `.lrk` file holds: a head and a body.

    Attributes
    ----------
    head : Head
    body : Floats or Packed
        As the head's store says.
    missing : Missing or None
        What is not there of a file that was cut or damaged.
    damage : tuple of str
        What was damaged beside the picture, and left out: a plain sentence each.
    name : str
        What messages call the file.
    """

    head: Head
    body: Floats | Packed
    missing: Missing | None = None
    damage: tuple[str, ...] = ()
    name: str = "the file"

    @property
    def ranks(self) -> tuple[int, ...]:
        """Number of terms of each matrix."""
        return tuple(x.k for x in self.body.matrices)

    @property
    def lowest(self) -> float:
        """What is taken from the samples before they are the matrices that norms are said of."""
        levels = self.body.levels if isinstance(self.body, Packed) else None
        return 0.0 if levels is None else levels.low

    @property
    def notes(self) -> tuple[str, ...]:
        """What the file should hold and does not, a plain sentence each."""
        if self.missing is None:
            return self.damage
        lost = f"{number_of(self.missing.count, self.missing.what[:-1], 'is', 'are')} lost"
        if not self.missing.count:
            lost = "all of the picture is there"
        elif not self.missing.checked:
            lost += ", with no checksum behind the others"
        return (*self.damage, f"the file {self.missing.why}: {lost}")


def matrix_shape(width: int, height: int, layout: str) -> tuple[int, int]:
    """Rows m and columns n of each matrix of one image in a layout."""
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


def contradiction(
    k: int, most: int, norm: float, sigma_next: float, tail: float,
    s: NDArray[np.float64] | None = None,
) -> str:  # fmt: skip
    """What of a matrix's numbers cannot be true together, or "".

    Parameters
    ----------
    k, most : int
        Terms, and the most that the matrix has.
    norm, sigma_next, tail : float
        ||A||_F, sigma_(k+1) and sqrt(sum of sigma_i^2, i > k).
    s : (k,) ndarray, optional
        The singular values up to k, descending.
    """
    slack = _ROUNDING * norm
    if tail > norm + slack:
        return "a tail above the norm"
    if sigma_next > tail + slack:
        return "a singular value above the tail that it belongs to"
    if k == most and tail > slack:
        return "a tail of nothing"
    if s is None:
        return ""
    if k and sigma_next > s[-1] + slack:
        return "singular values that ascend"
    # Proposition 40: ||A||_F^2 is the sum of all sigma_i^2.
    if not abs(math.hypot(tail, float(np.linalg.norm(s))) - norm) <= slack:
        return "singular values and a tail that do not add up to the norm"
    return ""


def packed_contradiction(x: PackedMatrix) -> str:
    """What a packed file says of a matrix and cannot be true together, or ""."""

    def above(a: float, b: float) -> bool:
        return a > b * _PACKED_STEP + _PACKED_ROUNDING * x.norm

    if above(x.tail, x.norm):
        return "a tail above the norm"
    if above(x.sigma_next, x.tail):
        return "a singular value above the tail that it belongs to"
    if above(x.tail, x.error):
        return "an error below the tail, which no matrix of its rank can have"
    return ""
