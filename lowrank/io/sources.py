"""Pictures and stacks from wherever they are; a note says which of both a source was taken for.

A 2-D array is a grey picture. An array (height, width, 1 to 4) of uint8 or uint16 is a picture,
unless a stack, an axis or frames are asked for. (N, height, width) and (N, height, width,
colours) are stacks. A multi-page TIFF or an animation is a stack, if its images are of one size
and mode. Several pictures are a stack where that is asked for.
"""

from __future__ import annotations

import numbers
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import ImageError, UsageError, called, number_of
from lowrank.io import arrays, dtypes, folders, images, npy, pages, zarr
from lowrank.io import nodata as missing
from lowrank.io.matrices import fitting
from lowrank.io.modes import check_finite
from lowrank.io.taking import USUAL, Taking, several
from lowrank.io.wall import naming, thin_wall
from lowrank.picture import DTYPES, Loaded, Metadata, Picture, Source
from lowrank.picture.axis import Axis

Samples = NDArray[Any]

PICTURES = ("uint8", "uint16")  # types of which (height, width, 1 to 4) is one picture
_SLAB = 1 << 24  # samples of a lazy array that are read at a time


def read(
    data: bytes,
    *,
    name: str,
    max_pixels: int,
    nodata: float | None = None,
    taking: Taking = USUAL,
) -> Loaded:
    """Read the bytes of a file: a picture, or a stack.

    Raises
    ------
    ImageError, LimitError
        As for `images.read`.
    UsageError
        A stack was asked for, and it is none; or it has no such frame.
    """
    if data.startswith(images.ARRAYS) and npy.accepts(data):
        kind = "NPZ" if data.startswith(b"PK") else "NPY"
        array = npy.read(data, name=called(name), max_pixels=max_pixels)
        return of_array(
            array, name=name, format=kind, size=len(data), max_pixels=max_pixels,
            nodata=nodata, taking=taking,
        )  # fmt: skip
    if taking.axis:
        raise UsageError(f"--axis is one of an array, and {name} is none; leave it out")
    why = ""
    if several(data):
        try:
            found = pages.read(data, name=name, taking=taking, max_pixels=max_pixels, nodata=nodata)
            if found is not None:
                return found
        except pages.UnequalError as error:
            if taking.asked:
                raise
            why = str(error)
    loaded = images.read(data, name=name, max_pixels=max_pixels, nodata=nodata)
    if taking.axis is not None:
        raise UsageError(f"--axis is one of an array, and {name} is none; leave it out")
    if why:
        return Loaded(loaded.picture, loaded.source, (*loaded.notes, f"No stack: {why}."))
    if taking.stack or isinstance(taking.frames, slice):
        one, size, notes = loaded.picture, loaded.source.bytes, list(loaded.notes)
        return _stacked(one.samples[np.newaxis], loaded, [name], notes, size, None, [one.metadata])
    if taking.frames is not None:
        taking.chosen(1)
    return loaded


def is_stack(array: Any) -> bool:
    """Whether an array can be nothing but a stack: it has four axes."""
    return is_array(array) and len(array.shape) == 4


def told(loaded: Loaded) -> Loaded:
    """A picture of an array, and what it was taken for, where it might be a stack."""
    picture = loaded.picture
    if len(picture.mode.channels) <= 4:
        return loaded
    note = pages.taken_for(picture, "an array of three axes; stack=True takes the first for frames")
    return Loaded(picture, loaded.source, (*loaded.notes, note))


@naming
def of_array(
    array: Any,
    *,
    name: str = "array",
    format: str = "array",
    size: int | None = None,
    max_pixels: int,
    nodata: float | None = None,
    taking: Taking = USUAL,
    stacks: bool = True,
) -> Loaded:
    """Take an array of samples: numpy's, or any that has a shape, a dtype and slices.

    Parameters
    ----------
    array : array_like
        Arrays of zarr, h5py and dask are read slab by slab, and only the frames that are taken.
    stacks : bool
        Three axes may mean a stack without being asked for; else they are a picture's.
    """
    array = arrays.gathered(array)
    if not is_array(array):
        array = arrays.asked(array)
    array = arrays.computed(array)
    shape, dtype = tuple(array.shape), np.dtype(array.dtype)
    pictured = len(shape) == 3 and shape[2] <= 4 and dtype.name in PICTURES
    if taking.asked or len(shape) > 3 or (len(shape) == 3 and stacks and not pictured):
        return _stack_of(array, name, format, size, max_pixels, nodata, taking)
    hidden, fill = arrays.masked(array)
    loaded = arrays.loaded(
        np.asarray(array), name=name, format=format, size=size, max_pixels=max_pixels,
        nodata=nodata, hidden=hidden, fill=fill,
    )  # fmt: skip
    if not (stacks or (len(shape) == 3 and shape[2] > 4)):
        return loaded
    what = f"an array of {_shown(shape)} {dtypes.named(dtype)}"
    if len(shape) == 3:
        what += "; stack=True or --stack takes its first axis for frames"
    note = pages.taken_for(loaded.picture, what)
    return Loaded(loaded.picture, loaded.source, (*loaded.notes, note))


