"""The library: `compress` and `open`; `spectrum` and `ladder` before them.

>>> import numpy as np
>>> import lowrank
>>> A = np.add.outer(np.arange(48), np.arange(64)).astype(np.uint8)
>>> image = lowrank.compress(A, rank=2)
>>> image
<LowRankImage 64x48 L, ranks (2,), channels, float32>
>>> np.array_equal(image.to_array(), A)
True
"""

from __future__ import annotations

import os
import reprlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, TypedDict, Unpack, cast, overload

from lowrank import codec, streams, targets
from lowrank import format as lrk
from lowrank.errors import UsageError
from lowrank.io import lazy
from lowrank.io.taking import Taking
from lowrank.limits import DEFAULT_MAX_PIXELS
from lowrank.names import AUTO, FLOAT_CHOICES
from lowrank.objects.image import LowRankImage
from lowrank.objects.kept import Kept
from lowrank.objects.loading import carrying, load, taken, telling
from lowrank.objects.naming import labels as labels_of
from lowrank.objects.naming import named as named_as
from lowrank.objects.naming import with_axis
from lowrank.objects.stack import LowRankStack, opened
from lowrank.picture import Loaded, Metadata, gaps
from lowrank.picture.axis import Axis
from lowrank.targets import Kind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lowrank.objects.image import ImageLike
    from lowrank.report import Report
    from lowrank.streams import FileLike

    class Wishes(TypedDict, total=False):
        """What `compress` takes of a picture and of a stack alike."""

        rank: SupportsIndex | Literal["auto"] | None
        energy: float | None
        error: float | None
        max_error: float | None
        psnr: float | None
        psnr_worst: float | None
        size: SupportsIndex | None
        quality: float | None
        tune: str | None
        layout: str | None
        store: str | None
        nodata: float | None
        max_pixels: int
        memory: int | str | None
        dask: Any


