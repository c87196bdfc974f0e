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
import sys
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lowrank import codec, files, targets
from lowrank.errors import LimitError, UsageError, number_of
from lowrank.format import header, mapped
from lowrank.format.mapped import Mapped
from lowrank.format.parts import Factors, Floats, Parts
from lowrank.io import arrays
from lowrank.limits import DEFAULT_MAX_PIXELS, fits
from lowrank.objects.indexing import Line, split, whole
from lowrank.objects.kept import Arrays, Kept
from lowrank.objects.loading import load, taken, telling
from lowrank.picture import Picture, axis, gaps
from lowrank.picture.axis import Axis
from lowrank.stores import sums
from lowrank.targets import Target

if TYPE_CHECKING:
    from lowrank.report import Report
    from lowrank.stores.packed import Reader

Array = NDArray[Any]

_TERMS = 16  # from which a frame is summed while they are read
_KEPT = 1 << 20  # coefficients that a stack keeps in float64


class LowRankStack(Kept):
    """N registered pictures as the k leading terms of one N x (height width colours) matrix.

    `lowrank.compress(..., stack=True)` makes one, `lowrank.open` reads one. Where it was opened
    by its name, a float file stays on the disk, and open as long as the stack is there (`del`
    lets go of it): indexing reads the bytes that it needs. A file that is replaced by another stays
    what it was; one that is shortened in place is an error.

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
        super().__init__(parts, notes, path)
        self._mapped = file
        self._gaps: tuple[float, NDArray[np.bool_]] | None = None
        self._factors: Arrays | None = None
        self._scaled: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
        head = parts.head
        if head.frames is None:
            raise UsageError("one picture is no stack; lowrank.LowRankImage is what it is")
        colours = (len(head.mode.channels),) if len(head.mode.channels) > 1 else ()
        self._shape = (head.frames, head.height, head.width, *colours)

    def __repr__(self) -> str:
        head = self.head
        return (
            f"<LowRankStack {number_of(len(self), 'frame')} of {head.width}x{head.height} "
            f"{head.mode.title}, rank {self.ranks[0]}, {head.store}>"
        )

    def __getstate__(self) -> dict[str, object]:
        """What a copy and a pickle hold: the parts, and no file."""
        kept = {name: value for name, value in super().__getstate__().items() if name != "_tiles"}
        dropped = dict.fromkeys(("_mapped", "_factors", "_scaled"))
        return {**kept, "_parts": self.parts, **dropped}

    def _shown(self) -> Picture:
        head = self.head
        frame = np.asarray(self[len(self) // 2], head.mode.dtype)
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
    def shape(self) -> tuple[int, ...]:
        """(N, height, width), or (N, height, width, colours)."""
        return self._shape

    @property
    def axis(self) -> Axis:
        """Labels and values of the frames, where somebody gave any."""
        return axis.unpack(self.head.metadata.axis, len(self))

    # -- the factors -------------------------------------------------------------------

    @property
    def factors(self) -> tuple[Arrays, ...]:
        """One `(U, s, Vt)`, of shapes (N, k), (k,) and (k, height x width x colours).

        A packed file keeps none: they are the singular value decomposition of what it decodes to,
        before that is rounded and clipped, and of float samples k is its rank and one more, for the
        level that they are counted from. They are read only: those of a float file are the file's
        own.
        """
        if self._mapped is not None:
            self._mapped.check(self.ranks[0])
        if self._factors is None:
            ((U, s, Vt),) = self._factored()
            self._factors = _read_only(U), _read_only(s), _read_only(Vt)
        return (self._factors,)

    @property
    def singular_values(self) -> NDArray[np.float64]:
        """(k,) singular values, descending."""
        body = self._parts.body
        if isinstance(body, Floats):  # known since it was opened
            return _read_only(body.factors[0].s)
        return self.factors[0][1]

    @property
    def components(self) -> NDArray[np.float64]:
        """(k, height, width[, colours]) eigenimages: right singular vectors, of norm 1."""
        return self.factors[0][2].astype(np.float64).reshape(-1, *self._shape[1:])

    @property
    def coefficients(self) -> NDArray[np.float64]:
        """(N, k) curves U diag(s): the frames are `coefficients @ components`, but for rounding."""
        body = self._parts.body
        if not isinstance(body, Floats):
            U, s, _ = self.factors[0]
            return sums.scaled(U, s)
        (f,) = body.factors
        if self._mapped is not None:  # no eigenimage is read
            self._mapped.check(f.k, ())
        return sums.scaled(f.U, f.s)

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
            The frames have another shape, or are no finite numbers, or some are masked; or the
            coefficients would be no finite numbers.
        """
        frames = arrays.gathered(frames)
        try:
            A = np.asarray(frames)
        except (TypeError, ValueError, Warning) as error:  # of masked elements, where it is raised
            raise UsageError(f"the frames are no array ({error}); give one of numbers") from error
        if A.shape[-(self.ndim - 1) :] != self._shape[1:] or A.ndim > self.ndim:
            raise UsageError(
                f"frames of shape {A.shape} are none of {self._shape[1:]}; give (M, height, width)"
            )
        if np.ma.is_masked(frames):
            raise UsageError("frames with masked samples have no coefficients; fill them first")
        V = self.factors[0][2].astype(np.float64)
        with np.errstate(over="ignore"):  # of longdoubles
            rows = A.reshape(-1, V.shape[1]).astype(np.float64) if A.dtype.kind in "biuf" else None
        if rows is None or not np.isfinite(rows).all():
            raise UsageError(f"frames of {A.dtype} must be finite numbers, each; replace others")
        # Rounded rows are orthonormal only nearly: V V^T is solved for, not taken for one.
        with np.errstate(over="ignore", invalid="ignore"):
            C: NDArray[np.float64] = np.linalg.solve(V @ V.T, V @ rows.T).T.astype(np.float64)
        if not np.isfinite(C).all():
            raise UsageError("frames so large have no finite coefficients; scale them down")
        return C if A.ndim == self.ndim else C[0]

    # -- samples -----------------------------------------------------------------------

    def leading(self, rank: int) -> LowRankStack:
        """The first `rank` terms, which stay where they are."""
        found = codec.shorten(self._parts, Target("rank", targets.rank(rank)))
        return LowRankStack(found, self.notes, self._mapped)

    def __getitem__(self, key: Any) -> Any:
        lines, block = split(key, self._shape)
        found = self._block(lines).astype(self.dtype, copy=False)[block]
        return found if isinstance(found, np.ndarray) else np.asarray(found)[()]

    def _block(self, lines: list[Line]) -> Array:
        """Samples where some lines of each axis cross."""
        body = self._parts.body
        if not isinstance(body, Floats):
            if self._tiles is not None:
                found = self._tiles.block(*(line.numbers() for line in lines[:3]))
                found = found[..., lines[3].index] if len(lines) > 3 else found[..., 0]
                return self._with_gaps(found, lines)
            return self._once()[np.ix_(*(line.numbers() for line in lines))]
        shape = tuple(len(line) for line in lines)
        (f,) = body.factors
        needed = math.prod(shape) * self.dtype.itemsize + (f.k + 1) * math.prod(shape[1:]) * 8
        if not fits(needed):
            raise LimitError(f"not enough memory for samples of shape {shape}; ask for fewer")
        found = self._samples(f, lines).reshape(shape)
        return self._with_gaps(found, lines)

    def _samples(self, f: Factors, lines: list[Line]) -> Array:
        if self._mapped is not None:
            frames = whole(lines[1:], self._shape[1:])
            if frames and len(lines[0]) == 1 and self._is_read(f.k):
                row = sums.Row(f.U, lines[0].index, f.s, f.Vt, self.head.mode)
                self._mapped.each(f.k, row.add)
                return row.samples()
            self._mapped.check(
                f.k,
                None if frames else self._runs(lines),
                (lambda: self._curves(f, lines[0])) if _kept(f, lines[0]) else None,
            )
        if not f.k:
            return np.zeros(math.prod(len(line) for line in lines), self.dtype)
        V = f.Vt.reshape(f.k, *self._shape[1:])
        for at, line in enumerate(lines[1:], 1):
            V = V[(slice(None),) * at + (line.index,)]
        US, norms = self._curves(f, lines[0])
        return sums.samples(US, V.reshape(f.k, -1), self.head.mode, norms=norms)

    def _is_read(self, rank: int) -> bool:
        """Whether a frame is summed while its terms are read."""
        if self._mapped is None or self._mapped.is_sound(rank):
            return False
        return rank >= _TERMS and self.head.mode.dtype != "float64"

    def _curves(self, f: Factors, line: Line) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Coefficients of some frames, and norms; those of all, which traces need, are kept."""
        if self._scaled is None:
            US = sums.scaled(f.U[line.index], f.s)
            made = US, sums.norms_of(US)
            if not _kept(f, line):
                return made
            self._scaled = made
        US, norms = self._scaled
        return US[line.index], norms[line.index]

    def _runs(self, lines: list[Line]) -> Iterator[tuple[int, int]]:
        """First column and the one behind the last, of every row of pixels in a block."""
        _, _, width, *colours = self._shape
        c = colours[0] if colours else 1
        x = lines[2].numbers()
        if len(x):
            first, last = int(x[0]), int(x[-1])
            for y in lines[1].numbers().tolist():
                yield (y * width + first) * c, (y * width + last + 1) * c

    def _with_gaps(self, found: Array, lines: list[Line]) -> Array:
        head = self.head
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

    def report(self, original: Any, *, axis: int = 0) -> Report:
        """Measure the errors against the original, beside the bounds of Eckart and Young.

        Parameters
        ----------
        original : array_like, path or sequence of paths
            The stack that this was made from.
        axis : int
            Of an array: which axis counts the frames, as it was said to `compress`.

        Raises
        ------
        UsageError
            The original has another size or type.
        """
        loaded = load(
            original,
            nodata=gaps.value_of(self.head.metadata),
            taking=taken(True, axis),
            max_pixels=sys.maxsize,
        )
        with telling(original):
            return self._measured(loaded, "the stack")


def _kept(f: Factors, line: Line) -> bool:
    """Whether coefficients are those of all frames, and few enough to be kept."""
    return len(line) == f.m and f.m * f.k <= _KEPT


def _read_only(x: Array) -> Array:
    view = x.view()
    view.flags.writeable = False
    return view


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
