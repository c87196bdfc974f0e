"""What a TIFF says its samples are, against what Pillow makes of them.

Pillow knows a TIFF by a table of kinds. Some it takes for a neighbour: signed bytes for
unsigned ones, unsigned 32-bit integers for signed ones; big-endian words that libtiff has
turned already are turned again; samples beyond the colours are passed over. Each of these
is set right here, said in a note, or refused. A sound TIFF of a kind that is not in the
table is called by what it is.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from mmap import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from lowrank.errors import ImageError, pip_install
from lowrank.io.wall import wall
from lowrank.picture import MAX_CHANNELS

VOLUMES = "a TIFF of volumes, or of rare samples; save its array as .npy"

Reader = Callable[[Image.Image], tuple[NDArray[np.generic], str]]
"""Takes the samples of a loaded image, and gives their mode; "I" for integers of any width."""

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_FILL, _SAMPLES, _PLANAR, _SUB_IFDS, _INKS, _EXTRA, _FORMAT, _SUBSAMPLING = (
    266,
    277,
    284,
    330,
    332,
    338,
    339,
    530,
)
_DEPTH, _DNG = 32997, 50706
_WANTED = frozenset(
    {_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _PLANAR}
    | {_FILL, _SUB_IFDS, _INKS, _EXTRA, _FORMAT, _SUBSAMPLING, _DEPTH, _DNG}
)

_UINT, _INT = 1, 2
_SEPARATED = 5
_PLAIN = (0, 1, 2, _SEPARATED)  # greys, RGB and inks: samples that mean what they say
_GREY = ((16, 1), (32, 3))  # bits and kind of one channel that Pillow keeps as it is

_KINDS = {1: "unsigned integers", 2: "signed integers", 3: "floats", 4: "samples of no stated kind"}
_KINDS |= {5: "complex integers", 6: "complex floats"}
_COLOURS = {0: "grey", 1: "grey", 2: "RGB", 3: "palette", 4: "mask", 5: "CMYK", 6: "YCbCr"}
_COLOURS |= {8: "Lab", 9: "Lab", 10: "Lab", 32803: "camera mosaic", 32844: "LogL", 32845: "LogLuv"}
_COLOURS |= {34892: "linear raw"}
_CHANNELS = {2: 3, 5: 4, 6: 3, 8: 3}  # colours of a photometric interpretation; else 1

_OLD_JPEG = 6  # whose colours Pillow takes for others than are stated
# What libtiff, or some libtiff, decodes; a file of another compression is refused by name.
_DECODED = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32809, 32946, 34676, 34677, 34925})
_DECODED |= {50000, 50001}
_COMPRESSIONS = {
    32767: "Sony's", 33003: "JPEG 2000", 33004: "JPEG 2000", 33005: "JPEG 2000",
    22610: "JPEG XR", 34661: "JBIG", 34712: "JPEG 2000", 34713: "Nikon's", 34887: "LERC",
    34892: "lossy JPEG", 34933: "PNG", 34934: "JPEG XR", 50002: "JPEG XL", 52546: "JPEG XL",
    65000: "Kodak's", 65535: "Pentax's",
}  # fmt: skip

# Raw modes with a byte order, where libtiff gives that of the machine; and what is meant.
_NATIVE = {f"{kind}{order}{end}": f"{kind}N{end}"
           for kind, end in (("F;32", "F"), ("I;16", "S"), ("I;32", "S"))
           for order in ("", "B")}  # fmt: skip

_UNSAID = "The file does not say what sample {} of a pixel is; it was taken for alpha."

Tags = Mapping[int, Any]


def check(image: Image.Image, raw: str, notes: list[str]) -> Reader | None:
    """Compare an opened TIFF with its tags, before its samples are decoded.

    Parameters
    ----------
    image : Image
        Opened by Pillow; where Pillow would read it wrongly, its tiles are set right.
    raw : str
        Pillow's name for the samples in the file; empty once they are decoded.
    notes : list of str
        Receives what is lost.

    Returns
    -------
    Reader or None
        What takes the samples, where Pillow's mode is not what they are.

    Raises
    ------
    ImageError
        The samples would be wrong.
    """
    tags = {tag: _values(image.tag_v2[tag]) for tag in _WANTED.intersection(image.tag_v2)}  # type: ignore[attr-defined]
    if _one(tags, _SUBFILE) & 1:
        if _SUB_IFDS in tags or _DNG in tags:
            raise ImageError(
                "its first image is a small preview of another, as in the raw files of cameras; "
                "develop it to a TIFF or a PNG first"
            )
        notes.append("The first image of this TIFF is a reduced copy of another.")
    if _one(tags, _DEPTH, 1) != 1:  # Pillow knows no depth, and would read its first slice
        raise ImageError(VOLUMES)
    _check_planes(image, tags)
    _turn_bytes(image, raw, tags)
    _note_extra(image, raw, tags, notes)
    if tags.get(_PHOTOMETRIC) == (0,) and image.mode in ("I;16", "F"):
        notes.append("White is zero in this TIFF: the samples were read as they are stored.")
    if _one(tags, _INKS) == 2:
        notes.append("The inks of this TIFF are not cyan, magenta, yellow and black.")
    bits, kind = _one(tags, _BITS, 1), _one(tags, _FORMAT, 1)
    if image.mode == "L" and bits in (2, 4):
        notes.append(f"Samples of {bits} bits were widened to 8: {2**bits - 1} became 255.")
    if image.mode == "L" and kind == _INT:
        return lambda image: (np.asarray(image).view(np.int8), "I")
    if image.mode == "I" and kind == _UINT and bits == 32:
        return lambda image: (np.asarray(image).view(np.uint32), "I")
    return None


def beyond_pillow(data: bytes | mmap) -> bool:
    """Whether a TIFF holds what Pillow cuts, mixes up or does not read, and tifffile does read."""
    tags = _first_directory(data)
    photometric, samples = _one(tags, _PHOTOMETRIC, 1), _one(tags, _SAMPLES, 1)
    preview = _one(tags, _SUBFILE) & 1 and (_SUB_IFDS in tags or _DNG in tags)
    if not tags or preview or photometric not in _PLAIN:
        return False
    bits, kind = max(tags.get(_BITS, (1,))), max(tags.get(_FORMAT, (1,)))
    unread = _one(tags, _COMPRESSION, 1) not in _DECODED
    beyond = samples - _CHANNELS.get(photometric, 1)
    if bits > 8 or kind != _UINT:
        held = samples == 1 and (bits, kind) in _GREY and _one(tags, _PLANAR, 1) == 1
        return not held or unread or not _opens(data, tags)
    # Of 8 bits or fewer: alpha is Pillow's, what is beyond it or in planes beside it is not.
    extra = tags.get(_EXTRA, ())
    alpha = beyond == 1 and extra[:1] in ((), (1,), (2,))
    planes = _one(tags, _PLANAR, 1) == 2 and samples > 1 and beyond > 0
    return bits == 8 and ((beyond > 0 and not alpha) or planes or unread or not _opens(data, tags))


def _opens(data: bytes | mmap, tags: Tags) -> bool:
    """Whether Pillow knows a TIFF at all: not big-endian BigTIFFs, nor what its table has not.

    It is asked where its table does not have the very tags: it makes some into others, and to open
    a file of many strips takes it as long as to read them.
    """
    from PIL.TiffImagePlugin import OPEN_INFO  # which no other file needs

    kinds = tuple(dict.fromkeys(tags.get(_FORMAT, (1,))))
    kind = (
        data[:2], _one(tags, _PHOTOMETRIC), kinds, _one(tags, _FILL, 1), tags.get(_BITS, (1,)),
        tags.get(_EXTRA, ()),
    )  # fmt: skip
    classic, whole = data[2:4] in (b"*\0", b"\0*"), len(kind[4]) == _one(tags, _SAMPLES, 1)
    if classic and whole and _one(tags, _COMPRESSION, 1) != _OLD_JPEG and kind in OPEN_INFO:
        return True
    stream: Any = BytesIO(data) if isinstance(data, bytes) else data  # mapped: it reads and seeks
    # Of another error whoever reads it says what is wrong, and with which file.
    with suppress(ImageError), wall("read a TIFF", "it is damaged", sys.maxsize):
        try:
            Image.open(stream, formats=("TIFF",))
        except UnidentifiedImageError:
            return False
    return True


def inks(data: bytes) -> bool:
    """Whether the samples of a TIFF begin with cyan, magenta, yellow and black."""
    return _has_inks(_first_directory(data))


def _has_inks(tags: Tags) -> bool:
    return _one(tags, _PHOTOMETRIC, 1) == _SEPARATED and _one(tags, _INKS, 1) == 1


def said_of(data: bytes) -> list[str]:
    """What should be known of a TIFF whose samples are taken as they are stored."""
    tags, notes = _first_directory(data), []
    photometric, extra = _one(tags, _PHOTOMETRIC, 1), tags.get(_EXTRA, ())
    if _one(tags, _SUBFILE) & 1:
        notes.append("The first image of this TIFF is a reduced copy of another.")
    if photometric == 0:
        notes.append("White is zero in this TIFF: the samples were read as they are stored.")
    samples, bits = _one(tags, _SAMPLES, 1), max(tags.get(_BITS, (1,)))
    if photometric == _SEPARATED and not (_has_inks(tags) and (samples, bits) == (4, 8)):
        notes.append("Inks are kept as channels, without their meaning.")
    colours = _CHANNELS.get(photometric, 1)
    if bits == 8 and samples == colours + 1 <= 4 and extra[:1] not in ((1,), (2,)):
        notes.append(_UNSAID.format(samples))
    if 1 in extra:
        notes.append("Associated alpha of this TIFF was kept as it is stored.")
    return notes


def refuse(data: bytes) -> None:
    """Refuse a sound TIFF that Pillow has no decoder for, by what it is."""
    tags = _first_directory(data)
    if tags and _one(tags, _COMPRESSION, 1) not in _DECODED:
        raise ImageError(_unread(data, tags))


def name(data: bytes) -> str | None:
    """What a sound TIFF is, for a message that it is not read; None where it is not sound."""
    tags = _first_directory(data)
    return _unread(data, tags) if tags else None


def _unread(data: bytes, tags: Tags) -> str:
    photometric, samples = _one(tags, _PHOTOMETRIC, 1), _one(tags, _SAMPLES, 1)
    bits = sorted(set(tags.get(_BITS, (1,))))
    kinds = sorted(set(tags.get(_FORMAT, (1,))))
    width = "/".join(map(str, bits))
    kind = " and ".join(_KINDS.get(k, f"samples of kind {k}") for k in kinds)
    parts = [f"{_COLOURS.get(photometric, f'photometric {photometric}')}, {samples} a pixel"]
    compression = _one(tags, _COMPRESSION, 1)
    if compression not in _DECODED:
        scheme = _COMPRESSIONS.get(compression, f"scheme {compression}")
        parts.append(f"compressed by {scheme}")
    if _one(tags, _PLANAR, 1) == 2:
        parts.append("in planes")
    if data[2:4] in (b"\x2b\0", b"\0\x2b"):
        parts.append("in a BigTIFF")
    if data.startswith(b"MM"):
        parts.append("big-endian")
    return (
        f"a TIFF of {width}-bit {kind} ({', '.join(parts)}), a kind that Pillow does not read; "
        f"{_instead(photometric, bits)}"
        "convert it to RGB of 8 bits, or to grey of 8 or 16 bits or of 32-bit floats"
    )


def _instead(photometric: int, bits: Sequence[int]) -> str:
    """What reads a TIFF that Pillow does not, where anything does; see `beyond_pillow`."""
    read = photometric in _PLAIN and max(bits) >= 8
    return f"{pip_install('tiff')}, which reads it, or " if read else ""


def _check_planes(image: Image.Image, tags: Tags) -> None:
    """Refuse what Pillow mixes up of samples stored plane after plane, or subsampled."""
    raw = _one(tags, _COMPRESSION, 1) == 1
    if raw and tags.get(_PHOTOMETRIC) == (6,) and tags.get(_SUBSAMPLING, (1, 1)) != (1, 1):
        raise ImageError(
            "a TIFF of subsampled YCbCr without compression, which Pillow reads wrongly; "
            "convert it to RGB first"
        )
    samples, bits, extra = _one(tags, _SAMPLES, 1), _one(tags, _BITS, 1), tags.get(_EXTRA, ())
    if _one(tags, _PLANAR, 1) != 2 or samples == 1:
        return
    beyond = samples > _CHANNELS.get(_one(tags, _PHOTOMETRIC), 1)
    # Pillow passes over planes that are all unspecified, and knows plain alpha beside colours.
    unspecified = bool(extra) and not any(extra) and not _keeps_planes(image)
    followed = not beyond or unspecified or extra == (2,)
    if (raw and bits != 8) or image.mode in ("LA", "La", "PA") or not followed:
        alpha = " with alpha" if any(extra) else ""
        raise ImageError(
            f"a planar TIFF of {samples} bands of {bits} bits{alpha}, which Pillow reads wrongly; "
            f"{_instead(_one(tags, _PHOTOMETRIC, 1), (bits,))}store it with its samples "
            "interleaved (PlanarConfiguration 1)"
        )


def _keeps_planes(image: Image.Image) -> bool:
    """Whether Pillow would decode planes that it has no place for, as it did before 12."""
    names = [str(tile.args[0]) for tile in getattr(image, "tile", ()) if tile.args]
    return any("X" in name for name in names)


def _turn_bytes(image: Image.Image, raw: str, tags: Tags) -> None:
    """Let no bytes be turned that libtiff has turned already."""
    if _one(tags, _COMPRESSION, 1) == 1 or image.mode not in ("I", "F"):
        return
    if not raw and image.tag_v2.prefix == b"MM" and _one(tags, _BITS) > 8:  # type: ignore[attr-defined]
        raise ImageError(
            "Pillow has loaded it with its bytes in the wrong order; give the file itself"
        )
    foreign = "B" in raw.partition(";")[2] or sys.byteorder == "big"
    if raw in _NATIVE and foreign:
        image.tile = [  # type: ignore[attr-defined]
            tile._replace(args=(_NATIVE[raw], *tile.args[1:]))
            for tile in image.tile  # type: ignore[attr-defined]
        ]


def _note_extra(image: Image.Image, raw: str, tags: Tags, notes: list[str]) -> None:
    """Say what became of the samples of a pixel that are beyond its colours."""
    colours = _CHANNELS.get(_one(tags, _PHOTOMETRIC), 1)
    samples, extra = _one(tags, _SAMPLES, 1), tags.get(_EXTRA, ())
    if samples <= colours:
        return
    alpha = int(image.mode in ("LA", "La", "PA", "RGBA"))
    lost = samples - colours - alpha
    if lost > 0:
        what = "channel" if lost == 1 else "channels"
        notes.append(
            f"Left out: {lost} extra {what} of {samples} (infrared, a spot colour, a mask): "
            f"mode {image.mode} holds no more; {pip_install('tiff')} keeps all."
        )
    if alpha and extra[:1] == (1,) and image.mode == "RGBA":
        notes.append("Associated alpha was divided out of the colours, which rounds.")
    elif alpha and extra[:1] not in ((1,), (2,)):
        notes.append(_UNSAID.format(colours + 1))


def _one(tags: Tags, tag: int, default: int = 0) -> int:
    values = tags.get(tag, ())
    return values[0] if values and isinstance(values[0], int) else default


def _values(value: object) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _first_directory(data: bytes | mmap) -> dict[int, tuple[int, ...]]:
    """Numbers in the first directory of a TIFF; empty where there is none, or no size."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 16:
        return {}
    (version,) = struct.unpack_from(f"{order}H", data, 2)
    if version not in (42, 43):
        return {}
    big = version == 43
    count_type, value_type, head, slot = ("Q", "Q", 12, 8) if big else ("H", "I", 8, 4)
    (at,) = struct.unpack_from(order + value_type, data, 8 if big else 4)
    tags: dict[int, tuple[int, ...]] = {}
    try:
        (entries,) = struct.unpack_from(order + count_type, data, at)
        at += struct.calcsize(count_type)
        for entry in range(at, at + min(entries, 4096) * (head + slot), head + slot):
            tag, kind, count = struct.unpack_from(f"{order}HH{value_type}", data, entry)
            letter = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}.get(kind)
            if tag in _WANTED and letter and 1 <= count <= MAX_CHANNELS:
                start = entry + head
                if struct.calcsize(letter) * count > slot:
                    (start,) = struct.unpack_from(order + value_type, data, start)
                tags[tag] = struct.unpack_from(f"{order}{count}{letter}", data, start)
    except (struct.error, OverflowError):
        return {}
    return tags if {_WIDTH, _HEIGHT} <= set(tags) else {}