@overload
def compress(image: LowRankStack, **wishes: Unpack[Wishes]) -> LowRankStack: ...
@overload
def compress(
    image: Any,
    *,
    stack: Literal[True],
    axis: int = 0,
    labels: Iterable[str] = (),
    values: Iterable[float] = (),
    unit: str = "",
    **wishes: Unpack[Wishes],
) -> LowRankStack: ...
@overload
def compress(
    image: ImageLike, *, stack: Literal[False] = False, **wishes: Unpack[Wishes]
) -> LowRankImage: ...
@overload
def compress(
    image: Any, *, stack: bool = False, axis: int = 0, **wishes: Unpack[Wishes]
) -> Any: ...
def compress(
    image: Any,
    *,
    rank: SupportsIndex | Literal["auto"] | None = None,
    energy: float | None = None,
    error: float | None = None,
    max_error: float | None = None,
    psnr: float | None = None,
    psnr_worst: float | None = None,
    size: SupportsIndex | None = None,
    quality: float | None = None,
    tune: str | None = None,
    layout: str | None = None,
    store: str | None = None,
    nodata: float | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    memory: int | str | None = None,
    dask: Any = None,
    stack: bool = False,
    axis: int = 0,
    labels: Iterable[str] = (),
    values: Iterable[float] = (),
    unit: str = "",
    weights: str | None = None,
) -> Any:
    """Compress an image to a LowRankImage, or a stack to a LowRankStack; give one target at most.

    Parameters
    ----------
    image : path, bytes of an image file, binary file object, PIL.Image.Image or array
        Arrays are (height, width) or (height, width, channels), with 1 to 4096 channels of
        integers or floats, or one of bool. With `stack` it may be several paths, a folder, or a
        lazy array, too (zarr, h5py, dask: whatever has a shape, a dtype and slices), an image of
        several frames that Pillow has open, or several of its images.
    rank : int or "auto"
        Terms of each channel; "auto" is the threshold of Gavish and Donoho.
    energy : float
        Share of ||A||_F^2 to keep, 0 to 1; of a float file, by its factors as they are stored.
    error : float
        Relative Frobenius error, 0 to 1; of a float file, that of its factors as they are stored,
        to which the rounding of integers may add: `psnr` and `max_error` count that, too. Energy 1
        and error 0 keep all terms, in whatever store.
    max_error : float
        Largest error of any sample, in the units of the samples.
    psnr : float
        PSNR in dB.
    psnr_worst : float
        PSNR of the worst frame of a stack in dB, packed store only.
    size : int
        Bytes of the file, at most.
    quality : float
        1 to 100, packed store only; 75 is what no target at all means.
    tune : {"psnr", "eye"}, optional
        What a packed picture of layout `patches` is to be best for; PSNR if it is not said.
    layout : {"channels", "patches"}, optional
    store : {"auto", "float16", "float32", "float64", "packed"}, optional
    nodata : float, optional
        Pixels of this value (NaN too) have no data: they are filled for the factorisation,
        have the value again after decoding, and are left out of the errors of pixels.
    max_pixels : int
        A larger image is refused; a stack may have `limits.STACK` times as many in all. What is
        read in passes has no limit, but for frames that are decoded whole, each of which has this.
    memory : int or str, optional
        Bytes that passes over a large source may take: 2_000_000_000, or "2G"; half of what is
        there by default. Large is what has 256 MiB of samples or more, in a file or an array; to
        give `memory` asks for passes whatever the size. The file is the same for any.
    dask : str or distributed.Client, optional
        Spread the one matrix of a large stack over a cluster: the address of its scheduler, or a
        client; of a dask array, by default the client in use. Needs the extra `dask`.
    stack : bool
        Take the source for a stack of frames. A LowRankStack, a file of several equal images and an
        array of four axes are one without being asked; an array of three axes is a picture, and
        in a file one of uint8 or uint16 with at most 4 channels.
    axis : int
        Of a stack in an array: which axis counts the frames; -1 of bands that are last.
    labels, values, unit : iterable of str, iterable of float, str
        Of a stack: what its frames are, and the values' unit, such as "nm"; they travel.
    weights : {"noise"}, optional
        Of a stack, packed: frames count less the noisier they are, so that a bad one does not
        take the bits of the others.

    Returns
    -------
    LowRankImage or LowRankStack
        To the type checker a stack where `stack` is True, else an image.

    Raises
    ------
    UsageError
        More than one target, or one that cannot be met; or what is given is no image.
    ImageError, LimitError, FileError
        The image cannot be read.

    See Also
    --------
    LowRankImage.save, LowRankImage.report
    """
    taking, (named, said) = _taken(image, stack, axis), named_as(labels, values, unit)
    bound = targets.memory(memory)
    wishes = {
        "rank": rank, "energy": energy, "error": error, "max_error": max_error, "psnr": psnr,
        "psnr_worst": psnr_worst, "size": size, "quality": quality,
    }  # fmt: skip
    before, lost = _carried(image, taking)
    said += lost
    nodata = gaps.value_of(before) if nodata is None else nodata
    alone = before == Metadata(axis=before.axis)  # labels travel in passes, too
    plain = nodata is None and tune is None and weights is None and alone
    with telling(image):
        if plain and (bound or dask is not None or lazy.may_be(image)):
            from lowrank.stores import passes

            found = passes.of_source(
                image, targets.chosen(cast("dict[Kind, object]", wishes)), layout=layout,
                store=store, memory=bound, taking=taking, dask=dask,
                labels=_labels(named, before),
                max_pixels=targets.pixels(max_pixels),
            )  # fmt: skip
            if found is not None:
                parts, notes = found
                kind = LowRankImage if parts.head.frames is None else LowRankStack
                return kind(parts, notes + said)
        loaded = load(image, max_pixels=max_pixels, nodata=nodata, taking=taking)
        made = compress_loaded(
            with_axis(carrying(loaded, before), named),
            tune=tune,
            layout=layout,
            store=store,
            weights=weights,
            **wishes,
        )
    idle = [name for name, x in (("memory", memory), ("dask", dask)) if x is not None]
    if idle:
        said += (
            f"It was read whole or in tiles, not in passes: {' and '.join(idle)} did nothing.",
        )
    made.notes += said
    return made


def compress_loaded(
    loaded: Loaded,
    *,
    tune: str | None = None,
    layout: str | None = None,
    store: str | None = None,
    weights: str | None = None,
    **wishes: object,
) -> LowRankImage | LowRankStack:
    """Compress what `io` has read; the keywords are those of `compress`."""
    wanted = targets.tuned(targets.chosen(cast("dict[Kind, object]", wishes)), tune)
    wanted = targets.weighted(wanted, weights)
    encoded = codec.encode(loaded.picture, wanted, layout=layout, store=store)
    kind = LowRankImage if loaded.picture.frames is None else LowRankStack
    return kind(encoded.parts, loaded.notes + encoded.notes)


def spectrum(
    image: ImageLike,
    *,
    layout: str = "channels",
    nodata: float | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    stack: bool = False,
    axis: int = 0,
) -> list[NDArray[np.float64]]:
    """All singular values of each matrix of an image, or of the one of a stack, descending.

    Parameters
    ----------
    image : as of `compress`
    layout : {"channels", "patches"}
        What the matrices of an image are: its channels, or the coefficients of their patches.
    nodata, max_pixels, stack, axis : as of `compress`

    Returns
    -------
    list of (min(m, n),) ndarray of float64
        In levels; the sum of the squares of one is ||A||_F^2 of its matrix.

    Raises
    ------
    UsageError, ImageError, LimitError, FileError
        As for `compress`.

    Examples
    --------
    >>> [s.round(3).tolist() for s in spectrum([[3.0, 0.0], [0.0, 4.0]])]
    [[4.0, 3.0]]
    """
    from lowrank import layouts, linalg, threads
    from lowrank.layouts import turn

    targets.choice(layout, "layout", ("channels", "patches"))
    taking = _taken(image, stack, axis)
    picture = load(image, max_pixels=max_pixels, nodata=nodata, taking=taking).picture
    layout = layout if picture.frames is None else "stack"
    A = layouts.of_samples(picture.samples, layout, turn.of(picture, layout))
    with telling(image):
        return list(threads.each(linalg.spectrum, A))


