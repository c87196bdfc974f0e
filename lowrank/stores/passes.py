"""Factors of what is larger than memory: as `truncation` makes them, in passes over the source.

The matrix is that of a stack, or those of a picture's channels. What is asked for by a rank or the
threshold of Gavish and Donoho can be met in passes, and of one matrix a share or a size; what is
measured sample by sample, and what is packed, cannot.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lowrank import format as lrk
from lowrank import linalg, threads
from lowrank.errors import ImageError, UsageError
from lowrank.format import streaming
from lowrank.format.parts import Factors, Floats, Head, Parts
from lowrank.io.taking import Taking
from lowrank.limits import LARGE, half
from lowrank.linalg.passes import Passes
from lowrank.linalg.spans import GRAM_SIDE
from lowrank.linalg.streamed import Leading, Seen, Wish, leading, scanned
from lowrank.names import (
    AUTO,
    AUTO_WIDTH,
    CHOICES,
    FLOAT_CHOICES,
    LAYOUTS,
    TUNES,
)  # fmt: skip
from lowrank.picture import mode_in
from lowrank.picture.lazy import ByColumns, Lazy, by_columns
from lowrank.stores import at_most, resolve, rounding, spread, widths
from lowrank.targets import Target, choice, spectrum

Maker = Callable[[ByColumns], Passes]
KINDS = ("rank", "auto", "energy", "error", "size")
"""Targets that passes can meet."""
_OF_EACH = ("rank", "auto")
"""Those of them that say of each of several matrices how many terms it keeps."""


def suits(target: Target, layout: str | None, store: str | None) -> str | None:
    """The float store of a request that passes can meet; None of any other."""
    choice(store, "store", CHOICES)
    choice(layout, "layout", LAYOUTS)
    plain = target.tune == TUNES[0] and target.weights is None
    if layout == "patches" or target.kind not in KINDS or not plain:
        return None
    _, wanted = resolve(target, layout or "stack", store)
    return wanted if wanted in FLOAT_CHOICES else None


def can(lazy: Lazy, target: Target, layout: str | None) -> bool:
    """Whether passes can do of a picture what `suits` them.

    Raises
    ------
    UsageError
        It is a stack, and a layout of pictures is asked for.
    """
    if lazy.frames is None:
        return layout != "stack" and not (lazy.others and target.kind not in _OF_EACH)
    if layout == "channels":
        raise UsageError("layout stack is that of a stack, and its only one; leave --layout out")
    return True


@dataclass(frozen=True, eq=False)
class Streamed:
    """A file whose long vectors are not made yet.

    Attributes
    ----------
    parts : Parts
        All of the file but the vectors of the long side, which are empty.
    transposed : bool
        These are U, not V.
    notes : tuple of str
    found : tuple of Leading
        Of each matrix.
    """

    parts: Parts
    transposed: bool
    notes: tuple[str, ...]
    found: tuple[Leading, ...]

    @property
    def error(self) -> float:
        """||A - A_k||_F / ||A||_F of all matrices together."""
        norm = math.hypot(*(x.norm for x in self.found))
        return math.hypot(*(x.tail for x in self.found)) / norm if norm else 0.0

    def write(self, stream: BinaryIO) -> None:
        """Write the file, that of one matrix while its vectors come."""
        if len(self.found) > 1:  # channels of a picture, whose sides are short
            stream.write(lrk.serialize(self.whole()))
            return
        streaming.write(stream, self.parts, self._slabs(0), transposed=self.transposed)

    def _slabs(self, i: int) -> Iterator[tuple[slice, NDArray[np.floating]]]:
        """The long vectors as rows: (columns, (k, w) ndarray of the store's type)."""
        if not len(self.found[i].s):
            return
        for columns, rows in self.found[i].rows():
            yield columns, rows.astype(self.parts.head.store)

    def whole(self) -> Parts:
        """The parts, once all vectors are in memory."""
        filled = []
        for i, f in enumerate(self.parts.body.matrices):
            if not isinstance(f, Factors):
                raise TypeError("a packed file has no vectors")
            length = f.m if self.transposed else f.n
            long = np.empty((len(f.s), length), self.parts.head.store)
            for columns, rows in self._slabs(i):
                long[:, columns] = rows
            filled.append(replace(f, U=long.T) if self.transposed else replace(f, Vt=long))
        return replace(self.parts, body=Floats(tuple(filled)))


@threads.one_blas_thread()
def encode(
    lazy: Lazy,
    target: Target,
    *,
    store: str,
    passes: Maker,
    certify: bool = False,
    measure: bool = False,
) -> Streamed:
    """Find the factors of a picture that stays where it is, but for the long vectors.

    Parameters
    ----------
    lazy : Lazy
    target : Target
        Of one of `KINDS`.
    store : {"auto", "float16", "float32", "float64"}
    passes : callable
        Makes passes of columns.
    certify : bool
        Prove the decomposition.
    measure : bool
        Prove it where that takes no pass more: the Gram matrix is made anyway.

    Raises
    ------
    UsageError
        The target cannot be met, or not in passes.
    ImageError
        The samples hold NaN or infinity, or end early.
    LimitError
        The memory does not do.
    """
    every = [by_columns(matrix) for matrix in lazy.matrices]
    m, n = lazy.matrix.m, lazy.matrix.n
    walks: list[Passes] = []
    seen: list[Seen | None] = []
    number = 0
    for columns in every:
        walks.append(passes(columns))
        walks[-1].number = number
        seen.append(scanned(walks[-1]))
        number = walks[-1].number
    lost = max((x.lost for x in seen if x is not None), default=0.0)
    left = target
    if lazy.mode.dtype == "float64":
        _check_range(seen)
        if store != "float64" and target.kind in ("error", "energy"):  # of one matrix
            allowed = spectrum.allowed_share(target)
            left, store = rounding.beside_samples(target, store, lost, allowed)
    narrow = lazy.mode.dtype == "float64" and store != "float64"
    mode = mode_in(lazy.mode, store)
    head = Head(
        lazy.width, lazy.height, mode, "channels" if lazy.frames is None else "stack",
        AUTO_WIDTH if store == AUTO else store, lazy.metadata, lazy.frames,
    )  # fmt: skip
    notes: list[str] = []
    wish = _wish(left, head, min(m, n), notes)
    proof = certify or (measure and every[0].size <= GRAM_SIDE)
    asked = store
    while True:
        found: list[Leading] = []
        for made, of in zip(walks, seen, strict=True):
            made.number = number
            found.append(leading(made, wish, narrow=narrow, certify=proof, seen=of))
            number = made.number
        rounded = widths.Rounded(found, number)
        store = widths.narrowest(rounded, lazy, seen) if asked == AUTO else asked
        if target.kind == "size" and asked == AUTO and store != AUTO_WIDTH:
            store, terms = widths.nearest(rounded, target, head, lazy, seen)
            if proof and terms < len(found[0].s):  # fewer have a proof of their own
                asked, number, wish = store, rounded.number, Wish(rank=terms)
                continue
            found = [x.truncated(terms) for x in found]
        if not wish.share:
            break
        store, budget = widths.kept(rounded, left, asked, store)
        number = rounded.number
        if budget is None:
            break
        wish = Wish(share=budget)
    if target.kind == "size" and len(found[0].s) == min(m, n):
        notes.append(f"every term fits: kept all {min(m, n)}")
    narrowed = narrow and mode != lazy.mode
    notes += _said(lazy, store, found, seen, narrowed=narrowed, certify=certify)
    dtype, transposed = np.dtype(store), every[0].transposed
    factors = []
    for x in found:
        short, long = x.left.astype(dtype), np.empty((len(x.s), 0), dtype)
        U, Vt = (long.T, short.T) if transposed else (short, long)
        factors.append(Factors(m, n, x.norm, x.sigma_next, x.tail, x.s, U, Vt))
    parts = Parts(replace(head, store=store), Floats(tuple(factors)))
    return Streamed(parts, transposed, tuple(notes), tuple(found))


def _said(
    lazy: Lazy, store: str, found: list[Leading], seen: list[Seen | None],
    *, narrowed: bool, certify: bool,
) -> Iterator[str]:  # fmt: skip
    """What somebody should know: of the samples' type, of the proof, of how much is known."""
    if narrowed:
        lost = any(x is not None and x.lost for x in seen)
        how = "rounded to float32" if lost else "kept as float32, which holds them exactly"
        yield f"Samples of float64 were {how}; store float64 keeps the type."
    if store != "float64" and lazy.mode.bits == 32 and lazy.mode.limits and _beyond_float32(seen):
        yield (
            f"{store} factors hold 24 bits at most: samples beyond 16,777,216 are rounded; "
            "store float64 holds them."
        )
    if certify and not all(x.certified for x in found):
        yield (
            "Nothing is proved: a proof needs the Gram matrix of the shorter side, up to "
            "6,000 and within --memory."
        )
    within = max(x.within for x in found)
    if within:
        yield (
            "The spectrum is flat where the last terms are: each singular value is within "
            f"{within:.1%} of one of the matrix, and no more is known of it."
        )


def of_source(
    source: Any, target: Target, *, layout: str | None, store: str | None, memory: int | None,
    taking: Taking, dask: Any, labels: Callable[[int | None], bytes | None] | None,
    max_pixels: int,
) -> tuple[Parts, tuple[str, ...]] | None:  # fmt: skip
    """Compress a file or an array that is large, or for which memory or a cluster is given.

    Parameters
    ----------
    source, target, layout, store, taking, max_pixels : as elsewhere
    memory : int or None
    dask : str, Client or None
    labels : callable or None
        Makes the block of labels of so many frames.

    Returns
    -------
    (parts, notes), or None
        None of what is to be read as a whole.
    """
    wanted = suits(target, layout, store)
    if wanted is None:
        return None
    from lowrank.io import lazy, states

    names = (os.fspath(source),) if isinstance(source, str | os.PathLike) else ()
    with states.unchanged(*names):
        least = LARGE if memory is None and dask is None else 0
        loaded = lazy.of(source, taking, least=least, max_pixels=max_pixels)
        if loaded is None or not can(loaded.picture, target, layout):
            return None
        if labels is not None:
            loaded = lazy.labelled(loaded, labels(loaded.picture.frames))
        bound = half() if memory is None else memory
        with spread.made(dask or spread.in_use(source), bound) as made:
            encoded = encode(loaded.picture, target, store=wanted, passes=made)
            return encoded.whole(), loaded.notes + encoded.notes


def _wish(target: Target, head: Head, limit: int, notes: list[str]) -> Wish:
    m, n = head.shape
    if target.kind == "rank":
        if target.value > limit:
            notes.append(at_most(m, n))
        return Wish(rank=min(int(target.value), limit))
    if target.kind == "size":
        terms = spectrum.terms_of_size(target, partial(lrk.float_file_size, head))
        return Wish(rank=min(terms, limit))
    if target.kind == "auto":
        return Wish(
            choose=partial(spectrum.gavish_donoho_rank, m=m, n=n, rounding=linalg.GRAM_ROUNDING)
        )
    if target.kind in ("error", "energy"):
        return Wish(share=spectrum.allowed_tail(target, 1.0, 1.0, 1))
    raise UsageError(
        f"{target.kind} cannot be met in passes over the source; give -k, --energy, --error or "
        "--size"
    )


def _check_range(seen: list[Seen | None]) -> None:
    """Refuse samples of float64 that float32 does not hold.

    Raises
    ------
    ImageError
        They are beyond it, or all below it.
    """
    largest = max(max(x.high, -x.low) for x in seen if x is not None)
    if largest > float(np.finfo(np.float32).max):
        raise ImageError("samples beyond the range of float32, which no file holds; scale them")
    if largest > 0.0 and not np.float32(largest):
        raise ImageError("samples below the range of float32, which no file holds; scale them")


def _beyond_float32(seen: list[Seen | None]) -> bool:
    return any(x is not None and max(x.high, -x.low) > 1 << 24 for x in seen)
