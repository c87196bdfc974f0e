"""JPEG XL: read through pillow-jxl-plugin (the extra `jxl`); to compare, through imagecodecs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank.io.wall import wall

_STARTS = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")


def is_jxl(data: bytes) -> bool:
    """Whether bytes are those of a JPEG XL: a codestream, or one in boxes."""
    return data.startswith(_STARTS)


def register() -> bool:
    """Let Pillow open JPEG XL, if a library for it is installed."""
    try:
        import pillow_jxl  # noqa: F401 - importing it registers its format
    except ImportError:
        return False
    return True


def codes() -> bool:
    """Whether a library that writes what there is to compare with is installed."""
    try:
        import imagecodecs
    except ImportError:
        return False
    return bool(imagecodecs.JPEGXL.available)


def coded(samples: NDArray[Any], distance: float) -> tuple[int, NDArray[Any]]:
    """Bytes of samples at a distance, and what is decoded of them.

    Samples of 16 bits are spread over all of these, which a distance is of.

    Raises
    ------
    ImageError
        The library fails.
    """
    import imagecodecs

    low, gain = 0.0, 1.0
    spread = samples
    if samples.dtype.itemsize > 1:
        low = float(samples.min())
        gain = 65535 / max(float(samples.max()) - low, 1.0)
        spread = np.rint((samples - low) * gain).astype(np.uint16)
    with wall("write JPEG XL", "leave it out"):
        data = imagecodecs.jpegxl_encode(spread, distance=distance, effort=7)
        back = imagecodecs.jpegxl_decode(data)
    if gain != 1:
        back = np.rint(back / gain + low).astype(samples.dtype)
    return len(data), back
