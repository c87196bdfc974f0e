"""EXIF, ICC and XMP between Pillow's images and `picture.Metadata`.

The blocks travel unread, so a new writer cannot spoil what it does not understand.
TIFF alone keeps no EXIF block: its tags are the EXIF, mixed with those that lay out the
samples. These are taken out on the way in and on the way out. A resolution that stands in
fields of its own joins the EXIF block (`resolution`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from typing import Any, BinaryIO

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lowrank.io.formats import FORMATS
from lowrank.io.wall import tolerated
from lowrank.picture import Metadata

EXIF_PREFIX = b"Exif\0\0"
"""What Pillow puts before the TIFF structure of an EXIF block; we keep it without."""

_KINDS = ("exif", "icc", "xmp")

# Bytes that fit into JPEG marker segments beside their identifiers.
_JPEG_ROOM = {"exif": 65533 - len(EXIF_PREFIX), "xmp": 65533 - 29, "icc": 255 * (65533 - 14)}

# Metadata of other kinds that a reader may miss; by Pillow's key in `info`.
_LEFT_OUT = {"comment": "comment", "photoshop": "Photoshop and IPTC data"}

# Chunks of a PNG that Pillow passes over, and that say what the samples mean.
_PNG_LEFT_OUT = {
    b"cICP": "cICP colours", b"mDCV": "mastering display", b"mDCv": "mastering display",
    b"cLLI": "light levels", b"cLLi": "light levels", b"pCAL": "calibration",
    b"sCAL": "physical scale", b"oFFs": "offset", b"sTER": "stereo layout",
    b"caBX": "content credentials",
}  # fmt: skip

# How application segments of a JPEG begin that Pillow leaves unread.
_JPEG_LEFT_OUT = (
    ("APP1", b"http://ns.adobe.com/xmp/extension/\0", "extended XMP"),
    ("APP11", b"JP", "content credentials or other JUMBF data"),
)

_USUAL_GAMMA = 1 / 2.2  # which a viewer assumes where there is none
_USUAL_COLOURS = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)  # sRGB's

_DENSITIES = frozenset({"dpi", "aspect", "jfif_density"})
"""Keys of `info` where there may be a resolution."""

DESCRIPTION_TAG = 270
SHAPED, IMAGEJ, OME = '{"shape":', "ImageJ=", "<?xml"
OF_AXES = (SHAPED, IMAGEJ, OME)
"""How a description begins that says what the axes of a TIFF are."""
NO_AXES = "Left out: the description of the axes (ImageJ, OME or tifffile)."

_XMP_TAG, _ICC_TAG, _EXIF_TAG, _INTEROP_TAG = 700, 34675, 0x8769, 0xA005
ORIENTATION = 274

# Tags of TIFF 6.0 and its supplements that say how the samples are laid out, false as
# soon as the image is stored otherwise; and the two blocks that travel on their own.
_LAYOUT_TAGS = frozenset(
    {*range(254, 260), 262, *range(263, 267), 273, *range(277, 282), 284, 288, 289}
    | {*range(290, 294), 301, 317, 320, *range(322, 326), *range(330, 348)}
    | {*range(512, 522), *range(529, 533), _XMP_TAG, _ICC_TAG}
)


def of_image(image: Image.Image, notes: list[str], data: bytes = b"") -> Metadata:
    """Take the metadata of a loaded image.

    Parameters
    ----------
    image : Image
    notes : list of str
        Receives what is left out.
    data : bytes
        The file, where it is at hand.
    """
    info = image.info
    exif = None
    with tolerated("The EXIF data are damaged and were left out", notes):
        exif = _exif_block(image)
    blocks = {"exif": exif, "icc": info.get("icc_profile"), "xmp": info.get("xmp")}
    kept = {kind: block for kind, block in blocks.items() if block and isinstance(block, bytes)}
    if "exif" in kept:
        kept["exif"] = kept["exif"].removeprefix(EXIF_PREFIX)
    if not _DENSITIES.isdisjoint(info):
        from lowrank.io import resolution

        dots = resolution.of_image(image)
        if dots is not None:
            carried = resolution.put(kept.get("exif"), dots, notes)
            kept |= {"exif": carried} if carried else {}
    dropped = [what for key, what in _LEFT_OUT.items() if info.get(key)]
    texts = [str(key) for key, value in info.items() if _is_text(key, value)]
    if image.format == "PNG" and texts:
        dropped.append(f"the text beside the picture ({', '.join(texts)})")
    gamma = info.get("gamma", _USUAL_GAMMA)
    if abs(gamma - _USUAL_GAMMA) > 0.01 and "srgb" not in info and "icc" not in kept:
        dropped.append(f"gamma {gamma:.3g}")
    colours = info.get("chromaticity", _USUAL_COLOURS)
    usual = all(abs(a - b) < 0.001 for a, b in zip(colours, _USUAL_COLOURS, strict=True))
    if not usual and "srgb" not in info and "icc" not in kept:
        dropped.append("primary colours (cHRM)")
    dropped += _unread(image, data)
    if image.format == "HEIF":
        from lowrank.io import heif

        dropped += heif.left_out(image)
    if dropped:
        notes.append(f"Left out: {', '.join(dropped)}.")
    return Metadata(**kept)


def of_tiff(file: bytes | BinaryIO, notes: list[str]) -> tuple[Metadata, object]:
    """Take the metadata of a TIFF that Pillow does not open, and what states its no-data value.

    Parameters
    ----------
    file : bytes or binary file
    notes : list of str
        Receives what is left out.
    """
    from lowrank.io.nodata import GDAL

    kept: dict[str, bytes] = {}
    stated: object = None
    with tolerated(
        "The tags of this TIFF are damaged, or of a rare kind, and were left out", notes
    ):
        tags = _tags_of(BytesIO(file) if isinstance(file, bytes) else file)
        stated = tags.get(GDAL)
        blocks = {"icc": tags.get(_ICC_TAG), "xmp": tags.get(_XMP_TAG)}
        kept = {kind: block for kind, block in blocks.items() if block and isinstance(block, bytes)}
        described = str(tags.get(DESCRIPTION_TAG, ""))
        if described.startswith(OF_AXES):  # it would say of other axes what these were
            del tags[DESCRIPTION_TAG]
            notes.append(NO_AXES)
        tags.bigtiff = False
        carried = exif_tags(tags.tobytes())
        kept |= {"exif": carried.tobytes().removeprefix(EXIF_PREFIX)} if len(carried) else {}
    return Metadata(**kept), stated


def _tags_of(stream: BinaryIO) -> Image.Exif:
    """The tags of a TIFF's first image."""
    tags = Image.Exif()
    head = stream.read(16)
    stream.seek(0)
    if head[2:4] not in (b"\x2b\0", b"\0\x2b"):
        tags.load_from_fp(stream)
        return tags
    tags.bigtiff, tags.endian = True, "<" if head.startswith(b"II") else ">"
    (at,) = struct.unpack_from(f"{tags.endian}Q", head, 8)
    tags.load_from_fp(stream, at)
    return tags


