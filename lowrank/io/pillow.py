"""Image files <-> pictures, by Pillow; `images` says which files are another library's.

Everything foreign ends here. Whatever Pillow raises on a damaged file becomes one line
of `ImageError` or `LimitError`, its warnings become notes, and what a picture loses on
its way into one of the modes of `picture.MODES` is said in a note, never lost silently:

- Palettes become RGB(A), a transparent colour becomes an alpha channel; `modes` holds
  the table.
- Grey of 16 bits and floats keep their values. Pillow cannot hold colour of more than
  8 bits: it keeps the upper 8, and a note says so, unless a reader is given that takes all.
- Samples stay as stored: the EXIF orientation travels in the EXIF for the viewer to
  apply, so it is never applied twice. TIFF is the exception: Pillow itself turns the
  image while it decodes, and drops the tag.
- Of an animation, or a document of several pages, the first image is read.
"""

from __future__ import annotations

import warnings
import zlib
from contextlib import AbstractContextManager, nullcontext
from io import BytesIO
from typing import TYPE_CHECKING, Any

from PIL import Image, UnidentifiedImageError

from lowrank.errors import ImageError, LimitError, UsageError, called, pip_install
from lowrank.io import endings, metadata
from lowrank.io.formats import FORMATS, READABLE, TAKEN, WRITABLE, check_holds
from lowrank.io.modes import check_finite, from_image, to_image
from lowrank.io.wall import logged, one_line, printed_errors, wall
from lowrank.limits import DEFAULT_MAX_PIXELS
from lowrank.picture import ARRAY, Loaded, Metadata, Picture, Source

if TYPE_CHECKING:
    from lowrank.io.tiff import Reader

_COMMON = (b"\x89PNG", b"\xff\xd8\xff")  # how PNG and JPEG begin, which Pillow always knows

DAMAGED = "the image is damaged or of a rare kind"

DEEPER = {"PNG": f"; {pip_install('png')} keeps all", "TIFF": f"; {pip_install('tiff')} keeps all"}
"""What to install where Pillow loses the lower bits of a format."""


def read(
    data: bytes,
    *,
    name: str,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    nodata: float | None = None,
    reader: Reader | None = None,
) -> Loaded:
    """Decode the bytes of an image file.

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
    reader : Reader, optional
        What takes the samples instead of Pillow, which gives the rest.

    Raises
    ------
    ImageError
        Not an image, of a format that is not read, damaged, or in a mode that cannot
        be kept. A PNG with a wrong checksum counts as damaged.
    LimitError
        More than `max_pixels` pixels, or more than there is memory for.
    """
    with wall(f"read {called(name)}", DAMAGED, max_pixels) as warned:
        if not data:
            raise ImageError("the file is empty; give an image")
        formats = formats_of(data)
        try:
            opened = Image.open(BytesIO(data), formats=formats)
        except UnidentifiedImageError as error:
            from lowrank.io import known

            unread = (
                f"not an image, or damaged at its start; give one of {TAKEN}, or a folder of them"
            )
            said = known.name(data) if formats == READABLE else None
            raise ImageError(said or unread) from error
        with opened as image:
            check_size(image, max_pixels)
            if image.format == "PNG":
                # load() passes over wrong checksums, and after verify() an image cannot
                # be loaded any more: hence a second handle.
                with Image.open(BytesIO(data), formats=("PNG",)) as second:
                    if not second.tile:
                        raise ImageError("it has no image data; the file is damaged")
                    second.verify()
            return _load(image, name, data, warned, nodata, reader)


def formats_of(data: bytes) -> tuple[str, ...]:
    """The formats that the bytes may be of, whose decoders are loaded."""
    return READABLE if data.startswith(_COMMON) else _rarer_formats(data)


def _rarer_formats(data: bytes) -> tuple[str, ...]:
    """Load the decoders that Pillow does not load by itself; it takes a while.

    Returns
    -------
    tuple of str
        The formats that the bytes may be of.
    """
    from PIL import (  # noqa: F401 - importing a plugin registers its format
        AvifImagePlugin,
        Jpeg2KImagePlugin,
        QoiImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )

    from lowrank.io import heif, jxl, known

    known.refuse(data)
    if heif.is_heif(data) and heif.register():
        return ("HEIF",)
    return ("JXL",) if jxl.is_jxl(data) and jxl.register() else READABLE


