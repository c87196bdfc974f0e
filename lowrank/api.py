"""The library: `compress`, `open` and the image between them; `spectrum` and `ladder` before.

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

import numbers
import os
import reprlib
from collections.abc import Iterable
from functools import partial
from typing import IO, TYPE_CHECKING, Any, Literal, SupportsIndex, TypedDict, Unpack, cast, overload

import numpy as np
import PIL.Image

from lowrank import codec, streams, targets
from lowrank import format as lrk
from lowrank.errors import ArgumentError, ImageError, UsageError
from lowrank.format.parts import Parts
from lowrank.io import arrays, lazy, pillow, sources
from lowrank.io.modes import to_image
from lowrank.io.taking import USUAL, Taking
from lowrank.limits import DEFAULT_MAX_PIXELS
from lowrank.names import AUTO, FLOAT_CHOICES
from lowrank.picture import ARRAY, Loaded, Mode, gaps
from lowrank.picture.axis import Axis
from lowrank.stack import LowRankStack, opened, with_axis
from lowrank.stack import labels as labels_of
from lowrank.stack import load as load_stack
from lowrank.targets import Kind, Target

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from lowrank.report import Report
    from lowrank.stores import Factored
    from lowrank.streams import FileLike

    Factors = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
    ImageLike = FileLike | PIL.Image.Image | ArrayLike

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


class LowRankImage:
    """An image as the k leading terms of its singular value decompositions.

    `compress` makes one from an image, `open` reads one from a `.lrk` file. It does not change;
    `np.asarray` decodes it, notebooks show it, and two are equal where their files would be.

    Attributes
    ----------
    notes : tuple of str
        What was lost, or should be known, on the way here: a plain sentence each.
    parts : Parts
        The file, as parsed.

    Examples
    --------
    >>> import numpy as np
    >>> A = np.multiply.outer(np.arange(6.0), np.arange(8.0))
    >>> image = compress(A, rank=1, store="float64")
    >>> image.shape, image.dtype
    ((6, 8), dtype('float64'))
    >>> ((U, s, Vt),) = image.factors
    >>> np.allclose((U * s) @ Vt, A)
    True
    """

    def __init__(self, parts: Parts, notes: tuple[str, ...] = (), path: str | None = None) -> None:
        self.parts = parts
        self.notes = notes
        self._path = path

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LowRankImage):
            return NotImplemented
        return self is other or lrk.same(self.parts, other.parts)

    def __hash__(self) -> int:
        return hash((self.parts.head, self.ranks))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Decode, for `np.asarray`; without a copy it cannot be done."""
        if copy is False:
            raise UsageError("an image is decoded into a new array; leave copy out, or give True")
        return np.asarray(self.to_array(), dtype)

    def _repr_png_(self) -> bytes:
        """The picture, for notebooks."""
        from lowrank import notebook

        return notebook.png(codec.decode(self.parts, filled=True).picture)

    def _repr_html_(self) -> str:
        """The picture and what the file states of it, for notebooks."""
        from lowrank import notebook

        return notebook.html(self.parts, codec.decode(self.parts, filled=True).picture)

    def __repr__(self) -> str:
        head = self.parts.head
        return (
            f"<LowRankImage {head.width}x{head.height} {head.mode.title}, ranks {self.ranks}, "
            f"{head.layout}, {head.store}>"
        )

    @property
    def width(self) -> int:
        """Columns of the image."""
        return self.parts.head.width

    @property
    def height(self) -> int:
        """Rows of the image."""
        return self.parts.head.height

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the decoded array: (height, width), or (height, width, channels)."""
        shape = self.parts.head.samples_shape
        return shape[:-1] if shape[-1] == 1 else shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the decoded samples; bool of black and white."""
        return _dtype(self.parts.head.mode)

    @property
    def mode(self) -> str:
        """Pillow's name of the image's mode; `array` where Pillow has none."""
        return self.parts.head.mode.name

    @property
    def layout(self) -> str:
        """How the image is seen as matrices: `channels` or `patches`."""
        return self.parts.head.layout

    @property
    def store(self) -> str:
        """How the factors are stored: `float16`, `float32`, `float64` or `packed`."""
        return self.parts.head.store

    @property
    def ranks(self) -> tuple[int, ...]:
        """Number of terms of each matrix."""
        return self.parts.ranks

    @property
    def factors(self) -> tuple[Factors, ...]:
        """One (U, s, Vt) for each matrix: (U * s) @ Vt is the matrix as the file holds it.

        U is (m, k), s (k,) and Vt (k, n), float64, rows and columns orthonormal but for the
        rounding of the store. In layout `channels` the matrices are the channels, in layout
        `patches` the coefficients of their (turned) patches. A packed file keeps no such factors:
        they are the singular value decomposition of what it decodes to, before its picture is
        smoothed and rounded.
        """
        from lowrank import linalg

        def of(k: int, B: Factored) -> Factors:
            if not isinstance(B, tuple):
                x = linalg.truncated_svd(B, max(k, 1)).truncate(k)
                return x.U, x.s, x.Vt
            U, s, Vt = B
            return np.array(U, np.float64), np.array(s, np.float64), np.array(Vt, np.float64)

        return tuple(map(of, self.ranks, codec.factors(self.parts)[1]))

    def to_bytes(self) -> bytes:
        """Return the bytes of the `.lrk` file.

        Raises
        ------
        UsageError
            It is a packed file that was cut or damaged: no whole file can be made of its parts.
        """
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

    def to_image(self, rank: SupportsIndex | None = None) -> PIL.Image.Image:
        """Decode to a Pillow image, from the first `rank` terms of each matrix or from all.

        Raises
        ------
        ImageError
            Pillow has no mode for such samples.
        """
        k, mode = _checked(rank), self.parts.head.mode
        if mode.name == ARRAY:
            raise ImageError(f"Pillow has no mode for {mode.title} samples; use to_array()")
        return to_image(codec.decode(self.parts, rank=k).picture)

    def to_array(self, rank: SupportsIndex | None = None) -> NDArray[Any]:
        """Decode to an array, from the first `rank` terms of each matrix or from all.

        Returns
        -------
        (height, width) or (height, width, channels) ndarray
            Of the samples' own type; bool of black and white.
        """
        samples = codec.decode(self.parts, rank=_checked(rank)).picture.samples
        return samples.reshape(self.shape).astype(self.dtype, copy=False)

    def truncate(self, rank: SupportsIndex) -> LowRankImage:
        """Keep the first `rank` terms of each matrix: the best image of that rank."""
        shorter = codec.shorten(self.parts, Target("rank", targets.rank(rank)))
        return LowRankImage(shorter, self.notes)

    def report(self, original: ImageLike) -> Report:
        """Measure the errors against the original, beside the bounds of Eckart and Young.

        Raises
        ------
        UsageError
            The original has another size or mode.
        """
        from lowrank.report import measure

        head = self.parts.head
        limit = max(DEFAULT_MAX_PIXELS, head.width * head.height)
        loaded = load(original, max_pixels=limit, nodata=gaps.value_of(head.metadata))
        measure.check_same_image(loaded, self.parts, "the image")
        size = lrk.file_size(self.parts)
        return measure.measure(
            loaded.picture,
            self.parts,
            source=loaded.source,
            file=measure.file_facts(self._path, self.parts, size),
            file_bytes=size,
        )


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
        lazy array, too (zarr, h5py, dask: whatever has a shape, a dtype and slices).
    rank : int or "auto"
        Terms of each channel; "auto" is the threshold of Gavish and Donoho.
    energy : float
        Share of ||A||_F^2 to keep, 0 to 1.
    error : float
        Relative Frobenius error, 0 to 1.
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
        read in passes has no limit.
    memory : int or str, optional
        Bytes that passes over a large source may take: 2_000_000_000, or "2G"; half of what is
        there by default. Large is a stack or a grey picture of 256 MiB or more, in a file or an
        array; to give `memory` asks for passes whatever the size. The file is the same for any.
    dask : str or distributed.Client, optional
        Spread the one matrix of a large stack over a cluster: the address of its scheduler, or a
        client; of a dask array, the client in use goes without saying. Needs the extra `dask`.
    stack : bool
        Take the source for a stack of frames. A file of several equal images, and an array of
        four axes, is one without being asked; an array of three axes is a picture.
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
    taking, named = _taking(stack, axis), _named(labels, values, unit)
    bound = targets.memory(memory)
    wishes = {
        "rank": rank, "energy": energy, "error": error, "max_error": max_error, "psnr": psnr,
        "psnr_worst": psnr_worst, "size": size, "quality": quality,
    }  # fmt: skip
    plain = nodata is None and tune is None and weights is None
    if plain and (bound or dask is not None or lazy.may_be(image)):
        from lowrank.stores import passes

        found = passes.of_source(
            image, targets.chosen(cast("dict[Kind, object]", wishes)), layout=layout,
            store=store, memory=bound, taking=taking, dask=dask,
            labels=None if named == Axis() else partial(labels_of, named),
        )  # fmt: skip
        if found is not None:
            return (LowRankImage if found[0].head.frames is None else LowRankStack)(*found)
    return compress_loaded(
        with_axis(load(image, max_pixels=max_pixels, nodata=nodata, taking=taking), named),
        tune=tune,
        layout=layout,
        store=store,
        weights=weights,
        **wishes,
    )


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
    taking = _taking(stack, axis)
    picture = load(image, max_pixels=max_pixels, nodata=nodata, taking=taking).picture
    layout = layout if picture.frames is None else "stack"
    A = layouts.of_samples(picture.samples, layout, turn.of(picture, layout))
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

    if isinstance(ranks, str | bytes) or not isinstance(ranks, Iterable):
        raise UsageError(f"ranks {reprlib.repr(ranks)} are no list; give one such as [5, 20, 50]")
    wanted = [targets.rank(k) for k in ranks]
    if not wanted:
        raise UsageError("the list of ranks is empty; give one such as [5, 20, 50]")
    targets.choice(store, "store", FLOAT_CHOICES)
    taking = _taking(stack, axis)
    loaded = load(image, max_pixels=max_pixels, nodata=nodata, taking=taking)
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
    limit = targets.pixels(max_pixels)
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