def kept_by(format: str, metadata: Metadata) -> tuple[Metadata, tuple[str, ...]]:
    """Reduce metadata to what a file of the format holds, with a note on each loss."""
    from lowrank.io import resolution

    notes: list[str] = []
    holds = format in FORMATS and FORMATS[format].metadata
    for kind in _KINDS:
        block = getattr(metadata, kind)
        if block is None:
            continue
        if not holds and kind == "exif" and resolution.is_all(block):
            if resolution.held_by(format, block) is None:
                notes.append(f"{format} holds no resolution: it was left out.")
        elif not holds:
            notes.append(f"{format} holds no {kind.upper()} data: they were left out.")
        elif format == "JPEG" and len(block) > _JPEG_ROOM[kind]:
            notes.append(f"{len(block):,} bytes of {kind.upper()} data are too many for a JPEG.")
        elif format == "TIFF" and kind == "exif":
            if _is_sound(block, notes):
                continue
        else:
            continue
        metadata = replace(metadata, **{kind: None})
    return metadata, tuple(notes)


def save_options(format: str, metadata: Metadata) -> dict[str, Any]:
    """Pillow's options of `save` that embed the metadata."""
    options: dict[str, Any] = {}
    if metadata.icc is not None:
        options["icc_profile"] = metadata.icc
    if format == "TIFF":
        tags = exif_tags(metadata.exif or b"")
        if metadata.xmp is not None:
            tags[_XMP_TAG] = metadata.xmp
        if len(tags):
            options["exif"] = tags
        return options
    from lowrank.io import resolution

    exif = metadata.exif
    if format == "PNG" and exif and resolution.is_all(exif) and resolution.held_by(format, exif):
        exif = None  # it would repeat the pHYs
    if exif is not None:
        options["exif"] = EXIF_PREFIX + exif
    if metadata.xmp is None:
        return options
    if format == "PNG":
        # The chunk is made here: Pillow's own would pass the bytes through a string.
        chunks = PngInfo()
        chunks.add(b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + metadata.xmp)
        options["pnginfo"] = chunks
    else:
        options["xmp"] = metadata.xmp
    return options


