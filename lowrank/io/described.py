"""What ImageJ, OME and tifffile say of the axes of a TIFF: whether it is true of what is written.

They travel in the EXIF. A part of a stack, a picture that was turned or one whose bands were apart
has other axes, and programs that go by such a description would read other samples, or none.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

from lowrank.io.metadata import (
    DESCRIPTION_TAG,
    EXIF_PREFIX,
    IMAGEJ,
    NO_AXES,
    OF_AXES,
    SHAPED,
    exif_tags,
)
from lowrank.io.wall import tolerated
from lowrank.picture import Metadata

_SIZES = tuple(re.compile(rf'\bSize{axis}="(\d+)"') for axis in "TZCYX")


def of_shape(metadata: Metadata, shape: tuple[int, ...]) -> tuple[Metadata, tuple[str, ...]]:
    """Take a description of axes out that is not true of samples, and say so.

    Parameters
    ----------
    metadata : Metadata
    shape : tuple of int
        (frames, height, width, channels), with 1 for the frames of one picture.
    """
    block = metadata.exif
    if block is None or not any(start.encode() in block for start in OF_AXES):
        return metadata, ()
    unread: list[str] = []
    with tolerated("damaged", unread):  # whoever writes it says so
        tags = exif_tags(block)
        text = str(tags.get(DESCRIPTION_TAG, ""))
        if not text.startswith(OF_AXES) or _is_true(text, shape):
            return metadata, ()
        del tags[DESCRIPTION_TAG]
        left = tags.tobytes().removeprefix(EXIF_PREFIX) if len(tags) else None
        return replace(metadata, exif=left), (NO_AXES,)
    return metadata, ()


def _is_true(text: str, shape: tuple[int, ...]) -> bool:
    frames, height, width, channels = shape
    if text.startswith(IMAGEJ):
        found = re.search(r"^images=(\d+)\s*$", text, re.MULTILINE)
        return (int(found[1]) if found else 1) == frames
    if text.startswith(SHAPED):
        try:
            said = json.loads(text)["shape"]
        except (ValueError, KeyError):
            return False
        return isinstance(said, list) and [x for x in said if x != 1] == [x for x in shape if x > 1]
    if text.count("<Pixels ") != 1 or "FileName=" in text:  # of several images, or in several files
        return False
    sizes = [[int(x) for x in size.findall(text)] for size in _SIZES]
    if any(len(size) != 1 for size in sizes):
        return False
    *planes, (h,), (w,) = sizes
    return (math.prod(x for (x,) in planes), h, w) == (frames * channels, height, width)
