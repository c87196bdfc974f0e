"""What `lowrank report` does with its arguments: files in, reports out."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lowrank import codec, files, layouts, linalg, threads
from lowrank import format as lrk
from lowrank.errors import FileError, LowrankError, UsageError, called, naming
from lowrank.format import MAX_SIDE
from lowrank.format.parts import Parts
from lowrank.io import images, states, urls, zarr
from lowrank.io.taking import USUAL, Taking, several
from lowrank.io.wall import thin_wall
from lowrank.limits import DEFAULT_MAX_PIXELS, LARGE
from lowrank.names import AUTO, AUTO_WIDTH
from lowrank.picture import Loaded
from lowrank.report import File, Report, measure
from lowrank.targets import Target

if TYPE_CHECKING:
    from lowrank.picture.lazy import LazyLoaded
    from lowrank.report.peers import Peer

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
    store : str
        Float type that a ladder counts bytes in, or that ranks were measured in; "" where a
        file says it.
    peers : tuple of Peer
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
    store: str = ""
    peers: tuple[Peer, ...] = ()


def report(
    path: str,
    file: str | None,
    *,
    ranks: list[int],
    store: str | None,
    max_pixels: int,
    against: tuple[str, ...] = (),
    nodata: float | None = None,
    taking: Taking = USUAL,
) -> Result:
    """Report on an image, on a `.lrk` file, or on both together.

    Raises
    ------
    UsageError
        The arguments do not go together.
    LowrankError
        A file cannot be read.
    """
    if file == "":
        raise UsageError("the name of the .lrk file is empty; give it, or leave it out")
    if path == file == "-":
        raise UsageError("standard input is read once; give the image or the file by its name")
    if against and (not file or ranks):
        raise UsageError("--against compares one .lrk file; give the image, then the file")
    if file and not (ranks or store or against or nodata is not None):
        found = _in_passes(path, file, taking, max_pixels)
        if found is not None:
            return found
    folder = path != "-" and os.path.isdir(path)
    if folder and not (taking.stack or zarr.is_array(path)):
        raise FileError(f"{path} is a folder; give an image, or --stack for all in it as one stack")
    data = b"" if folder else _bytes(path)
    if data.startswith(lrk.SIGNATURE):
        if file or ranks or store or nodata is not None:
            raise UsageError(f"{called(path)} is a .lrk file; give the image first, then the file")
        parts = lrk.parse(data, name=path, max_pixels=max_pixels)
        said = measure.stated(parts, file=measure.file_facts(path, parts, len(data)))
        return Result((said,), stored=(parts,))
    if not file:
        loaded = _load(path, data, max_pixels, nodata, taking)
    else:
        packed = _bytes(file)
        parts = lrk.parse(packed, name=file, max_pixels=max_pixels)
        loaded = original(path, data, parts, max_pixels=max_pixels, nodata=nodata, taking=taking)
        facts = measure.file_facts(file, parts, len(packed))
        result = _of_file(loaded, parts, facts, ranks=ranks, store=store)
        return replace(result, peers=_peers(loaded, result.reports[0], against))
    if ranks:
        return of_ranks(loaded, ranks, store=store or AUTO)
    return _ladder(loaded, store=store or AUTO)


def _bytes(path: str) -> bytes:
    if not urls.is_url(path):
        with states.unchanged(path):
            return files.read_bytes(path)
    from lowrank.io import cloud  # not on the way of files that are here

    return cloud.read(path)


def _in_passes(path: str, file: str, taking: Taking, max_pixels: int) -> Result | None:
    """A file beside a source that is too large to be read whole; None of what passes cannot do."""
    if _small(path):
        return None
    from lowrank.limits import half
    from lowrank.report import passes

    packed = files.read_bytes(file)
    parts = lrk.parse(packed, name=file, max_pixels=max_pixels)
    facts = measure.file_facts(file, parts, len(packed))
    with states.unchanged(path):
        loaded = read_later(path, parts, taking, max_pixels=max_pixels)
        if loaded is None:
            return None
        try:
            found = passes.measured(
                loaded, parts, file=facts, file_bytes=len(packed), memory=half()
            )
        except LowrankError as error:
            raise naming(error, path) from error
    return Result((found,), notes=loaded.notes, stored=(parts,))


def _small(path: str) -> bool:
    if zarr.is_array(path):
        return False  # as far as its folder tells
    status = files.regular(path)
    return status is None or status.st_size < LARGE


def read_later(
    path: str, parts: Parts, taking: Taking, *, max_pixels: int = DEFAULT_MAX_PIXELS
) -> LazyLoaded | None:
    """What a file was made from, to be read in passes; None where it is read whole."""
    if _small(path):
        return None
    from lowrank.io import lazy
    from lowrank.report import passes

    if not passes.can(parts) or parts.head.metadata.nodata is not None:
        return None

    def along(at: int | None) -> LazyLoaded | None:
        return lazy.of_path(path, taking._replace(axis=at), least=LARGE, max_pixels=max_pixels)

    loaded = along(taking.axis)
    if loaded is None or taking.axis is not None or parts.head.frames is None:
        return loaded
    found = [loaded]
    for at in range(1, 4):  # it may have so many frames along another axis
        try:
            other = along(at)
        except UsageError:  # it has no such axis
            break
        found += [] if other is None else [other]
    fit = [x for x in found if x.picture.samples_shape == parts.head.samples_shape]
    if len(fit) < 2:
        return fit[0] if fit else loaded
    from lowrank.report import compared

    return compared.nearest(fit, parts)


def original(
    path: str,
    data: bytes,
    parts: Parts,
    *,
    max_pixels: int,
    nodata: float | None = None,
    taking: Taking = USUAL,
) -> Loaded:
    """Read what a file was made from: a stack as one, without data what the file says has none.

    `data` are the bytes at the path; of a folder there are none.
    """
    if nodata is None:  # the file knows
        from lowrank.picture import gaps

        nodata = gaps.value_of(parts.head.metadata)
    if parts.head.frames is not None and not taking.asked:
        taking = _like(parts, path, data)
    return _load(path, data, max_pixels, nodata, taking)


def _load(path: str, data: bytes, max_pixels: int, nodata: float | None, taking: Taking) -> Loaded:
    array = zarr.is_array(path)
    if not (array or taking.asked or several(data)):
        return images.read(data, name=path, max_pixels=max_pixels, nodata=nodata)
    from lowrank.io import sources

    if array or not data:
        with states.unchanged(path):
            return sources.of_directory(
                path, files.read_bytes, max_pixels=max_pixels, nodata=nodata, taking=taking
            )
    return sources.read(data, name=path, max_pixels=max_pixels, nodata=nodata, taking=taking)


def _like(parts: Parts, path: str, data: bytes) -> Taking:
    """How an array becomes the stack that a file holds: along which axis."""
    array = _array(path, data)
    if array is not None:
        head = parts.head.samples_shape
        wanted = {head, head[:-1]} if head[-1] == 1 else {head}
        shape = tuple(array.shape)
        moved = ((shape[at], *shape[:at], *shape[at + 1 :]) for at in range(len(shape)))
        fit = [at for at, frames_first in enumerate(moved) if frames_first in wanted]
        if fit:
            return Taking(stack=True, axis=fit[0] if len(fit) == 1 else _nearest(array, parts, fit))
    return Taking(stack=True)


def _array(path: str, data: bytes) -> Any:
    """The array of a file, or of a folder of zarr, which is not read yet; None of pictures."""
    from lowrank.io import npy

    if zarr.is_array(path):
        return zarr.opened(path)
    if data.startswith((b"\x93NUMPY", b"PK")) and npy.accepts(data):
        return npy.read(data, name=path, max_pixels=MAX_SIDE)
    return None


def _nearest(array: Any, parts: Parts, axes: list[int]) -> int:
    """Of several axes that would do, as in a cube, the one along which it is what a file holds."""
    held = codec.decode(parts, filled=True).picture.samples
    with thin_wall("read the array", "give an array of numbers"):
        array = np.asarray(array)

    def distance(at: int) -> float:
        moved = np.moveaxis(array, at, 0).reshape(held.shape)
        return float(np.nansum(np.square(np.subtract(moved, held, dtype=np.float64))))

    return min(axes, key=distance)


def _of_file(
    loaded: Loaded, parts: Parts, facts: File, *, ranks: list[int], store: str | None
) -> Result:
    if store:
        raise UsageError("--store goes with -k alone; the file has its store already")
    measure.check_same_image(loaded, parts, loaded.source.path)

    def measured(parts: Parts, size: int) -> Report:
        return measure.measure(
            loaded.picture, parts, source=loaded.source, file=facts, file_bytes=size
        )

    if not ranks:
        only = measured(parts, facts.bytes)
        if only.stack is not None and only.pixels is not None:
            from lowrank.report import stacks

            alone = stacks.apart(loaded.picture, only.pixels.rmse, facts.bytes)
            only = replace(only, stack=replace(only.stack, frame_by_frame=alone))
        return _result(loaded, [only], [parts], parts)
    shorter = [codec.shorten(parts, Target("rank", k)) for k in ranks]
    reports = [measured(p, len(lrk.serialize(p))) for p in shorter]
    return _result(loaded, reports, shorter, parts)


def _peers(loaded: Loaded, ours: Report, against: tuple[str, ...]) -> tuple[Peer, ...]:
    if not against:
        return ()
    from lowrank.report import peers

    psnr = ours.pixels.psnr_db if ours.pixels else None
    return tuple(peers.against(loaded.picture, against, size=ours.storage.bytes, psnr=psnr))


def of_ranks(loaded: Loaded, ranks: list[int], *, store: str) -> Result:
    """Measure ranks of an image as `compress -k` would store them, from one decomposition."""
    from lowrank.stores import truncation

    given, loaded = loaded.picture, _as_kept(loaded, store)
    layout = "channels" if loaded.picture.frames is None else "stack"
    most = codec.encode(
        loaded.picture, Target("rank", max(ranks)), layout=layout, store=store, certify=True
    )
    A = layouts.of_samples(loaded.picture.samples, layout, None)
    reports, stored = [], []
    for k in ranks:
        exact = tuple(measure.at_rank(a, x, k) for a, x in zip(A, most.exact, strict=True))
        parts = truncation.with_ranks(loaded.picture, exact, layout, store)
        stored.append(parts)
        reports.append(
            measure.measure(
                given,
                parts,
                source=loaded.source,
                file=None,
                file_bytes=len(lrk.serialize(parts)),
                exact=exact,
            )
        )
    result = _result(loaded, reports, stored)
    width = "/".join(dict.fromkeys(p.head.store for p in stored))
    return replace(result, notes=result.notes + most.notes, store=width)


def _as_kept(loaded: Loaded, store: str) -> Loaded:
    """An image with its samples in the type that a store keeps them in."""
    try:
        picture, notes = codec.narrowed(loaded.picture, codec.roomy(loaded.picture, store))
    except LowrankError as error:
        raise naming(error, loaded.source.path) from error
    return replace(loaded, picture=picture, notes=loaded.notes + notes)


def _ladder(loaded: Loaded, *, store: str) -> Result:
    from lowrank.targets import spectrum

    loaded = _as_kept(loaded, store)
    picture = loaded.picture
    layout = "channels" if picture.frames is None else "stack"
    A = layouts.of_samples(picture.samples, layout, None)
    m, n = A[0].shape
    least = linalg.rounding(min(m, n))
    spectra = [np.where(s > least * s[0], s, 0.0) for s in threads.each(linalg.spectrum, A)]
    steps = [k for k in _LADDER if k < min(m, n)] + [min(m, n)]
    width = AUTO_WIDTH if store == AUTO else store
    rungs = [measure.predict(picture, spectra, k, source=loaded.source, store=width) for k in steps]
    auto = tuple(spectrum.gavish_donoho_rank(s, m, n) for s in spectra)
    return replace(_result(loaded, rungs, []), spectra=tuple(spectra), auto=auto, store=width)


def _result(
    loaded: Loaded, reports: list[Report], stored: list[Parts], parts: Parts | None = None
) -> Result:
    peak = loaded.picture.peak
    return Result(
        tuple(reports), loaded.notes, peak, loaded=loaded, parts=parts, stored=tuple(stored)
    )
