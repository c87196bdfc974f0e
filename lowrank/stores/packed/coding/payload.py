"""What the encoders and decoders of both layouts give, and the limits that they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lowrank.picture import Turn

if TYPE_CHECKING:
    from lowrank.picture.distance import OfFrame

Samples = NDArray[np.uint8] | NDArray[np.uint16]

FRACTION = 16
"""Coefficients are integers in units of 1/16 step."""
ALPHA_FINER = 2
"""Alpha has this part of the step."""
SYMBOLS_PER_LANE = 1 << 16
SMOOTHED = 1 << 22
"""Pixels of the largest picture that is smoothed: beyond, it would take too long."""
SMALLEST_STEP = {1: 2.0**-8, 8: 2.0**-4, 16: 1.0}
"""By bits per sample: finer steps gain nothing, and coefficients stay in range."""


class Norms(NamedTuple):
    """Of a matrix A and its packed factors B, in levels.

    Attributes
    ----------
    norm : float
        ||A||_F.
    sigma_next, tail : float
        sigma_(k+1) and sqrt(sum of sigma_i^2, i > k) of A, with k the terms of B.
    error : float
        ||A - B||_F.
    """

    norm: float
    sigma_next: float
    tail: float
    error: float


class Coded(NamedTuple):
    """An encoded image, and what the encoder knows of what its decoder will find.

    Attributes
    ----------
    length : callable
        Gives the bytes of the payload, but for the one or two that the strengths of smoothing,
        which take long to find, may make it longer or shorter; a stack is written for it.
    ranks : tuple of int
        Terms of each matrix.
    payload : callable
        Gives the bytes.
    samples : callable
        Gives the (height, width, channels) samples that decoding the payload gives.
    norms : callable
        Gives the norms of each matrix and of its error.
    squared_error : callable
        Gives ||A - B||_F^2 of all matrices together, in squared levels.
    off : callable, optional
        Gives how far each decoded frame is off, where that was found while encoding.
    finest : float
        The step in levels, where a finer one was asked for than the range of coefficients allows.
    """

    length: Callable[[], int]
    ranks: tuple[int, ...]
    payload: Callable[[], bytes]
    samples: Callable[[], Samples]
    norms: Callable[[], tuple[Norms, ...]]
    squared_error: Callable[[], float]
    off: Callable[[], list[OfFrame]] | None = None
    finest: float = 0.0


class Outline(NamedTuple):
    """What the header of a payload says, before anything is decoded.

    Attributes
    ----------
    turn : Turn or None
        The rotation of the colours.
    components : tuple of int
        How many each matrix has.
    read : tuple of (Header, int)
        The header in the layout's own terms, and where it ends: it is read but once.
    """

    turn: Turn | None
    components: tuple[int, ...]
    read: tuple[Any, int]


class Decoded(NamedTuple):
    """A decoded image: `decoded` of the stream's `total` components, or tiles, were read for it."""

    samples: Samples
    total: int
    decoded: int
    unit: str = "component"


def levels_of(samples: Samples) -> tuple[int, int] | None:
    """The two values of the last channel, alpha, or the same one twice; None where it has more."""
    last = samples[..., -1]
    low, high = int(last.min()), int(last.max())
    return (low, high) if np.isin(last, (low, high)).all() else None


def to_levels(last: Samples, levels: tuple[int, int]) -> None:
    """Give a decoded alpha the nearer of its two values, in place."""
    low, high = levels
    last[:] = np.where(2 * last.astype(np.int64) > low + high, high, low)