def from_pillow(
    image: Image.Image,
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    nodata: float | None = None,
) -> Loaded:
    """Take an image that Pillow holds; its pixels are copied.

    Raises
    ------
    ImageError, LimitError
        As for `read`.
    """
    with wall("read image", DAMAGED, max_pixels) as warned:
        check_size(image, max_pixels)
        return _load(image, "image", b"", warned, nodata)


def write(picture: Picture, *, format: str, png_level: int = 1) -> bytes:
    """Encode a picture as an image file, with what metadata the format holds.

    Parameters
    ----------
    picture : Picture
    format : str
        Pillow's name of the format, from `format_for`.
    png_level : int
        0 (stored) to 9. Level 1 codes runs and single bytes only: a truncated photograph
        repeats nothing else, and zlib's search for it makes the file 8-20% larger at this
        level, and takes 2 to 4 times as long at level 6 for a file that is still larger
        (Kodak at ranks 20 to 77). From 2 on zlib searches as well, and the smaller file
        of the two is returned; patterns and drawings gain from it.

    Raises
    ------
    UsageError
        An unknown format or level.
    ImageError
        The format cannot hold the picture.
    """
    if not 0 <= png_level <= 9:
        raise UsageError(f"PNG level {png_level} does not exist; give 0 to 9")
    if format not in WRITABLE:
        raise UsageError(f"{format} is not written; give one of {', '.join(WRITABLE)}")
    check_holds(picture.mode, FORMATS[format])
    kept, _ = metadata.kept_by(format, _described(picture, format)[0])
    image = to_image(picture)
    with wall(f"write {format}", "choose another format"):
        options = metadata.save_options(format, kept)
        from lowrank.io import resolution

        options |= resolution.save_options(format, picture.metadata.exif)
        if format == "PNG":
            return _encode_png(image, png_level, options)
        if format == "JPEG":
            options |= {"quality": 95, "subsampling": 0}
        elif format == "WEBP":
            options |= {"lossless": True, "exact": True}
        elif format == "TIFF":
            # Uncompressed, by Pillow's own writer: libtiff's drops the EXIF block.
            options |= {"compression": "raw"}
        return _encode(image, format, options)


def write_notes(picture: Picture, *, format: str) -> tuple[str, ...]:
    """Say what `write` leaves out of a file of this format: one sentence each."""
    said, notes = _described(picture, format)
    return notes + metadata.kept_by(format, said)[1]


def _described(picture: Picture, format: str) -> tuple[Metadata, tuple[str, ...]]:
    """The metadata, without what would say of a TIFF's samples that they are others."""
    if format != "TIFF" or picture.metadata.exif is None:
        return picture.metadata, ()
    from lowrank.io import described

    return described.of_shape(picture.metadata, (1, *picture.samples.shape))


def _encode(image: Image.Image, format: str, options: dict[str, Any]) -> bytes:
    stream = BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def _encode_png(image: Image.Image, level: int, options: dict[str, Any]) -> bytes:
    searched = {"compress_level": level, **options}
    if level == 0:
        return _encode(image, "PNG", searched)
    run_length = {"compress_level": 1, "compress_type": zlib.Z_RLE, **options}
    fast = _encode(image, "PNG", run_length)
    return fast if level == 1 else min(fast, _encode(image, "PNG", searched), key=len)


def check_size(image: Image.Image, max_pixels: int) -> None:
    """Refuse an image by its header."""
    width, height = image.size
    if width < 1 or height < 1:
        raise ImageError(f"it has {width} x {height} pixels; get it again")
    if width * height > max_pixels:
        raise LimitError(
            f"its {width} x {height} pixels are above the limit of {max_pixels:,}; "
            "raise the limit if you trust the file"
        )


# --- reading ---------------------------------------------------------------------


