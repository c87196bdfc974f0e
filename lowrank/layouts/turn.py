"""Which pictures have their colours rotated, and what the matrices are called then.

The one rule: with layout `patches` the first three of three colours are turned to their
principal axes, where most of the energy is in the first; the packed store turns the first
three of four inks, too. Where no rank was asked for, it takes the axes of differences between
near samples: they are those of details, where nearly all its bytes go, not of the colours of large
areas. With layout `channels` the matrices are the picture's own channels, except that the packed
store turns three colours where no rank was asked for: a rank is that of the channels themselves.
Alpha is never turned, and neither is a stack.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank.picture import Mode, Picture, Turn

_SPARSE = 256  # rows and columns that are looked at, about
_APART = 4
"""Samples that are compared are so far from each other: 2 to 8 are alike."""

LUMINANCE = (0.299, 0.587, 0.114)
"""What red, green and blue have of luminance, as gamma has them (Rec. ITU-R BT.601)."""
_AXES = ("luma", "chroma 1", "chroma 2")
_INKS = ("inks 1", "inks 2", "inks 3")


def of(picture: Picture, layout: str, *, packed: bool = False, ranked: bool = False) -> Turn | None:
    """The rotation that a picture is given, or None.

    Parameters
    ----------
    picture : Picture
    layout : {"channels", "patches", "stack"}
    packed : bool
        For the packed store.
    ranked : bool
        A rank was asked for.
    """
    colours = picture.mode.colours
    if layout == "stack":
        return None
    if layout == "patches":
        turned = colours == 3 or (packed and colours == 4)
    else:
        turned = packed and colours == 3 and not ranked
    if not turned:
        return None
    if packed and layout == "patches" and not ranked:
        return detailed(picture.samples)
    return principal(picture.samples)


def of_stack(picture: Picture) -> Turn | None:
    """The rotation of the first three channels of all frames of a stack, in its packed store."""
    if len(picture.mode.channels) < 3 or picture.mode.colours < 3:
        return None
    samples = picture.samples
    return principal(samples.reshape(-1, *samples.shape[2:]))


def principal(samples: NDArray[Any]) -> Turn:
    """Principal axes of the first three channels of (height, width, channels) samples."""
    from lowrank.layouts import colour  # where something is turned, which is seldom with -k

    height, width = samples.shape[:2]
    sparse = samples[:: max(1, height // _SPARSE), :: max(1, width // _SPARSE), :3]
    return colour.principal(sparse.reshape(-1, 3))


def detailed(samples: NDArray[Any]) -> Turn:
    """Principal axes of the differences, across and down, of such samples' first three channels."""
    from lowrank.layouts import colour

    if min(samples.shape[:2]) <= _APART:
        return principal(samples)
    return colour.principal(_differences(samples))


def luminous(samples: NDArray[Any]) -> Turn | None:
    """The same, drawn to luminance: as if their sum of squares came twice, once in it alone.

    None where there are no differences to be compared.
    """
    from lowrank.layouts import colour

    if min(samples.shape[:2]) <= _APART:
        return None
    D = _differences(samples)
    axis = np.array(LUMINANCE) / math.hypot(*LUMINANCE)
    squares = D.T @ D
    squares += np.trace(squares) * np.outer(axis, axis)
    return colour.nearest(np.linalg.eigh(squares)[1].T[::-1])


def _differences(samples: NDArray[Any]) -> NDArray[np.float64]:
    """(count, 3) of some samples to those near to them."""
    rows, columns = (slice(None, None, max(1, n // _SPARSE)) for n in samples.shape[:2])
    here = samples[:-_APART, :-_APART, :3][rows, columns].astype(np.float64)
    across = samples[:-_APART, _APART:, :3][rows, columns] - here
    down = samples[_APART:, :-_APART, :3][rows, columns] - here
    return np.concatenate([across, down]).reshape(-1, 3)


def names(mode: Mode, layout: str, turn: Turn | None) -> tuple[str, ...]:
    """Name of each matrix: its channel's, an axis' where colours are turned, or `stack`."""
    if layout == "stack":
        return ("stack",)
    if turn is None:
        return mode.channels
    return (_AXES if mode.colours == 3 else _INKS) + mode.channels[3:]


def axes(turn: Turn | None) -> NDArray[np.float64] | None:
    """The (3, 3) rotation, a row for each axis, or None."""
    if turn is None:
        return None
    from lowrank.layouts import colour

    return colour.rotation(turn)
