"""Samples of any type and number of channels as a TIFF, by Pillow's directory of tags.

Pillow has no image for such samples; their file is one strip behind a directory, as that of
its own uncompressed images is.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from PIL.TiffTags import TAGS_V2_GROUPS

from lowrank.errors import ImageError, LowrankError
from lowrank.io.wall import wall
from lowrank.picture import Mode, Picture

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _OFFSETS = 256, 257, 258, 259, 262, 273
_SAMPLES, _ROWS, _COUNTS, _PLANAR, _EXTRA, _FORMAT, _ICC = 277, 278, 279, 284, 338, 339, 34675
KINDS = {"u": 1, "i": 2, "f": 3}
_GREY, _RGB, _INTERLEAVED, _UNSPECIFIED = 1, 2, 1, 0
_MOST = 2**32 - 2**20  # bytes of samples: offsets have 32 bits, and the tags need some room


def write(picture: Picture, tags: Image.Exif | None, icc: bytes | None) -> bytes:
    """Write a picture of mode `array`; three or four channels are called red, green and blue.

    Parameters
    ----------
    picture : Picture
    tags : Exif or None
        Tags that go along.
    icc : bytes or None
        The colour profile.

    Raises
    ------
    ImageError
        More samples than a TIFF holds.
    """
    samples = np.ascontiguousarray(picture.samples)
    samples = samples.astype(samples.dtype.newbyteorder("<"), copy=False)
    if samples.nbytes > _MOST:
        raise ImageError("more than a TIFF of 4 GB holds; write .npy")
    channels = len(picture.mode.channels)
    colours = 3 if channels in (3, 4) else 1
    ifd = directory(tags, icc)
    layout: dict[int, Any] = {
        _WIDTH: picture.width,
        _HEIGHT: picture.height,
        _BITS: (picture.mode.bits,) * channels,
        _COMPRESSION: 1,
        _PHOTOMETRIC: _RGB if colours == 3 else _GREY,
        _OFFSETS: (0,),
        _SAMPLES: channels,
        _ROWS: picture.height,
        _COUNTS: (samples.nbytes,),
        _PLANAR: _INTERLEAVED,
        _FORMAT: (KINDS[samples.dtype.kind],) * channels,
    }
    if channels > colours:
        layout[_EXTRA] = (_UNSPECIFIED,) * (channels - colours)
    for tag, stated in layout.items():
        ifd[tag] = stated
    ifd.tagtype[_COUNTS] = ifd.tagtype[_OFFSETS] = ifd.tagtype[_ROWS] = 4  # LONG
    stream = BytesIO()
    ifd.save(stream)
    stream.write(samples.tobytes())
    return stream.getvalue()


def directory(
    tags: Image.Exif | None, icc: bytes | None, *, big: bool = False
) -> ImageFileDirectory_v2:
    """A directory of the metadata alone, in the byte order that we write; `big` of a BigTIFF."""
    head = b"II+\0\x08\0\0\0" + bytes(8) if big else b"II*\0" + bytes(4)
    ifd = ImageFileDirectory_v2(head)
    if tags is not None:
        for tag, value in tags.items():
            ifd[tag] = tags.get_ifd(tag) if tag in TAGS_V2_GROUPS else value
    if icc is not None:
        ifd[_ICC] = icc
    return ifd


def reader_notes(mode: Mode) -> tuple[str, ...]:
    """Say that Pillow, by which most programs in Python read, takes such samples for others.

    Two pixels tell, of the least samples and the largest: what Pillow makes of them differs by
    its version.
    """
    ends = mode.limits or (np.finfo(mode.dtype).min, np.finfo(mode.dtype).max)
    pixels = np.repeat(np.array(ends, mode.dtype), len(mode.channels)).reshape(1, 2, -1)
    data = write(Picture(pixels, mode), None, None)
    try:
        with wall("read TIFF", ""), Image.open(BytesIO(data)) as image:
            if np.array_equal(np.asarray(image).ravel(), pixels.ravel()):
                return ()
    except LowrankError:
        pass
    channels = f"{len(mode.channels)} channels" if len(mode.channels) > 1 else "one channel"
    return (f"Pillow misreads a TIFF of {channels} of {mode.dtype}: open it with tifffile.",)
