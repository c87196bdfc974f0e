"""What a caller calls the frames of a stack: labels, values and their unit, and nothing else."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable, Mapping, Set
from dataclasses import replace
from decimal import Decimal
from typing import cast

import numpy as np

from lowrank import targets
from lowrank.errors import UsageError, number_of
from lowrank.picture import Loaded, axis
from lowrank.picture.axis import Axis


def named(
    labels: Iterable[object], values: Iterable[object], unit: object
) -> tuple[Axis, tuple[str, ...]]:
    """What frames are called, and a note where a value of theirs is rounded.

    Raises
    ------
    UsageError
        One is no text, or no finite number, or they have no order.
    """
    if not isinstance(unit, str):
        raise UsageError(f"unit {reprlib.repr(unit)} is no text; give one such as 'nm'")
    given = [_plain(x) for x in _listed("values", values)]
    found = tuple(map(_number, given))
    texts = tuple(_label(_plain(x)) for x in _listed("labels", labels))
    rounded = sum(map(_is_rounded, given, found))
    notes = (
        (f"{number_of(rounded, 'value', 'was', 'were')} rounded to float64, as frames have them.",)
        if rounded
        else ()
    )
    return Axis(texts, found, unit), notes


def _listed(name: str, given: Iterable[object]) -> list[object]:
    """Labels or values in their order, of what has one."""
    try:
        if isinstance(given, Set | Mapping | bytes | bytearray | memoryview):
            raise TypeError
        return list(given)
    except TypeError as error:
        raise UsageError(
            f"{name} {reprlib.repr(given)} are no list; give one, with an entry for each frame"
        ) from error


def _plain(x: object) -> object:
    """What an array of one element and no axis holds, such as one of xarray; else the same."""
    held = getattr(x, "ndim", None) == 0 and hasattr(x, "__array__") and x is not np.ma.masked
    return np.asarray(x)[()] if held else x


def _label(x: object) -> str:
    if x is None or x is np.ma.masked or isinstance(x, bytes):
        raise UsageError(f"labels: {reprlib.repr(x)} is no text; give one for each frame")
    return str(x)


def _number(x: object) -> float:
    try:
        value = float(cast("str | float", x)) if _is_value(x) else math.nan
    except (ValueError, OverflowError):
        value = math.nan
    if not abs(value) <= axis.MOST:  # refuses NaN too
        raise UsageError(
            f"values: {reprlib.repr(x)} is no number that a frame can have; give finite ones, up "
            f"to {axis.MOST:g}"
        )
    return value


def _is_value(x: object) -> bool:
    return targets.is_real(x) or isinstance(x, str | Decimal)


def _is_rounded(x: object, value: float) -> bool:
    """Whether a value is another than was given; of decimals, in the digits that were."""
    if isinstance(x, str | Decimal):
        return Decimal(repr(value)) != Decimal(x)
    return value != x


def with_axis(loaded: Loaded, named: Axis) -> Loaded:
    """A stack whose frames have labels or values.

    Raises
    ------
    UsageError
        It is no stack, or has another number of frames.
    """
    picture = loaded.picture
    if named == Axis():
        return loaded
    block = labels(named, picture.frames)
    metadata = replace(picture.metadata, axis=block)
    return replace(loaded, picture=replace(picture, metadata=metadata))


def labels(named: Axis, frames: int | None) -> bytes | None:
    """The block of labels of so many frames; a UsageError where they cannot be called so."""
    if frames is None:
        raise UsageError("labels, values and unit are those of a stack; give stack=True")
    try:
        axis.unpack(block := named.pack(), frames)
    except ValueError as error:
        raise UsageError(
            f"the frames cannot be called so: {error}; give one for each of "
            f"{number_of(frames, 'frame')}"
        ) from error
    return block