def _stack_of(
    array: Any, name: str, format: str, size: int | None, max_pixels: int, nodata: float | None,
    taking: Taking,
) -> Loaded:  # fmt: skip
    """An array of frames as a stack; or one frame of it as a picture."""
    shape, dtype = tuple(array.shape), np.dtype(array.dtype)
    if len(shape) not in (3, 4) or 0 in shape:
        raise ImageError(
            f"an array of shape {shape} is no stack; give (frames, height, width) or "
            "(frames, height, width, colours)"
        )
    at = taking.axis or 0
    if not -len(shape) <= at < len(shape):
        raise UsageError(
            f"axis {at} does not exist: the array has shape {shape}; give 0 to {len(shape) - 1}, "
            "or -1 for the last"
        )
    at %= len(shape)
    chosen = taking.chosen(shape[at])
    sides = tuple(x for i, x in enumerate(shape) if i != at)
    pages.check_room((len(chosen), *sides), dtype, max_pixels)
    with thin_wall(f"read {name}", "give an array of numbers"):  # dask may read pictures for it
        samples, hidden = _taken(array, at, chosen, sides)
    notes: list[str] = []
    if len(shape) == 3:
        samples = samples[..., np.newaxis]
    kept, mode = _typed(samples, notes)
    if isinstance(taking.frames, int):
        kept, hidden = kept[0], None if hidden is None else hidden[0]
    picture = Picture(kept, mode)
    notes.append(pages.taken_for(picture, counted(shape, dtype, at, taking)))
    if hidden is not None and len(shape) == 4:
        hidden = arrays.hidden_pixels(hidden[..., : mode.colours])
    if nodata is None and hidden is not None and hidden.any():
        nodata = arrays.filling(array.fill_value, kept.dtype)
    picture = missing.taken(picture, nodata, notes, hidden=hidden, came=dtype)
    for frame in picture.each():
        check_finite(frame, mode)
    source = Source(name, format, mode.title, picture.width, picture.height, size or kept.nbytes)
    return Loaded(picture, source, tuple(notes))


def counted(shape: tuple[int, ...], dtype: np.dtype[Any], at: int, taking: Taking) -> str:
    """What an array of frames is, for a note; where bands may be last, how to say that they are."""
    last = taking.axis is None and min(shape) == shape[-1] < shape[0] and len(shape) == 3
    hint = "; axis=-1 or --axis -1 takes its last" if last else ""
    return f"an array of {_shown(shape)} {dtypes.named(dtype)}, axis {at} counting frames{hint}"


