"""TIFFs that are not read whole: one picture by bands of rows, pages one at a time.

What they are read as is what they are read as whole: samples, mode, metadata and notes. Where
that takes more than bytes as they stand, or a decoder's, they are none of these.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import replace
from functools import partial
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lowrank.errors import ImageError, LimitError, number_of
from lowrank.io import dtypes, metadata, pages, pillow, tiff, tifffile
from lowrank.io import nodata as missing
from lowrank.io.matrices import InFile, OfBands, OfFrames, of_channels
from lowrank.io.taking import Taking
from lowrank.io.wall import wall
from lowrank.limits import LARGE
from lowrank.picture import Source
from lowrank.picture.lazy import Lazy, LazyLoaded, Matrix

ANY = 1 << 62
"""The limit on pixels of what is not decoded whole."""
_LARGEST_BAND = 1 << 28  # bytes of rows that are decoded together
_BITS, _COMPRESSION, _PHOTOMETRIC, _OFFSETS, _COUNTS, _PLANAR = 258, 259, 262, 273, 279, 284
_UNCOMPRESSED = 1
_KINDS = ("L", "RGB", "RGBA", "I;16", "F")  # modes of pages that are read one at a time
_AS_THEY_STAND = ("L", "RGB", "RGBA", "I;16", "F;32F", "F;32BF")
"""Pillow's names of samples whose bytes in the file are those of the mode."""
_ADVICE = "the TIFF is damaged or of a rare kind"
_TAKEN_FOR_DATA = "The file states a no-data value ({:.9g}): its pixels were taken for data."


def of_path(path: str, taking: Taking, *, least: int, max_pixels: int) -> LazyLoaded | None:
    """One picture, or pages, of at least so many bytes of samples.

    None of what is to be read whole, and of what is small and hard to make out. Pages that are
    decoded are so whole: each of `max_pixels` at most.
    """
    if taking.axis is not None or isinstance(taking.frames, int):
        return None
    try:
        one = None
        if not taking.asked and tifffile.installed():
            one = _of_one_tiff(path, least)
        return one or _of_pages(path, taking, least, max_pixels)
    except ImageError:
        if os.path.getsize(path) >= LARGE:
            raise
        return None  # it is read whole, by whatever reads it


def _of_one_tiff(path: str, least: int) -> LazyLoaded | None:
    """One picture in tiles or strips, some rows of them at a time; None of several."""
    found = tifffile.bands(path)
    if found is None:
        return None
    by_pillow = not _is_tifffiles(path)
    if by_pillow and found.turned:
        return None  # Pillow turns it, as a whole
    mode = dtypes.mode_of(found.dtype, found.channels)
    band = found.rows * found.samples * found.dtype.itemsize
    size = found.height * found.width * found.channels * found.dtype.itemsize
    start = found.start()
    if mode is None or size < least or (start is None and band > _LARGEST_BAND):
        return None
    there = os.path.getsize(path)
    if start is not None:
        row = found.samples * found.dtype.itemsize
        if start + row * found.height > there:
            raise ImageError(f"{path} ends before its samples do; get it again")
        starts = start + np.arange(found.height, dtype=np.int64) * row
        lazy = of_channels(InFile(path, found.dtype, starts, found.samples), mode, found.channels)
    else:
        planes = [
            OfBands(
                found.height, found.samples, found.rows, found.dtype,
                partial(found.decoded, plane=plane),
            )
            for plane in range(found.channels if found.apart else 1)
        ]  # fmt: skip
        lazy = of_channels(planes[0], mode, 1 if found.apart else found.channels)
        lazy = replace(lazy, others=(*lazy.others, *planes[1:]))
    notes = list(found.notes)
    if by_pillow:
        with wall(f"read {path}", _ADVICE, ANY), Image.open(path) as image:
            carried, stated = metadata.of_image(image, notes), missing.stated_by(image)
    else:
        with open(path, "rb") as stream:
            carried, text = metadata.of_tiff(stream, notes)
        stated = missing.number(text)
    if stated is not None:
        notes.append(_TAKEN_FOR_DATA.format(stated))
    source = Source.of(path, "TIFF", mode, found.width, found.height, there)
    return LazyLoaded(replace(lazy, metadata=carried), source, tuple(notes))


