"""Image files <-> pictures, by whatever library reads or writes them.

Pillow is asked for all that it keeps whole. What it does not hold goes to a library of its own,
where that is installed: TIFFs to `tifffile`, colour of 16 bits in PNG to `png`. Arrays of numpy
need none, and PNGs of 8 bits are written without. Each loads when a file needs it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lowrank.errors import called
from lowrank.io import formats, pngwriter
from lowrank.limits import DEFAULT_MAX_PIXELS
from lowrank.picture import ARRAY, MODES, Loaded, Metadata, Picture

ARRAYS = (b"\x93NUMPY", b"PK\3\4")
"""How files begin that may hold an array."""
_TIFFS = (b"II", b"MM")
_DEEP_PNG = (b"\x10\2", b"\x10\4", b"\x10\6")  # 16 bits, and a colour type with colour or alpha


def read(
    data: bytes,
    *,
    name: str,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    nodata: float | None = None,
) -> Loaded:
    """Decode the bytes of an image file, or of one that holds an array.

    Parameters
    ----------
    data : bytes
        The whole file.
    name : str
        Its path for messages, or `-` for standard input.
    max_pixels : int
        Largest width x height that is decoded; checked on the header.
    nodata : float, optional
        Pixels of this value have no data, and are filled.

    Raises
    ------
    ImageError
        Not an image, of a format that is not read, damaged, or of samples that cannot be kept.
    LimitError
        More than `max_pixels` pixels, or more than there is memory for.
    """
    from lowrank.io import pillow

    if data.startswith(ARRAYS):
        from lowrank.io import npy

        if npy.accepts(data):
            from lowrank.io import arrays

            kind = "NPZ" if data.startswith(b"PK") else "NPY"
            samples = npy.read(data, name=called(name), max_pixels=max_pixels)
            return arrays.loaded(
                samples, name=name, format=kind, size=len(data),
                max_pixels=max_pixels, nodata=nodata,
            )  # fmt: skip
    if data.startswith(_TIFFS):
        from lowrank.io import tiff

        if tiff.beyond_pillow(data):
            from lowrank.io import tifffile

            if tifffile.installed():
                return tifffile.read(data, name=name, max_pixels=max_pixels, value=nodata)
    reader = None
    if data[24:26] in _DEEP_PNG and data.startswith(b"\x89PNG"):
        from lowrank.io import png

        reader = png.reader(data)
    return pillow.read(data, name=name, max_pixels=max_pixels, nodata=nodata, reader=reader)


def write(picture: Picture, *, format: str, png_level: int = 1) -> bytes:
    """Encode a picture as a file of a format, with what metadata that holds.

    Parameters
    ----------
    picture : Picture
    format : str
        Name of the format, from `formats.format_for`.
    png_level : int
        As for `pillow.write`.

    Raises
    ------
    UsageError
        An unknown format or level.
    ImageError
        The format cannot hold the picture, or one so large, or what writes it is not installed.
    """
    if format == "NPY":
        from lowrank.io import npy

        samples = picture.samples.astype(picture.mode.own_dtype, copy=False)
        return npy.write(samples[..., 0] if samples.shape[-1] == 1 else samples)
    formats.check_fits(picture, format, formats.default_suffix(picture.mode))
    if format == "PNG" and png_level == 1 and picture.mode.name in pngwriter.COLOURS:
        return pngwriter.write(picture, _metadata_of(picture.metadata))
    if picture.mode.name != ARRAY:
        from lowrank.io import pillow

        return pillow.write(picture, format=format, png_level=png_level)
    from lowrank.io import metadata

    formats.check_holds(picture.mode, formats.FORMATS[format])
    kept, _ = metadata.kept_by(format, picture.metadata)
    if format == "TIFF":
        from lowrank.io import described, tiffwriter
        from lowrank.io.wall import wall

        kept, _ = described.of_shape(kept, (1, *picture.samples.shape))
        with wall("write TIFF", "choose another format"):
            tags = metadata.save_options("TIFF", replace(kept, icc=None)).get("exif")
            return tiffwriter.write(picture, tags, kept.icc)
    from lowrank.io import png

    return png.write(picture, _metadata_of(kept), level=png_level)


def _metadata_of(metadata: Metadata) -> bytes:
    """A PNG of one pixel that holds these; nothing where there are none."""
    if not _any(metadata):
        return b""
    from lowrank.io import pillow

    pixel = Picture(np.zeros((1, 1, 3), np.uint8), MODES["RGB"], metadata)
    return pillow.write(pixel, format="PNG")


def _any(metadata: Metadata) -> bool:
    """Whether there are blocks that a file of an image may hold."""
    return any(x is not None for x in (metadata.exif, metadata.icc, metadata.xmp))


def write_notes(picture: Picture, *, format: str) -> tuple[str, ...]:
    """Say what `write` leaves out of a file of this format, and who will not read it well."""
    notes: tuple[str, ...] = ()
    if _any(picture.metadata):
        from lowrank.io import pillow

        notes = pillow.write_notes(picture, format=format)
    if format == "TIFF" and picture.mode.name == ARRAY:
        from lowrank.io import tiffwriter

        notes += tiffwriter.reader_notes(picture.mode)
    return notes