def _shown(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def is_array(array: Any) -> bool:
    """Whether something has a shape, a dtype and slices, as numpy knows them.

    What has others (a tensor's dtype, a side of dask's that nobody knows) may still be one for
    `np.asarray`.
    """
    try:
        shape, _ = tuple(array.shape), np.dtype(array.dtype)
    except (AttributeError, TypeError, ValueError):
        return False
    return hasattr(array, "__getitem__") and all(isinstance(x, numbers.Integral) for x in shape)


def _taken(
    array: Any, at: int, chosen: range, sides: tuple[int, ...]
) -> tuple[Samples, NDArray[np.bool_] | None]:
    """Samples with the frames first, and what a masked array hides; of numpy's arrays a view."""
    if isinstance(array, np.ndarray):
        hidden = None
        if isinstance(array, np.ma.MaskedArray):
            mask = np.moveaxis(np.ma.getmaskarray(array), at, 0)
            hidden = mask[chosen.start : _stop(chosen) : chosen.step]
        found = np.moveaxis(np.asarray(array), at, 0)[chosen.start : _stop(chosen) : chosen.step]
        return found, hidden
    step = max(_SLAB // int(np.prod(sides)), 1)
    samples = np.empty((len(chosen), *sides), np.dtype(array.dtype))
    for first in range(0, len(chosen), step):
        some = chosen[first : first + step]
        # Lazy arrays know no negative steps, and not all of them know others.
        low, high = min(some), max(some) + 1
        slab = np.moveaxis(np.asarray(array[(slice(None),) * at + (slice(low, high),)]), at, 0)
        whole = fitting(slab, (high - low, *sides), samples.dtype)
        samples[first : first + step] = whole[[i - low for i in some]]
    return samples, None


def _stop(chosen: range) -> int | None:
    return None if chosen.stop < 0 else chosen.stop


def _typed(samples: Samples, notes: list[str]) -> tuple[Samples, Any]:
    """Samples in a type that a picture may have: those of a mapped file are not copied."""
    if samples.dtype.newbyteorder("=").name not in DTYPES:
        return dtypes.typed(samples, notes)
    mode = dtypes.typed(samples[:0], notes)[1]
    return np.asarray(samples, mode.dtype, order="C"), mode


def of_files(
    paths: Sequence[str],
    read_bytes: Callable[[str], bytes],
    *,
    max_pixels: int,
    nodata: float | None = None,
    taking: Taking = USUAL,
) -> Loaded:
    """Read pictures as one stack, in the natural order of their names, which travel as labels.

    Of a file that holds several the first is read, and a note says so.

    Raises
    ------
    ImageError
        One has another size or mode than the first, or is none.
    UsageError
        An axis was asked for, or frames that are not there.
    """
    if taking.axis:
        raise UsageError("--axis is one of an array, and several files are none; leave it out")
    ordered = sorted(paths, key=natural)
    chosen = [ordered[i] for i in taking.chosen(len(ordered))]
    if isinstance(taking.frames, int):
        alone = images.read(
            read_bytes(chosen[0]), name=chosen[0], max_pixels=max_pixels, nodata=nodata
        )
        return replace(alone, notes=(pages.taken_for(alone.picture, chosen[0]), *alone.notes))
    samples: Samples | None = None
    first: Loaded | None = None
    notes: dict[str, list[str]] = {}
    carried: dict[Metadata, None] = {}
    size = 0
    for i, path in enumerate(chosen):
        data = read_bytes(path)
        size += len(data)
        one = images.read(data, name=path, max_pixels=max_pixels)
        picture = one.picture
        for note in one.notes:
            notes.setdefault(note, []).append(path)
        if samples is None or first is None:
            first = one
            shape = (len(chosen), *picture.samples.shape)
            pages.check_room(shape, picture.samples.dtype, max_pixels)
            samples = np.empty(shape, picture.samples.dtype)
        else:
            check_alike(picture, path, first.picture, chosen[0])
        samples[i] = picture.samples
        carried[picture.metadata] = None
    if samples is None or first is None:
        raise ImageError("no frames: give at least one picture")
    return _stacked(samples, first, chosen, said_of(notes, len(chosen)), size, nodata, carried)


def check_alike(picture: Picture, path: str, first: Picture, first_path: str) -> None:
    """Refuse a frame of another size or mode than the first of its stack."""
    if (picture.samples.shape, picture.mode) != (first.samples.shape, first.mode):
        raise ImageError(
            f"{path} is {picture.width}x{picture.height} {picture.mode.title}, {first_path} "
            f"{first.width}x{first.height} {first.mode.title}: they are no frames of one stack; "
            "leave it out"
        )


def named_frames(paths: Iterable[str], icc: bytes | None, notes: list[str]) -> Metadata:
    """Metadata of a stack of files: a colour profile, and their names, where these fit a block."""
    try:
        block = Axis(labels=tuple(map(os.path.basename, paths))).pack()
    except ValueError as error:
        block = None
        notes.append(f"The names of the frames were left out: {error}.")
    return Metadata(icc=icc, axis=block)


def of_directory(
    path: str,
    read_bytes: Callable[[str], bytes],
    *,
    max_pixels: int,
    nodata: float | None = None,
    taking: Taking = USUAL,
) -> Loaded:
    """Read an array of zarr, or the pictures of a folder as one stack, by the name of the folder.

    Raises
    ------
    FileError, ImageError, UsageError
        It holds no pictures, or none of one kind; it is no array, or the extra is not installed.
    """
    if zarr.is_array(path):
        return of_array(
            zarr.opened(path), name=path, format="ZARR", max_pixels=max_pixels, nodata=nodata,
            taking=taking,
        )  # fmt: skip
    paths, notes = folders.frames_of(path)
    loaded = of_files(paths, read_bytes, max_pixels=max_pixels, nodata=nodata, taking=taking)
    source = loaded.source if loaded.picture.frames is None else replace(loaded.source, path=path)
    return replace(loaded, source=source, notes=(*notes, *loaded.notes))


def said_of(notes: Mapping[str, Sequence[str]], frames: int) -> list[str]:
    """Notes on frames of a stack, each with the names of those it is of, where not of all."""
    said = []
    for note, names in notes.items():
        more = f" and {number_of(len(names) - 1, 'other')}" if len(names) > 1 else ""
        said.append(note if len(names) == frames else f"{names[0]}{more}: {note}")
    return said


def _stacked(
    samples: Samples, first: Loaded, names: Sequence[str], notes: list[str], size: int,
    nodata: float | None, carried: Iterable[Metadata],
) -> Loaded:  # fmt: skip
    mode = first.picture.mode
    said = list(notes)
    picture = Picture(samples, mode, named_frames(names, first.picture.metadata.icc, said))
    said += pages.left_out(carried)
    said.append(pages.taken_for(picture, pages.in_order(len(samples))))
    picture = missing.taken(picture, nodata, said)
    source = Source(first.source.path, first.source.format, mode.title, picture.width,
                    picture.height, size)  # fmt: skip
    return Loaded(picture, source, tuple(said))


def natural(name: str) -> list[tuple[int, int, str]]:
    """Key of the natural order of names: numbers in them count as numbers."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(p), "") if p.isdigit() and p.isascii() else (1, 0, p) for p in parts]
