"""A float file beside a source that is larger than memory: what `measure` measures, in passes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank import pace
from lowrank.errors import UsageError
from lowrank.format.parts import Factors, Parts
from lowrank.layouts import turn
from lowrank.linalg import ResidualNorms, TruncatedSVD
from lowrank.linalg.passes import Passes
from lowrank.linalg.streamed import Leading, Wish, leading
from lowrank.picture import Mode, mode_in
from lowrank.picture.axis import unpack
from lowrank.picture.distance import OfFrame, Pixels, total
from lowrank.picture.lazy import ByColumns, Lazy, LazyLoaded, Matrix, by_columns, each
from lowrank.report import File, OfMatrix, Report, measure, stacks
from lowrank.stores import sums


class _Residual:
    """A - B by columns: what is read, less what a file holds."""

    def __init__(self, columns: ByColumns, f: Factors) -> None:
        self._columns = columns
        self.size, self.length = columns.size, columns.length
        self.dtype = np.dtype(np.float64)
        self._short, self._long = (f.Vt.T, f.U.T) if columns.transposed else (f.U, f.Vt)
        self._left = self._short.astype(np.float64) * f.s

    def read(self, columns: slice) -> NDArray[np.float64]:
        """(size, w) entries."""
        found: NDArray[np.float64] = self._columns.read(columns).astype(np.float64)
        return found - self._left @ self._long[:, columns].astype(np.float64)


def measured(
    loaded: LazyLoaded, parts: Parts, *, file: File | None, file_bytes: int, memory: int,
    found: Sequence[Leading] = (),
) -> Report:  # fmt: skip
    """Measure a float file against the source that it was made from, of which little is held.

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
    p, head = loaded.picture, parts.head
    if (p.samples_shape, mode_in(p.mode, head.store)) != (head.samples_shape, head.mode):
        raise UsageError(
            f"{loaded.source.path} has samples of {p.samples_shape} {p.mode.title}, the file "
            f"{head.samples_shape} {head.mode.title}; give the source that it was made from"
        )
    of_matrices: list[OfMatrix] = []
    seen = _Seen()
    names = turn.names(head.mode, head.layout, None)
    for i, (matrix, f) in enumerate(zip(p.matrices, parts.body.matrices, strict=True)):
        if not isinstance(f, Factors):
            raise UsageError("a packed file is not measured in passes")
        columns = by_columns(matrix)
        if found:
            mine = found[i]
        else:
            mine, _ = leading(Passes(columns, memory=memory), Wish(rank=f.k), certify=True)
        residual = Passes(_Residual(columns, f), memory=memory)
        rest, _ = leading(residual, Wish(rank=0), start=mine.beyond)
        exact = TruncatedSVD(
            np.empty((f.m, 0)), mine.s, np.empty((0, f.n)), mine.sigma_next, mine.tail, mine.norm,
            mine.certified,
        )  # fmt: skip
        norms = ResidualNorms(rest.sigma_next, rest.norm)
        of_matrices.append(measure.bounded(names[i], exact, norms))
        seen.add(matrix, f, p.mode)
    of, peak = seen.of, seen.peak(p)
    return Report(
        loaded.source, file, tuple(of_matrices),
        measure.storage(parts, tuple(of_matrices), file_bytes, loaded.source),
        total(of, peak), _stack(parts, of, peak, seen.variance, file_bytes),
    )  # fmt: skip


def distances(p: Lazy, parts: Parts) -> Pixels:
    """How far samples are from those that a float file decodes to."""
    seen = _Seen()
    for matrix, f in zip(p.matrices, parts.body.matrices, strict=True):
        if not isinstance(f, Factors):
            raise UsageError("a packed file is not measured in passes")
        seen.add(matrix, f, p.mode)
    return total(seen.of, seen.peak(p))


class _Seen:
    """Errors of each row of each matrix, and what the samples themselves are like."""

    def __init__(self) -> None:
        self.of: list[OfFrame] = []
        self._low, self._high = math.inf, -math.inf
        self._count, self._sum, self._squares = 0, 0.0, 0.0
        self._shift: float | None = None

    def add(self, matrix: Matrix, f: Factors, mode: Mode) -> None:
        """Take all samples of a matrix."""
        for a, rows in each(matrix):
            pace.at("samples", a, matrix.m)
            decoded = sums.samples(f.U[a : a + len(rows)], f.s, f.Vt, mode)
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
