"""A float file beside a source that is larger than memory: what `measure` measures, in passes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
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
from lowrank.picture import mode_in
from lowrank.picture.axis import unpack
from lowrank.picture.distance import OfFrame, total
from lowrank.picture.lazy import ByColumns, Lazy, LazyLoaded, by_columns
from lowrank.report import File, Report, measure, stacks
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
    found: Leading | None = None,
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
    found : Leading, optional
        The decomposition behind the file, where it is there; else it is made again, and proved.

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
    (f,) = parts.body.matrices
    if not isinstance(f, Factors):
        raise UsageError("a packed file is not measured in passes")
    columns = by_columns(p.matrix)
    if found is None:
        found, _ = leading(Passes(columns, memory=memory), Wish(rank=f.k), certify=True)
    rest, _ = leading(Passes(_Residual(columns, f), memory=memory), Wish(rank=0))
    exact = TruncatedSVD(
        np.empty((f.m, 0)), found.s, np.empty((0, f.n)), found.sigma_next, found.tail, found.norm,
        found.certified,
    )  # fmt: skip
    (name,) = turn.names(head.mode, head.layout, None)
    of_matrix = measure.bounded(name, exact, ResidualNorms(rest.sigma_next, rest.norm))
    of, peak, variance = _samples(p, f)
    return Report(
        loaded.source, file, (of_matrix,),
        measure.storage(parts, (of_matrix,), file_bytes, loaded.source),
        total(of, peak), _stack(parts, of, peak, variance, file_bytes),
    )  # fmt: skip


def _samples(p: Lazy, f: Factors) -> tuple[list[OfFrame], float, float]:
    """Errors of each row of the matrix, the peak of a PSNR, and the variance of the samples."""
    of: list[OfFrame] = []
    low, high, mean, square = math.inf, -math.inf, 0.0, 0.0
    size = p.matrix.m * p.matrix.n
    shift: float | None = None
    for a, rows in p.each():
        pace.at("samples", a, p.matrix.m)
        decoded = sums.samples(f.U[a : a + len(rows)], f.s, f.Vt, p.mode)
        shift = float(rows[0, 0]) if shift is None else shift
        low, high = min(low, float(rows.min())), max(high, float(rows.max()))
        for x, y in zip(rows, decoded, strict=True):
            wide = x.astype(np.float64)
            error = wide - y
            of.append(OfFrame(float(error @ error), x.size, float(np.abs(error).max())))
            wide -= shift  # a level that all share would drown the rest
            mean += float(wide.sum()) / size
            square += float(wide @ wide) / size
    fixed = p.mode.peak
    if fixed is not None and (p.frames is None or p.mode.bits <= 8):
        return of, fixed, square - mean * mean
    return of, high - low or 1.0, square - mean * mean


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
