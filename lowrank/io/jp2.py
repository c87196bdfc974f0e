"""What a JPEG 2000 says its samples are, against what Pillow makes of them.

Pillow shifts samples of few bits up to 8 or 16 and adds half the range to signed ones; of
a palette it drops the colours that stood there before, so that every later one moves up.
Both are undone here from what the file itself says.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lowrank.errors import ImageError
from lowrank.io.tiff import Reader

_SIZ = b"\xff\x4f\xff\x51"  # the markers SOC and SIZ, which start a codestream
_WRAPPER = b"\0\0\0\x0cjP  \r\n\x87\n"

# Boxes of metadata that Pillow does not read.
_LOST = {b"xml ": "XML", b"uuid": "UUID metadata", b"jumb": "content credentials"}
_NAMES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class _Palette:
    """Colours by index, and which component each channel comes from (None: from the palette)."""

    colours: NDArray[np.uint8]
    direct: tuple[int | None, ...]
    columns: tuple[int, ...]


def check(image: Image.Image, data: bytes, notes: list[str]) -> Reader | None:
    """Compare an opened JPEG 2000 with its header.

    Parameters
    ----------
    image : Image
        Not yet loaded.
    data : bytes
        The file.
    notes : list of str

    Returns
    -------
    Reader or None
        What gives the samples as they are in the file.

    Raises
    ------
    ImageError
        Its samples have more than 16 bits, or a palette of a kind that is not read.
    """
    if not data and image.mode in ("P", "PA"):
        raise ImageError("Pillow drops repeated colours of its palette; give the file itself")
    depths = _depths(data)
    palette = None
    if data.startswith(_WRAPPER):
        palette = _boxed(data, image, depths, notes)
    widest = max((bits for bits, _ in depths), default=8)
    if widest > 16:
        raise ImageError(
            f"a JPEG 2000 of {widest}-bit samples, of which Pillow keeps 16; "
            "convert it to 16 bits first"
        )
    held = 16 if image.mode == "I;16" else 8
    if widest > 8 and held == 8:
        if palette:
            raise ImageError("a JPEG 2000 with a large palette; convert it to PNG first")
        notes.append("Samples of more than 8 bits were reduced to 8: Pillow holds no more.")
        return None
    if palette is None and all(depth == (held, False) for depth in depths):
        return None
    if any(signed for _, signed in depths) and len(depths) > 1:
        raise ImageError("a JPEG 2000 of several signed samples a pixel; shift them first")
    if palette is None and not depths[0][1]:
        top = 2**widest - 1
        notes.append(f"Samples go from 0 to {top}, as in the file: {top} is white.")
    return lambda loaded: _restored(np.asarray(loaded), loaded.mode, held, depths, palette)


def name(data: bytes) -> str | None:
    """What a JPEG 2000 is, for a message that it is not read; None where it is none."""
    depths = _depths(data) if data.startswith((_SIZ, _WRAPPER)) else []
    if len(depths) <= 4:  # of so many, it is damaged otherwise
        return None
    bits = "/".join(map(str, sorted({bits for bits, _ in depths})))
    return (
        f"a JPEG 2000 of {len(depths)} components of {bits} bits, a kind that Pillow does not "
        "read; convert it to RGB or grey first"
    )


def _restored(
    samples: NDArray[np.generic],
    mode: str,
    held: int,
    depths: list[tuple[int, bool]],
    palette: _Palette | None,
) -> tuple[NDArray[np.generic], str]:
    planes = samples.reshape(*samples.shape[:2], -1)
    # Converted to another number of bands, as YCC is: they are of one depth.
    kept = depths if len(depths) == planes.shape[2] else depths[:1] * planes.shape[2]
    shifts = np.array([held - bits for bits, _ in kept])
    planes = (planes >> shifts).astype(planes.dtype)
    if palette is None:
        bits, signed = kept[0]
        if signed:
            return planes[:, :, 0].astype(np.int64) - 2 ** (bits - 1), "I"
        return planes.reshape(samples.shape), mode
    index = planes[:, :, 0]
    if int(index.max()) >= len(palette.colours):
        raise ImageError("an index beyond its palette; the file is damaged")
    channels = [
        palette.colours[index, column] if direct is None else planes[:, :, direct]
        for direct, column in zip(palette.direct, palette.columns, strict=True)
    ]
    colours = np.stack(channels, axis=2)
    return colours[:, :, 0] if len(channels) == 1 else colours, _NAMES[len(channels)]


def _depths(data: bytes) -> list[tuple[int, bool]]:
    """Bits of each component, and whether it is signed (ITU-T T.800 A.5.1)."""
    start = data.find(_SIZ)
    if start < 0 or len(data) < start + 43:
        return []
    (count,) = struct.unpack_from(">H", data, start + 40)
    fields = data[start + 42 : start + 42 + 3 * count : 3]
    return [((field & 0x7F) + 1, bool(field & 0x80)) for field in fields]


def _rows(form: str, body: bytes) -> list[tuple[int, ...]]:
    """The whole rows of a table."""
    size = struct.calcsize(form)
    return list(struct.iter_unpack(form, body[: len(body) // size * size]))


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Boxes of a JP2, by kind (I.4); as far as they are sound."""
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1 and at + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        size = size or len(data) - at
        if size < head:
            return
        yield kind, data[at + head : at + size]
        at += size


def _boxed(
    data: bytes, image: Image.Image, depths: list[tuple[int, bool]], notes: list[str]
) -> _Palette | None:
    """The palette of a JP2; `notes` receives the boxes that are lost."""
    top = list(_boxes(data))
    header = dict(_boxes(next((body for kind, body in top if kind == b"jp2h"), b"")))
    lost = list(dict.fromkeys(_LOST[kind] for kind, _ in top if kind in _LOST))
    if header.get(b"colr", b"")[:1] in (b"\2", b"\3"):  # a restricted or any ICC profile
        lost.append("ICC profile")
    if lost:
        notes.append(f"Left out: {', '.join(lost)}.")
    if any(kind == 2 for _, kind, _ in _rows(">HHH", header.get(b"cdef", b"")[2:])):
        notes.append("Associated alpha of this JPEG 2000 was kept as it is stored.")
    table, mapping = header.get(b"pclr"), header.get(b"cmap")
    if table is None:
        return None
    wrong = ImageError(
        "a JPEG 2000 with a palette of a rare kind, which is not read; convert it to RGB first"
    )
    if len(table) < 3 or mapping is None or image.mode not in ("P", "PA"):
        raise wrong
    entries, columns = struct.unpack_from(">HB", table)
    body = table[3 + columns :]
    if set(table[3 : 3 + columns]) != {7} or len(body) < entries * columns:
        raise wrong
    colours = np.frombuffer(body, np.uint8, entries * columns).reshape(entries, columns)
    channels = _rows(">HBB", mapping)
    sound = all(
        (kind == 1 and component == 0 and column < columns)
        or (kind == 0 and 0 < component < len(depths))
        for component, kind, column in channels
    )
    if not sound or not 1 <= len(channels) <= 4 or header.get(b"colr", b"")[3:7] == b"\0\0\0\x0c":
        raise wrong
    notes.append(f"The palette is stored as {_NAMES[len(channels)]} samples.")
    return _Palette(
        colours,
        tuple(None if kind else component for component, kind, _ in channels),
        tuple(column for _, _, column in channels),
    )
