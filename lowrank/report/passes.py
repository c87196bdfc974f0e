"""A file beside a source that is larger than memory: what `measure` measures, in passes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank import pace, threads
from lowrank.errors import UsageError
from lowrank.format.parts import Factors, Floats, Head, Packed, Parts
from lowrank.layouts import turn
from lowrank.linalg import ResidualNorms, TruncatedSVD
from lowrank.linalg.passes import Passes
from lowrank.linalg.streamed import Leading, Wish, leading
from lowrank.picture import Mode, may_hold
from lowrank.picture.axis import unpack
from lowrank.picture.distance import OfFrame, Pixels, total
from lowrank.picture.lazy import ByColumns, Lazy, LazyLoaded, Matrix, by_columns, each
from lowrank.report import File, OfMatrix, Report, measure, stacks
from lowrank.stores import packed, sums
from lowrank.stores.packed import Reader


class _OfFactors:
    """B of a float file."""

    def __init__(self, f: Factors, mode: Mode) -> None:
        self._f, self._mode = f, mode
        self._left: NDArray[np.float64] | None = None

    def columns(self, some: slice, *, transposed: bool) -> NDArray[np.float64]:
        """Columns of B, or of its transpose."""
        f = self._f
        short, long = (f.Vt.T, f.U.T) if transposed else (f.U, f.Vt)
        if self._left is None:
            self._left = short.astype(np.float64) * f.s
        return self._left @ long[:, some].astype(np.float64)

    def samples(self, some: slice) -> NDArray[Any]:
        """Rows of samples."""
        return sums.samples(sums.scaled(self._f.U[some], self._f.s), self._f.Vt, self._mode)


class _OfTiles:
    """B of a packed stack in tiles."""

    def __init__(self, reader: Reader, head: Head) -> None:
        self._reader = reader
        self._lines = np.arange(head.height), np.arange(head.width)

    def columns(self, some: slice, *, transposed: bool) -> NDArray[np.float64]:
        """Columns of B, or of its transpose."""
        if not transposed:
            return self._reader.columns(some)
        frames = np.arange(some.start, some.stop)
        B = self._reader.block(frames, *self._lines, exact=True)
        return B.reshape(len(frames), -1).T.astype(np.float64, copy=False)

    def samples(self, some: slice) -> NDArray[Any]:
        """Rows of samples."""
        frames = np.arange(some.start, some.stop)
        return self._reader.block(frames, *self._lines).reshape(len(frames), -1)


Kept = _OfFactors | _OfTiles


def can(parts: Parts) -> bool:
    """Whether a file is measured in passes: one of floats, or a stack in tiles of integers."""
    body = parts.body
    if isinstance(body, Packed):
        return body.levels is None and packed.reader(parts) is not None
    return body.turn is None and parts.head.layout != "patches"


def kept_in(parts: Parts) -> list[Kept]:
    """What a file holds, of each matrix."""
    if isinstance(parts.body, Floats):
        return [_OfFactors(f, parts.head.mode) for f in parts.body.factors]
    reader = packed.reader(parts)
    if reader is None or parts.body.levels is not None:
        raise UsageError("a packed file is not measured in passes")
    return [_OfTiles(reader, parts.head)]


class _Residual:
    """A - B by columns: what is read, less what a file holds."""

    def __init__(self, columns: ByColumns, kept: Kept) -> None:
        self._columns, self._kept = columns, kept
        self.size, self.length = columns.size, columns.length
        self.dtype = np.dtype(np.float64)

    def read(self, columns: slice) -> NDArray[np.float64]:
        """(size, w) entries."""
        found: NDArray[np.float64] = self._columns.read(columns).astype(np.float64)
        found -= self._kept.columns(columns, transposed=self._columns.transposed)
        return found


@threads.one_blas_thread()
def measured(
    loaded: LazyLoaded, parts: Parts, *, file: File | None, file_bytes: int, memory: int,
    found: Sequence[Leading] = (),
) -> Report:  # fmt: skip
    """Measure a file against the source that it was made from, of which little is held.

    Parameters
    ----------
    loaded : LazyLoaded
    parts : Parts
        The file; its vectors may be mapped.
    file, file_bytes : as of `measure.measure`
    memory : int
        Bytes that passes may take.
    found : sequence of Leading
        The decomposition behind each matrix, where it is there; else it is made again, and proved.

    Raises
    ------
    UsageError
        The source has another size or mode.
    """
    check_source(loaded, parts)
    p, head = loaded.picture, parts.head
    of_matrices: list[OfMatrix] = []
    seen = _Seen()
    names = turn.names(head.mode, head.layout, None)
    kept = kept_in(parts)
    for i, (matrix, B) in enumerate(zip(p.matrices, kept, strict=True)):
        columns, k = by_columns(matrix), parts.ranks[i]
        if found:
            mine = found[i]
        else:
            mine = leading(Passes(columns, memory=memory), Wish(rank=k), certify=True)
        residual = Passes(_Residual(columns, B), memory=memory)
        rest = leading(residual, Wish(rank=0), start=mine.beyond)
        exact = TruncatedSVD(
            np.empty((matrix.m, 0)), mine.s, np.empty((0, matrix.n)), mine.sigma_next, mine.tail,
            mine.norm, mine.certified,
        )  # fmt: skip
        norms = ResidualNorms(rest.sigma_next, rest.norm)
        of_matrices.append(measure.bounded(names[i], exact, norms))
        seen.add(matrix, B)
    of, peak = seen.of, seen.peak(p)
    return Report(
        loaded.source, file, tuple(of_matrices),
        measure.storage(parts, tuple(of_matrices), file_bytes, loaded.source),
        total(of, peak), _stack(parts, of, peak, seen.variance, file_bytes),
    )  # fmt: skip


def check_source(loaded: LazyLoaded, parts: Parts) -> None:
    """Refuse to compare a file with a source that it cannot have been made from."""
    p, head = loaded.picture, parts.head
    if p.samples_shape != head.samples_shape or not may_hold(head.mode, p.mode):
        raise UsageError(
            f"{loaded.source.path} has samples of {p.samples_shape} {p.mode.title}, the file "
            f"{head.samples_shape} {head.mode.title}; give the source that it was made from"
        )


def distances(p: Lazy, parts: Parts) -> Pixels:
    """How far samples are from those that a file decodes to."""
    seen = _Seen()
    for matrix, B in zip(p.matrices, kept_in(parts), strict=True):
        seen.add(matrix, B)
    return total(seen.of, seen.peak(p))


class _Seen:
    """Errors of each row of each matrix, and what the samples themselves are like."""

    def __init__(self) -> None:
        self.of: list[OfFrame] = []
        self._low, self._high = math.inf, -math.inf
        self._count, self._sum, self._squares = 0, 0.0, 0.0
        self._shift: float | None = None

    def add(self, matrix: Matrix, B: Kept) -> None:
        """Take all samples of a matrix."""
        for a, rows in each(matrix):
            pace.at("samples", a, matrix.m)
            decoded = B.samples(slice(a, a + len(rows)))
            if self._shift is None:
                self._shift = float(rows[0, 0])  # a level that all share would drown the rest
            self._low = min(self._low, float(rows.min()))
            self._high = max(self._high, float(rows.max()))
            self._count += rows.size
            for x, y in zip(rows, decoded, strict=True):
                wide = x.astype(np.float64)
                error = wide - y
                self.of.append(OfFrame(float(error @ error), x.size, float(np.abs(error).max())))
                wide -= self._shift
                self._sum += float(wide.sum())
                self._squares += float(wide @ wide)

    @property
    def variance(self) -> float:
        """Of all samples."""
        return self._squares / self._count - (self._sum / self._count) ** 2

    def peak(self, p: Lazy) -> float:
        """What a PSNR is measured against."""
        fixed = p.mode.peak
        if fixed is not None and (p.frames is None or p.mode.bits <= 8):
            return fixed
        return self._high - self._low or 1.0


def _stack(
    parts: Parts, of: list[OfFrame], peak: float, variance: float, size: int
) -> stacks.OfStack | None:
    said = stacks.stated(parts, size)
    if said is None:
        return None
    psnrs = [
        10 * math.log10(peak**2 * x.samples / x.squares) if x.squares else math.inf for x in of
    ]
    finite: Callable[[float], Any] = lambda x: x if math.isfinite(x) else None  # noqa: E731
    worst = int(np.argmin(psnrs))
    mse = sum(x.squares for x in of) / sum(x.samples for x in of)
    return stacks.OfStack(
        said.frames, said.height, said.width, said.colours, said.dtype,
        snr_db=10 * math.log10(variance / mse) if mse and variance > 0 else None,
        frame_psnr_db=stacks.Frames(
            min(filter(math.isfinite, psnrs), default=None), finite(statistics.median(psnrs)),
            finite(max(psnrs)), worst,
        ),
        worst_label=unpack(parts.head.metadata.axis, said.frames).name(worst),
        peak=peak, kept=said.kept, floats=said.floats,
    )  # fmt: skip
