"""Sources that are not read whole: large arrays, TIFFs and folders, as `picture.lazy` has them.

Only what can be read in pieces, and is of a type that a picture has: all else is read as
`sources` reads it. What a source is taken for follows the same rules.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lowrank.errors import UsageError
from lowrank.io import arrays, dtypes, images, largetiff, npy, pages, sources, urls, zarr
from lowrank.io.matrices import InFile, OfArray, OfFrames, of_channels
from lowrank.io.taking import TIFFS, Taking
from lowrank.limits import DEFAULT_MAX_PIXELS, LARGE
from lowrank.picture import Metadata, Mode, Source
from lowrank.picture.lazy import Lazy, LazyLoaded, Matrix

_PLAIN = (2, 4)
"""Axes of an array that is a grey picture, or a stack, without being said to be one."""


def may_be(source: Any) -> bool:
    """Whether a file or an array may be one to read in passes, by its size."""
    if isinstance(source, str | os.PathLike):
        if zarr.is_array(os.fspath(source)):
            return True
        try:
            return os.stat(source).st_size >= LARGE
        except (OSError, ValueError):
            return False
    if not sources.is_array(source):
        return False
    size = math.prod(source.shape) * np.dtype(source.dtype).itemsize
    return bool(size >= LARGE)


def of(
    source: Any, taking: Taking, *, least: int, max_pixels: int = DEFAULT_MAX_PIXELS
) -> LazyLoaded | None:
    """A file or an array of at least so many bytes; None of what is to be read whole."""
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        there = urls.is_url(name) or os.path.isfile(name) or zarr.is_array(name)
        return of_path(name, taking, least=least, max_pixels=max_pixels) if there else None
    if sources.is_array(source) and (taking.asked or len(source.shape) in _PLAIN):
        return of_array(source, taking, least=least)
    return None


def of_path(
    path: str, taking: Taking, *, least: int, max_pixels: int = DEFAULT_MAX_PIXELS
) -> LazyLoaded | None:
    """A file of at least so many bytes of samples; None of one that is to be read whole.

    The limit on pixels is that of frames that are decoded whole.

    Raises
    ------
    ImageError, UsageError
        As for `sources.read`.
    """
    if urls.is_url(path) and not path.lower().endswith(".npy"):
        raise UsageError(f"{path}: of stores, arrays in .npy are read; copy others here first")
    if path.lower().endswith(".npy"):
        return _of_npy(path, taking, least)
    if zarr.is_array(path):
        array = zarr.opened(path)
        return of_array(array, taking, least=least, name=path, format="ZARR")
    with open(path, "rb") as stream:
        start = stream.read(4)
    if start.startswith(TIFFS) and os.path.getsize(path) >= min(least, 1 << 20):
        return largetiff.of_path(path, taking, least=least, max_pixels=max_pixels)
    return None


def of_array(
    array: Any, taking: Taking, *, least: int, name: str = "array", format: str = "array"
) -> LazyLoaded | None:
    """The same of an array of frames or of a grey picture, with a shape, a dtype and slices."""
    if isinstance(array, np.ma.MaskedArray) or arrays.is_masked(array):
        return None
    shape, dtype = tuple(array.shape), np.dtype(array.dtype)
    if len(shape) == 2 and not taking.asked:
        mode = dtypes.mode_of(dtype, 1)
        size = math.prod(shape) * dtype.itemsize
        if mode is None or 0 in shape or size < least:
            return None
        grey = _grey(OfArray(array, 0, range(shape[0])), mode, name, format, size)
        return grey if format != "array" else replace(grey, notes=())
    found = _stacked(shape, dtype, taking, least)
    if found is None:
        return None
    at, chosen, mode = found
    return _loaded(OfArray(array, at, chosen), shape, at, taking, mode, name, format, None)


def of_files(
    paths: Sequence[str], read_bytes: Callable[[str], bytes], taking: Taking, *, least: int,
    max_pixels: int,
) -> LazyLoaded | None:  # fmt: skip
    """The same of pictures that are the frames of one stack."""
    ordered = sorted(paths, key=sources.natural)
    if taking.axis or isinstance(taking.frames, int):
        return None
    chosen = [ordered[i] for i in taking.chosen(len(ordered))]
    first = images.read(read_bytes(chosen[0]), name=chosen[0], max_pixels=max_pixels)
    p = first.picture
    if p.samples.nbytes * len(chosen) < least:
        return None

    said: dict[str, dict[str, None]] = {}
    lost: dict[str, None] = {}
    profiles: dict[Metadata, None] = {}  # without EXIF, of which each frame may have its own

    def decoded(i: int) -> Any:
        one = images.read(read_bytes(chosen[i]), name=chosen[i], max_pixels=max_pixels)
        picture = one.picture
        sources.check_alike(picture, chosen[i], p, chosen[0])
        for note in one.notes:
            said.setdefault(note, {})[chosen[i]] = None
        lost.update(dict.fromkeys(pages.left_out([picture.metadata])))
        profiles[Metadata(icc=picture.metadata.icc)] = None
        return picture.samples

    def seen() -> tuple[str, ...]:
        of_frames = {note: list(names) for note, names in said.items()}
        return (*sources.said_of(of_frames, len(chosen)), *lost, *pages.left_out(profiles))

    size = sum(map(os.path.getsize, chosen))
    matrix = OfFrames(len(chosen), p.samples.size, p.samples.dtype, decoded)
    notes: list[str] = []
    carried = sources.named_frames(chosen, p.metadata.icc, notes)
    lazy = Lazy(matrix, p.mode, p.height, p.width, len(chosen), carried)
    notes.append(pages.taken_for(lazy, pages.in_order(len(chosen))))
    source = Source(first.source.path, first.source.format, p.mode.title, p.width, p.height, size)
    return LazyLoaded(lazy, source, tuple(filter(None, notes)), seen)


def _stacked(
    shape: tuple[int, ...], dtype: np.dtype[Any], taking: Taking, least: int
) -> tuple[int, range, Mode] | None:
    """Axis, frames and mode of what is a stack by the rules of `sources.of_array`."""
    pictured = len(shape) == 3 and shape[2] <= 4 and dtype.name in sources.PICTURES
    if len(shape) not in (3, 4) or 0 in shape or (pictured and not taking.asked):
        return None
    if isinstance(taking.frames, int) or not -len(shape) <= (taking.axis or 0) < len(shape):
        return None
    at = (taking.axis or 0) % len(shape)
    chosen = taking.chosen(shape[at])
    sides = [x for i, x in enumerate(shape) if i != at]
    mode = dtypes.mode_of(dtype, sides[2] if len(sides) == 3 else 1)
    samples = len(chosen) * int(np.prod(sides, dtype=object))
    if mode is None or chosen.step != 1 or samples * dtype.itemsize < least:
        return None
    return at, chosen, mode


def _grey(matrix: Matrix, mode: Mode, name: str, format: str, size: int) -> LazyLoaded:
    """A grey picture, of which the array is the matrix."""
    height, width = matrix.m, matrix.n
    lazy = Lazy(matrix, mode, height, width, None)
    note = pages.taken_for(lazy, f"an array of {height} x {width} {dtypes.named(matrix.dtype)}")
    source = Source.of(name, format, mode, width, height, size)
    return LazyLoaded(lazy, source, (note,))


def _loaded(
    matrix: Matrix, shape: tuple[int, ...], at: int, taking: Taking, mode: Mode, name: str,
    format: str, size: int | None,
) -> LazyLoaded:  # fmt: skip
    height, width = [x for i, x in enumerate(shape) if i != at][:2]
    lazy = Lazy(matrix, mode, height, width, matrix.m)
    what = sources.counted(shape, matrix.dtype, at, taking)
    source = Source(name, format, mode.title, width, height, size or lazy.nbytes)
    return LazyLoaded(lazy, source, (pages.taken_for(lazy, what),))


# -- arrays in files -----------------------------------------------------------------------


def _of_npy(path: str, taking: Taking, least: int) -> LazyLoaded | None:
    far = urls.is_url(path)
    there: Callable[[str], int] = os.path.getsize
    kind: Callable[..., InFile] = InFile
    if far:
        from lowrank.io import cloud  # loads http, which takes as long as Pillow

        there, kind = cloud.size, cloud.InStore
        shape, dtype, columns, start = cloud.described(path)
    else:
        shape, dtype, columns, start = npy.described(path)

    def lines(first: int, count: int, length: int, *, transposed: bool = False) -> InFile:
        """Lines of the array that stand side by side in the file."""
        numbers = np.arange(first, first + count, dtype=np.int64)
        starts = start + numbers * (length * dtype.itemsize)
        return kind(path, dtype, starts, length, transposed=transposed)

    samples = int(np.prod(shape, dtype=object))
    if samples * dtype.itemsize < least:
        return None
    if len(shape) == 2 and not taking.asked:
        mode = dtypes.mode_of(dtype, 1)
        if mode is None or not samples:
            return None
        count, length = shape[::-1] if columns else shape
        grey = lines(0, count, length, transposed=columns)
        return _grey(grey, mode, path, "NPY", there(path))
    pictured = len(shape) == 3 and shape[2] <= 4 and dtype.name in sources.PICTURES
    if pictured and not taking.asked and not columns and samples:
        height, width, channels = shape
        mode = dtypes.mode_of(dtype, channels)
        if mode is None:
            return None
        lazy = of_channels(lines(0, height, width * channels), mode, channels)
        what = f"an array of {height} x {width} x {channels} {dtypes.named(dtype)}"
        note = pages.taken_for(
            lazy, f"{what}; stack=True or --stack takes its first axis for frames"
        )
        source = Source.of(path, "NPY", mode, width, height, there(path))
        return LazyLoaded(lazy, source, (note,))
    found = _stacked(shape, dtype, taking, least)
    if found is None:
        return None
    at, chosen, mode = found
    each = samples // shape[at]  # samples of a frame
    matrix: Matrix
    if at == 0 and not columns:
        matrix = lines(chosen.start, len(chosen), each)
    elif at == len(shape) - 1 and not columns and len(chosen) == shape[at]:
        matrix = lines(0, each, len(chosen), transposed=True)
    elif far:
        raise UsageError(f"{path}: of stores, frames are read that come first in C order; fetch it")
    else:
        matrix = OfArray(npy.mapped(path, max_pixels=largetiff.ANY), at, chosen)
    return _loaded(matrix, shape, at, taking, mode, path, "NPY", there(path))


def labelled(loaded: LazyLoaded, block: bytes | None) -> LazyLoaded:
    """The same with labels of frames."""
    metadata = replace(loaded.picture.metadata, axis=block)
    return replace(loaded, picture=replace(loaded.picture, metadata=metadata))