def _of_pages(path: str, taking: Taking, least: int, max_pixels: int) -> LazyLoaded | None:
    """Pages of samples as they stand in the file; others are decoded, one at a time."""
    if _is_tifffiles(path):
        return None
    notes: list[str] = []
    with wall(f"read {path}", _ADVICE, ANY), Image.open(path) as image:
        count = getattr(image, "n_frames", 1)
        if count < 2 or image.mode not in _KINDS:
            return None
        width, height, channels = image.width, image.height, len(image.getbands())
        dtype = np.dtype({"I;16": "u2", "F": "f4"}.get(image.mode, "u1"))
        dtype = dtype.newbyteorder("<" if _low_first(path) else ">")
        length = width * height * channels
        if length * dtype.itemsize * count < least:
            return None
        chosen = taking.chosen(count)
        plain = set(np.ravel(_tags(image).get(_BITS, (8,)))) == {8 * dtype.itemsize}
        if chosen.step != 1 or not plain or _tags(image).get(_PHOTOMETRIC, 1) == 0:
            return None  # frames apart; or levels that Pillow turns over, or unpacks
        found = _starts(image, chosen, length * dtype.itemsize, notes)
        if found is None:
            return None
        image.seek(0)
        carried = metadata.of_image(image, notes)
        stated = missing.stated_by(image)
    if stated is not None:
        notes.append(_TAKEN_FOR_DATA.format(stated))
    mode = dtypes.mode_of(dtype, channels)
    if mode is None:
        return None
    size = os.path.getsize(path)
    starts, whole = found
    matrix: Matrix
    if whole:
        matrix = InFile(path, dtype, starts, length)
    elif width * height > max_pixels:
        raise LimitError(
            f"{path}: its {width:,} x {height:,} pixels are above the limit of {max_pixels:,} a "
            "frame; raise the limit"
        )
    else:
        decoded = _Pages(path, chosen, max_pixels).decoded
        native = dtype.newbyteorder("=")
        matrix = OfFrames(len(chosen), length, native, decoded)
    lazy = Lazy(matrix, mode, height, width, len(chosen), carried)
    source = Source(path, "TIFF", mode.title, width, height, size)
    notes.append(pages.taken_for(lazy, f"its {number_of(len(chosen), 'image')}"))
    return LazyLoaded(lazy, source, tuple(dict.fromkeys(notes)))


def _starts(
    image: Image.Image, chosen: range, size: int, notes: list[str]
) -> tuple[NDArray[np.int64], bool] | None:
    """Where the samples of each page start, and whether all stand there as they are.

    None of pages that are not alike, or whose samples Pillow takes for others.
    """
    first = image.width, image.height, image.mode
    starts, whole = np.zeros(len(chosen), np.int64), True
    for i, number in enumerate(chosen):
        image.seek(number)
        if (image.width, image.height, image.mode) != first:
            return None
        tags, raw = _tags(image), pillow.raw_mode(image)
        whole = whole and raw in _AS_THEY_STAND and _in_one_piece(tags, size)
        starts[i] = next(iter(tags.get(_OFFSETS, ())), 0)
        if pillow.declared(image, raw, b"", notes) is not None:
            return None
    return starts, whole


def _in_one_piece(tags: Any, size: int) -> bool:
    """Whether a page is so many bytes side by side, without compression, the right way up."""
    offsets, counts = tags.get(_OFFSETS, ()), tags.get(_COUNTS, ())
    ends = (start + count for start, count in zip(offsets, counts, strict=False))
    return (
        bool(offsets) and sum(counts) == size
        and all(end == start for end, start in zip(ends, offsets[1:], strict=False))
        and tags.get(_COMPRESSION, 1) == _UNCOMPRESSED and tags.get(_PLANAR, 1) == 1
        and tags.get(metadata.ORIENTATION, 1) == 1
    )  # fmt: skip


def _is_tifffiles(path: str) -> bool:
    """Whether a TIFF is one that Pillow does not keep whole."""
    with (
        open(path, "rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        return tiff.beyond_pillow(data)


def _low_first(path: str) -> bool:
    """Whether a TIFF has its low bytes first."""
    with open(path, "rb") as stream:
        return stream.read(2) == b"II"


def _tags(image: Image.Image) -> Any:
    return getattr(image, "tag_v2", {})


class _Pages:
    """Pages of one TIFF, which stays open.

    Pillow has no name of it: what it maps by one it scrambles, where a tag turns the samples.
    """

    def __init__(self, path: str, chosen: range, max_pixels: int) -> None:
        self._path, self._chosen, self._max_pixels = path, chosen, max_pixels
        self._stream: BinaryIO | None = None
        self._image: Image.Image | None = None

    def __del__(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def decoded(self, i: int) -> Any:
        with wall(f"read {self._path}", _ADVICE, self._max_pixels):
            if self._image is None:
                self._stream = open(self._path, "rb")  # noqa: SIM115 - as long as this is there
                self._image = Image.open(self._stream)
            self._image.seek(self._chosen[i])
            return pages.frame(self._image)[0]
