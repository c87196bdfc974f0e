"""Arrays of samples to pictures: of any number of channels, in any of numpy's types of numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lowrank.errors import ImageError, LimitError
from lowrank.io import nodata as missing
from lowrank.io.dtypes import typed
from lowrank.io.modes import check_finite
from lowrank.io.wall import naming, thin_wall
from lowrank.limits import DEFAULT_MAX_PIXELS
from lowrank.picture import MAX_CHANNELS, Loaded, Metadata, Picture, Source
from lowrank.picture.gaps import Mask, held

Samples = NDArray[np.generic]


def from_array(
    array: ArrayLike, *, max_pixels: int = DEFAULT_MAX_PIXELS, nodata: float | None = None
) -> Loaded:
    """Take an array of samples, which is copied.

    Parameters
    ----------
    array : (height, width) or (height, width, channels) array_like
        1 to 4096 channels of uint8, uint16, uint32, int8, int16, int32, float32 or float64, or
        one of bool; float16 and integers of 64 bits are kept in a type that holds them exactly.
        What a masked array hides has no data; its fill value, or `nodata`, stands there.
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
    array = gathered(computed(array))
    hidden, fill = masked(array)
    samples = asked(array)
    return loaded(samples, max_pixels=max_pixels, nodata=nodata, hidden=hidden, fill=fill)


def is_masked(array: Any) -> bool:
    """Whether a lazy array of dask holds masked ones."""
    return isinstance(getattr(array, "_meta", None), np.ma.MaskedArray)


def computed(array: Any) -> Any:
    """What a lazy array of masked ones comes to, as numpy would drop their masks; others as is."""
    if not is_masked(array):
        return array
    with thin_wall("compute a masked array", "give an array of numbers"):
        return array.compute()


def gathered(array: Any) -> Any:
    """Lists that hold masked arrays as one of those: numpy's asarray drops the masks; others as is.

    Their fill value is the first one's, which numpy's stack drops, too.
    """
    if not isinstance(array, list | tuple):
        return array
    parts = [gathered(x) for x in array]
    fills = [x.fill_value for x in parts if isinstance(x, np.ma.MaskedArray) and x.ndim]
    if not fills:
        return array
    with thin_wall("stack masked arrays", "give arrays of one shape"):
        one = np.ma.stack(parts)
    if fills[0] != one.fill_value:
        one.fill_value = fills[0]
    return one


def masked(array: Any) -> tuple[Mask | None, Any]:
    """What a masked array hides, and what stands for that; one without axes is no image."""
    if not isinstance(array, np.ma.MaskedArray) or not array.ndim:
        return None, None
    return np.ma.getmaskarray(array), array.fill_value


def asked(array: ArrayLike) -> Samples:
    """What numpy makes an array of.

    Raises
    ------
    ImageError
        Nothing, or of an object that is no sequence an array of that one object.
    """
    with thin_wall("make an array of it", "give an array of numbers"):
        samples = np.asarray(array)
    if samples.ndim == 0 and samples.dtype == object:
        raise ImageError(
            f"{type(array).__name__} is no image and no array of samples; give a path, an array, "
            "or a list of them"
        )
    return samples


@naming
def loaded(
    samples: Samples,
    *,
    name: str = "array",
    format: str = "array",
    size: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    nodata: float | None = None,
    stated: float | None = None,
    hidden: Mask | None = None,
    fill: Any = None,
    metadata: Metadata | None = None,
    notes: tuple[str, ...] = (),
    inks: bool = False,
) -> Loaded:
    """Take the samples of an array, or of a file that holds one; they are copied.

    Parameters
    ----------
    samples : (height, width) or (height, width, channels) ndarray
    name, format : str
        Of the source.
    size : int, optional
        Bytes of the source; by default, of the samples.
    max_pixels : int
    nodata, stated : float, optional
        What pixels without data hold: what the user says, and what the file does.
    hidden : ndarray of bool, optional
        Of the samples' shape: which have no data.
    fill : number, optional
        What stands there where `nodata` does not say it.
    metadata : Metadata, optional
    notes : tuple of str
        What is known already.
    inks : bool
        Four channels of 8 bits are CMYK.

    Raises
    ------
    ImageError, LimitError
        As for `from_array`.
    """
    shape = samples.shape
    if samples.ndim == 2:
        samples = samples[:, :, np.newaxis]
        hidden = None if hidden is None else hidden[:, :, np.newaxis]
    if samples.ndim != 3 or not 1 <= samples.shape[2] <= MAX_CHANNELS or 0 in shape:
        raise ImageError(
            f"an array of shape {shape} is not an image; "
            f"give (height, width) or (height, width, 1 to {MAX_CHANNELS})"
        )
    if shape[0] * shape[1] > max_pixels:
        raise LimitError(
            f"the array's {shape[1]} x {shape[0]} pixels are above the limit of {max_pixels:,}; "
            "raise the limit"
        )
    said = list(notes)
    kept, mode = typed(samples, said, inks=inks)
    empty = None if hidden is None else hidden_pixels(hidden[:, :, : mode.colours])
    if nodata is None and empty is not None and empty.any():
        nodata = filling(fill, kept.dtype)
    picture = Picture(kept, mode, metadata or Metadata())
    picture = missing.taken(picture, nodata, said, stated=stated, hidden=empty, came=samples.dtype)
    check_finite(picture.samples, mode)
    source = Source.of(name, format, mode, shape[1], shape[0], size or kept.nbytes)
    return Loaded(picture, source, tuple(said))


def filling(fill: Any, dtype: np.dtype[np.generic]) -> float:
    """The fill value of a masked array, which is to be one of its samples.

    Raises
    ------
    ImageError
        It is none: numpy's own for integers, 999999, is beyond most of their types.
    """
    value = float(fill)
    if math.isnan(held(value, dtype)) and not (math.isnan(value) and dtype.kind == "f"):
        raise ImageError(
            f"masked samples need a value that stands for them, and the mask's fill value, "
            f"{value:.9g}, is no {dtype}; give one as nodata"
        )
    return value


def hidden_pixels(hidden: Mask) -> Mask:
    """Which pixels a mask of samples hides, colours last.

    Raises
    ------
    ImageError
        It hides some channels of a pixel only.
    """
    whole = np.asarray(np.all(hidden, axis=-1), np.bool_)
    if not np.array_equal(whole, np.any(hidden, axis=-1)):
        raise ImageError("a mask that hides some channels of a pixel only; hide whole pixels")
    return whole
