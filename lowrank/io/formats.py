"""The one table of image formats: suffixes, names, what each holds, whether it is read or written.

Formats that are read form an allow-list of plain decoders with a signature. Left out
on purpose: EPS (runs Ghostscript), WMF (runs the system's drawing code), FITS (gzip
without a limit), TGA (no signature: noise passes for an image), and rarely tested ones.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import NamedTuple

from lowrank.errors import ImageError, UsageError
from lowrank.picture import ARRAY, DTYPES, MAX_CHANNELS, MODES, Mode, Picture

_COLOUR = ("RGB", "RGBA")


class Format(NamedTuple):
    """A format by Pillow's name, or ours where Pillow has none.

    Attributes
    ----------
    name : str
    suffixes : dict of str to tuple of str
        Each suffix, in small letters, and the modes that a file of it holds without loss;
        none where the format is read only.
    metadata : bool
        It holds EXIF, ICC and XMP.
    extra : str
        The extra of `pyproject.toml` that reads it, where Pillow alone does not.
    arrays : tuple of str, range
        Types and numbers of channels of the mode `array` that its files hold.
    pillow : bool
        Pillow reads and writes it, by itself or through the extra.
    side : int
        Most pixels of a side that what writes it here takes.
    """

    name: str
    suffixes: dict[str, tuple[str, ...]]
    metadata: bool = False
    extra: str = ""
    arrays: tuple[tuple[str, ...], range] = ((), range(0))
    pillow: bool = True
    side: int = 2**31 - 1

    @property
    def modes(self) -> tuple[str, ...]:
        """Modes that some file of the format holds without loss."""
        return tuple(dict.fromkeys(mode for modes in self.suffixes.values() for mode in modes))

    def holds(self, mode: Mode, suffix: str | None = None) -> bool:
        """Whether a file of the format, or of one of its suffixes, holds a mode without loss."""
        if mode.name == ARRAY:
            dtypes, channels = self.arrays
            return mode.dtype in dtypes and len(mode.channels) in channels
        return mode.name in (self.modes if suffix is None else self.suffixes[suffix])


_ALL, _JPEG = tuple(MODES), ("L", "RGB", "CMYK")
_ANY = DTYPES, range(1, MAX_CHANNELS + 1)
_TABLE = (
    Format(
        "PNG",
        {".png": ("1", "L", "LA", "I;16", *_COLOUR)},
        metadata=True,
        arrays=(("uint16",), range(2, 5)),
    ),
    Format("TIFF", dict.fromkeys((".tif", ".tiff"), _ALL), metadata=True, arrays=_ANY),
    Format(
        "JPEG", dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), _JPEG), metadata=True, side=65_500
    ),
    # Grey as equal red, green and blue.
    Format("WEBP", {".webp": ("L", "LA", *_COLOUR)}, metadata=True, side=16_383),
    Format("JPEG2000", {".jp2": ("L", "LA", "I;16", *_COLOUR)}),
    Format("BMP", {".bmp": ("1", "L", "RGB")}),
    Format(
        "PPM",
        {
            ".pbm": ("1",),
            ".pgm": ("L", "I;16"),
            ".ppm": ("RGB",),
            ".pfm": ("F",),
            ".pnm": ("1", "L", "I;16", "RGB", "F"),
        },
    ),
    Format("QOI", {".qoi": _COLOUR}),
    Format("GIF", {".gif": ()}, side=65_535),
    Format("AVIF", {".avif": ()}, side=65_536),
    Format("HEIF", {".heic": (), ".heif": (), ".hif": ()}, extra="heif"),
    Format("JXL", {".jxl": ()}, extra="jxl", side=2**30 - 1),
    Format("NPY", {".npy": _ALL}, arrays=_ANY, pillow=False),
    Format("NPZ", {".npz": ()}, pillow=False),
)
FORMATS = {format.name: format for format in _TABLE}

READABLE = tuple(name for name, x in FORMATS.items() if x.pillow and not x.extra)
"""Formats that Pillow itself reads, by its names (a JPEG may turn out to be an MPO)."""
TAKEN = ", ".join((*READABLE, *FORMATS["NPY"].suffixes, *FORMATS["NPZ"].suffixes))
"""What is read without an extra, for messages."""
WRITABLE = tuple(name for name, x in FORMATS.items() if x.pillow and x.modes)
"""Formats that Pillow writes."""
SUFFIXES = frozenset(suffix for format in _TABLE for suffix in format.suffixes)
"""What images in a folder are known by."""

_WRITTEN = {suffix: format for format in _TABLE if format.modes for suffix in format.suffixes}

STACKS = {".tif": "TIFF", ".tiff": "TIFF", ".npy": "NPY", ".gif": "GIF"}
"""Suffixes of files that hold a stack, and the name of each format."""
ZARR = ".zarr"
"""Suffix of a folder that does: an array of zarr."""
WRITTEN = tuple(dict.fromkeys((*_WRITTEN, *STACKS)))
"""Suffixes that outputs may have."""


def default_suffix(mode: Mode) -> str:
    """Give the suffix of the usual lossless format for a mode."""
    return ".png" if mode.name in FORMATS["PNG"].modes else ".tif"  # which holds any array


def format_for(path_or_suffix: str, mode: Mode) -> str:
    """Give Pillow's name of the format for an output.

    Parameters
    ----------
    path_or_suffix : str
        `out.png`, `.png` or `png`.
    mode : Mode
        The mode that it has to hold.

    Raises
    ------
    UsageError
        No such format is written.
    ImageError
        The format cannot hold the mode without loss.
    """
    path = PurePath(path_or_suffix)
    suffix = (path.suffix or f".{path.name.removeprefix('.')}").lower()
    if suffix not in _WRITTEN:
        raise UsageError(
            f"no image format for {path_or_suffix}; end it in one of {', '.join(_WRITTEN)}"
        )
    format = _WRITTEN[suffix]
    check_holds(mode, format, suffix)
    return format.name


def check_holds(mode: Mode, format: Format, suffix: str | None = None) -> None:
    """Refuse a mode that the format, or its files of a suffix, cannot hold."""
    if not format.holds(mode, suffix):
        what = mode.title if mode.name == ARRAY else f"mode {mode.name}"
        raise ImageError(
            f"{suffix or format.name} cannot hold {what} without loss; write {default_suffix(mode)}"
        )


def check_fits(picture: Picture, format: str, instead: str) -> None:
    """Refuse a side that is longer than a format has; `instead` is what holds it."""
    most = FORMATS[format].side
    if max(picture.height, picture.width) > most:
        raise ImageError(
            f"{format} holds {most:,} pixels a side, and not more, and this is "
            f"{picture.width}x{picture.height}; write {instead}"
        )
