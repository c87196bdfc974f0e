"""TIFFs of what Pillow does not hold, through tifffile where that is installed: the extra `tiff`.

Colour of 16 bits and of floats, signed and wider integers, bands beyond the colours, planes,
and compressions that libtiff lacks. Samples come as they are stored: no palette is applied, and
white may be zero.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import ImageError, LimitError
from lowrank.io import arrays, metadata, nodata, tiff
from lowrank.io.wall import logged, thin_wall, wall
from lowrank.limits import DEFAULT_MAX_PIXELS, fits
from lowrank.picture import MAX_CHANNELS, Loaded

if TYPE_CHECKING:
    import tifffile

Samples = NDArray[np.generic]

_TILE = 1 << 22  # pixels of a tile, however small the picture is

_DAMAGED = "the TIFF is damaged or of a rare kind"


@dataclass(eq=False)
class Pages:
    """The images of a TIFF that are of one size and type: all of a stack, or the first alone.

    Attributes
    ----------
    frames, height, width, channels : int
    dtype : dtype
        In the byte order of the machine.
    others : int
        Images of the file that are not among the frames.
    notes : list of str
        What the decoder warned of; it grows while frames are read.
    """

    frames: int
    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]
    others: int
    notes: list[str]
    _series: tifffile.TiffPageSeries = field(repr=False)
    _end: int = field(repr=False)
    _whole: Samples | None = field(default=None, repr=False)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the samples of all frames together."""
        return self.frames, self.height, self.width, self.channels

    def frame(self, index: int) -> Samples:
        """Decode the (height, width, channels) samples of one frame, in the file's type."""
        series = self._series
        if len(series.pages) == self.frames:
            page = series.pages[index]
            if page is None:
                raise ImageError(
                    f"image {index + 1} of {self.frames} is not in the file; get it again"
                )
            self._check_there(page)
            found: Samples = self._shaped(page.asarray(maxworkers=1))[0]
            return found
        if self._whole is None:  # one directory for all frames, which follow each other
            self._check_there(series.keyframe)
            self._whole = self._shaped(series.asarray(maxworkers=1))
        one: Samples = self._whole[index]
        return one

    def _shaped(self, found: NDArray[Any]) -> NDArray[Any]:
        """Frames with their channels last: planes of channels come first in the file."""
        planes, _, _, _, samples = self._series.keyframe.shaped
        there = found.reshape(-1, planes, self.height, self.width, samples)
        last: NDArray[Any] = there.transpose(0, 2, 3, 1, 4).reshape(-1, *self.shape[1:])
        return last

    def _check_there(self, page: tifffile.TiffPage | tifffile.TiffFrame) -> None:
        """Refuse what is not there: tifffile fills some of it with zeros."""
        for at, size in zip(page.dataoffsets, page.databytecounts, strict=False):
            if at + size > self._end:
                raise ImageError("it ends before its samples do; get the file again")
        holes = sum(size == 0 for size in page.databytecounts)
        if holes:
            self.notes.append(_holes(holes, len(page.databytecounts)))


def installed() -> bool:
    """Whether tifffile is installed."""
    try:
        import tifffile  # noqa: F401
    except ImportError:
        return False
    return True


