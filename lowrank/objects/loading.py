"""A picture or a stack from wherever it is: a path, several, an array, a lazy array.

>>> import numpy as np
>>> load(np.zeros((24, 6, 8), np.float32), taking=Taking(stack=True)).picture.frames
24
"""

from __future__ import annotations

import numbers
import os
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import PIL.Image

from lowrank import files, streams, targets
from lowrank.errors import ArgumentError, ImageError, UsageError
from lowrank.io import arrays, npy, pages, pillow, sources, zarr
from lowrank.io.taking import USUAL, Taking
from lowrank.limits import DEFAULT_MAX_PIXELS, STACK
from lowrank.picture import Loaded, Metadata

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from lowrank.streams import FileLike


def load(
    image: Any,
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    nodata: float | None = None,
    taking: Taking = USUAL,
) -> Loaded:
    """Read an image, or a stack, from wherever it is.

    Raises
    ------
    ImageError, LimitError, FileError, UsageError
        It cannot be read, or is not what was asked for.
    """
    max_pixels, nodata = targets.pixels(max_pixels), targets.missing(nodata)
    if isinstance(image, str | os.PathLike):
        return read(streams.named(image), max_pixels=max_pixels, nodata=nodata, taking=taking)
    if _is_file(image):
        data, name = streams.read(cast("FileLike", image))
        return sources.read(data, name=name, max_pixels=max_pixels, nodata=nodata, taking=taking)
    with telling(image):
        if isinstance(image, PIL.Image.Image) and _is_closed(image):
            raise ArgumentError("the image is closed; compress it while it is open")
        if isinstance(image, PIL.Image.Image) and not taking.asked:
            return pillow.from_pillow(image, max_pixels=max_pixels, nodata=nodata)
        if held := _images(image) if taking.asked else []:
            if taking.axis is not None:
                raise UsageError("axis is one of an array, and an image is none; leave it out")
            return pages.of_images(held, max_pixels=max_pixels, nodata=nodata)
        if not taking.asked and not sources.is_stack(image):
            loaded = arrays.from_array(
                cast("ArrayLike", image), max_pixels=max_pixels, nodata=nodata
            )
            return sources.told(loaded)
        return read(image, max_pixels=max_pixels, nodata=nodata, taking=taking)


@contextmanager
def telling(image: object) -> Iterator[None]:
    """Tell what is wrong with samples that are given as an object as an error of the argument."""
    try:
        yield
    except ImageError as error:
        if isinstance(error, ArgumentError) or _is_path(image) or _is_file(image):
            raise
        raise ArgumentError(str(error)) from error


def read(
    source: Any,
    *,
    data: bytes = b"",
    max_pixels: int = DEFAULT_MAX_PIXELS,
    nodata: float | None = None,
    taking: Taking = USUAL,
) -> Loaded:
    """Read a picture or a stack from a path, several paths, an array or a lazy array.

    `data` is the file of the path, where that is read already.

    Raises
    ------
    ImageError, LimitError, FileError, UsageError
        It cannot be read, or is not what was asked for.
    """
    if isinstance(source, list | tuple) and source and all(map(_is_path, source)):
        return sources.of_files(
            [os.fspath(x) for x in source], files.read_bytes, max_pixels=max_pixels,
            nodata=nodata, taking=taking,
        )  # fmt: skip
    if _is_path(source):
        name = os.fspath(source)
        if zarr.is_array(name) or (taking.asked and os.path.isdir(name)):
            return sources.of_directory(
                name, files.read_bytes, max_pixels=max_pixels, nodata=nodata, taking=taking
            )
        if name.lower().endswith(".npy") and files.regular(name):
            return sources.of_array(
                npy.mapped(name, max_pixels=max_pixels * STACK), name=name, format="NPY",
                size=os.path.getsize(name), max_pixels=max_pixels, nodata=nodata, taking=taking,
            )  # fmt: skip
        data = data or files.read_bytes(name)
        return sources.read(data, name=name, max_pixels=max_pixels, nodata=nodata, taking=taking)
    return sources.of_array(
        source, max_pixels=max_pixels, nodata=nodata, taking=taking, stacks=False
    )


def taken(stack: object, axis: object) -> Taking:
    """How an array is to be seen, as `stack` and `axis` of the library say it.

    Raises
    ------
    UsageError
        `stack` is neither true nor false, or the axis no whole number.
    """
    stack = targets.truth(stack, "stack")
    if not (isinstance(axis, numbers.Integral) and targets.is_real(axis)):
        raise UsageError(f"axis {reprlib.repr(axis)} does not do; give a whole number, or -1")
    return Taking(stack or axis != 0, int(axis) if axis else None)


def carrying(loaded: Loaded, before: Metadata) -> Loaded:
    """What is compressed again keeps its metadata: samples alone do not say what it had."""
    if before == Metadata():
        return loaded
    picture = loaded.picture
    metadata = replace(before, nodata=picture.metadata.nodata)
    return replace(loaded, picture=replace(picture, metadata=metadata))


def _images(source: object) -> list[PIL.Image.Image]:
    """Images that Pillow holds, one or several; none of anything else."""
    if isinstance(source, PIL.Image.Image):
        return [source]
    if not isinstance(source, list | tuple):
        return []
    held = [x for x in source if isinstance(x, PIL.Image.Image)]
    return held if len(held) == len(source) else []


def _is_path(x: object) -> bool:
    return isinstance(x, str | os.PathLike)


def _is_closed(image: PIL.Image.Image) -> bool:
    if getattr(image, "tile", None):  # its samples are in the file still
        return getattr(image, "fp", None) is None
    try:
        return image.im is None
    except ValueError:
        return True


def _is_file(image: object) -> bool:
    """Whether it is the name or the bytes of a file, or one that is open: not samples."""
    if isinstance(image, memoryview):
        return image.ndim == 1
    plain = isinstance(image, str | os.PathLike | bytes | bytearray)
    return plain or (hasattr(image, "read") and not hasattr(image, "__array__"))
