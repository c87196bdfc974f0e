"""Arrays of samples to pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from lowrank.errors import ImageError, LimitError
from lowrank.io import nodata as missing
from lowrank.io.modes import check_finite
from lowrank.io.wall import one_line
from lowrank.limits import DEFAULT_MAX_PIXELS
from lowrank.picture import MODES, Loaded, Picture, Source
from lowrank.picture.gaps import Mask


def from_array(
    array: ArrayLike, *, max_pixels: int = DEFAULT_MAX_PIXELS, nodata: float | None = None
) -> Loaded:
    """Take an array of samples, which is copied.

    Parameters
    ----------
    array : (height, width) or (height, width, channels) array_like
        uint8 with 1 to 4 channels (grey, grey + alpha, RGB, RGBA), or one channel of
        bool, uint16 or float; wider floats are rounded to float32, with a note. What a
        masked array hides has no data; its fill value, or `nodata`, stands there.
    max_pixels : int
        An array of more is refused.
    nodata : float, optional
        Pixels of this value have no data, and are filled.

    Raises
    ------
    ImageError
        Another shape or dtype, no samples, or samples that are not finite.
    LimitError
        More than `max_pixels` pixels.
    """
    hidden = None
    if isinstance(array, np.ma.MaskedArray):
        hidden = np.ma.getmaskarray(array)
        nodata = float(array.fill_value) if nodata is None and hidden.any() else nodata
    try:
        samples = np.asarray(array)
    except (TypeError, ValueError) as error:
        raise ImageError(f"not an array of samples ({one_line(error)})") from error
    shape = samples.shape
    if samples.ndim == 2:
        samples = samples[:, :, np.newaxis]
        hidden = None if hidden is None else hidden[:, :, np.newaxis]
    if samples.ndim != 3 or not 1 <= samples.shape[2] <= 4 or 0 in shape:
        raise ImageError(
            f"an array of shape {shape} is not an image; "
            "give (height, width) or (height, width, 1 to 4)"
        )
    if shape[0] * shape[1] > max_pixels:
        raise LimitError(
            f"the array's {shape[1]} x {shape[0]} pixels are above the limit of {max_pixels:,}; "
            "raise the limit"
        )
    channels, dtype = samples.shape[2], samples.dtype
    if dtype == np.uint8:
        mode = MODES[("L", "LA", "RGB", "RGBA")[channels - 1]]
    elif channels == 1 and dtype.kind == "b":
        mode = MODES["1"]
    elif channels == 1 and dtype.kind == "u" and dtype.itemsize == 2:
        mode = MODES["I;16"]
    elif channels == 1 and dtype.kind == "f":
        mode = MODES["F"]
    else:
        raise ImageError(
            f"{channels} channel(s) of {dtype} are not an image; "
            "give uint8, or one channel of bool, uint16 or float"
        )
    with np.errstate(over="ignore"):  # what overflows is refused as infinite
        stored = np.array(samples, dtype=mode.dtype, order="C")
    notes: list[str] = []
    if mode.name == "F" and not np.array_equal(stored, samples, equal_nan=True):
        notes.append(f"Samples of {dtype} were rounded to float32.")
    empty = None if hidden is None else _hidden_pixels(hidden[:, :, : mode.colours])
    picture = missing.taken(Picture(stored, mode), nodata, notes, hidden=empty)
    check_finite(picture.samples, mode)
    source = Source("array", "array", mode.name, shape[1], shape[0], stored.nbytes)
    return Loaded(picture, source, tuple(notes))


def _hidden_pixels(hidden: Mask) -> Mask:
    whole = np.asarray(np.all(hidden, axis=2), np.bool_)
    if not np.array_equal(whole, np.any(hidden, axis=2)):
        raise ImageError("a mask that hides some channels of a pixel only; hide whole pixels")
    return whole
