"""Stacks to files: multi-page TIFFs of any type and number of channels, arrays, animations."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lowrank.errors import ImageError, LimitError, UsageError, number_of
from lowrank.io import described, images, npy, tiffwriter
from lowrank.io import metadata as metadata_of
from lowrank.io.formats import STACKS, ZARR, check_fits
from lowrank.io.modes import to_image
from lowrank.io.wall import wall
from lowrank.limits import fits
from lowrank.picture import Metadata, Mode, Picture
from lowrank.picture.axis import Axis, unpack

_IN_TIFF = 4  # channels that every reader of TIFFs has a name for
_ANIMATED = ("1", "L", "RGB")
_PALETTE = 256
_PAUSE = 10  # hundredths of a second a frame, where nothing says how long
_LONGEST = 2**16 - 1  # hundredths of a second, and so long is all of what GIF merges

# Tags of TIFF 6.0, and their types.
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _OFFSETS = 256, 257, 258, 259, 262, 273
_SAMPLES, _ROWS, _COUNTS, _PLANAR, _EXTRA, _FORMAT = 277, 278, 279, 284, 338, 339
_SHORT, _LONG, _LONG8 = 3, 4, 16
_LETTERS = {_SHORT: "H", _LONG: "I", _LONG8: "Q"}
_CLASSIC = 2**32 - 2**24  # bytes of samples that offsets of 32 bits reach, with room for the tags


def default_suffix(mode: Mode) -> str:
    """Suffix of the usual file for a stack."""
    return ".tif" if len(mode.channels) <= _IN_TIFF else ".npy"


def format_for(path_or_suffix: str, mode: Mode, frames: int) -> str:
    """Name of the format of an output.

    Raises
    ------
    UsageError, ImageError
        None of its files holds a stack, or one of this mode.
    """
    suffix = os.path.splitext(path_or_suffix)[1] or f".{path_or_suffix.removeprefix('.')}"
    format = STACKS.get(suffix.lower())
    if format is None:
        raise UsageError(
            f"{suffix} holds no stack of {number_of(frames, 'frame')}; give "
            f"{', '.join((*STACKS, ZARR))} or a folder, or take one of them with --frames"
        )
    if format == "GIF" and mode.name not in _ANIMATED:
        raise ImageError(f".gif cannot hold {mode.title} without loss; write .tif or .npy")
    return format


def write(picture: Picture, *, format: str) -> tuple[bytes, tuple[str, ...]]:
    """Encode a stack, and say what the file lacks.

    Parameters
    ----------
    picture : Picture
        Of 4-D samples.
    format : {"TIFF", "NPY", "GIF"}
        From `format_for`.
    """
    if not fits(2 * picture.samples.nbytes):
        raise LimitError("not enough memory to write so many frames at once; use --frames")
    if format == "NPY":
        return images.write(picture, format="NPY"), ()
    if format == "GIF":
        return _animation(picture)
    found = pieces(
        picture.samples.shape, picture.mode, picture.metadata, [picture.samples], format=format
    )
    return b"".join(found), ()


def notes(said: Metadata, frames: int, shape: tuple[int, ...], *, format: str) -> tuple[str, ...]:
    """Say what a file of a format, or an array of zarr, leaves out of a stack's metadata.

    `shape` is that of the samples that are written, of some or all of so many frames.
    """
    labels = unpack(said.axis, frames)
    found: tuple[str, ...] = ()
    if format == "TIFF":
        said, found = described.of_shape(said, shape)
    found += metadata_of.kept_by(format, said)[1]
    if format == "GIF" and labels.unit == "ms" and not labels.labels:
        last = "How long the last frame is to stand is not kept: as long as the one before it."
        return (*found, last) if frames > 1 else found
    return found + of_labels(labels)


def of_labels(labels: Axis) -> tuple[str, ...]:
    """Say that labels, values and their unit are left out, by files as by a folder of them."""
    if labels == Axis():
        return ()
    return ("The labels of the frames stay in the .lrk file: no image file holds them.",)


def frame(picture: Picture, i: int) -> Picture:
    """One frame as a picture of its own."""
    metadata = picture.metadata
    kept = type(metadata)(metadata.exif, metadata.icc, metadata.xmp)
    return Picture(picture.samples[i], picture.mode, kept)


def _animation(picture: Picture) -> tuple[bytes, tuple[str, ...]]:
    check_fits(picture, "GIF", ".tif or .npy")
    frames = picture.frames or 1
    pauses, notes = _pauses(picture, frames)
    shown = [to_image(frame(picture, i)) for i in range(frames)]
    if lossy := sum(image.getcolors(_PALETTE) is None for image in shown):
        notes.append(
            f"{number_of(lossy, 'frame', 'has', 'have')} more than {_PALETTE} colours, which GIF "
            "cannot hold: reduced."
        )
    stream = BytesIO()
    with wall("write GIF", "choose another format"):
        shown[0].save(
            stream, "GIF", save_all=True, append_images=shown[1:], loop=0, optimize=False,
            duration=[10 * pause for pause in pauses], disposal=1,
        )  # fmt: skip
        with Image.open(stream) as made:
            same = frames - getattr(made, "n_frames", 1)
    if same:
        notes.append(
            f"{number_of(same, 'frame', 'is', 'are')} the same as the one before: in the GIF that "
            "one stands longer instead."
        )
    return stream.getvalue(), tuple(notes)


def _pauses(picture: Picture, frames: int) -> tuple[list[int], list[str]]:
    """How long each frame stands in a GIF, in hundredths of a second; what that changes is said.

    What rounding takes from one the next has, so that no error adds up.
    """
    axis = unpack(picture.metadata.axis, frames)
    if axis.unit != "ms" or frames < 2:
        wanted = [float(_PAUSE)] * frames
    else:
        wanted = [abs(b - a) / 10 for a, b in zip(axis.values, axis.values[1:], strict=False)]
        wanted.append(wanted[-1])
    pauses: list[int] = []
    over, together = 0.0, 0  # what rounding has left to the next, and how long one picture stands
    for i, length in enumerate(wanted):
        same = i > 0 and np.array_equal(picture.samples[i], picture.samples[i - 1])
        together = together if same else 0
        pauses.append(round(min(max(length + over, 1), _LONGEST - together)))
        over = min(max(length + over - pauses[-1], -0.5), 0.5)
        together += pauses[-1]
    changed = [abs(a - b) for a, b in zip(pauses, wanted, strict=True)]
    notes = []
    if others := sum(difference > 1e-3 for difference in changed):
        notes.append(
            f"GIF counts in hundredths of a second, 1 to {_LONGEST:,} of them: "
            f"{number_of(others, 'frame', 'stands', 'stand')} up to {10 * max(changed):.6g} ms "
            "longer or shorter."
        )
    return pauses, notes


def pieces(
    shape: tuple[int, ...], mode: Mode, metadata: Metadata, frames: Iterable[NDArray[Any]], *,
    format: str,
) -> Iterator[bytes | memoryview]:  # fmt: skip
    """Encode a stack as its frames come: the bytes that `write` gives, a piece at a time.

    Parameters
    ----------
    shape : tuple of int
        (frames, height, width, channels) of all samples.
    mode : Mode
    metadata : Metadata
    frames : iterable of (some, height, width, channels) ndarray
        All of them, in their order.
    format : {"TIFF", "NPY"}
    """
    if format == "NPY":
        yield npy.header(shape if shape[-1] > 1 else shape[:-1], mode.own_dtype)
        for some in frames:
            yield np.ascontiguousarray(some).reshape(-1).view(np.uint8).data
        return
    yield from _pages(shape, mode, metadata, frames)


def _pages(
    shape: tuple[int, ...], mode: Mode, metadata: Metadata, frames: Iterable[NDArray[Any]]
) -> Iterator[bytes | memoryview]:
    """A TIFF of a strip a page, then the directories; a BigTIFF where offsets need 64 bits.

    Every page has the metadata, of which there is one copy: were the first to have them alone,
    the others would lack the colours, the resolution and the way up that they share with it.
    """
    count, height, width, channels = shape
    size = height * width * channels * np.dtype(mode.dtype).itemsize
    if mode.bits == 1:
        size = height * -(-width // 8)
    total = count * size
    big = total > _CLASSIC
    word, entry = ("Q", "<HHQ") if big else ("I", "<HHI")
    head = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0) if big else struct.pack("<2sHI", b"II", 42, 0)
    carried, shared = _carried(described.of_shape(metadata, shape)[0], len(head), big=big)
    before = bytearray(head + carried + bytes(-(len(head) + len(carried)) % 8))
    base = len(before) + total + -total % 8  # of the directories
    out = bytearray()
    link, places = len(head) - struct.calcsize(word), before  # of the next directory's offset
    for page in range(count):
        tags = _tags(shape, mode, len(before) + page * size, size, big=big)
        at = base + len(out)
        struct.pack_into(f"<{word}", places, link, at)
        count_of = len(tags) + len(shared)
        number = struct.pack("<Q" if big else "<H", count_of)
        room = 8 if big else 4
        beyond = (
            at + len(number) + count_of * (struct.calcsize(entry) + room) + struct.calcsize(word)
        )
        fields, extra = number, b""
        for tag in sorted({*tags, *shared}):
            if tag in shared:
                fields += shared[tag]
                continue
            kind, values = tags[tag]
            packed = struct.pack(f"<{len(values)}{_LETTERS[kind]}", *values)
            fields += struct.pack(entry, tag, kind, len(values))
            if len(packed) > room:
                fields += struct.pack(f"<{word}", beyond + len(extra))
                extra += packed + bytes(-len(packed) % 8)
            else:
                fields += packed.ljust(room, b"\0")
        link, places = len(out) + len(fields), out
        out += fields + bytes(struct.calcsize(word)) + extra
        out += bytes(-len(out) % 8)
    yield bytes(before)
    for some in frames:
        if mode.bits == 1:
            some = np.packbits(some[..., 0] != 0, axis=2)
        flat = np.ascontiguousarray(some, some.dtype.newbyteorder("<"))
        yield flat.reshape(-1).view(np.uint8).data
    yield bytes(-total % 8)
    yield bytes(out)


def _carried(said: Metadata, at: int, *, big: bool) -> tuple[bytes, dict[int, bytes]]:
    """A directory of metadata for a place in the file, and its entries by their tags.

    What these point to stays where it is, so any other directory may repeat them.
    """
    options = metadata_of.save_options("TIFF", metadata_of.kept_by("TIFF", said)[0])
    if not options:
        return b"", {}
    with wall("write TIFF", "choose another format"):
        data = tiffwriter.directory(
            options.get("exif"), options.get("icc_profile"), big=big
        ).tobytes(at)
    number, size = ("<Q", 20) if big else ("<H", 12)
    (count,) = struct.unpack_from(number, data)
    start = struct.calcsize(number)
    entries = [data[i : i + size] for i in range(start, start + count * size, size)]
    return data, {struct.unpack_from("<H", x)[0]: x for x in entries}


def _tags(
    shape: tuple[int, ...], mode: Mode, offset: int, size: int, *, big: bool
) -> dict[int, tuple[int, tuple[Any, ...]]]:
    _, height, width, channels = shape
    colours = 4 if mode.name == "CMYK" else 3 if channels in (3, 4) else 1
    photometric = {4: 5, 3: 2, 1: 1}[colours]
    place = _LONG8 if big else _LONG
    tags: dict[int, tuple[int, tuple[Any, ...]]] = {
        _WIDTH: (_LONG, (width,)),
        _HEIGHT: (_LONG, (height,)),
        _BITS: (_SHORT, (mode.bits,) * channels),
        _COMPRESSION: (_SHORT, (1,)),
        _PHOTOMETRIC: (_SHORT, (photometric,)),
        _OFFSETS: (place, (offset,)),
        _SAMPLES: (_SHORT, (channels,)),
        _ROWS: (_LONG, (height,)),
        _COUNTS: (place, (size,)),
        _PLANAR: (_SHORT, (1,)),
        _FORMAT: (_SHORT, (tiffwriter.KINDS[np.dtype(mode.dtype).kind],) * channels),
    }
    if channels > colours:
        alpha = 2 if "alpha" in mode.channels else 0
        tags[_EXTRA] = (_SHORT, (alpha,) + (0,) * (channels - colours - 1))
    return tags
