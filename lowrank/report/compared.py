"""A file against its original: no farther than it states, or an error of the file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank import codec, threads
from lowrank.errors import ImageError
from lowrank.format.parts import Parts
from lowrank.picture import Loaded
from lowrank.picture.distance import Pixels, compare, relative
from lowrank.picture.lazy import LazyLoaded, Matrix, by_columns
from lowrank.report import measure, passes
from lowrank.stores import Factored

_SLACK = 0.002  # by which what a file states may be off: its numbers have 11 bits
_FLOOR = 1e-5  # of ||A||_F, the same where it states next to nothing
_SLAB = 1 << 20  # entries of a matrix that are compared at a time
_TOGETHER = 1 << 22  # the same, of one that is read in passes


@dataclass(frozen=True)
class Compared:
    """One file against one original.

    Attributes
    ----------
    path : str
        The original.
    factor_error, stated_error : float
        Frobenius error of the factors as stored and decoded, and what the file states,
        relative to ||A||_F of the original.
    above : bool
        Of some matrix the error is larger than stated, by more than the rounding of what is
        stored and stated.
    pixels : Pixels
        The decoded picture, rounded and clipped.
    sample_error : float
        Frobenius error of its samples, relative to those of the original.
    """

    path: str
    factor_error: float
    stated_error: float
    above: bool
    pixels: Pixels
    sample_error: float


def allowed(parts: Parts) -> tuple[float, ...]:
    """Largest Frobenius error of each matrix, in levels, that agrees with what a file states.

    A file that states the error of its factors was measured when it was made. One that states
    the tail alone has factors of floats: rounding the entries of U and Vt, each by half a unit
    in the last place, moves the sum of terms by eps ||A||_F at most.
    """
    found = []
    for x in codec.stated(parts):
        if x.error is None:
            rounding = float(np.finfo(parts.head.store).eps) * x.norm
            found.append((1 + _SLACK) * math.hypot(x.tail, rounding) + _FLOOR * x.norm)
        else:
            found.append((1 + _SLACK) * x.error + _FLOOR * x.norm)
    return tuple(found)


def against(loaded: Loaded, parts: Parts) -> Compared:
    """Measure a file against the picture that it was made from.

    Raises
    ------
    UsageError
        The picture has another size or mode.
    """
    measure.check_same_image(loaded, parts, loaded.source.path)
    turned, B = codec.factors(parts)
    A = measure.matrices(measure.as_kept(loaded.picture, parts), parts, turned)
    errors = threads.each(lambda pair: _distance(*pair), list(zip(A, B, strict=True)))
    norms = [float(np.linalg.norm(a.astype(np.float64))) for a in A]
    pixels = compare(loaded.picture, codec.decode(parts, filled=True).picture)
    samples = relative(loaded.picture, pixels.rmse)
    return _found(loaded.source.path, parts, errors, norms, pixels, samples)


def in_passes(loaded: LazyLoaded, parts: Parts) -> Compared:
    """The same of a source that is larger than memory.

    Raises
    ------
    UsageError
        The source has another size or mode.
    """
    passes.check_source(loaded, parts)
    errors, norms = [], []
    for matrix, B in zip(loaded.picture.matrices, passes.kept_in(parts), strict=True):
        squares = np.sum(list(_squares(matrix, B)), axis=0)
        errors.append(math.sqrt(squares[0]))
        norms.append(math.sqrt(squares[1]))
    pixels = passes.distances(loaded.picture, parts)
    norm = math.hypot(*norms)
    of = math.prod(loaded.picture.samples_shape)
    samples = pixels.rmse * math.sqrt(of) / norm if norm else 0.0
    return _found(loaded.source.path, parts, errors, norms, pixels, samples)


def nearest(sources: list[LazyLoaded], parts: Parts) -> LazyLoaded:
    """Of stacks of one shape, such as a cube along each of its axes, the nearest to a file.

    One that is farther than one before it is read no further than it takes to see that.
    """
    (B,) = passes.kept_in(parts)
    best, least = sources[0], math.inf
    for loaded in sources:
        error = 0.0
        for square, _ in _squares(loaded.picture.matrix, B):
            error += square
            if error >= least:
                break
        else:
            best, least = loaded, error
    return best


def _squares(matrix: Matrix, B: passes.Kept) -> Iterator[tuple[float, float]]:
    """||A - B||_F^2 and ||A||_F^2, of some columns of a matrix after another."""
    columns = by_columns(matrix)
    step = max(_TOGETHER // columns.size, 1)
    for a in range(0, columns.length, step):
        some = slice(a, min(a + step, columns.length))
        A = columns.read(some).astype(np.float64)
        norm = float(np.vdot(A, A))
        if not math.isfinite(norm):  # of which nothing is farther than anything
            raise ImageError("the samples hold NaN or infinity, which no file was made from")
        A -= B.columns(some, transposed=columns.transposed)
        yield float(np.vdot(A, A)), norm


def _found(
    path: str, parts: Parts, errors: list[float], norms: list[float], pixels: Pixels,
    sample_error: float,
) -> Compared:  # fmt: skip
    """What ||A - B||_F and ||A||_F of each matrix say, beside what the file states."""
    norm = math.hypot(*norms)
    stated = math.hypot(*(x.tail if x.error is None else x.error for x in codec.stated(parts)))
    return Compared(
        path,
        math.hypot(*errors) / norm if norm else 0.0,
        stated / norm if norm else 0.0,
        any(e > most for e, most in zip(errors, allowed(parts), strict=True)),
        pixels,
        sample_error,
    )


def _distance(A: NDArray[Any], B: Factored) -> float:
    """||A - B||_F, slab by slab in float64."""
    square = 0.0
    rows = max(_SLAB // A.shape[1], 1)
    if isinstance(B, tuple):
        U, s, Vt = B[0], B[1], B[2].astype(np.float64)
    for top in range(0, len(A), rows):
        part = slice(top, top + rows)
        of_B = (U[part].astype(np.float64) * s) @ Vt if isinstance(B, tuple) else B[part]
        E = A[part].astype(np.float64) - of_B
        square += float(np.vdot(E, E))
    return math.sqrt(square)