@contextlib.contextmanager
def opened(data: bytes, *, name: str, max_pixels: int) -> Iterator[Pages]:
    """Open the first series of images of a TIFF; the wall stands around what is done with it.

    Parameters
    ----------
    data : bytes
        The whole file.
    name : str
        Its path, for messages.
    max_pixels : int
        Most pixels of one frame.

    Raises
    ------
    ImageError
        Damaged, or of samples that are no numbers.
    LimitError
        More pixels than the limit, or than there is memory for.
    """
    import tifffile

    said: list[str] = []
    with (
        wall(f"read {name}", _DAMAGED),
        logged("tifffile", said),
        # No other file is opened, whatever the metadata of an OME-TIFF name.
        tifffile.TiffFile(BytesIO(data), _multifile=False) as file,
    ):
        series = file.series[0]
        page = series.keyframe
        planes, depth, height, width, samples = page.shaped
        if page.dtype is None or depth != 1 or 0 in page.shaped:
            raise ImageError(tiff.VOLUMES)
        if planes * samples > MAX_CHANNELS:
            raise ImageError(
                f"{planes * samples:,} channels; {MAX_CHANNELS:,} are the most; take some"
            )
        tile = page.tilelength * page.tilewidth if page.is_tiled else 0
        if height * width > max_pixels or tile > max(max_pixels, _TILE):
            raise LimitError(
                f"its {width} x {height} pixels, or those of its tiles, are above the limit of "
                f"{max_pixels:,}; raise the limit if you trust the file"
            )
        frame = math.prod(page.shaped)
        if not fits(frame * page.dtype.itemsize):
            raise MemoryError
        yield Pages(
            frames=max(series.size // frame, 1),
            height=height,
            width=width,
            channels=planes * samples,
            dtype=page.dtype.newbyteorder("="),
            others=sum(len(other.pages) for other in file.series[1:]),
            notes=said,
            _series=series,
            _end=len(data),
        )


def read(
    data: bytes,
    *,
    name: str,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    value: float | None = None,
) -> Loaded:
    """Decode the first image of a TIFF, as `images.read` does.

    Parameters
    ----------
    data : bytes
        The whole file.
    name : str
        Its path, for messages.
    max_pixels : int
    value : float, optional
        Of pixels without data, which are filled.

    Raises
    ------
    ImageError, LimitError
        As for `images.read`.
    """
    with opened(data, name=name, max_pixels=max_pixels) as pages:
        samples = pages.frame(0)
        others = pages.frames - 1 + pages.others
        notes = tiff.said_of(data)
        if others:
            notes.append(f"Only the first of {others + 1} images was read.")
        carried, stated = metadata.of_tiff(data, notes)
        notes += dict.fromkeys(pages.notes)
        return arrays.loaded(
            samples,
            name=name,
            format="TIFF",
            size=len(data),
            max_pixels=max_pixels,
            nodata=value,
            stated=nodata.number(stated),
            metadata=carried,
            notes=tuple(notes),
            inks=tiff.inks(data),
        )


@dataclass(eq=False)
class Bands:
    """One picture of a TIFF by bands of rows, tiles or strips: each is decoded without the rest.

    Attributes
    ----------
    height, width, channels : int
    apart : bool
        Channels lie in planes of their own.
    rows : int
        Of a band.
    dtype : dtype
        In the byte order of the machine.
    notes : tuple of str
    """

    path: str
    height: int
    width: int
    channels: int
    apart: bool
    rows: int
    dtype: np.dtype[Any]
    notes: tuple[str, ...]
    _page: Any = field(repr=False)

    @property
    def samples(self) -> int:
        """Samples of a row of a band."""
        return self.width * (1 if self.apart else self.channels)

    @property
    def turned(self) -> bool:
        """Whether a tag says that the samples do not stand upright."""
        return bool(self._page.tags.valueof(metadata.ORIENTATION, 1) != 1)

    def start(self) -> int | None:
        """Where samples begin that lie in one piece as they are; None of all others."""
        page = self._page
        plain = page.compression == 1 and page.predictor == 1 and page.is_contiguous
        same = page.parent.byteorder == _NATIVE or self.dtype.itemsize == 1
        return int(page.dataoffsets[0]) if plain and same and not self.apart else None

    def decoded(self, number: int, plane: int = 0) -> Samples:
        """Decode a band: (rows, samples) ndarray.

        Raises
        ------
        ImageError
            It is damaged, or ends early.
        """
        page = self._page
        wide = page.tilewidth if page.is_tiled else self.width
        across, down = -(-self.width // wide), -(-self.height // self.rows)
        rows = min(self.rows, self.height - number * self.rows)
        each = 1 if self.apart else self.channels
        out = np.zeros((rows, self.width, each), self.dtype)
        with thin_wall(f"read {self.path}", _DAMAGED), open(self.path, "rb") as stream:
            for i in range(across):
                index = (plane * down + number) * across + i
                stream.seek(page.dataoffsets[index])
                size = page.databytecounts[index]
                data = stream.read(size)
                if len(data) < size:
                    raise ImageError(f"{self.path} ends before its samples do; get it again")
                if size:  # else it is left out, and zero
                    found = page.decode(data, index, jpegtables=page.jpegtables)[0][0]
                    columns = slice(i * wide, min((i + 1) * wide, self.width))
                    out[:, columns] = found[:rows, : columns.stop - columns.start]
        return out.reshape(rows, -1)


_NATIVE = "<" if sys.byteorder == "little" else ">"
_GREY, _RGB, _YCBCR, _JPEG = 1, 2, 6, 7
_UNASSOCIATED = 2  # alpha


def bands(path: str) -> Bands | None:
    """Open a TIFF of one picture of plain samples, grey or of colours; None of any other.

    Raises
    ------
    ImageError
        It is damaged.
    """
    import tifffile

    said: list[str] = []
    with (
        thin_wall(f"read {path}", _DAMAGED),
        logged("tifffile", said),
        tifffile.TiffFile(path, _multifile=False) as file,
    ):
        page = file.pages.first
        try:
            second: Any = file.pages[1]
        except IndexError:
            second = None
        if second is not None and not second.is_reduced:
            return None
        planes, depth, height, width, samples = page.shaped
        channels, extra = planes * samples, tuple(page.extrasamples)
        jpeg = page.photometric == _YCBCR and page.compression == _JPEG
        colours = {_GREY: 1, _RGB: 3}.get(page.photometric, 3 if jpeg else 0)
        alpha = extra == (_UNASSOCIATED,) and channels == colours + 1
        dtype = page.dtype
        if dtype is None or dtype.itemsize * 8 != page.bitspersample or depth != 1:
            return None
        if not colours or not (channels == colours or alpha):
            return None
        rows = page.tilelength if page.is_tiled else min(page.rowsperstrip, height)
        page.decode  # noqa: B018 - made while the file is open, and kept
        page.jpegtables  # noqa: B018
        notes = [] if second is None else ["Only the first of its images was read."]
        holes = sum(size == 0 for size in page.databytecounts)
        if holes:
            notes.append(_holes(holes, len(page.databytecounts)))
        return Bands(
            path, height, width, channels, planes > 1, rows, dtype.newbyteorder("="),
            (*notes, *said), page,
        )  # fmt: skip


def _holes(holes: int, of: int) -> str:
    return (
        f"{holes:,} of {of:,} pieces of this TIFF hold nothing; "
        "their samples are 0, or what the file says of such."
    )
