"""Samples of a PGM or PPM as they stand in the file.

Pillow stretches samples whose maximum is another than 255 or 65535 to one of these; a
10-bit level of 1023 would come out as 65535. Colour of more than 8 bits is left to it:
no mode holds it.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lowrank.errors import ImageError
from lowrank.io.tiff import Reader


def check(
    image: Image.Image, data: bytes, args: tuple[Any, ...], notes: list[str]
) -> Reader | None:
    """Compare an opened PNM with its header.

    Parameters
    ----------
    image : Image
        Not yet loaded.
    data : bytes
        The file.
    args : tuple
        What Pillow tells its decoder: a raw mode and, where it would stretch, the maximum.
    notes : list of str

    Returns
    -------
    Reader or None
        What gives the samples unstretched.
    """
    scale = image.info.get("scale", 1)
    if scale != 1:
        notes.append(f"Left out: the scale of this PFM, {scale:g}.")
    if len(args) != 2 or image.mode not in ("L", "I", "RGB"):
        return None
    maximum, bands = args[1], len(image.getbands())
    usual = 65535 if image.mode == "I" else 255
    if maximum == usual or (maximum > 255 and bands == 3):
        return None
    samples = _samples(data, image, maximum, bands)
    notes.append(f"Samples go from 0 to {maximum}, as in the file: {maximum} is white.")
    return lambda image: (samples, "I" if image.mode == "I" else image.mode)


def _samples(data: bytes, image: Image.Image, maximum: int, bands: int) -> NDArray[np.generic]:
    start = image.tile[0].offset  # type: ignore[attr-defined]
    width, height = image.size
    count = width * height * bands
    dtype = np.dtype("u1" if maximum < 256 else ">u2")
    found: NDArray[np.generic]
    if data[:2] in (b"P2", b"P3"):
        words = re.sub(rb"#[^\r\n]*", b"", data[start:]).split(maxsplit=count)[:count]
        if any(not word.isdigit() or len(word) > 10 for word in words):
            raise ImageError("its samples are not all numbers; the file is damaged")
        found = np.array([int(word) for word in words], np.int64)
    else:
        whole = (len(data) - start) // dtype.itemsize
        found = np.frombuffer(data, dtype, min(count, whole), start)
    if len(found) < count:
        raise ImageError(f"it ends after {len(found):,} of {count:,} samples; get it again")
    largest = int(found.max())
    if largest > maximum:
        raise ImageError(
            f"it has a sample of {largest} where {maximum} is the largest; get it again"
        )
    samples = found.reshape((height, width, bands) if bands > 1 else (height, width))
    return samples.astype(np.uint8 if maximum < 256 else np.uint16)
