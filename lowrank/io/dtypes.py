"""Samples in any of numpy's types of numbers, in one that a picture may have.

What the modes of Pillow hold becomes one of these; all else is mode `array`, of the type that
it has. Half floats and integers of 64 bits become the narrowest type that holds them exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import ImageError, number_of
from lowrank.picture import DTYPES, MODES, Mode, array_mode

Samples = NDArray[np.generic]

_OF_BYTES = ("L", "LA", "RGB", "RGBA")
_OF_ONE = {"uint16": "I;16", "float32": "F"}
_NARROWER = ("uint8", "uint16", "int16", "int32", "uint32")  # than 64 bits, the first that holds


def typed(samples: Samples, notes: list[str], *, inks: bool = False) -> tuple[Samples, Mode]:
    """Copy samples in a type that a picture may have, and give its mode.

    Parameters
    ----------
    samples : (..., channels) ndarray
        Of one picture, or of a stack.
    notes : list of str
        Receives what changes.
    inks : bool
        Four channels of 8 bits are cyan, magenta, yellow and black.

    Returns
    -------
    samples : (..., channels) ndarray, C-contiguous, in the mode's dtype
    mode : Mode

    Raises
    ------
    ImageError
        They are no numbers of a type that can be kept.
    """
    channels, dtype = samples.shape[-1], samples.dtype
    name = _type_of(samples, channels, notes)
    if dtype.kind == "b":
        mode = MODES["1"]
    elif name == "uint8" and channels <= len(_OF_BYTES):
        mode = MODES["CMYK" if inks and channels == 4 else _OF_BYTES[channels - 1]]
    elif channels == 1 and name in _OF_ONE:
        mode = MODES[_OF_ONE[name]]
    else:
        mode = array_mode(name, channels)
    with np.errstate(over="ignore"):  # longdoubles beyond float64 are infinite, and refused as such
        return np.array(samples, dtype=mode.dtype, order="C"), mode


def named(dtype: np.dtype[Any]) -> str:
    """What a type is called, whatever the order of its bytes."""
    return dtype.newbyteorder("=").name


def _type_of(samples: Samples, channels: int, notes: list[str]) -> str:
    """The name of the type that samples are kept in."""
    dtype = samples.dtype
    native = dtype.newbyteorder("=")
    if native.name in DTYPES:
        return native.name
    if dtype.kind == "b" and channels == 1:
        return "uint8"
    if dtype.kind == "f" and dtype.itemsize == 2:
        notes.append("Samples of float16 are kept as float32, which holds them exactly.")
        return "float32"
    if dtype.kind == "f":  # numpy's longdouble
        with np.errstate(over="ignore"):
            exact = np.array_equal(samples.astype(np.float64), samples, equal_nan=True)
        how = "are kept as float64, exactly" if exact else "were rounded to float64"
        notes.append(f"Samples of {native.name} {how}.")
        return "float64"
    if dtype.kind not in "iu":
        raise ImageError(
            f"{number_of(channels, 'channel')} of {native.name} cannot be an image; "
            "give integers or floats, or one channel of bool"
        )
    low, high = (int(x) for x in (samples.min(), samples.max())) if samples.size else (0, 0)
    for name in _NARROWER:
        limits = np.iinfo(name)
        if limits.min <= low and high <= limits.max:
            notes.append(f"Samples of {native.name} are kept as {name}, which holds them exactly.")
            return name
    raise ImageError(
        f"samples of {native.name} from {low} to {high} fit no integer of 32 bits; "
        "scale them first, or give float64"
    )


def mode_of(dtype: np.dtype[Any], channels: int) -> Mode | None:
    """The mode of samples that are kept as they are; None of a type that none is of."""
    if dtype.newbyteorder("=").name not in DTYPES:
        return None
    return typed(np.empty((0, channels), dtype), [])[1]
