"""A stack of registered pictures as one matrix of low rank: any part of it without the rest.

>>> import numpy as np
>>> import lowrank
>>> frames = np.arange(24.0)[:, None, None] * np.ones((24, 6, 8)) + np.eye(6, 8)
>>> stack = lowrank.compress(frames.astype(np.float32), stack=True, rank=2)
>>> stack
<LowRankStack 24 frames of 8x6 F, rank 2, float32>
>>> stack[7, 2, 2:4].round(3)
array([8., 7.], dtype=float32)
>>> stack.coefficients.shape, stack.components.shape
((24, 2), (2, 6, 8))
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lowrank import codec, files, linalg, streams, targets
from lowrank import format as lrk
from lowrank.errors import ArgumentError, ImageError, LimitError, UsageError
from lowrank.format import header, mapped
from lowrank.format.mapped import Mapped
from lowrank.format.parts import Factors, Floats, Head, Parts
from lowrank.io import npy, sources
from lowrank.io.formats import ZARR
from lowrank.io.taking import USUAL, Taking
from lowrank.limits import DEFAULT_MAX_PIXELS, STACK, fits
from lowrank.picture import Loaded, Picture, axis, gaps
from lowrank.picture.axis import Axis
from lowrank.stores import sums
from lowrank.targets import Target

if TYPE_CHECKING:
    from lowrank.report import Report
    from lowrank.stores.packed import Reader

Array = NDArray[Any]
Factored = tuple[NDArray[np.floating], NDArray[np.float64], NDArray[np.floating]]


class LowRankStack:
    """N registered pictures as the k leading terms of one N x (height width colours) matrix.

    `lowrank.compress(..., stack=True)` makes one, `lowrank.open` reads one. Where it was opened
    by its name, a float file stays on the disk: indexing reads the bytes that it needs.

    Indexing is numpy's, and gives the very samples of `to_array`: `stack[7]` is a frame,
    `stack[:, y, x]` a pixel's trace, `stack[10:20, 0:64, 0:64]` a box. What is packed is decoded
    whole, once, when the first sample of it is asked for; in tiles, those that are needed are.

    Attributes
    ----------
    notes : tuple of str
        What should be known of how it was made, or read.
    """

    def __init__(
        self,
        parts: Parts,
        notes: tuple[str, ...] = (),
        file: Mapped | None = None,
        path: str | None = None,
    ) -> None:
        self.notes = notes
        self._path = path
        self._parts = parts
        self._mapped = file
        self._gaps: tuple[float, NDArray[np.bool_]] | None = None
        self._decoded: Array | None = None
        self._factors: Factored | None = None
        head = parts.head
        if head.frames is None:
            raise UsageError("one picture is no stack; lowrank.LowRankImage is what it is")
        colours = (len(head.mode.channels),) if len(head.mode.channels) > 1 else ()
        self._shape = (head.frames, head.height, head.width, *colours)

    def __repr__(self) -> str:
        head = self._parts.head
        return (
            f"<LowRankStack {head.frames} frames of {head.width}x{head.height} "
            f"{head.mode.title}, rank {self.ranks[0]}, {head.store}>"
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LowRankStack):
            return NotImplemented
        return self is other or lrk.same(self.parts, other.parts)

    def __hash__(self) -> int:
        return hash((self._parts.head, self.ranks))

    def __getstate__(self) -> dict[str, object]:
        """What a copy and a pickle hold: the parts, and no file."""
        kept = {name: value for name, value in self.__dict__.items() if name != "_tiles"}
        return {**kept, "_parts": self.parts, "_mapped": None, "_decoded": None}

    def _repr_png_(self) -> bytes:
        """The frame in the middle, for notebooks."""
        from lowrank import notebook

        return notebook.png(self._middle())

    def _repr_html_(self) -> str:
        """That frame, and what the file states of the stack, for notebooks."""
        from lowrank import notebook

        return notebook.html(self._parts, self._middle())

    def _middle(self) -> Picture:
        head = self._parts.head
        frame = np.asarray(self[len(self) // 2])
        return Picture(frame.reshape(head.samples_shape[1:]), head.mode)

    # -- what it is --------------------------------------------------------------------

    @property
    def parts(self) -> Parts:
        """The parts of the file; all of its checksums have been looked at."""
        if self._mapped is not None:
            self._mapped.check(self.ranks[0])
        return self._parts

    @property
    def in_parts(self) -> bool:
        """Whether any part of it can be decoded without the rest."""
        return isinstance(self._parts.body, Floats) or self._tiles is not None

    @cached_property
    def _tiles(self) -> Reader | None:
        """What decodes any part of a packed stack in tiles; None of one that is whole."""
        from lowrank.stores import packed  # not for floats

        return packed.reader(self._parts)

    @property
    def parts_head(self) -> Head:
        """What the file says first."""
        return self._parts.head

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, height, width), or (N, height, width, colours)."""
        return self._shape

    @property
    def ndim(self) -> int:
        """3, or 4 of a stack in colour."""
        return len(self._shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a sample."""
        return np.dtype(self._parts.head.mode.dtype)

    def __len__(self) -> int:
        return int(self._shape[0])

    @property
    def mode(self) -> str:
        """What a frame's samples are: a name of Pillow's, or `array`."""
        return self._parts.head.mode.name

    @property
    def layout(self) -> str:
        """`stack`."""
        return self._parts.head.layout

    @property
    def store(self) -> str:
        """How the factors are stored: `float16`, `float32`, `float64` or `packed`."""
        return self._parts.head.store

    @property
    def ranks(self) -> tuple[int, ...]:
        """The rank of its one matrix."""
        return self._parts.ranks

    @property
    def axis(self) -> Axis:
        """Labels and values of the frames, where somebody gave any."""
        return axis.unpack(self._parts.head.metadata.axis, len(self))

    # -- the factors -------------------------------------------------------------------

    @property
    def factors(self) -> tuple[Factored, ...]:
        """One `(U, s, Vt)`, of shapes (N, k), (k,) and (k, height x width x colours).

        A packed file keeps none: they are the singular value decomposition of what it decodes to,
        before that is rounded.
        """
        if self._factors is None:
            _, (found,) = codec.factors(self.parts)
            if not isinstance(found, tuple):
                x = linalg.truncated_svd(found, max(self.ranks[0], 1)).truncate(self.ranks[0])
                found = x.U, x.s, x.Vt
            self._factors = found
        return (self._factors,)

    @property
    def singular_values(self) -> NDArray[np.float64]:
        """(k,) singular values, descending."""
        return self.factors[0][1]

    @property
    def components(self) -> NDArray[np.float64]:
        """(k, height, width[, colours]) eigenimages: right singular vectors, of norm 1."""
        return self.factors[0][2].astype(np.float64).reshape(-1, *self._shape[1:])

    @property
    def coefficients(self) -> NDArray[np.float64]:
        """(N, k) curves U diag(s): the frames are `coefficients @ components`, but for rounding."""
        U, s, _ = self.factors[0]
        return U.astype(np.float64) * s

    def project(self, frames: ArrayLike) -> NDArray[np.float64]:
        """Coefficients of frames in these components, by least squares.

        Parameters
        ----------
        frames : (M, height, width[, colours]) or (height, width[, colours]) array_like

        Returns
        -------
        (M, k) or (k,) ndarray of float64
            Of the frames of the stack itself: `coefficients`, but for rounding.

        Raises
        ------
        UsageError
            The frames have another shape, or are no finite numbers.
        """
        try:
            A = np.asarray(frames)
        except (TypeError, ValueError) as error:
            raise UsageError(f"the frames are no array ({error}); give one of numbers") from error
        if A.shape[-(self.ndim - 1) :] != self._shape[1:] or A.ndim > self.ndim:
            raise UsageError(
                f"frames of shape {A.shape} are none of {self._shape[1:]}; give (M, height, width)"
            )
        if A.dtype.kind not in "biuf" or not np.isfinite(A).all():
            raise UsageError(f"frames of {A.dtype} must be finite numbers, each; replace others")
        V = self.factors[0][2].astype(np.float64)
        # Rounded rows are orthonormal only nearly: V V^T is solved for, not taken for one.
        rows = A.reshape(-1, V.shape[1]).astype(np.float64)
        C: NDArray[np.float64] = np.linalg.solve(V @ V.T, V @ rows.T).T.astype(np.float64)
        return C if A.ndim == self.ndim else C[0]

    # -- samples -----------------------------------------------------------------------

    def leading(self, rank: int) -> LowRankStack:
        """The first `rank` terms, which stay where they are."""
        found = codec.shorten(self._parts, Target("rank", targets.rank(rank)))
        return LowRankStack(found, self.notes, self._mapped)

    def to_array(self, rank: SupportsIndex | None = None) -> Array:
        """Decode all frames, from the first `rank` terms or from all."""
        rank = None if rank is None else targets.rank(rank)
        samples = codec.decode(self.parts, rank=rank).picture.samples
        return samples.reshape(self._shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise UsageError("a stack is decoded into a new array; leave copy out, or give True")
        A = self.to_array()
        return A if dtype is None else A.astype(dtype)

    def __iter__(self) -> Iterator[Array]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: Any) -> Array:
        lines, block = _split(key, self._shape)
        found = self._block(lines)[block]
        return found if isinstance(found, np.ndarray) else np.asarray(found)[()]

    def _block(self, lines: list[_Line]) -> Array:
        """Samples where some lines of each axis cross."""
        body = self._parts.body
        if not isinstance(body, Floats):
            if self._tiles is not None:
                found = self._tiles.block(*(line.numbers() for line in lines[:3]))
                found = found[..., lines[3].index] if len(lines) > 3 else found[..., 0]
                return self._with_gaps(found, lines)
            if self._decoded is None:
                self._decoded = self.to_array()
            return self._decoded[np.ix_(*(line.numbers() for line in lines))]
        shape = tuple(len(line) for line in lines)
        (f,) = body.factors
        needed = math.prod(shape) * self.dtype.itemsize + f.k * math.prod(shape[1:]) * 8
        if not fits(needed):
            raise LimitError(f"not enough memory for samples of shape {shape}; ask for fewer")
        if self._mapped is not None:
            self._mapped.check(f.k, None if _all(lines[1:], self._shape[1:]) else self._runs(lines))
        found = self._samples(f, lines).reshape(shape)
        return self._with_gaps(found, lines)

    def _samples(self, f: Factors, lines: list[_Line]) -> Array:
        if not f.k:
            return np.zeros(math.prod(len(line) for line in lines), self.dtype)
        V = f.Vt.reshape(f.k, *self._shape[1:])
        for at, line in enumerate(lines[1:], 1):
            V = V[(slice(None),) * at + (line.index,)]
        return sums.samples(f.U[lines[0].index], f.s, V.reshape(f.k, -1), self._parts.head.mode)

    def _runs(self, lines: list[_Line]) -> Iterator[tuple[int, int]]:
        """First column and the one behind the last, of every row of pixels in a block."""
        _, _, width, *colours = self._shape
        c = colours[0] if colours else 1
        x = lines[2].numbers()
        if len(x):
            for y in lines[1].numbers():
                yield int(y * width + x.min()) * c, int(y * width + x.max() + 1) * c

    def _with_gaps(self, found: Array, lines: list[_Line]) -> Array:
        head = self._parts.head
        if head.metadata.nodata is None:
            return found
        if self._gaps is None:
            value, where = gaps.unpacked(head.metadata.nodata, head.width, head.height * len(self))
            self._gaps = value, where.reshape(self._shape[:3])
        value, where = self._gaps
        for at, line in enumerate(lines[:3]):
            where = where[(slice(None),) * at + (line.index,)]
        if len(lines) == 3:
            found[where] = value
        else:
            colour = lines[3].numbers() < head.mode.colours
            found[where[..., np.newaxis] & colour] = value
        return found

    # -- the file ----------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """Return the bytes of the `.lrk` file."""
        return lrk.serialize(self.parts)

    def save(self, path: str | os.PathLike[str] | IO[bytes], *, force: bool = True) -> None:
        """Write the `.lrk` file, whole or not at all.

        Parameters
        ----------
        path : path-like or binary file object
        force : bool
            Replace an existing file.

        Raises
        ------
        FileError
            The file cannot be written, or exists and `force` is false.
        UsageError
            What is given is no path and no open binary file.
        """
        streams.write(path, self.to_bytes(), force=force)

    def truncate(self, rank: SupportsIndex) -> LowRankStack:
        """Keep the first `rank` terms: the best stack of that rank."""
        shorter = codec.shorten(self.parts, Target("rank", targets.rank(rank)))
        return LowRankStack(shorter, self.notes)

    def report(self, original: Any) -> Report:
        """Measure the errors against the original, beside the bounds of Eckart and Young.

        Parameters
        ----------
        original : array_like, path or sequence of paths
            The stack that this was made from.

        Raises
        ------
        UsageError
            The original has another size or type.
        """
        from lowrank.report import measure

        loaded = load(
            original,
            nodata=gaps.value_of(self._parts.head.metadata),
            taking=Taking(stack=True),
            max_pixels=sys.maxsize,
        )
        measure.check_same_image(loaded, self._parts, "the stack")
        size = lrk.file_size(self._parts)
        return measure.measure(
            loaded.picture,
            self.parts,
            source=loaded.source,
            file=measure.file_facts(self._path, self._parts, size),
            file_bytes=size,
        )


def load(
    source: Any,
    *,
    data: bytes = b"",
    max_pixels: int = DEFAULT_MAX_PIXELS,
    nodata: float | None = None,
    taking: Taking = USUAL,
) -> Loaded:
    """Read a picture or a stack from a path, several paths, an array or a lazy array.

    `data` is the file of the path, where that is read already.

    Raises
    ------
    ImageError, LimitError, FileError, UsageError
        It cannot be read, or is not what was asked for.
    """
    if isinstance(source, list | tuple) and source and all(map(_is_path, source)):
        return of_paths([os.fspath(x) for x in source], max_pixels, nodata, taking)
    if _is_path(source):
        name = os.fspath(source)
        folder = os.path.isdir(name) and not name.lower().endswith(ZARR)
        if folder and taking.asked:
            return of_paths(sources.frames_of(name), max_pixels, nodata, taking)
        if name.lower().endswith(ZARR) and os.path.isdir(name):
            from lowrank.io import zarr

            return sources.of_array(
                zarr.opened(name), name=name, format="ZARR", max_pixels=max_pixels,
                nodata=nodata, taking=taking,
            )  # fmt: skip
        if name.lower().endswith(".npy") and files.regular(name):
            return sources.of_array(
                npy.mapped(name, max_pixels=max_pixels * STACK), name=name, format="NPY",
                size=os.path.getsize(name), max_pixels=max_pixels, nodata=nodata, taking=taking,
            )  # fmt: skip
        data = data or files.read_bytes(name)
        return sources.read(data, name=name, max_pixels=max_pixels, nodata=nodata, taking=taking)
    try:
        return sources.of_array(
            source, max_pixels=max_pixels, nodata=nodata, taking=taking, stacks=False
        )
    except ImageError as error:
        raise ArgumentError(str(error)) from error


def with_axis(loaded: Loaded, named: Axis) -> Loaded:
    """A stack whose frames have labels or values.

    Raises
    ------
    UsageError
        It is no stack, or has another number of frames.
    """
    picture = loaded.picture
    if named == Axis():
        return loaded
    block = labels(named, picture.frames)
    metadata = replace(picture.metadata, axis=block)
    return replace(loaded, picture=replace(picture, metadata=metadata))


def labels(named: Axis, frames: int | None) -> bytes | None:
    """The block of labels of so many frames; a UsageError where they cannot be called so."""
    if frames is None:
        raise UsageError("labels, values and unit are those of a stack; give stack=True")
    try:
        axis.unpack(block := named.pack(), frames)
    except ValueError as error:
        raise UsageError(
            f"the frames cannot be called so: {error}; give one for each of {frames} frames"
        ) from error
    return block


def _is_path(x: object) -> bool:
    return isinstance(x, str | os.PathLike)


def of_paths(paths: Sequence[str], max_pixels: int, nodata: float | None, taking: Taking) -> Loaded:
    """Read pictures as one stack."""
    return sources.of_files(
        paths, files.read_bytes, max_pixels=max_pixels, nodata=nodata, taking=taking
    )


def opened(path: str, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> LowRankStack | None:
    """Open a float file of a stack, and leave it on the disk; None of any other file.

    Raises
    ------
    FileError, FormatError, LimitError
    """
    found = files.mapped(path)
    if found is None or not header.is_stack(found[0], floats=True):
        return None
    file = mapped.of_stack(found[0], name=path, max_pixels=max_pixels, advise=found[1])
    return None if file is None else LowRankStack(file.parts, (), file, path)


class _Line:
    """What is taken along one axis: an index of numpy's that keeps the axis."""

    def __init__(self, index: slice | NDArray[np.intp], length: int) -> None:
        self.index = index
        self.length = length

    def __len__(self) -> int:
        index = self.index
        return len(range(self.length)[index]) if isinstance(index, slice) else len(index)

    def numbers(self) -> NDArray[np.intp]:
        return np.arange(self.length)[self.index]


def _all(lines: Sequence[_Line], shape: tuple[int, ...]) -> bool:
    return all(len(line) == n for line, n in zip(lines, shape, strict=True))


def _split(key: Any, shape: tuple[int, ...]) -> tuple[list[_Line], tuple[Any, ...]]:
    """Split an index in two: lines of each axis, and numpy's own index into their block."""
    keys = list(key) if isinstance(key, tuple) else [key]
    used = sum(k is not None and k is not Ellipsis for k in keys)
    dots = [i for i, k in enumerate(keys) if k is Ellipsis]
    if used > len(shape) or len(dots) > 1:
        raise IndexError(f"an index of {used} axes, of a stack that has {len(shape)}")
    at = dots[0] if dots else len(keys)
    keys[at : at + 1] = [slice(None)] * (len(shape) - used)
    lines: list[_Line] = []
    block: list[Any] = []
    for k in keys:
        if k is None:
            block.append(None)
            continue
        line, inside = _line(k, shape[len(lines)], len(lines))
        lines.append(line)
        block.append(inside)
    return lines, tuple(block)


def _line(k: Any, length: int, at: int) -> tuple[_Line, Any]:
    if isinstance(k, slice):
        forward = k.step is None or k.indices(length)[2] > 0
        return _Line(k if forward else np.arange(length)[k], length), slice(None)
    index = np.asarray(k)
    if index.dtype == bool and index.shape == (length,):
        index = np.flatnonzero(index)
    if not (index.dtype.kind in "iu" or index.size == 0) or index.dtype == bool:
        raise IndexError(f"{k!r} is no index of a stack; give numbers, slices or arrays of numbers")
    index = index.astype(np.intp)
    if ((index < -length) | (index >= length)).any():
        raise IndexError(f"index {k!r} is out of bounds for axis {at} with size {length}")
    index = np.where(index < 0, index + length, index)
    if index.ndim == 0:
        i = int(index)
        return _Line(slice(i, i + 1), length), 0
    taken, inside = np.unique(index, return_inverse=True)
    return _Line(taken, length), inside.reshape(index.shape)
