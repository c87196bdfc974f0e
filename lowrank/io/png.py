"""Colour of 16 bits in PNG, through imagecodecs where that is installed: the extra `png`.

Pillow keeps the upper 8 bits of such samples. It reads the metadata all the same, and writes
them here: into a picture of one pixel, whose chunks the real samples get.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lowrank.errors import ImageError, pip_install
from lowrank.io.pngwriter import PIXELS, SIGNATURE, chunks, metadata_in
from lowrank.picture import Picture

if TYPE_CHECKING:
    from lowrank.io.tiff import Reader


def reader(data: bytes) -> Reader | None:
    """What takes the samples of a PNG whole; None where nothing is installed that does.

    A transparent colour becomes an alpha channel, matched by all of its bits.
    """
    try:
        import imagecodecs
    except ImportError:
        return None
    return lambda _: (np.asarray(imagecodecs.png_decode(data)), "array")


def write(picture: Picture, like: bytes, *, level: int) -> bytes:
    """Encode 2 to 4 channels of 16 bits, with the metadata of another PNG.

    Parameters
    ----------
    picture : Picture
    like : bytes
        A PNG whose chunks but for header and pixels are taken over.
    level : int
        Of zlib, 0 to 9.
    """
    try:
        import imagecodecs
    except ImportError as error:
        raise ImageError(
            f"16-bit colour in a PNG needs imagecodecs; {pip_install('png')}, or write .tif or .npy"
        ) from error
    # Level 1 of zlib-ng, which newer releases have, takes 30% more bytes than 2, and no less time.
    quick = 2 if level == 1 else level
    data = bytes(imagecodecs.png_encode(picture.samples, level=quick))
    made = list(chunks(data))
    pixels = [chunk for kind, chunk in made[1:] if kind in PIXELS]
    return b"".join((SIGNATURE, made[0][1], *metadata_in(like), *pixels))