def _load(
    image: Image.Image,
    name: str,
    data: bytes,
    warned: list[warnings.WarningMessage],
    nodata: float | None,
    reader: Reader | None = None,
) -> Loaded:
    """Decode the pixels, once: after a failed load() a second one gives garbage."""
    format = image.format or "memory"
    raw = raw_mode(image)
    notes = []
    if reader is None and is_deeper(image, raw, data):
        reduced = "Samples of more than 8 bits were reduced to 8: Pillow holds no more"
        # An image that Pillow holds has lost them already.
        more = DEEPER.get(format, "") if data else "; give the file itself"
        notes.append(f"{reduced}{more}.")
    reader = reader or declared(image, raw, data, notes)
    notes += endings.said(format, data)
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        which = f"number {image.tell() + 1}" if image.tell() else "the first"
        notes.append(f"Only {which} of {frames} images was read.")
    source_mode = image.mode
    catcher: AbstractContextManager[list[str]] = nullcontext([])
    if format in ("TIFF", "AVIF"):
        catcher = printed_errors()
    with catcher as said:
        image.load()
    with logged("imagecodecs", notes):  # which may be the reader
        samples, mode = from_image(image, raw, notes, reader)
    carried = metadata.of_image(image, notes, data)
    picture = Picture(samples, mode, carried)
    if nodata is not None or mode.peak is None or format == "TIFF":
        from lowrank.io import nodata as missing

        picture = missing.taken(picture, nodata, notes, stated=missing.stated_by(image))
    check_finite(picture.samples, mode)
    said += (one_line(str(warning.message)) for warning in warned)
    notes += (f"The decoder warns: {text}." for text in dict.fromkeys(said))
    height, width = samples.shape[:2]
    size = len(data) if data else samples.nbytes
    kind: tuple[str, int] | tuple[()] = ()
    if mode.name == ARRAY:  # which a reader of ours gave
        source_mode, kind = ARRAY, (mode.dtype, len(mode.channels))
    source = Source(name, format, source_mode, width, height, size, *kind)
    return Loaded(picture, source, tuple(notes))


def declared(image: Image.Image, raw: str, data: bytes, notes: list[str]) -> Reader | None:
    """Check an opened image against what its file says its samples are."""
    if image.format == "TIFF" and hasattr(image, "tag_v2"):
        from lowrank.io import tiff

        return tiff.check(image, raw, notes)
    if image.format == "PPM":
        from lowrank.io import pnm

        return pnm.check(image, data or _behind(image), _tile_args(image), notes)
    if image.format == "JPEG2000":
        from lowrank.io import jp2

        return jp2.check(image, data or _behind(image), notes)
    if image.format == "PNG" and image.mode == "L" and raw in ("L;2", "L;4"):
        bits = int(raw[2:])
        notes.append(f"Samples of {bits} bits were widened to 8: {2**bits - 1} became 255.")
    return None


def _behind(image: Image.Image) -> bytes:
    """The bytes of the file that an image was opened from; none once that is closed."""
    stream = getattr(image, "fp", None)
    if stream is None or stream.closed:
        return b""
    at = stream.tell()
    stream.seek(0)
    data: bytes = stream.read()
    stream.seek(at)
    return data


def _tile_args(image: Image.Image) -> tuple[Any, ...]:
    """What Pillow tells the decoder; nothing once an image is loaded."""
    tiles = getattr(image, "tile", ())
    args = tiles[0][3] if tiles else ()
    return args if isinstance(args, tuple) else (args,)


def raw_mode(image: Image.Image) -> str:
    """Pillow's name for the samples in the file, which says more than the mode."""
    first = next(iter(_tile_args(image)), "")
    return first if isinstance(first, str) else ""


def is_deeper(image: Image.Image, raw: str, data: bytes) -> bool:
    """Whether Pillow decodes samples of more than 8 bits into a mode of 8 bits."""
    if image.mode.startswith("I") or image.mode in ("F", "1"):
        return False
    if image.format == "PPM":
        args = _tile_args(image)
        return len(args) == 2 and args[1] > 255
    if image.format == "HEIF":
        return int(image.info.get("bit_depth", 8)) > 8
    if image.format == "AVIF":
        start = data.find(b"av1C")  # its third byte: high_bitdepth is bit 6
        return 0 <= start < len(data) - 6 and bool(data[start + 6] & 0x40)
    return ";16" in raw and not raw.startswith("BGR")  # BGR;16 is BMP's 5-6-5 bits