def load(
    image: Any,
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    nodata: float | None = None,
    taking: Taking = USUAL,
) -> Loaded:
    """Read an image, or a stack, from wherever it is."""
    max_pixels, nodata = targets.pixels(max_pixels), targets.missing(nodata)
    if isinstance(image, str | os.PathLike):
        return load_stack(streams.named(image), max_pixels=max_pixels, nodata=nodata, taking=taking)
    if _is_file(image):
        data, name = streams.read(cast("FileLike", image))
        return sources.read(data, name=name, max_pixels=max_pixels, nodata=nodata, taking=taking)
    try:
        if isinstance(image, PIL.Image.Image) and _is_closed(image):
            raise ArgumentError("the image is closed; compress it while it is open")
        if isinstance(image, PIL.Image.Image) and not taking.asked:
            return pillow.from_pillow(image, max_pixels=max_pixels, nodata=nodata)
        if not taking.asked and not sources.is_stack(image):
            loaded = arrays.from_array(
                cast("ArrayLike", image), max_pixels=max_pixels, nodata=nodata
            )
            return sources.told(loaded)
        return load_stack(image, max_pixels=max_pixels, nodata=nodata, taking=taking)
    except ImageError as error:
        raise ArgumentError(str(error)) from error


def _named(labels: Iterable[str], values: Iterable[float], unit: str) -> Axis:
    try:
        if not isinstance(unit, str):
            raise TypeError("the unit is no text")
        return Axis(tuple(map(str, labels)), tuple(map(float, values)), unit)
    except (TypeError, ValueError) as error:
        raise UsageError(f"the frames cannot be called so: {error}") from error


def _taking(stack: bool, axis: int) -> Taking:
    if not isinstance(axis, numbers.Integral) or isinstance(axis, bool):
        raise UsageError(f"axis {reprlib.repr(axis)} does not do; give a whole number, or -1")
    return Taking(bool(stack) or axis != 0, int(axis) if stack or axis else None)


def _is_closed(image: PIL.Image.Image) -> bool:
    if getattr(image, "tile", None):  # its samples are in the file still
        return getattr(image, "fp", None) is None
    try:
        return image.im is None
    except ValueError:
        return True


def _is_file(image: object) -> bool:
    """Whether it is the name or the bytes of a file, or one that is open: not samples."""
    if isinstance(image, memoryview):
        return image.ndim == 1
    plain = isinstance(image, str | os.PathLike | bytes | bytearray)
    return plain or (hasattr(image, "read") and not hasattr(image, "__array__"))


def _checked(rank: SupportsIndex | None) -> int | None:
    return None if rank is None else targets.rank(rank)


def _dtype(mode: Mode) -> np.dtype[Any]:
    return np.dtype(np.bool_ if mode.name == "1" else mode.dtype)
