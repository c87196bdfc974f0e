"""Pixels without data in what was read: taken out on request, else said where they are likely."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from PIL import Image

from lowrank.errors import ImageError, number_of
from lowrank.picture import Picture, gaps
from lowrank.picture.gaps import Mask

GDAL = 42113
"""The tag of a TIFF that states the value, as text."""


def taken(
    picture: Picture, value: float | None, notes: list[str], *, stated: float | None = None,
    hidden: Mask | None = None, came: np.dtype[Any] | None = None,
) -> Picture:  # fmt: skip
    """Fill the pixels without data.

    Parameters
    ----------
    picture : Picture
    value : float or None
        What such pixels hold; None where nobody asked for any to be left out.
    notes : list of str
        Receives what was done; or that samples look like marks for no data.
    stated : float, optional
        What the file says that such pixels hold.
    hidden : (height, width) ndarray of bool, optional
        Where they are, instead of where the value is.
    came : dtype, optional
        The type that the samples came in, where that may be another.

    Raises
    ------
    ImageError
        No sample of the mode is the value.
    """
    value, stated = (_of_type(x, came) for x in (value, stated))
    if value is None:
        notes.extend(_suspicion(picture, stated))
        return picture
    dtype = picture.samples.dtype
    if hidden is None:
        held = gaps.meant(picture.samples, picture.mode.colours, value)
    else:
        held = gaps.held(value, dtype)
    if math.isnan(held) and not (math.isnan(value) and dtype.kind == "f"):
        raise ImageError(f"no sample of {dtype} is {value:.9g}; give a no-data value that is one")
    empty = gaps.where(picture.samples, picture.mode.colours, held) if hidden is None else hidden
    count = int(empty.sum())
    if not count:
        notes.append(f"No pixel is {value:.9g}: nothing was taken for missing data.")
    else:
        have = "has" if count == 1 else "have"
        notes.append(
            f"{count:,} of {number_of(empty.size, 'pixel')} {have} no data ({value:.9g}): filled "
            "for the factorisation, restored after decoding, left out of the errors of pixels."
        )
    some = 0
    if hidden is None and picture.mode.colours > 1 and not math.isnan(value):  # NaN is refused
        some = gaps.partly(picture.samples, picture.mode.colours, held)
    if some:
        notes.append(
            f"{number_of(some, 'pixel', 'is', 'are')} {value:.9g} in some channels only: taken for "
            "data."
        )
    return gaps.filled(picture, empty, held)


def stated_by(image: Image.Image) -> float | None:
    """The no-data value that a TIFF states, as GDAL writes it."""
    return number(getattr(image, "tag_v2", {}).get(GDAL))


def number(text: object) -> float | None:
    """The no-data value of the text of GDAL's tag; None where that is none."""
    try:
        return float(str(text).strip("\0 ")) if text is not None else None
    except ValueError:
        return None


def _of_type(value: float | None, dtype: np.dtype[Any] | None) -> float | None:
    """The value as half floats hold it, which are kept in a wider type; of others as it is."""
    if value is None or dtype is None or dtype.kind != "f" or dtype.itemsize > 2:
        return value
    held = gaps.held(value, dtype)
    return value if math.isnan(held) else held


def _suspicion(picture: Picture, stated: float | None) -> list[str]:
    samples, mode = picture.samples, picture.mode
    if stated is not None:
        meant = gaps.meant(samples, mode.colours, stated)
        count = int(gaps.where(samples, mode.colours, meant).sum())
        if not count:
            return []
        return [
            f"{number_of(count, 'pixel', 'has', 'have')} the no-data value that the file states: "
            f"taken for data; --nodata {stated:.9g} leaves out what has it."
        ]
    found = gaps.suspected(samples) if mode.name == "F" else None
    if found is None:
        return []
    lie = "lies" if found[1] == 1 else "lie"
    return [
        f"{number_of(found[1], 'sample')} of {found[0]:.9g} {lie} far from all others: taken for "
        f"data; if that means that there is none, --nodata {found[0]:.9g} leaves it out."
    ]
