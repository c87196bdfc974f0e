"""What `lowrank report` does with its arguments: files in, reports out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lowrank import (
    api,
    batch,
    bounds,
    codec,
    files,
    images,
    layout,
    linalg,
    rank,
    rivals,
    threads,
    truncation,
)
from lowrank import format as lrk
from lowrank.bounds import Report
from lowrank.errors import UsageError
from lowrank.images import Loaded
from lowrank.parts import Parts
from lowrank.pixels import full_scale
from lowrank.rank import Target
from lowrank.rivals import Rival

_LADDER = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


@dataclass(frozen=True, eq=False)
class Result:
    """Reports, and for a ladder the spectra behind it.

    Attributes
    ----------
    reports : tuple of Report
    notes : tuple of str
    peak : float
        Full scale of the samples.
    spectra : tuple of (N,) ndarray
        All singular values of each channel; empty where nothing needed them.
    auto : tuple of int
        Ranks of the Gavish-Donoho threshold, beside the spectra.
    loaded : Loaded or None
        The image, where there is one.
    parts : Parts or None
        The file, where the report is of both.
    stored : tuple of Parts
        What each report is of; empty for a ladder, where nothing is stored.
    rivals : tuple of Rival
        Other codecs, where they were asked for.
    """

    reports: tuple[Report, ...]
    notes: tuple[str, ...] = ()
    peak: float = 255.0
    spectra: tuple[NDArray[np.float64], ...] = ()
    auto: tuple[int, ...] = ()
    loaded: Loaded | None = None
    parts: Parts | None = None
    stored: tuple[Parts, ...] = ()
    rivals: tuple[Rival, ...] = ()


def report(
    path: str,
    file: str | None,
    *,
    ranks: list[int],
    store: str | None,
    max_pixels: int,
    against: tuple[str, ...] = (),
) -> Result:
    """Report on an image, on a `.lrk` file, or on both together.

    Raises
    ------
    UsageError
        The arguments do not go together.
    LowrankError
        A file cannot be read.
    """
    if against and (not file or ranks):
        raise UsageError("--against compares one .lrk file; give the image, then the file")
    data = files.read_bytes(path)
    if data.startswith(lrk.SIGNATURE):
        if file or ranks or store:
            raise UsageError(f"{path} is a .lrk file; give the image first, then the file")
        parts = lrk.parse(data, name=path, max_pixels=max_pixels)
        said = bounds.stated(parts, file=batch.file_facts(path, parts, len(data)))
        return Result((said,), stored=(parts,))
    loaded = images.read(data, name=path, max_pixels=max_pixels)
    if file:
        result = _of_file(loaded, file, ranks=ranks, store=store, max_pixels=max_pixels)
        return replace(result, rivals=_rivals(loaded, result.reports[0], against))
    if ranks:
        return of_ranks(loaded, ranks, store=store or "auto")
    return _ladder(loaded, store=store or "auto")


def _of_file(
    loaded: Loaded, file: str, *, ranks: list[int], store: str | None, max_pixels: int
) -> Result:
    if store:
        raise UsageError("--store goes with -k alone; the file has its store already")
    data = files.read_bytes(file)
    parts = lrk.parse(data, name=file, max_pixels=max_pixels)
    api.check_same_image(loaded, parts, loaded.source.path)
    facts = batch.file_facts(file, parts, len(data))
    if not ranks:
        only = bounds.measure(
            loaded.picture, parts, source=loaded.source, file=facts, file_bytes=len(data)
        )
        return _result(loaded, [only], [parts], parts)
    shorter = [truncation.truncate(parts, Target("rank", k)) for k in ranks]
    return _result(
        loaded,
        [
            bounds.measure(
                loaded.picture,
                p,
                source=loaded.source,
                file=facts,
                file_bytes=len(lrk.serialize(p)),
            )
            for p in shorter
        ],
        shorter,
        parts,
    )


def _rivals(loaded: Loaded, ours: Report, against: tuple[str, ...]) -> tuple[Rival, ...]:
    psnr = ours.pixels.psnr_db if ours.pixels else None
    return tuple(
        rivals.against(loaded.picture, against, size=ours.storage.bytes, psnr=psnr)
        if against
        else ()
    )


def of_ranks(loaded: Loaded, ranks: list[int], *, store: str) -> Result:
    """Measure ranks of an image as `compress -k` would store them, from one decomposition."""
    most = codec.encode(
        loaded.picture, Target("rank", max(ranks)), layout="channels", store=store, certify=True
    )
    A = layout.matrices(loaded.picture, "channels", b"")
    reports, stored = [], []
    for k in ranks:
        exact = tuple(bounds.at_rank(a, x, k) for a, x in zip(A, most.exact, strict=True))
        parts = codec.with_ranks(loaded.picture, exact, "channels", store)
        stored.append(parts)
        reports.append(
            bounds.measure(
                loaded.picture,
                parts,
                source=loaded.source,
                file=None,
                file_bytes=len(lrk.serialize(parts)),
                exact=exact,
            )
        )
    result = _result(loaded, reports, stored)
    return replace(result, notes=result.notes + most.notes)


def _ladder(loaded: Loaded, *, store: str) -> Result:
    picture = loaded.picture
    spectra = threads.each(linalg.spectrum, layout.matrices(picture, "channels", b""))
    m, n = picture.height, picture.width
    steps = [k for k in _LADDER if k < min(m, n)] + [min(m, n)]
    width = "float16" if store == "auto" else store
    rungs = [bounds.predict(picture, spectra, k, source=loaded.source, store=width) for k in steps]
    auto = tuple(rank.gavish_donoho_rank(s, m, n) for s in spectra)
    return replace(_result(loaded, rungs, []), spectra=tuple(spectra), auto=auto)


def _result(
    loaded: Loaded, reports: list[Report], stored: list[Parts], parts: Parts | None = None
) -> Result:
    peak = full_scale(loaded.picture)
    return Result(
        tuple(reports), loaded.notes, peak, loaded=loaded, parts=parts, stored=tuple(stored)
    )