def _exif_block(image: Image.Image) -> bytes | None:
    block = image.info.get("exif")
    profile = image.info.get("Raw profile type exif")
    if image.format in (None, "TIFF") and not block:
        exif = image.getexif()
        exif.bigtiff = False  # of a BigTIFF too: an EXIF block is a plain one
        tags = exif_tags(exif.tobytes())
        if image.format == "TIFF":  # Pillow has turned the samples, of every page
            tags.pop(ORIENTATION, None)
        return tags.tobytes() if len(tags) else None
    if not block and isinstance(profile, str):
        # ImageMagick's way of keeping EXIF in a PNG: a name, a length, then hex.
        return bytes.fromhex("".join(profile.split("\n")[3:]))
    return block


def _unread(image: Image.Image, data: bytes) -> Iterator[str]:
    """Name what Pillow passes over of a PNG or a JPEG."""
    if image.format == "PNG":
        at, kinds = 8, []
        while at + 8 <= len(data):
            size, kind = struct.unpack_from(">I4s", data, at)
            kinds.append(kind)
            at += size + 12
        yield from dict.fromkeys(_PNG_LEFT_OUT[kind] for kind in kinds if kind in _PNG_LEFT_OUT)
    segments = getattr(image, "applist", ())
    for marker, start, what in _JPEG_LEFT_OUT:
        if any(name == marker and body.startswith(start) for name, body in segments):
            yield what


def _is_sound(block: bytes, notes: list[str]) -> bool:
    """Whether the tags of an EXIF block can join those of a TIFF; `notes` says what cannot."""
    sound = False
    with tolerated("The EXIF data are damaged and were left out", notes):
        exif_tags(block).tobytes()
        sound = True
    from lowrank.io import resolution

    if sound and resolution.has_thumbnail(block):
        notes.append("The thumbnail in the EXIF data was left out.")
    return sound


def _is_text(key: object, value: object) -> bool:
    """Whether an entry of a PNG's `info` is a text chunk that `of_image` does not keep."""
    kept = ("XML:com.adobe.xmp", "xmp", "Raw profile type exif")
    return isinstance(value, str) and key not in kept


def exif_tags(block: bytes) -> Image.Exif:
    """The tags of an EXIF block, without those that lay out samples."""
    exif = Image.Exif()
    if block:
        exif.load(block)
    for tag in _LAYOUT_TAGS.intersection(exif):
        del exif[tag]
    if _EXIF_TAG in exif:
        inner = exif.get_ifd(_EXIF_TAG)
        # By its value: the offset that stands there is one in the old block.
        interoperability = exif.get_ifd(_INTEROP_TAG) if _INTEROP_TAG in inner else {}
        if interoperability:
            inner[_INTEROP_TAG] = interoperability
        else:
            inner.pop(_INTEROP_TAG, None)
    return exif