def ladder(
    image: ImageLike,
    ranks: Iterable[SupportsIndex],
    *,
    store: str | None = None,
    nodata: float | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    stack: bool = False,
    axis: int = 0,
) -> list[Report]:
    """Measure an image, or a stack, at several ranks, as `compress(image, rank=k)` would keep it.

    One decomposition, of the largest rank, serves all.

    Parameters
    ----------
    image : as of `compress`
    ranks : iterable of int
        In any order; the reports are in the same.
    store : {"auto", "float16", "float32", "float64"}, optional
    nodata, max_pixels, stack, axis : as of `compress`

    Returns
    -------
    list of Report
        Measured errors beside their bounds, one report for each rank.

    Raises
    ------
    UsageError, ImageError, LimitError, FileError
        As for `compress`.

    Examples
    --------
    >>> import numpy as np
    >>> A = np.add.outer(np.arange(48), np.arange(64)).astype(np.uint8)
    >>> [report.channels[0].k for report in ladder(A, [1, 2])]
    [1, 2]
    """
    from lowrank.report import ask

    try:
        listed = list(ranks)  # an array without axes only seems to be iterable
    except TypeError:
        listed = None
    if listed is None or isinstance(ranks, str | bytes):
        raise UsageError(f"ranks {reprlib.repr(ranks)} are no list; give one such as [5, 20, 50]")
    wanted = [targets.rank(k) for k in listed]
    if not wanted:
        raise UsageError("the list of ranks is empty; give one such as [5, 20, 50]")
    targets.choice(store, "store", FLOAT_CHOICES)
    taking = _taken(image, stack, axis)
    loaded = load(image, max_pixels=max_pixels, nodata=nodata, taking=taking)
    with telling(image):
        return list(ask.of_ranks(loaded, wanted, store=store or AUTO).reports)


def open(
    path: FileLike,
    *,
    partial: bool = False,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> Any:
    """Read a `.lrk` file: a LowRankImage, or a LowRankStack where it holds a stack.

    A float file of a stack that is given by its path stays on the disk: what is asked of the
    stack is read, and checked, when it is.

    Parameters
    ----------
    path : path-like, bytes of a file, or binary file object
    partial : bool
        Take a file that ends early or is damaged as far as it is whole; `notes` tell what it
        lost.
    max_pixels : int
        A larger image is refused.

    Raises
    ------
    FileError, FormatError, TruncatedError, LimitError
    """
    limit, partial = targets.pixels(max_pixels), targets.truth(partial, "partial")
    if isinstance(path, str | os.PathLike) and not partial:
        mapped = opened(streams.named(path), max_pixels=limit)
        if mapped is not None:
            return mapped
    data, name = streams.read(path)
    parts = lrk.parse(data, name=name, max_pixels=limit, partial=partial)
    codec.stated(parts)  # refuses a packed file whose ranks are not those of its payload
    found = None if name in (streams.BYTES, streams.OBJECT) else name
    if parts.head.frames is not None:
        return LowRankStack(parts, parts.notes, path=found)
    return LowRankImage(parts, parts.notes, found)


def _taken(image: object, stack: object, axis: object) -> Taking:
    """How it is to be seen: what is a stack already need not be said to be one."""
    taking = taken(stack, axis)
    return taking._replace(stack=True) if isinstance(image, LowRankStack) else taking


def _carried(image: object, taking: Taking) -> tuple[Metadata, tuple[str, ...]]:
    """Metadata of what is compressed again; of one that is seen along another axis its gaps."""
    if not isinstance(image, Kept):
        return Metadata(), ()
    metadata = image.head.metadata
    if not taking.axis and taking.stack == (image.head.frames is not None):
        return metadata, ()
    left = Metadata(nodata=metadata.nodata)
    note = "It is seen along another axis: its metadata, labels of frames too, were left out."
    return left, () if left == metadata else (note,)


def _labels(named: Axis, before: Metadata) -> Callable[[int | None], bytes | None] | None:
    """What makes the labels of frames that are read in passes; None where the source has them."""
    if named != Axis():
        return partial(labels_of, named)
    return None if before.axis is None else lambda _: before.axis
