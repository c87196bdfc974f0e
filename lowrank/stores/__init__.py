"""How the factors of the matrices are kept: every store has the same five functions.

A store is a module with these, each with one meaning:

``encode(picture, target, *, layout, store, certify) -> Encoded``
    Compress a picture: its parts, what should be known of them, and the exact
    decompositions behind them, where the store has made some.
``decode(parts, *, rank=None) -> Decoded``
    Rebuild the picture from `rank` terms of EACH matrix, or from all that are there; and
    say what is not there.
``factors(parts) -> (turn, factors)``
    The rotation of the colours, and each matrix as stored and decoded: `(U, s, Vt)`, or
    (m, n) B where its terms are not kept apart.
``stated(parts) -> tuple of Stated``
    What the file says of each matrix, measured when it was made.
``shorten(parts, target) -> Parts``
    A shorter file without pixels, or a UsageError that says what to do instead.

A store loads when it is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import UsageError, number_of
from lowrank.format.parts import Parts
from lowrank.names import AUTO
from lowrank.picture import Picture, Turn
from lowrank.targets import Target

if TYPE_CHECKING:
    from typing import Protocol

    from lowrank.linalg import TruncatedSVD

    class Store(Protocol):
        """The functions of a store."""

        def encode(
            self, picture: Picture, target: Target, *, layout: str, store: str, certify: bool
        ) -> Encoded:
            """Compress a picture."""

        def decode(self, parts: Parts, *, rank: int | None = None) -> Decoded:
            """Rebuild a picture."""

        def factors(self, parts: Parts) -> tuple[Turn | None, tuple[Factored, ...]]:
            """The matrices as stored and decoded."""

        def stated(self, parts: Parts) -> tuple[Stated, ...]:
            """What the file says of each matrix."""

        def shorten(self, parts: Parts, target: Target) -> Parts:
            """A shorter file."""


Factored = (
    NDArray[np.float64] | tuple[NDArray[np.floating], NDArray[np.float64], NDArray[np.floating]]
)
"""A matrix of low rank: B itself, or U, s and Vt."""

_SLAB = 1 << 18  # samples reconstructed at a time: two megabytes of float64 stay in cache

_PACKED_TARGETS = ("quality", "psnr", "psnr_worst", "size")


@dataclass(frozen=True, eq=False)
class Encoded:
    """Parts of a file, and the exact decompositions that they were made from.

    Attributes
    ----------
    parts : Parts
    notes : tuple of str
        What the user should know, a plain sentence each.
    exact : tuple of TruncatedSVD
        One for each matrix, of rank 1 where the file keeps none; empty where the store
        made none.
    """

    parts: Parts
    notes: tuple[str, ...] = ()
    exact: tuple[TruncatedSVD, ...] = ()


@dataclass(frozen=True, eq=False)
class Decoded:
    """A picture, and a plain sentence for what the file should hold and does not."""

    picture: Picture
    notes: tuple[str, ...] = ()


def at_most(m: int, n: int) -> str:
    """The note on a rank that was asked for, and that no matrix of m x n has."""
    return f"no {m}x{n} matrix has a rank above {min(m, n)}: kept {min(m, n)}"


def lost(parts: Parts, decoded: int, total: int, unit: str) -> tuple[str, ...]:
    """Return what was not in the file or was damaged, and how much of it was decoded."""
    missing = parts.missing
    if missing is None:
        return parts.damage
    note = f"the file {missing.why}: decoded {decoded} of {number_of(total, unit)}"
    if not missing.checked:
        note += ", with no checksum behind them"
    return (*parts.damage, note)


class Stated(NamedTuple):
    """What a file states of one matrix A, in levels of the source.

    Attributes
    ----------
    name : str
        What the matrix is called: a channel, or an axis of turned colours.
    k : int
        Terms kept.
    norm : float
        ||A||_F.
    sigma_1 : float or None
        Largest singular value, where the file has it.
    sigma_next : float
        sigma_(k+1).
    error : float or None
        ||A - B||_F of the stored factors, where the file says more than the tail.
    tail : float
        sqrt(sum of sigma_i^2, i > k).
    """

    name: str
    k: int
    norm: float
    sigma_1: float | None
    sigma_next: float
    error: float | None
    tail: float


def rows_at_once(n: int) -> int:
    """Rows of n columns that are multiplied at a time, so that all who do get the same sums."""
    return max(_SLAB // n, 1)


def of(name: str) -> Store:
    """Return the store of a name; `auto` is a float store."""
    room = "packed" if name == "packed" else "floats"
    return import_module(f"lowrank.stores.{room}")


def resolve(target: Target, layout: str | None, store: str | None) -> tuple[str, str]:
    """Layout and store that a target means, unless they are asked for by name.

    Raises
    ------
    UsageError
        They do not go together.
    """
    if store is None:
        tuned = target.tune != "psnr" and target.kind not in ("rank", "auto")
        packed = (target.kind in _PACKED_TARGETS or tuned) and layout != "channels"
        store = "packed" if packed else AUTO
    if layout is None:
        layout = "patches" if store == "packed" and target.kind != "rank" else "channels"
    if target.kind == "psnr_worst" and (store, layout) != ("packed", "stack"):
        raise UsageError("psnr_worst is a target of packed stacks; --psnr is one of any picture")
    if target.weights is not None and (store, layout) != ("packed", "stack"):
        raise UsageError("weights are of packed stacks; give --psnr, --size or -q, and a stack")
    if target.kind == "quality" and store != "packed":
        raise UsageError("quality is a target of the packed store; use --psnr, --error or -k")
    if target.tune != "psnr" and (store, layout) != ("packed", "patches"):
        raise UsageError(
            f"tune {target.tune} is for the packed store of layout patches, not for {store} of "
            f"{layout}; give -q, --psnr or --size"
        )
    return layout, store
